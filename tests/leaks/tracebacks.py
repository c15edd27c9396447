"""What shows of an error to those who print more than its message, variables included."""

from __future__ import annotations

import io
import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self

import pytest
import rich.console
import rich.traceback
from IPython.core.ultratb import VerboseTB


def told(error: BaseException) -> dict[str, str]:
    """Give all that the usual tools print of an error, each with variables and without limits."""
    kind, at = type(error), error.__traceback__
    info = pytest.ExceptionInfo.from_exception(error) if at is not None else None
    return {
        "traceback": "".join(
            "".join(
                traceback.TracebackException(
                    type(each), each, each.__traceback__, capture_locals=True
                ).format()
            )
            for each in _behind(error)
        ),
        "IPython": "\n".join(
            VerboseTB(
                theme_name="nocolor", include_vars=True, long_header=True
            ).structured_traceback(kind, error, at)
            if at is not None
            else []
        ),
        "rich": _by_rich(error),
        "pytest": str(info.getrepr(showlocals=True, truncate_locals=False)) if info else "",
        "cgitb": told_quickly(error),
    }


def _by_rich(error: BaseException) -> str:
    file = io.StringIO()
    shown = rich.traceback.Traceback.from_exception(
        type(error),
        error,
        error.__traceback__,
        show_locals=True,
        locals_max_length=None,  # type: ignore[arg-type]  # no limit
        locals_max_string=None,  # type: ignore[arg-type]
        locals_hide_dunder=False,
        locals_hide_sunder=False,
        max_frames=0,
    )
    rich.console.Console(file=file, width=500, color_system=None).print(shown)
    return file.getvalue()


def told_quickly(error: BaseException) -> str:
    """Give every variable of every frame, and the attributes that the frame's code names."""
    return "\n".join(
        line
        for each in _behind(error)
        for line in (f"{type(each).__name__} {each!r} {each} {each.args!r}", *_frames(each))
    )


def _behind(error: BaseException) -> Iterator[BaseException]:
    """Give an error and all that led to it, what is not printed included."""
    seen: set[int] = set()
    ahead: list[BaseException | None] = [error]
    while ahead:
        found = ahead.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        ahead += [found.__cause__, found.__context__]
        if isinstance(found, BaseExceptionGroup):
            ahead += found.exceptions


def _frames(error: BaseException) -> Iterator[str]:
    yield from getattr(error, "__notes__", ())
    at: TracebackType | None = error.__traceback__
    while at is not None:
        yield f"  {at.tb_frame.f_code.co_filename}:{at.tb_lineno} {at.tb_frame.f_code.co_qualname}"
        yield from _variables(at.tb_frame)
        at = at.tb_next


def _variables(frame: FrameType) -> Iterator[str]:
    for name, value in list(frame.f_locals.items()):
        yield f"    {name} = {_repr(value)}"
        for attribute in frame.f_code.co_names:
            # What stands in the instance: a property or a method would be called.
            held = _held(value, attribute)
            if held is not None:
                yield f"    {name}.{attribute} = {_repr(held)}"


def _held(value: object, attribute: str) -> object:
    try:
        return vars(value).get(attribute)
    except TypeError:
        return None


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001  half-made objects cannot say what they are
        return f"<{type(error).__name__}>"


class Overheard(logging.Handler):
    """Everything that is logged, at whatever level, and what falls out of threads.

    Records are read whole: arguments, and the variables of tracebacks, which some handlers print.
    """

    def __init__(self) -> None:
        super().__init__(1)
        self.records: list[str] = []
        self.fallen: list[str] = []
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        root = logging.getLogger()
        self._before = [root.level, threading.excepthook, sys.unraisablehook, sys.excepthook]
        root.setLevel(1)
        root.addHandler(self)
        logging.captureWarnings(capture=True)
        threading.excepthook = lambda args: self._fell(args.exc_value, args)
        sys.unraisablehook = lambda args: self._fell(args.exc_value, args.err_msg)
        return self

    def __exit__(self, *_: object) -> None:
        root = logging.getLogger()
        root.removeHandler(self)
        logging.captureWarnings(capture=False)
        root.setLevel(self._before[0])
        threading.excepthook, sys.unraisablehook, sys.excepthook = self._before[1:]

    def _fell(self, error: BaseException | None, said: object) -> None:
        self.fallen.append(f"{said!r} {told_quickly(error) if error is not None else ''}")

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, but for those of the test's own browser."""
        if record.threadName == "MainThread" and record.name.startswith(("httpx2", "httpcore2")):
            return
        error = record.exc_info[1] if record.exc_info else None
        self.records.append(
            f"{record.name} {record.getMessage()} {record.msg!r} {record.args!r} "
            f"{record.exc_text} {record.stack_info} {told_quickly(error) if error else ''}"
        )

    def places(self) -> dict[str, str]:
        """Give what is to be searched."""
        return {"the logs": "\n".join(self.records), "threads": "\n".join(self.fallen)}
