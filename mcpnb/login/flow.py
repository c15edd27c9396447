"""One sign-in as it runs in its thread: lead it or follow another process, until it has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

from mcpnb.errors import (
    ClientIdRequired,
    GrantError,
    LoginCancelled,
    LoginDenied,
    LoginError,
    LoginTimeout,
    McpnbError,
    ServerUnreachable,
    StoreBusy,
)
from mcpnb.login import redirects
from mcpnb.login.answers import AnswerInbox, require_writable
from mcpnb.login.pending import PendingLogin
from mcpnb.login.progress import Progress
from mcpnb.login.redirects import Redirect
from mcpnb.login.request import Deps, SignInRequest, authorization_request, device_request
from mcpnb.oauth import client
from mcpnb.oauth.authorization import AuthorizationRequest, DeviceRequest
from mcpnb.oauth.discovery import discover
from mcpnb.oauth.models import Discovery

LOOK_AROUND = 0.5
"""Seconds between two looks at what other processes do."""
ON_ANOTHER_DEVICE = "Or sign in on another device: login(device=True)"
"""A note where no browser opened and the server offers it; the terminal has other words."""
_A_MOMENT = 5.0
_SLOWER = 5.0
"""Seconds added to the interval by every ``slow_down`` (RFC 8628 section 3.5)."""
_SLOWEST = 60.0
# Servers that refuse a request show a page of their own and never send the browser back (measured).
_HINT_AFTER = 20.0
_HINT = (
    "If the browser shows an error page of the server, it will not come back by itself. Cancel, "
    "then sign in again."
)


class SignInFlow:
    """Runs one sign-in. There is one leader per server and account; the others follow it.

    The order of the steps is pinned by ``tests/login/test_order.py``.
    """

    def __init__(self, asked: SignInRequest, deps: Deps, progress: Progress) -> None:
        self.asked = asked
        """What the person asked for; the scopes of a refused call are filled in as it starts."""
        self.inbox = AnswerInbox(deps, progress)
        self.left = False
        """Whether what is pending is left to other processes, as this one ends."""
        self._deps = deps
        self._progress = progress
        self._deadline = time.monotonic() + asked.timeout
        self._interval = 0.0
        self._ask_at = 0.0
        """When to ask next whether a person has approved on another device."""
        self._signed_in_before = 0.0

    @property
    def superseded(self) -> bool:
        """Whether somebody has signed in since it began: then its failure is no news."""
        return self._last_sign_in() not in (0.0, self._signed_in_before)

    def run(self, end_earlier: Callable[[], object]) -> None:
        """Sign in, and tell the progress how it ended. Raises nothing.

        Args:
            end_earlier: Ends the earlier sign-in of the same session, so that its port is free.
        """
        try:
            require_writable(self._deps.tokens)
            self._signed_in_before = self._last_sign_in()
            if self.asked.scopes is None:
                self.asked = replace(self.asked, scopes=self._deps.tokens.wanted)
            end_earlier()
            while not self._progress.over:
                self._lead_or_follow()
        except McpnbError as error:
            cancelled = isinstance(error, LoginCancelled)
            self._progress.finish("cancelled" if cancelled else "failed", error)
        except Exception as error:  # noqa: BLE001  a fault of ours ends the wait, too
            unexpected = LoginError(f"Unexpected {type(error).__name__} while signing in.")
            self._progress.finish("failed", unexpected)
        finally:
            self.inbox.close()
            self._progress.close()

    def _lead_or_follow(self) -> None:
        deps, progress = self._deps, self._progress
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(deps.pending.leader_lock())
            except StoreBusy:
                self._follow()
                return
            pending = deps.pending.current()
            exchanged = pending is not None and deps.pending.exchange_in_progress(pending)
            if self._signed_in_elsewhere():
                return
            if exchanged:
                self._follow()  # a process without the leader's lock exchanges the code
                return
            shown = progress.now.pending
            progress.update(pending=None)
            stack.callback(self._tidy_up)  # before the lock is released, and after the port is
            if pending is not None and self.asked.may_resume and self._can_resume(pending):
                self._resume(pending, stack)
            elif self.asked.only_resume:
                progress.update(nothing_pending=True)
                raise LoginCancelled("No sign-in is pending.")
            elif shown is not None and pending is None:
                raise LoginError(
                    "The sign-in that this one followed has ended without a login. Sign in again."
                )
            else:
                self._begin(stack)
            self._await_response()

    def _tidy_up(self) -> None:
        if self.left:
            return
        now = self._progress.now
        if not self.inbox.heard and now.state != "signed_in":
            self._deps.clients.drop_reused()
        if now.pending is not None:
            self._deps.pending.drop(now.pending.request, claimed=now.state == "cancelled")

    # Leading

    def _begin(self, stack: contextlib.ExitStack) -> None:
        progress, deps = self._progress, self._deps
        progress.enter("discovering")
        discovery = discover(deps.config, deps.http)
        resource = discovery.protected_resource
        progress.update(resource_name=resource.name if resource else None)
        progress.enter("registering")
        if self.asked.on_device:
            pending = device_request(self.asked, deps, discovery)
            deps.pending.put(pending)
            self._open(pending)
            return
        pending, redirect = self._prepare(discovery, stack)
        # Written before anybody can open the address: it also shows that the store can be written.
        deps.pending.put(pending)
        redirect.listen(pending.request.redirect_uri, self.inbox.deliver)
        self._open(pending, redirect.to_open)

    def _prepare(
        self, discovery: Discovery, stack: contextlib.ExitStack
    ) -> tuple[PendingLogin, Redirect]:
        """Make the request for the first redirect that the server accepts."""
        asked, deps, note = self.asked, self._deps, self._progress.note
        ways = redirects.choices(deps.config, asked.callback, asked.page, note)
        while True:
            redirect = next(ways)
            stack.callback(redirect.close)
            try:
                return authorization_request(asked, deps, discovery, redirect), redirect
            except (GrantError, LoginError) as error:
                if not redirect.optional or isinstance(error, ClientIdRequired | LoginCancelled):
                    raise
                note(
                    "The server does not accept this notebook's page as a redirect URI. The "
                    "response goes to 127.0.0.1, which is your browser's computer."
                )

    def _can_resume(self, pending: PendingLogin) -> bool:
        return (
            pending.claimed_at is None
            and self.asked.fits(pending, self._deps.config)
            and self.asked.can_receive(pending, is_follower=self._progress.now.is_follower)
        )

    def _resume(self, pending: PendingLogin, stack: contextlib.ExitStack) -> None:
        """Go on where a process died: the same address, so that an open tab still counts."""
        progress, deps = self._progress, self._deps
        # threat: pending-sign-in-prolonged
        if self.asked.only_resume:
            # Nobody has asked for it: a page that shows a panel does not prolong an address that
            # somebody may have seen.
            left = pending.expires_at - time.time()
            self.asked = replace(self.asked, timeout=max(round(left), 1))
            self._deadline = time.monotonic() + left
        elif not pending.on_device:  # a device code keeps the server's end
            pending = replace(pending, expires_at=time.time() + self.asked.timeout)
            deps.pending.put(pending)
        deps.clients.reuse(pending.request.registration)
        request = pending.request
        to_open: Callable[[str], str] = str
        try:
            if isinstance(request, AuthorizationRequest) and pending.port is not None:
                redirect = redirects.listen_again(
                    request.redirect_uri, pending.port, deps.config, progress.note
                )
                stack.callback(redirect.close)
                redirect.listen(request.redirect_uri, self.inbox.deliver)
                to_open = redirect.to_open
        except LoginError as error:
            progress.note(f"{error} Paste the address at which the browser ends.")
        if not progress.now.is_follower:
            progress.note(
                "Continuing the sign-in that was begun earlier. Cancel it to start again."
            )
        self._open(pending, to_open)

    def _open(self, pending: PendingLogin, to_open: Callable[[str], str] = str) -> None:
        progress, request = self._progress, pending.request
        if pending.on_device:
            left = pending.expires_at - time.time()
            self._deadline = min(self._deadline, time.monotonic() + left)
            if isinstance(request, DeviceRequest):  # the first question comes one interval later
                self._ask_in(request.interval)
        progress.update(pending=pending)
        self._deps.observer.asked(request)
        progress.enter("waiting")
        if (
            pending.on_device
            or not self.asked.open_browser
            or redirects.open_browser(to_open(request.url))
        ):
            return
        progress.update(browser_failed=True)
        progress.note("No browser could be opened here. Open the address yourself.")
        if request.server.device_authorization_endpoint:
            progress.note(ON_ANOTHER_DEVICE)

    def _await_response(self) -> None:
        progress, pending = self._progress, self._deps.pending
        hint_at = float("inf")
        shown = progress.now.pending
        if self.asked.timeout > _HINT_AFTER and shown is not None and not shown.on_device:
            hint_at = time.monotonic() + _HINT_AFTER
        seen = object()  # so that what happened before this moment is seen, too
        # An exchange that has begun is waited for: it ends by its own time-outs.
        while not progress.over:
            progress.wait(min(LOOK_AROUND, max(self._deadline - time.monotonic(), 0.05)))
            self._poll_device()
            if time.monotonic() > hint_at:
                hint_at = float("inf")
                progress.note(_HINT)
            if progress.now.state == "waiting" and pending.version != seen:
                seen = pending.version
                self._look_around()
            self._give_up_in_time()

    def _give_up_in_time(self) -> None:
        now = self._progress.now
        exchanging = now.state == "exchanging"
        if exchanging or self._progress.over or time.monotonic() <= self._deadline:
            return
        if now.pending is not None and now.pending.on_device:
            raise LoginTimeout("Nobody approved on the other device in time. Sign in again.")
        raise LoginTimeout(
            f"The browser brought no response within {self.asked.timeout:g} s. "
            "A server that shows its own error page never sends one."
        )

    def _ask_in(self, interval: float) -> None:
        self._interval = interval
        self._ask_at = time.monotonic() + interval

    def _poll_device(self) -> None:
        """Ask once, if it is time: nothing comes back from another device by itself (RFC 8628).

        Raises:
            LoginDenied: The person declined.
            LoginTimeout: The code has expired.
            GrantError: The server refuses for another reason.
        """
        now, deps, interval = self._progress.now, self._deps, self._interval
        request = now.pending.request if now.pending else None
        if not isinstance(request, DeviceRequest) or now.state != "waiting":
            return
        if time.monotonic() < self._ask_at:
            return
        try:
            with self.inbox.exchanging:
                tokens = client.poll_device(request, deps.http)
                self.inbox.heard = True
                with deps.pending.claimed(request):
                    self._progress.enter("exchanging")
                    self.inbox.store(request, tokens)
        except ServerUnreachable:
            # RFC 8628 section 3.5: after a connection timeout, poll less often.
            interval = min(2 * interval, _SLOWEST)
        except GrantError as error:
            if error.error == "slow_down":
                interval += _SLOWER
            elif not error.error and (error.status == 429 or error.status >= 500):
                interval = min(2 * interval, _SLOWEST)
            elif error.error != "authorization_pending":
                self._device_refused(error)
        self._ask_in(interval)

    def _device_refused(self, error: GrantError) -> NoReturn:
        if error.error == "access_denied":
            self.inbox.heard = True
            raise LoginDenied("The sign-in was declined on the other device.", error=error.error)
        if error.error == "expired_token":
            raise LoginTimeout("The code was not entered in time. Sign in again for a new one.")
        raise error

    # Other processes

    def _follow(self) -> None:
        """Show the sign-in of another process for a moment, or until that one has ended."""
        if self._signed_in_elsewhere():
            return
        deps, progress = self._deps, self._progress
        pending = deps.pending.current()
        fits = pending is None or self.asked.only_resume or self.asked.fits(pending, deps.config)
        if pending is not None and not fits:
            # It does not ask for what is wanted here. Its process sees that it is gone, and leaves.
            deps.pending.drop(pending.request, claimed=False)
        elif pending is not None and progress.now.state != "exchanging":
            if not progress.now.is_follower:
                progress.update(is_follower=True)
                progress.note(
                    "Another notebook or terminal is already signing in. This one follows it."
                )
            progress.update(pending=pending)
            if progress.now.state != "waiting":
                progress.enter("waiting")
        progress.wait(LOOK_AROUND)
        self._give_up_in_time()

    def _look_around(self) -> None:
        """See what another process made of this sign-in: completed, claimed, or gone."""
        with self._progress.changed:  # not while a response changes it here
            if self._progress.now.state != "waiting":
                return
            failure = self._failed_elsewhere()
            if not self._signed_in_elsewhere() and failure is not None:
                raise failure

    def _failed_elsewhere(self) -> LoginError | None:
        current, ours = self._deps.pending.current(), self._progress.now.pending
        if current is None or ours is None or not current.is_for(ours.request):
            return LoginCancelled(
                "The sign-in was ended or replaced in another notebook or terminal."
            )
        if self._deps.pending.exchange_in_progress(current):
            self._deadline = max(self._deadline, time.monotonic() + _A_MOMENT)
        elif current.claimed_at is not None:
            return LoginError(
                "The process that completed this sign-in died before its end. Sign in again."
            )
        return None

    def _last_sign_in(self) -> float:
        record = self._deps.tokens.load_or_none()
        return record.signed_in_at if record else 0.0

    def _signed_in_elsewhere(self) -> bool:
        """Return whether another process has completed it; to be asked after all other questions.

        That process stores the login first, and only then forgets what was pending.
        """
        signed_in_at = self._last_sign_in()
        # One that was claimed when this one began may have been stored even before that.
        pending = self._progress.now.pending
        claimed_at = pending.claimed_at if pending else None
        stored = claimed_at is not None and signed_in_at >= claimed_at
        if not stored and signed_in_at in (0.0, self._signed_in_before):
            return False
        self._progress.finish("signed_in")
        return True
