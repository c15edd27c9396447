"""The state of one sign-in, and who observes it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Literal, Self, get_args

from mcpnb.concurrency import Listeners, ProcessBound
from mcpnb.errors import LoginCancelled, LoginTimeout, McpnbError
from mcpnb.login.pending import PendingRequest
from mcpnb.oauth.authorization import AuthorizationRequest
from mcpnb.oauth.http import Exchange

__all__ = ["Observer", "Progress", "State"]


class Observer:
    """Sees every step of one sign-in, as it happens, in the thread that does it.

    What it is given holds secrets: whoever shows any of it masks them. This one looks away.
    """

    def exchanged(self, exchange: Exchange) -> None:
        """See a request that was sent, and what came of it."""

    def asked(self, request: PendingRequest) -> None:
        """See the request that a person is about to open."""

    def answered(
        self, text: str, request: AuthorizationRequest, refusal: McpnbError | None
    ) -> None:
        """See what came back for it, from wherever it came.

        Args:
            text: The address as it was received or pasted, whatever it is.
            request: What it should be the answer to.
            refusal: Why it was not taken, or what the server refused with it.
        """


State = Literal[
    "discovering", "registering", "waiting", "exchanging", "signed_in", "failed", "cancelled"
]
_ENDED: tuple[State, ...] = ("signed_in", "failed", "cancelled")


class Progress(ProcessBound):
    """A state, what is to be said beside it, and who is told of changes. Thread-safe."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition(threading.RLock())
        self._state: State = "discovering"
        self._error: McpnbError | None = None
        self._notes: list[str] = []
        self._listeners = Listeners()
        self._viewed = False

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    @property
    def under_way(self) -> bool:
        """Whether it has not ended."""
        return not self._over()

    @property
    def error(self) -> McpnbError | None:
        """Why it failed or was cancelled."""
        return self._error

    @property
    def notes(self) -> tuple[str, ...]:
        """What the person should know, in the order in which it happened."""
        return tuple(self._notes)

    def on_change(self, listener: Callable[[Self], object]) -> None:
        """Call `listener(login)` after every change, from any thread."""
        self._viewed = True
        self._listeners.add(lambda: listener(self))

    def wait_for(self, state: State, timeout: float | None = None) -> None:
        """Wait until `state` is reached, or passed on the way to a login.

        Raises:
            LoginTimeout: It was not, in time.
            McpnbError: It ended without.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._over() or _passed(self._state, state), timeout)
            reached, error = _passed(self._state, state), self._error
        if reached:
            return
        raise error or LoginTimeout(f"The sign-in is {self._state}, not {state}.")

    until = wait_for
    """The earlier name of `wait_for`."""

    def _over(self) -> bool:
        # A forked child has none of the threads that would bring it about.
        # threat: fork-amid-a-sign-in
        return self._state in _ENDED or self._process != os.getpid()

    def _note(self, text: str) -> None:
        self._notes.append(text)
        self._listeners.tell()

    def _enter(self, state: State) -> None:
        with self._changed:
            if self._over():
                raise self._error or LoginCancelled("The sign-in was cancelled.")
            self._state = state
            self._changed.notify_all()
        self._listeners.tell()

    def _finish(self, state: State, error: McpnbError | None) -> bool:
        """End it, unless it has ended; say whether this did."""
        with self._changed:
            if self._over():
                return False
            self._state, self._error = state, error
            self._changed.notify_all()
        self._listeners.tell()
        return True


def _passed(now: State, wanted: State) -> bool:
    order = get_args(State)
    return now == wanted or (
        now not in ("failed", "cancelled") and order.index(now) > order.index(wanted)
    )
