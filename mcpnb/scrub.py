"""Remove secrets from tracebacks and from log records of HTTP libraries."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, Self, TypeVar, cast

from mcpnb.concurrency import interrupt_in
from mcpnb.errors import McpnbError, detached
from mcpnb.text import redact

P = ParamSpec("P")
T = TypeVar("T")

_COROUTINE, _ASYNC_GENERATOR = 0x80, 0x200  # as in inspect, which takes long to import
_HOLD_SECRETS = frozenset(
    {
        *("mcpnb", "anyio", "authlib", "cryptography", "filelock", "joserfc", "keyring", "mcp"),
        *("mcp_types", "pydantic", "h11", "h2", "hpack", "httpcore", "httpcore2", "httpx"),
        *("httpx2", "sniffio", "truststore"),
    }
)
"""Packages whose local variables may be tokens: mcpnb, and the libraries that it hands them to."""


def scrub_traceback(function: Callable[P, T]) -> Callable[P, T]:
    """Return the function; what it raises leaves without the variables that may hold secrets.

    Where a secret has to be plain text, a local variable holds it: of mcpnb, of the SDK or of the
    HTTP library. Some tracebacks print those: IPython's ``%xmode Verbose``, rich, pytest. An error
    of mcpnb leaves without its cause. Of any other error the files and lines stay, and so do the
    variables of what the user hands to a call, such as a progress listener.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with _Scrubber() as scrubber:
                return function(*args, **kwargs)
            raise scrubber.failure
        finally:
            del args, kwargs  # this frame is in the traceback, too

    @functools.wraps(function)
    async def run_async(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            with _Scrubber() as scrubber:
                return await cast("Any", function(*args, **kwargs))
            raise scrubber.failure
        finally:
            del args, kwargs

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


class _Scrubber:
    """Scrubs the exception that leaves its ``with`` block, or replaces it with `failure`."""

    failure: BaseException

    def __enter__(self) -> Self:
        self._outer = sys.exc_info()[1]
        return self

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> bool:
        failure: BaseException | None = None
        if isinstance(error, McpnbError):
            failure = detached(error)
        elif error is not None:
            _clear_frames(error, self._outer)
            failure = interrupt_in(error)
        if failure is not None:
            self.failure = failure  # raised outside, where this error is no context of it
        return failure is not None


def _clear_frames(error: BaseException, outer: BaseException | None) -> None:
    """Clear the frames of an error and of its causes, up to what the caller is handling."""
    ahead: list[BaseException | None] = [error]
    seen = {id(outer), id(None)}
    while ahead:
        found = ahead.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        holds_secrets, caller = True, ""
        at = found.__traceback__
        while at is not None:
            frame, at = at.tb_frame, at.tb_next
            module = str(frame.f_globals.get("__name__"))
            package = module.partition(".")[0]
            if package in _HOLD_SECRETS:
                holds_secrets, caller = True, module
            elif package not in sys.stdlib_module_names:  # that works for whoever called it
                # A listener of a call gets no secret; a store or transport of the user's own does.
                holds_secrets = not caller.startswith(("mcpnb.calls.", "mcp."))
            # Until Python 3.13, to clear a suspended coroutine would end it.
            if holds_secrets and not frame.f_code.co_flags & (_COROUTINE | _ASYNC_GENERATOR):
                with contextlib.suppress(RuntimeError):  # it is running
                    frame.clear()
        ahead += [found.__cause__, found.__context__]
        if isinstance(found, BaseExceptionGroup):
            ahead += found.exceptions


def redact_logs(*names: str) -> None:
    """Pass what libraries log through `text.redact`: they write addresses, even at INFO.

    Args:
        names: The loggers that write the records: a filter does not see those of loggers below it.
    """
    for name in names:
        logging.getLogger(name).addFilter(_redact_record)


def _redact_record(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    if (redacted := redact(message)) != message:
        record.msg, record.args = redacted, None
    if record.exc_info:
        traceback = logging.Formatter().formatException(record.exc_info)
        if (redacted := redact(traceback)) != traceback:
            record.exc_text, record.exc_info = redacted, None
    return True
