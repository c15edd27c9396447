"""One sign-in, from the address of a server to a stored login."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from mcpnb import views
from mcpnb.environment import frontend
from mcpnb.errors import (
    AnswerRefused,
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
from mcpnb.login.flow import LOOK_AROUND, Sharing, prepared, prepared_device
from mcpnb.login.pending import PendingLogin
from mcpnb.login.progress import Observer
from mcpnb.login.redirects import Redirect
from mcpnb.oauth.authorization import AuthorizationRequest
from mcpnb.oauth.client import discover
from mcpnb.oauth.device import DeviceRequest
from mcpnb.oauth.models import Discovery, ServerConfig, Via
from mcpnb.scrub import scrub_class
from mcpnb.tokens import TokenSource

__all__ = ["ON_ANOTHER_DEVICE", "Login", "Shown"]

ON_ANOTHER_DEVICE = "Or sign in on another device: login(device=True)"
"""What is noted where no browser opened and the server offers it; a terminal has other words."""


class Shown(Sharing):
    """The half of a sign-in that a person sees. All of it is `None` or empty until it is known."""

    def _ipython_display_(self) -> None:
        views.room().passing(self)

    def _ended(self, timeout: float | None) -> bool:
        """Wait for the end, and say whether it came in time.

        In a plain script nobody but `wait` can say which address to open.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._changed.wait_for(lambda: self._over() or self._unopened, timeout)
            tell = (
                self._unopened and not (self._viewed or self._over()) and frontend() == "terminal"
            )
            self._viewed = self._viewed or tell  # once is enough
        if tell and sys.stderr is not None:
            sys.stderr.write(self._instruction())
            sys.stderr.flush()
        left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        with self._changed:
            return self._changed.wait_for(self._over, left)

    def _instruction(self) -> str:
        back = f"The answer comes back to {self.redirect_uri}; or give" if self.port else "Give"
        return (
            f"No browser could be opened here. Open this address:\n\n{self.url}\n\n"
            f"{back} the address that the browser ends at to the login: login.submit(...)\n"
        )

    @property
    def url(self) -> str | None:
        """The authorization URL, `None` until it is known. It may change: see `notes`."""
        return self._pending.request.url if self._pending else None

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that are asked for; empty until known, or where the server decides."""
        return self._pending.request.scopes if self._pending else ()

    @property
    def redirect_uri(self) -> str | None:
        """Where the browser will be sent at the end."""
        return self._pending.request.redirect_uri if self._pending else None

    @property
    def resource_name(self) -> str | None:
        """What the server calls itself. Nobody has checked it."""
        return self._resource_name

    @property
    def via(self) -> str | None:
        """How the answer comes back, once known: ``relay``, ``loopback``, ``paste``, ``device``."""
        return self._pending.via if self._pending else None

    def started_via(self, way: Via) -> bool:
        """Whether it is what somebody means who wants to sign in this way."""
        return way in ("auto", self.via, self._redirect_via)

    @property
    def superseded(self) -> bool:
        """Whether somebody has signed in since it began: then its failure is no news."""
        return self._last_sign_in() not in (0.0, self._signed_in_before)

    @property
    def nothing_pending(self) -> bool:
        """Whether it was to go on with what is pending, and nothing is: nobody's failure."""
        return self._found_none

    @property
    def is_follower(self) -> bool:
        """Whether this shows a sign-in that another notebook or terminal leads."""
        return self._follows

    @property
    def port(self) -> int | None:
        """The port of the machine of this process that the answer comes to, if it does."""
        return self._pending.port if self._pending else None

    @property
    def offers_device(self) -> bool:
        """Whether the server lets one sign in on another device (RFC 8628)."""
        server = self._pending.request.server if self._pending else None
        return server is not None and server.device_authorization_endpoint is not None

    @property
    def issuer(self) -> str | None:
        """The authorization server, once it is known."""
        return self._pending.request.server.issuer if self._pending else None

    @property
    def expires_at(self) -> float | None:
        """Until when an answer is awaited, seconds since the epoch."""
        return self._pending.expires_at if self._pending else None

    @property
    def user_code(self) -> str | None:
        """The code to enter at `url`, in a sign-in on another device."""
        request = self._pending.request if self._pending else None
        return request.user_code if isinstance(request, DeviceRequest) else None


