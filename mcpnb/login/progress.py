"""The state of one sign-in, shared by all its views, and who observes its steps."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Literal, get_args

from mcpnb.concurrency import Listeners
from mcpnb.errors import LoginCancelled, LoginTimeout, McpnbError
from mcpnb.login.pending import PendingLogin, PendingRequest
from mcpnb.oauth.authorization import AuthorizationRequest
from mcpnb.oauth.http import Exchange


class Observer:
    """Sees every step of one sign-in, as it happens, in the thread that does it.

    Its arguments hold secrets: whoever shows any of it masks them. This observer ignores them.
    """

    def exchanged(self, exchange: Exchange) -> None:
        """See a request that was sent, and its response."""

    def asked(self, request: PendingRequest) -> None:
        """See the request that a person is about to open."""

    def answered(
        self, text: str, request: AuthorizationRequest, refusal: McpnbError | None
    ) -> None:
        """See an authorization response, wherever it came from.

        Args:
            text: The address as it was received or pasted, whatever it is.
            request: The request that is waiting for a response.
            refusal: Why the response was refused, or the error that the server reports in it.
        """


State = Literal[
    "discovering", "registering", "waiting", "exchanging", "signed_in", "failed", "cancelled"
]
_ENDED: tuple[State, ...] = ("signed_in", "failed", "cancelled")


class Progress:
    """What is known of one sign-in at this moment. Thread-safe.

    The thread that signs in, the threads that bring a response and the person's own threads all
    write here, and only through these methods.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        """Held for a look and a change that belong together; notified after each change."""
        self._process = os.getpid()
        self._state: State = "discovering"
        self._error: McpnbError | None = None
        self._notes: list[str] = []
        self._pending: PendingLogin | None = None
        self._resource_name: str | None = None
        self._is_follower = False
        self._nothing_pending = False
        self._browser_failed = False
        self._has_views = False
        self._listeners = Listeners()

    @property
    def state(self) -> State:
        """Where the sign-in stands."""
        return self._state

    @property
    def error(self) -> McpnbError | None:
        """Why it failed or was cancelled."""
        return self._error

    @property
    def notes(self) -> tuple[str, ...]:
        """What the person should know, oldest first."""
        return tuple(self._notes)

    @property
    def pending(self) -> PendingLogin | None:
        """The request that waits for its response; `None` until it is known."""
        return self._pending

    @property
    def resource_name(self) -> str | None:
        """What the server calls itself; nobody has checked it."""
        return self._resource_name

    @property
    def is_follower(self) -> bool:
        """Whether another process leads this sign-in."""
        return self._is_follower

    @property
    def nothing_pending(self) -> bool:
        """Whether a pending sign-in was to be resumed, and there was none."""
        return self._nothing_pending

    @property
    def over(self) -> bool:
        """Whether the sign-in has ended."""
        # A forked child has none of the threads that would bring it about.
        # threat: fork-amid-a-sign-in
        return self._state in _ENDED or self._process != os.getpid()

    def show(self, pending: PendingLogin | None) -> None:
        """Set the request that waits for its response."""
        with self.changed:
            self._pending = pending

    def name_resource(self, name: str | None) -> None:
        """Set what the server calls itself."""
        self._resource_name = name

    def follow(self, note: str | None = None) -> None:
        """Note that another process leads, and tell the person once."""
        if not self._is_follower:
            self._is_follower = True
            if note is not None:
                self.note(note)

    def find_nothing(self) -> None:
        """Note that there was no pending sign-in to resume."""
        self._nothing_pending = True

    def note(self, text: str) -> None:
        """Tell the person something."""
        self._notes.append(text)
        self._listeners.tell()

    def enter(self, state: State) -> None:
        """Go on to a state.

        Raises:
            McpnbError: The sign-in has ended.
        """
        with self.changed:
            if self.over:
                raise self._error or LoginCancelled("The sign-in was cancelled.")
            self._state = state
            self.changed.notify_all()
        self._listeners.tell()

    def finish(self, state: State, error: McpnbError | None) -> bool:
        """End the sign-in unless it has ended. Return whether this call ended it."""
        with self.changed:
            if self.over:
                return False
            self._state, self._error = state, error
            self.changed.notify_all()
        self._listeners.tell()
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end. Return whether it came within `timeout` seconds."""
        with self.changed:
            return self.changed.wait_for(lambda: self.over, timeout)

    def wait_for(self, state: State, timeout: float | None = None) -> None:
        """Wait until `state` is reached, or passed on the way to a login.

        Raises:
            LoginTimeout: It was not reached within `timeout` seconds.
            McpnbError: The sign-in ended before.
        """

        def reached() -> bool:
            order = get_args(State)
            return self._state == state or (
                self._state not in ("failed", "cancelled")
                and order.index(self._state) > order.index(state)
            )

        with self.changed:
            self.changed.wait_for(lambda: self.over or reached(), timeout)
            done, error = reached(), self._error
        if not done:
            raise error or LoginTimeout(f"The sign-in is {self._state}, not {state}.")

    def browser_failed(self) -> None:
        """Note that no browser could be opened."""
        with self.changed:
            self._browser_failed = True
            self.changed.notify_all()

    def wait_to_instruct(self, timeout: float | None) -> bool:
        """Wait for the end, or until somebody has to be told which address to open.

        Return whether that has to be said now: no browser opened and there is no other view.
        It is said once.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.over or self._browser_failed, timeout)
            instruct = self._browser_failed and not (self._has_views or self.over)
            self._has_views = self._has_views or instruct
        return instruct

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call `listener` after every change, in a thread of its own."""
        self._has_views = True
        self._listeners.add(listener)

    def close(self) -> None:
        """End the listeners' thread once everything so far has been told."""
        self._listeners.close()
