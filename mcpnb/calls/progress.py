"""The progress that a server reports of a running call: to a listener, or on one line."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import anyio

from mcpnb.environment import kernel
from mcpnb.errors import CallError
from mcpnb.text import sanitize

T = TypeVar("T")
Progress = Callable[[float, float | None, str | None], object]

_AFTER = 2.0
_EVERY = 1.0


class StoppedByListener(CallError):
    """A listener raised something, which ended the call and is carried to its caller.

    Attributes:
        reason: What was raised. It does not travel as itself: an event loop does not outlive a
            `KeyboardInterrupt` or `SystemExit`.
    """

    def __init__(self, reason: BaseException) -> None:
        super().__init__("The progress listener has ended the call.")
        self.reason = reason


class Reports:
    """Passes the MCP progress notifications of one call to a listener.

    The SDK would log what a listener raises, and nobody would see it.
    """

    def __init__(self, listener: Progress) -> None:
        self._listener = listener
        self._raised: BaseException | None = None
        self._scope = anyio.CancelScope()

    async def heard_during(self, call: Awaitable[T]) -> T:
        """Await the call.

        Raises:
            StoppedByListener: The listener raised something; the server is told to stop.
        """
        with self._scope:
            result = await call
        if self._raised is not None:
            raise StoppedByListener(self._raised)
        return result

    async def report(self, progress: float, total: float | None, message: str | None) -> None:
        """Pass one report on."""
        if self._raised is not None:
            return
        try:
            self._listener(progress, total, message)
        except BaseException as error:  # noqa: BLE001  it goes to the caller
            self._raised = error
            self._scope.cancel()


class ProgressLine:
    """One updating line for a call that takes longer than two seconds.

    It shows in a terminal or a notebook that a call is running, and disappears at its end. Other
    output, which nobody watches, shows nothing.
    """

    def __init__(self, what: str) -> None:
        self._what = sanitize(what, 80)
        self._report = ""
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._in_notebook = kernel() is not None
        self._display: Any = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._in_notebook or sys.stderr.isatty():
            self._thread = threading.Thread(target=self._run, name="mcpnb-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def __str__(self) -> str:
        return f"{self._what}: {time.monotonic() - self._started:.0f} s{self._report}"

    def report(self, progress: float, total: float | None, message: str | None) -> None:
        """Show what the server reports (MCP progress notifications)."""
        share = f"{100 * progress / total:.0f} %" if total else f"{progress:g}"
        self._report = f", {share}" + (f", {sanitize(message, 80)}" if message else "")

    def _run(self) -> None:
        if self._ended.wait(_AFTER):
            return
        self._show(str(self))
        while not self._ended.wait(_EVERY):
            self._show(str(self))
        self._show("")

    def _show(self, line: str) -> None:
        if not self._in_notebook:
            sys.stderr.write(f"\r\x1b[2K{line}")
            sys.stderr.flush()
            return
        bundle = {"text/plain": line}
        if self._display is not None:
            self._display.update(bundle, raw=True)
            return
        from IPython.display import display

        self._display = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