OwnerT = TypeVar("OwnerT")

# Servers that refuse a request show a page of their own and never send the browser back (measured).
_HINT_AFTER = 20.0
_HINT = (
    "If the browser shows an error page of the server, it will not come back by itself: cancel, "
    "and sign in again."
)
_LOCK_TIMEOUT = 1.0
_LAST_PAGE = 3.0


@scrub_class
class Login(Shown, Generic[OwnerT]):
    """One sign-in. It runs in a thread of its own; a panel and a terminal are views of it.

    `url` is the address to open once `state` is ``waiting``. An answer arrives through the loopback
    listener or through `submit`, whichever is first; a wrong or forged one is refused and the wait
    goes on. There is one pending sign-in per server and account: a second one, in whatever process,
    follows the first, and goes on with it where that process has died.
    """

    def __init__(  # noqa: PLR0913  what a sign-in depends on
        self,
        owner: OwnerT,
        config: ServerConfig,
        source: TokenSource,
        *,
        scopes: tuple[str, ...] | None = None,
        via: Via = "auto",
        relay: str | None = None,
        open_browser: bool = False,
        timeout: float = 300,
        after: Login[OwnerT] | None = None,
        only_complete: bool = False,
        only_pending: bool = False,
        anew: bool = False,
        choose_account: bool = False,
        observer: Observer | None = None,
    ) -> None:
        """Start it; returns at once.

        Args:
            owner: What `wait` returns.
            config: The server and how to sign in to it.
            source: Where the login goes.
            scopes: Scopes to add to those asked for before (step-up, SEP-2350).
            via: How the answer comes back; ``device``: on another device, where the server offers
                it (RFC 8628).
            relay: The address of the page that hands answers to a panel, where one is served.
            open_browser: Open `url` in a browser on this machine.
            timeout: Seconds to wait for the person.
            after: An earlier one of the same session: it is cancelled, and gives its port back.
            anew: Do not go on with what another process began and left.
            choose_account: Have the server ask who signs in.
            only_complete: Begin nothing and listen nowhere: take the answer to what is pending.
            only_pending: Begin nothing: follow what is pending, or go on with it.
            observer: Sees every step.
        """
        sees = observer or Observer()
        super().__init__(
            config, source, scopes, via=via, relay=relay, timeout=timeout, observer=sees
        )
        self._only_pending = only_pending
        self._after = after
        self._owner = owner
        self._open_browser = open_browser
        self._only_complete = only_complete
        self._anew = anew or choose_account
        self._choose_account = choose_account
        self._left = False
        self._thread = threading.Thread(target=self._run, name="mcpnb-login", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        line = f"<Login to {self._config.shown}, {self._state.replace('_', ' ')}>"
        # The address has to be seen by a person; it holds `state`, and nothing that signs in.
        return f"{line}\nopen: {self.url}" if self._state == "waiting" else line

    @property
    def asked_for(self) -> dict[str, Any]:
        """What `mcpnb.Session.login` was asked for, so that another way can ask for the same."""
        return {"scopes": self._added, "choose_account": self._choose_account}

    # What a person does

    def submit(self, text: str | None = None) -> None:
        """Give the address that the browser ended at. Returns after the exchange.

        Args:
            text: The full redirected URL; asked for without echo when left out.

        Raises:
            AnswerRefused: It is not this sign-in's answer; the wait goes on.
            LoginDenied: The authorization server reports an error.
            ProtocolError: It came from the wrong issuer.
            GrantError: The code was not accepted.
        """
        if text is None:
            import getpass

            # Not input(): JupyterLab saves its echo in the notebook (measured).
            text = getpass.getpass("Address the browser ended at: ")
        if (location := self._receive(text)) is not None:
            raise AnswerRefused(
                f"The server refused the scopes. Open this address instead: {location}"
            )

    def cancel(self) -> None:
        """End it, unless it has ended. Its port is free afterwards, for the next one.

        One that follows another process's sign-in stops following; that one goes on.
        """
        asking = self._pending is None or self._state == "exchanging"
        self._finish("cancelled", LoginCancelled("The sign-in was cancelled. Nothing was stored."))
        if not asking:  # else it ends as soon as a server has answered
            self.join(_LAST_PAGE)

    def leave(self) -> None:
        """Stop waiting here, and leave it pending until `expires_at`: any process can complete it.

        See `mcpnb.Session.finish`.
        """
        self._left = True
        self._finish("cancelled", LoginCancelled("The sign-in was left to be completed later."))
        self.join(_LAST_PAGE)

    def join(self, timeout: float) -> None:
        """Wait until an ended one has given back what it held: its port, its turn.

        Args:
            timeout: Seconds to wait at most.
        """
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def wait(self, timeout: float | None = None) -> OwnerT:
        """Wait for the end.

        Where a browser was to open and could not, and nothing else shows this sign-in, the address
        to open is written to stderr.

        Args:
            timeout: Seconds to wait here; the sign-in itself has its own time-out.

        Raises:
            LoginTimeout: It has not ended in time.
            LoginError: It failed; see the subclasses.
            ServerError: A server could not be reached, understood or trusted.
        """
        if not self._ended(timeout):
            raise LoginTimeout(
                f"Not signed in to {self._config.url} within {timeout:g} s; it goes on. "
                "The address to open is the login's `url`."
            )
        if self._state != "cancelled":
            # A program that ends now would take the browser's last page with it.
            self.join(_LAST_PAGE)
        if self._error is not None:
            raise self._error
        return self._owner

    # How it runs

    def _run(self) -> None:
        try:
            self._check_store()
            self._signed_in_before = self._last_sign_in()
            self._added = self._source.wanted if self._added is None else self._added
            if self._after is not None:
                self._after.cancel()
                self._after.join(_LAST_PAGE)
            if self._only_complete:
                self._await_paste()
            while not self._over():
                self._lead_or_follow()
        except McpnbError as error:
            self._finish("cancelled" if isinstance(error, LoginCancelled) else "failed", error)
        except Exception as error:  # noqa: BLE001  a fault of ours ends the wait, too
            self._finish(
                "failed", LoginError(f"Unexpected {type(error).__name__} while signing in.")
            )
        finally:
            with self._exchange_under_way:
                self._http.close()
            self._listeners.close()

    def _check_store(self) -> None:
        """Find out before the browser opens whether a login could be kept."""
        with contextlib.ExitStack() as held:
            with contextlib.suppress(StoreBusy):  # a slow renewal is no reason not to sign in
                held.enter_context(self._source.store.lock(self._source.key, _LOCK_TIMEOUT))
            try:
                self._source.record()
            except NewerFormat:
                raise
            except StoreError:
                pass  # what cannot be read is replaced

    def _lead_or_follow(self) -> None:
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._pendings.turn())
            except StoreBusy:
                self._follow()
                return
            pending = self._pendings.current()
            exchanged = pending is not None and self._pendings.exchange_in_progress(pending)
            if self._signed_in_elsewhere():
                return
            if exchanged:
                self._follow()  # one that holds no turn exchanges the code
                return
            shown, self._pending = self._pending, None
            held.callback(self._tidy_up)  # before the turn is given back, and after the port is
            if pending is not None and not self._anew and self._can_be_resumed(pending):
                self._resume(pending, held)
            elif self._only_pending:
                self._found_none = True
                raise LoginCancelled("No sign-in is pending.")
            elif shown is not None and pending is None:
                raise LoginError(
                    "The sign-in that this one followed has ended without a login. Sign in again."
                )
            else:
                self._begin(held)
            self._await_answer()

    def _tidy_up(self) -> None:
        if self._left:
            return
        if not self._heard and self._state != "signed_in":
            self._registrations.drop_reused()
        if self._pending is not None:
            self._pendings.drop(self._pending.request, claimed=self._state == "cancelled")

    def _begin(self, closing: contextlib.ExitStack) -> None:
        self._enter("discovering")
        discovery = discover(self._config, self._http)
        resource = discovery.protected_resource
        self._resource_name = resource.name if resource else None
        self._enter("registering")
        if self._on_device:
            self._begin_on_device(discovery)
            return
        pending, redirect = self._prepare(discovery, closing)
        # Written before anybody can open the address: it also shows that the store can be written.
        self._pendings.put(pending)
        redirect.listen(pending.request.redirect_uri or redirect.base, self.deliver)
        self._open(pending, redirect.to_open)

    def _prepare(
        self, discovery: Discovery, closing: contextlib.ExitStack
    ) -> tuple[PendingLogin, Redirect]:
        """Make the request for the first way back that the server takes."""
        ways = redirects.choices(self._config, self._redirect_via, self._relay, self._note)
        while True:
            redirect = next(ways)
            closing.callback(redirect.close)
            try:
                pending = prepared(
                    self._config,
                    self._source,
                    discovery,
                    redirect,
                    self._registrations,
                    added=self._added,
                    lasts=self._timeout,
                    choose_account=self._choose_account,
                )
            except (GrantError, LoginError) as error:
                if not redirect.optional or isinstance(error, ClientIdRequired | LoginCancelled):
                    raise
                self._note(
                    "The server takes no answers to this notebook's page, so they go to "
                    "127.0.0.1, which is the computer of your browser."
                )
            else:
                return pending, redirect

    def _begin_on_device(self, discovery: Discovery) -> None:
        source, added = self._source, self._added
        pending = prepared_device(
            self._config, source, discovery, self._registrations, self._http, added=added
        )
        self._pendings.put(pending)
        self._open(pending)

    def _resume(self, pending: PendingLogin, closing: contextlib.ExitStack) -> None:
        """Go on where a process died: the same address, so that a tab that is open still counts."""
        # threat: pending-sign-in-prolonged
        if self._only_pending:
            # Nobody has asked for it: a page that shows a panel does not make an address that
            # somebody may have seen good for longer.
            self._timeout = max(round(pending.expires_at - time.time()), 1)
            self._deadline = time.monotonic() + pending.expires_at - time.time()
        else:
            pending = pending.lasting(self._timeout)
            self._pendings.put(pending)
        self._registrations.reuse(pending.request.registration)
        request = pending.request
        to_open: Callable[[str], str] = str
        try:
            if isinstance(request, AuthorizationRequest) and pending.port is not None:
                listener = redirects.listen_again(
                    request.redirect_uri, pending.port, self._config, self._note
                )
                closing.callback(listener.close)
                listener.listen(request.redirect_uri, self.deliver)
                to_open = partial(
                    redirects.to_open, redirect_uri=request.redirect_uri, listener=listener
                )
        except LoginError as error:
            self._note(f"{error} Paste the address that the browser ends at.")
        if not self._follows:
            self._note("Going on with the sign-in that was begun before. Cancel to begin anew.")
        self._open(pending, to_open)

    def _open(self, pending: PendingLogin, to_open: Callable[[str], str] = str) -> None:
        request = pending.request
        if isinstance(request, DeviceRequest):
            left = request.expires_at - time.time()
            self._deadline = min(self._deadline, time.monotonic() + left)
        self._pending = pending
        self._observer.asked(request)
        self._enter("waiting")
        if (
            self.user_code is not None
            or not self._open_browser
            or redirects.open_browser(to_open(request.url))
        ):
            return
        with self._changed:
            self._unopened = True
            self._changed.notify_all()
        self._note("No browser could be opened here: open the address yourself.")
        if request.server.device_authorization_endpoint:
            self._note(ON_ANOTHER_DEVICE)

    def _await_answer(self) -> None:
        hint_at = time.monotonic() + _HINT_AFTER if self._timeout > _HINT_AFTER else float("inf")
        seen = object()  # so that what happened before this moment is seen, too
        # An exchange that has begun is waited for: it ends by its own time-outs.
        while not self._over():
            with self._changed:
                self._changed.wait_for(self._over, min(LOOK_AROUND, self._left_to_wait))
            self._poll()
            if time.monotonic() > hint_at and self.user_code is None:
                hint_at = float("inf")
                self._note(_HINT)
            if self._state == "waiting" and self._pendings.version != seen:
                seen = self._pendings.version
                self._look_around()
            self._give_up_in_time()
