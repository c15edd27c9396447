"""The handle of one sign-in: what a person, a panel and a terminal see of it and do with it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Generic, Self, TypeVar

from mcpnb.concurrency import ProcessBound
from mcpnb.environment import frontend
from mcpnb.errors import LoginCancelled, LoginTimeout, McpnbError
from mcpnb.login.flow import SignInFlow
from mcpnb.login.loopback import Reply
from mcpnb.login.progress import Progress, Snapshot, State
from mcpnb.login.request import Deps, SignInRequest
from mcpnb.oauth.models import Callback
from mcpnb.scrub import scrub_class
from mcpnb.ui import UI

OwnerT = TypeVar("OwnerT")
_LAST_PAGE = 3.0
"""Seconds for the browser to fetch its last page from the listener."""


@scrub_class
class Login(ProcessBound, Generic[OwnerT]):
    """One sign-in. It runs in a thread of its own; a panel and a terminal are views of it.

    `url` is the address to open once `state` is ``waiting``. The authorization response arrives
    through the loopback listener, through a panel or by `submit`, whichever is first; a wrong or
    forged one is refused and the wait goes on. There is one pending sign-in per server and account:
    a second one, in whatever process, follows the first, and resumes it if that process dies.
    """

    def __init__(
        self,
        owner: OwnerT,
        request: SignInRequest,
        deps: Deps,
        ui: UI,
        *,
        after: Login[OwnerT] | None = None,
    ) -> None:
        """Start it; returns at once.

        Args:
            owner: What `wait` returns.
            request: What the person asks for.
            deps: What it works with.
            ui: What shows it.
            after: An earlier one of the same session: it is cancelled first.
        """
        self._owner = owner
        self._config = deps.config
        self._ui = ui
        self._progress = Progress()
        self._flow = SignInFlow(request, deps, self._progress)

        def end_earlier() -> None:
            if after is not None:
                after.cancel()
                after.join(_LAST_PAGE)

        self._thread = threading.Thread(
            target=self._flow.run, args=(end_earlier,), name="mcpnb-login", daemon=True
        )
        self._thread.start()

    def __repr__(self) -> str:
        line = f"<Login to {self._config.shown}, {self.state.replace('_', ' ')}>"
        # The address has to be seen by a person; it holds `state`, and nothing that signs in.
        return f"{line}\nopen: {self.url}" if self.state == "waiting" else line

    def _ipython_display_(self) -> None:
        self._ui.show_login_url(self)

    # What is known of it

    @property
    def now(self) -> Snapshot:
        """All that is known at this moment. Read it once for what belongs together."""
        return self._progress.now

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.now.state

    @property
    def under_way(self) -> bool:
        """Whether it has not ended."""
        return not self._progress.over

    @property
    def error(self) -> McpnbError | None:
        """Why it failed or was cancelled."""
        return self.now.error

    @property
    def notes(self) -> tuple[str, ...]:
        """What the person should know, oldest first."""
        return self.now.notes

    @property
    def url(self) -> str | None:
        """The authorization URL; `None` until it is known. It may change: see `notes`."""
        return pending.request.url if (pending := self.now.pending) else None

    @property
    def user_code(self) -> str | None:
        """The code to enter at `url`, in a sign-in on another device."""
        return pending.request.user_code if (pending := self.now.pending) else None

    @property
    def redirect_uri(self) -> str | None:
        """Where the browser will be sent at the end."""
        return pending.request.redirect_uri if (pending := self.now.pending) else None

    @property
    def expires_at(self) -> float | None:
        """Until when a response is awaited, seconds since the epoch."""
        return pending.expires_at if (pending := self.now.pending) else None

    @property
    def request(self) -> SignInRequest:
        """What it was asked for, so that another callback can be asked for the same."""
        return self._flow.asked

    @property
    def superseded(self) -> bool:
        """Whether somebody has signed in since it began: then its failure is no news."""
        return self._flow.superseded

    def started_via(self, callback: Callback) -> bool:
        """Return whether it is what a person means who signs in with this callback."""
        pending = self.now.pending
        return callback in ("auto", self.request.callback, pending and pending.callback)

    # What a person does

    def on_change(self, listener: Callable[[Self], object]) -> None:
        """Call `listener(login)` after every change, from any thread."""
        self._progress.on_change(lambda: listener(self))

    def submit(self, text: str | None = None) -> None:
        """Take the address that the browser ended at. Returns after the exchange.

        Args:
            text: The full redirected URL; asked for without echo when left out.

        Raises:
            AnswerRefused: It is not the response to this sign-in; the wait goes on.
            LoginDenied: The authorization server reports an error.
            ProtocolError: It came from the wrong issuer.
            GrantError: The code was not accepted.
        """
        self._flow.inbox.submit(text)

    def deliver(self, text: str) -> Reply:
        """Take the address that the browser was sent to, from a panel. Raises nothing."""
        return self._flow.inbox.deliver(text)

    def cancel(self) -> None:
        """End it, unless it has ended. Its port is free afterwards, for the next one.

        One that follows another process's sign-in stops following; that one goes on.
        """
        now = self.now
        asking = now.pending is None or now.state == "exchanging"
        self._progress.finish(
            "cancelled", LoginCancelled("The sign-in was cancelled. Nothing was stored.")
        )
        if not asking:  # else it ends as soon as a server has responded
            self.join(_LAST_PAGE)

    def leave(self) -> None:
        """Stop waiting here, and leave it pending until `expires_at`: any process can complete it.

        See `mcpnb.Session.finish`.
        """
        self._flow.left = True
        self._progress.finish(
            "cancelled", LoginCancelled("The sign-in was left to be completed later.")
        )
        self.join(_LAST_PAGE)

    def join(self, timeout: float) -> None:
        """Wait until an ended one has released its port and its lock, or `timeout` seconds."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def wait_for(self, state: State, timeout: float | None = None) -> None:
        """Wait until `state` is reached, or passed on the way to a login.

        Raises:
            LoginTimeout: It was not reached within `timeout` seconds.
            McpnbError: It ended before.
        """
        self._progress.wait_for(state, timeout)

    until = wait_for
    """The earlier name of `wait_for`."""

    def wait(self, timeout: float | None = None) -> OwnerT:
        """Wait for the end.

        Where no browser could be opened, and nothing else shows this sign-in, the address to open
        is written to stderr.

        Args:
            timeout: Seconds to wait here; the sign-in itself has its own time-out.

        Raises:
            LoginTimeout: It has not ended in time.
            LoginError: It failed; see the subclasses.
            ServerError: A server could not be reached, understood or trusted.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        instruct = self._progress.wait_to_instruct(timeout) and frontend() == "terminal"
        if instruct and sys.stderr is not None:
            sys.stderr.write(self._instruction())
            sys.stderr.flush()
        left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        if not self._progress.wait(left):
            raise LoginTimeout(
                f"Not signed in to {self._config.url} within {timeout:g} s. The sign-in continues; "
                "its `url` is the address to open."
            )
        if self.state != "cancelled":
            # A program that ends now would take the browser's last page with it.
            self.join(_LAST_PAGE)
        if self.error is not None:
            raise self.error
        return self._owner

    def _instruction(self) -> str:
        pending, back = self.now.pending, "Give"
        if pending is not None and pending.port:
            back = f"The response comes back to {pending.request.redirect_uri}. Or give"
        return (
            f"No browser could be opened here. Open this address:\n\n{self.url}\n\n"
            f"{back} the address that the browser ends at to the login: login.submit(...)\n"
        )
