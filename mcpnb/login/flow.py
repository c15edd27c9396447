"""One sign-in as it runs in its thread: lead it or follow another process, until it has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from mcpnb.errors import (
    ClientIdRequired,
    GrantError,
    LoginCancelled,
    LoginError,
    LoginTimeout,
    McpnbError,
    NewerFormat,
    StoreBusy,
    StoreError,
)
from mcpnb.login import redirects
from mcpnb.login.answers import AnswerInbox, Completion
from mcpnb.login.pending import PendingLogin
from mcpnb.login.poller import DevicePoller
from mcpnb.login.progress import Progress
from mcpnb.login.redirects import Redirect
from mcpnb.login.request import Deps, SignInRequest, authorization_request, device_request
from mcpnb.oauth.authorization import AuthorizationRequest, DeviceRequest
from mcpnb.oauth.discovery import discover
from mcpnb.oauth.models import Discovery
from mcpnb.text import quote

LOOK_AROUND = 0.5
"""Seconds between two looks at what other processes do."""
ON_ANOTHER_DEVICE = "Or sign in on another device: login(device=True)"
"""A note where no browser opened and the server offers it; the terminal has other words."""
_A_MOMENT = 5.0
_LOCK_TIMEOUT = 1.0
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
        self._asked = asked
        self._deps = deps
        self._progress = progress
        self._completion = Completion(deps, progress)
        self.inbox = AnswerInbox(deps, progress, self._completion)
        self._poller = DevicePoller(deps, progress, self._completion)
        self._deadline = time.monotonic() + asked.timeout
        self._signed_in_before = 0.0
        self._left = False

    @property
    def asked(self) -> SignInRequest:
        """What the person asked for; the scopes of a refused call are filled in as it starts."""
        return self._asked

    @property
    def deadline(self) -> float:
        """When it stops waiting for the person, on the monotonic clock."""
        return self._deadline

    @property
    def superseded(self) -> bool:
        """Whether somebody has signed in since it began: then its failure is no news."""
        return self._last_sign_in() not in (0.0, self._signed_in_before)

    def leave(self) -> None:
        """Leave what is pending to other processes, as this one ends."""
        self._left = True

    def run(self, end_earlier: Callable[[], object]) -> None:
        """Sign in, and tell the progress how it ended. Raises nothing.

        Args:
            end_earlier: Ends the earlier sign-in of the same session, so that its port is free.
        """
        try:
            self._check_store()
            self._signed_in_before = self._last_sign_in()
            if self._asked.scopes is None:
                self._asked = replace(self._asked, scopes=self._deps.tokens.wanted)
            end_earlier()
            if self._asked.mode == "complete":
                self._await_paste()
            while not self._progress.over:
                self._lead_or_follow()
        except McpnbError as error:
            cancelled = isinstance(error, LoginCancelled)
            self._progress.finish("cancelled" if cancelled else "failed", error)
        except Exception as error:  # noqa: BLE001  a fault of ours ends the wait, too
            unexpected = LoginError(f"Unexpected {type(error).__name__} while signing in.")
            self._progress.finish("failed", unexpected)
        finally:
            self._completion.close()
            self._progress.close()

    def _check_store(self) -> None:
        """Find out before the browser opens whether a login could be stored."""
        tokens = self._deps.tokens
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(StoreBusy):  # a slow refresh is no reason not to sign in
                stack.enter_context(tokens.store.lock(tokens.key, _LOCK_TIMEOUT))
            try:
                tokens.record()
            except NewerFormat:
                raise
            except StoreError:
                pass  # what cannot be read is replaced

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
            shown = progress.pending
            progress.show(None)
            stack.callback(self._tidy_up)  # before the lock is released, and after the port is
            if pending is not None and self._asked.may_resume and self._can_resume(pending):
                self._resume(pending, stack)
            elif self._asked.mode == "resume":
                progress.find_nothing()
                raise LoginCancelled("No sign-in is pending.")
            elif shown is not None and pending is None:
                raise LoginError(
                    "The sign-in that this one followed has ended without a login. Sign in again."
                )
            else:
                self._begin(stack)
            self._await_response()

    def _tidy_up(self) -> None:
        if self._left:
            return
        progress, heard = self._progress, self.inbox.heard or self._poller.heard
        if not heard and progress.state != "signed_in":
            self._deps.clients.drop_reused()
        if progress.pending is not None:
            self._deps.pending.drop(progress.pending.request, claimed=progress.state == "cancelled")

    # Leading

    def _begin(self, stack: contextlib.ExitStack) -> None:
        progress, deps = self._progress, self._deps
        progress.enter("discovering")
        discovery = discover(deps.config, deps.http)
        resource = discovery.protected_resource
        progress.name_resource(resource.name if resource else None)
        progress.enter("registering")
        if self._asked.on_device:
            pending = device_request(self._asked, deps, discovery)
            deps.pending.put(pending)
            self._open(pending)
            return
        pending, redirect = self._prepare(discovery, stack)
        # Written before anybody can open the address: it also shows that the store can be written.
        deps.pending.put(pending)
        redirect.listen(pending.request.redirect_uri or redirect.base, self.inbox.deliver)
        self._open(pending, redirect.to_open)

    def _prepare(
        self, discovery: Discovery, stack: contextlib.ExitStack
    ) -> tuple[PendingLogin, Redirect]:
        """Make the request for the first redirect that the server accepts."""
        asked, deps, note = self._asked, self._deps, self._progress.note
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
            and self._asked.fits(pending, self._deps.config)
            and self._asked.can_receive(pending, is_follower=self._progress.is_follower)
        )

    def _resume(self, pending: PendingLogin, stack: contextlib.ExitStack) -> None:
        """Go on where a process died: the same address, so that an open tab still counts."""
        progress, deps = self._progress, self._deps
        # threat: pending-sign-in-prolonged
        if self._asked.mode == "resume":
            # Nobody has asked for it: a page that shows a panel does not prolong an address that
            # somebody may have seen.
            left = pending.expires_at - time.time()
            self._asked = replace(self._asked, timeout=max(round(left), 1))
            self._deadline = time.monotonic() + left
        else:
            pending = pending.lasting(self._asked.timeout)
            deps.pending.put(pending)
        deps.clients.reuse(pending.request.registration)
        request = pending.request
        to_open: Callable[[str], str] = str
        try:
            if isinstance(request, AuthorizationRequest) and pending.port is not None:
                listener = redirects.listen_again(
                    request.redirect_uri, pending.port, deps.config, progress.note
                )
                stack.callback(listener.close)
                listener.listen(request.redirect_uri, self.inbox.deliver)
                to_open = partial(
                    redirects.to_open, redirect_uri=request.redirect_uri, listener=listener
                )
        except LoginError as error:
            progress.note(f"{error} Paste the address at which the browser ends.")
        if not progress.is_follower:
            progress.note(
                "Continuing the sign-in that was begun earlier. Cancel it to start again."
            )
        self._open(pending, to_open)

    def _open(self, pending: PendingLogin, to_open: Callable[[str], str] = str) -> None:
        progress, request = self._progress, pending.request
        on_device = isinstance(request, DeviceRequest)
        if on_device:
            left = pending.expires_at - time.time()
            self._deadline = min(self._deadline, time.monotonic() + left)
        progress.show(pending)
        self._deps.observer.asked(request)
        progress.enter("waiting")
        if (
            on_device
            or not self._asked.open_browser
            or redirects.open_browser(to_open(request.url))
        ):
            return
        progress.browser_failed()
        progress.note("No browser could be opened here. Open the address yourself.")
        if request.server.device_authorization_endpoint:
            progress.note(ON_ANOTHER_DEVICE)

    def _await_response(self) -> None:
        progress, pending = self._progress, self._deps.pending
        hint_at = float("inf")
        shown = progress.pending
        on_device = shown is not None and isinstance(shown.request, DeviceRequest)
        if self._asked.timeout > _HINT_AFTER and not on_device:
            hint_at = time.monotonic() + _HINT_AFTER
        seen = object()  # so that what happened before this moment is seen, too
        # An exchange that has begun is waited for: it ends by its own time-outs.
        while not progress.over:
            progress.wait(min(LOOK_AROUND, max(self._deadline - time.monotonic(), 0.05)))
            self._poller.poll()
            if time.monotonic() > hint_at:
                hint_at = float("inf")
                progress.note(_HINT)
            if progress.state == "waiting" and pending.version != seen:
                seen = pending.version
                self._look_around()
            self._give_up_in_time()

    def _give_up_in_time(self) -> None:
        progress = self._progress
        if progress.state == "exchanging" or progress.over or time.monotonic() <= self._deadline:
            return
        pending = progress.pending
        if pending is not None and isinstance(pending.request, DeviceRequest):
            raise LoginTimeout("Nobody approved on the other device in time. Sign in again.")
        raise LoginTimeout(
            f"The browser brought no response within {self._asked.timeout:g} s. "
            "A server that shows its own error page never sends one."
        )

    # Other processes

    def _follow(self) -> None:
        """Show the sign-in of another process for a moment, or until that one has ended."""
        if self._signed_in_elsewhere():
            return
        deps, progress = self._deps, self._progress
        pending = deps.pending.current()
        follows = self._asked.mode == "resume"
        if pending is not None and not (follows or self._asked.fits(pending, deps.config)):
            # It does not ask for what is wanted here. Its process sees that it is gone, and leaves.
            deps.pending.drop(pending.request, claimed=False)
        elif pending is not None and progress.state != "exchanging":
            progress.follow(
                "Another notebook or terminal is already signing in. This one follows it."
            )
            progress.show(pending)
            if progress.state != "waiting":
                progress.enter("waiting")
        progress.wait(LOOK_AROUND)
        self._give_up_in_time()

    def _await_paste(self) -> None:
        deps, progress = self._deps, self._progress
        progress.follow()
        pending = deps.pending.current()
        if pending is not None and not self._asked.fits(pending, deps.config):
            raise LoginError(
                f"The pending sign-in to {deps.config.url} was begun with other settings: "
                f"at {quote(pending.request.server.issuer)}, for the client "
                f"{quote(pending.request.registration.client_id)}. Complete it with the same ones."
            )
        if pending is None:
            raise LoginError(
                f"No sign-in to {deps.config.url} is pending: it was completed, was cancelled, or "
                "took too long. Start again."
            )
        progress.show(pending)
        progress.enter("waiting")
        while not progress.wait(LOOK_AROUND):
            self._give_up_in_time()

    def _look_around(self) -> None:
        """See what another process made of this sign-in: completed, claimed, or gone."""
        with self._progress.changed:  # not while a response changes it here
            if self._progress.state != "waiting":
                return
            failure = self._failed_elsewhere()
            if not self._signed_in_elsewhere() and failure is not None:
                raise failure

    def _failed_elsewhere(self) -> LoginError | None:
        current, ours = self._deps.pending.current(), self._progress.pending
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
        pending = self._progress.pending
        claimed_at = pending.claimed_at if pending else None
        stored = claimed_at is not None and signed_in_at >= claimed_at
        if not stored and signed_in_at in (0.0, self._signed_in_before):
            return False
        self._progress.finish("signed_in", None)
        return True
