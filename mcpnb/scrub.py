"""Remove secrets from tracebacks and from log records of HTTP libraries."""

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
    """Clear the local variables of the frames in whatever a function raises.

    Wherever a secret has to be plain text, a local variable of ours or of the HTTP library holds
    it, and some tracebacks print those: IPython's ``%xmode Verbose``, rich, pytest. Files and lines
    stay in unexpected errors, to find the fault.
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
    """Apply `scrub_traceback` to every public method and property of a class and its bases."""
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
    """Clear the frames of an error and of its causes, back to the one that was there before."""
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
    """Pass what libraries log through `text.redact`: they write addresses, even at INFO.

    Args:
        names: The very loggers that write: a logger's filter does not see its children's records.
    """
    for name in names:
        logging.getLogger(name).addFilter(_redacted)


def _redacted(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    if (hidden := redact(message)) != message:
        record.msg, record.args = hidden, None
    if record.exc_info:
        traceback = logging.Formatter().formatException(record.exc_info)
        if (hidden := redact(traceback)) != traceback:
            record.exc_text, record.exc_info = hidden, None
    return True
