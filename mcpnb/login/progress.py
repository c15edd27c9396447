"""What is known of one sign-in, shared by all its views."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from mcpnb.concurrency import SLICE, Listeners
from mcpnb.errors import LoginCancelled, LoginTimeout, McpnbError
from mcpnb.login.pending import PendingLogin

State = Literal[
    "discovering", "registering", "waiting", "exchanging", "signed_in", "failed", "cancelled"
]
_ENDED: tuple[State, ...] = ("signed_in", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of one sign-in at one moment."""

    state: State = "discovering"
    error: McpnbError | None = None
    """Why it failed or was cancelled."""
    notes: tuple[str, ...] = ()
    """What the person should know, oldest first."""
    pending: PendingLogin | None = None
    """The request that waits for its response; `None` until it is known."""
    resource_name: str | None = None
    """What the server calls itself. Nobody has checked it."""
    is_follower: bool = False
    """Whether another process leads this sign-in."""
    nothing_pending: bool = False
    """Whether a pending sign-in was to be resumed, and there was none."""
    browser_failed: bool = False


class Progress:
    """The snapshot that is valid now, and who is told of changes. Thread-safe.

    The thread that signs in, the threads that bring a response and the person's own threads all
    write here.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        """Held for a look and a change that belong together; notified after each change."""
        self.now = Snapshot()
        """What is known; `update` replaces it."""
        self._has_views = False
        """Whether somebody shows the address, or was told it."""
        self._process = os.getpid()
        self._listeners = Listeners()

    @property
    def over(self) -> bool:
        """Whether the sign-in has ended."""
        # A forked child has none of the threads that would bring it about.
        # threat: fork-amid-a-sign-in
        return self.now.state in _ENDED or self._process != os.getpid()

    def update(self, **known: Any) -> None:
        """Replace members of the snapshot. The views hear of it with the next note or state."""
        with self.changed:
            self.now = replace(self.now, **known)
            self.changed.notify_all()

    def note(self, text: str) -> None:
        """Tell the person something."""
        with self.changed:
            self.update(notes=(*self.now.notes, text))
        self._listeners.tell()

    def enter(self, state: State) -> None:
        """Go on to a state.

        Raises:
            McpnbError: The sign-in has ended.
        """
        if not self.finish(state):
            raise self.now.error or LoginCancelled("The sign-in was cancelled.")

    def finish(self, state: State, error: McpnbError | None = None) -> bool:
        """Set the state, unless the sign-in has ended. Return whether this call set it."""
        with self.changed:
            if self.over:
                return False
            self.update(state=state, error=error)
        self._listeners.tell()
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end. Return whether it came within `timeout` seconds."""
        with self.changed:
            return self._wait_until(lambda: self.over, timeout)

    def wait_for(self, state: State, timeout: float | None = None) -> None:
        """Wait as `Login.wait_for` does."""
        order = get_args(State)

        def reached() -> bool:
            now = self.now.state
            passed = order.index(now) > order.index(state)
            return now == state or (passed and now not in ("failed", "cancelled"))

        with self.changed:
            self._wait_until(lambda: self.over or reached(), timeout)
            if not reached():
                raise self.now.error or LoginTimeout(
                    f"The sign-in is {self.now.state}, not {state}."
                )

    def wait_to_instruct(self, timeout: float | None) -> bool:
        """Wait for the end, or until somebody has to be told which address to open.

        Return whether that has to be said now: no browser opened and there is no other view.
        It is said once.
        """
        with self.changed:
            self._wait_until(lambda: self.over or self.now.browser_failed, timeout)
            instruct = self.now.browser_failed and not (self._has_views or self.over)
            if instruct:
                self._has_views = True
        return instruct

    def _wait_until(self, reached: Callable[[], bool], timeout: float | None) -> bool:
        """Wait in slices, with `changed` held, until `reached`. Return whether it was in time."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not reached():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.changed.wait(min(left, SLICE))
        return True

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call `listener` after every change, in a thread of its own."""
        self._has_views = True  # without the lock: a panel calls this, and it may be held for long
        self._listeners.add(listener)

    def close(self) -> None:
        """End the listeners' thread once everything so far has been told."""
        self._listeners.close()
