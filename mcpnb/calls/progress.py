"""What a server reports of a call that is running, and who hears of it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import anyio

from mcpnb.errors import CallError
from mcpnb.text import sanitize

__all__ = ["Progress", "ProgressLine", "Reports", "StoppedByListener"]

T = TypeVar("T")
Progress = Callable[[float, float | None, str | None], object]

_AFTER = 2.0
_EVERY = 1.0


class StoppedByListener(CallError):
    """What a listener raised has ended the call; it is carried to whoever made the call.

    Attributes:
        reason: What was raised. It does not travel as itself: an event loop does not outlive a
            `KeyboardInterrupt` or `SystemExit`.
    """

    def __init__(self, reason: BaseException) -> None:
        super().__init__("What hears of progress has ended the call.")
        self.reason = reason


class Reports:
    """Hands what a server reports of one call (MCP progress notifications) to a listener.

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
        """Take one report."""
        if self._raised is not None:
            return
        try:
            self._listener(progress, total, message)
        except BaseException as error:  # noqa: BLE001  it goes to whoever made the call
            self._raised = error
            self._scope.cancel()


class ProgressLine:
    """One updating line for a call that takes longer than two seconds.

    It says that a call is running, in a terminal or a notebook, and is taken away at its end.
    Nothing is shown where nobody looks: output that is no terminal and no notebook.
    """

    def __init__(self, what: str) -> None:
        self._what = sanitize(what, 80)
        self._said = ""
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._shell = _notebook()
        self._handle: Any = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._shell or sys.stderr.isatty():
            self._thread = threading.Thread(target=self._run, name="mcpnb-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def report(self, progress: float, total: float | None, message: str | None) -> None:
        """Take what the server reports (MCP progress notifications)."""
        share = f"{100 * progress / total:.0f} %" if total else f"{progress:g}"
        self._said = f", {share}" + (f", {sanitize(message, 80)}" if message else "")

    def _run(self) -> None:
        if self._ended.wait(_AFTER):
            return
        while not self._ended.wait(0 if self._handle is None else _EVERY):
            seconds = time.monotonic() - self._started
            self._show(f"{self._what}: {seconds:.0f} s{self._said}")
        self._clear()

    def _show(self, line: str) -> None:
        if not self._shell:
            sys.stderr.write(f"\r\x1b[2K{line}")
            sys.stderr.flush()
            self._handle = True
        elif self._handle is None:
            from IPython.display import display

            bundle = {"text/plain": line}
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update({"text/plain": line}, raw=True)

    def _clear(self) -> None:
        if self._handle is None:
            return
        if self._shell:
            self._handle.update({"text/plain": ""}, raw=True)
        else:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def _notebook() -> bool:
    """Whether this is a kernel with a front end; IPython is not imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
