"""What is raised takes no secrets along, and what libraries log of addresses has none in it."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from mcpnb.concurrency import interrupt_in
from mcpnb.errors import McpnbError, detached
from mcpnb.text import redact

__all__ = ["redact_logs", "scrub_class", "scrub_traceback"]

P = ParamSpec("P")
T = TypeVar("T")

_COROUTINE, _ASYNC_GENERATOR = 0x80, 0x200  # as in inspect, which takes long to import


def scrub_traceback(function: Callable[P, T]) -> Callable[P, T]:
    """Have what a function raises leave without the variables of the frames that it came by.

    Where a secret has to be plain text, a local variable holds it, ours or the HTTP library's, and
    some tracebacks print those: IPython's ``%xmode Verbose``, rich, pytest. Of what is not an error
    of ours, files and lines stay, to find a fault by.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        outer = sys.exc_info()[1]
        failure: BaseException | None
        try:
            return function(*args, **kwargs)
        except McpnbError as error:
            failure = detached(error)
        except BaseException as error:
            _forget(error, outer)
            if (failure := interrupt_in(error)) is None:
                raise
        finally:
            del args, kwargs  # this frame shows, too
        raise failure

    @functools.wraps(function)
    async def run_async(*args: P.args, **kwargs: P.kwargs) -> Any:
        outer = sys.exc_info()[1]
        try:
            return await cast("Any", function(*args, **kwargs))
        except McpnbError as error:
            failure = detached(error)
        except BaseException as error:
            _forget(error, outer)
            raise
        finally:
            del args, kwargs
        raise failure

    flags: int = cast("Any", function).__code__.co_flags
    return cast("Callable[P, T]", run_async) if flags & _COROUTINE else run


def scrub_class(kind: type[T]) -> type[T]:
    """Have every public method and property of a class be `discreet`, those of its bases, too."""
    for name in dir(kind):
        if name.startswith("_"):
            continue
        member: Any = next(vars(base)[name] for base in kind.__mro__ if name in vars(base))
        if hasattr(member, "__code__"):
            setattr(kind, name, scrub_traceback(member))
        elif isinstance(member, property) and member.fget is not None:
            setattr(kind, name, member.getter(scrub_traceback(member.fget)))
    return kind


def _forget(error: BaseException, outer: BaseException | None) -> None:
    """Clear the frames of an error, and of what led to it, as far back as it is of our making."""
    ahead: list[BaseException | None] = [error]
    seen = {id(outer), id(None)}
    while ahead:
        found = ahead.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        at = found.__traceback__
        while at is not None:
            # One that is suspended must not be: until Python 3.13 that would end its coroutine.
            if not at.tb_frame.f_code.co_flags & (_COROUTINE | _ASYNC_GENERATOR):
                with contextlib.suppress(RuntimeError):  # it is running
                    at.tb_frame.clear()
            at = at.tb_next
        ahead += [found.__cause__, found.__context__]
        if isinstance(found, BaseExceptionGroup):
            ahead += found.exceptions


def redact_logs(*names: str) -> None:
    """Have what libraries log pass by `errors.shown`, too: they write addresses, at INFO already.

    Args:
        names: The very loggers that write: a filter is not asked about what those below it do.
    """
    for name in names:
        logging.getLogger(name).addFilter(_concealed)


def _concealed(record: logging.LogRecord) -> bool:
    said = record.getMessage()
    if (hidden := redact(said)) != said:
        record.msg, record.args = hidden, None
    if record.exc_info:
        traceback = logging.Formatter().formatException(record.exc_info)
        if (hidden := redact(traceback)) != traceback:
            record.exc_text, record.exc_info = hidden, None
    return True
