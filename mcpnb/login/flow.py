"""Make the authorization request, alone or shared with other processes."""

from __future__ import annotations

import time

from mcpnb.errors import GrantError, LoginCancelled, LoginError, LoginTimeout
from mcpnb.login.clients import Registrations
from mcpnb.login.device import Polling
from mcpnb.login.pending import PendingLogin
from mcpnb.login.progress import Observer
from mcpnb.login.redirects import Redirect, address
from mcpnb.oauth import client, device
from mcpnb.oauth import registration as registering
from mcpnb.oauth.authorization import AuthorizationRequest
from mcpnb.oauth.device import DeviceRequest
from mcpnb.oauth.http import Http
from mcpnb.oauth.models import AuthorizationServer, Discovery, ServerConfig, Via
from mcpnb.oauth.scopes import chosen, union
from mcpnb.oauth.urls import require_page, same_issuer
from mcpnb.text import quote
from mcpnb.tokens import TokenSource

__all__ = ["LOOK_AROUND", "Sharing", "fits", "prepared", "prepared_device"]


def prepared(  # noqa: PLR0913  what a request depends on
    config: ServerConfig,
    source: TokenSource,
    discovery: Discovery,
    redirect: Redirect,
    registrations: Registrations,
    *,
    added: tuple[str, ...] | None,
    lasts: float,
    choose_account: bool,
) -> PendingLogin:
    """Choose scopes, redirect and registration, and make the authorization request.

    Args:
        config: The server and how to sign in to it.
        source: The login so far.
        discovery: What was found out of the server.
        redirect: The way back for the answer.
        registrations: Gives the client id.
        added: Scopes to add to those asked for before (step-up, SEP-2350).
        lasts: Seconds that it may take until the answer comes.
        choose_account: Whether the server is to ask who signs in.

    Raises:
        LoginError: There is no way to a client id, or the given one is another issuer's.
        GrantError: The server does not register a client.
        ServerError: It cannot be reached or understood.
    """
    server = discovery.sign_in_at
    require_page(
        server.authorization_endpoint,
        "authorization_endpoint",
        server=config.url,
        # threat: browser-led-inside
        allow_private=config.allow_private_network,
    )
    scopes, discovered = _scopes(config, source, discovery, server, added)
    method = registering.choose(
        config, server, redirect_known=redirect.known, not_covered=redirect.not_covered
    )
    redirect_uri = address(config, redirect, server, method)
    registration = registrations.obtain(
        method,
        server,
        redirect_uri,
        wanted=scopes,
        bound=union(scopes, discovery.scopes_supported),
        keep=redirect.comes_again,
    )
    request = AuthorizationRequest.new(
        server,
        registration,
        # threat: registration-with-another-redirect
        redirect_uri=redirect_uri,
        resource=discovery.resource,
        scopes=scopes,
        choose_account=choose_account,
    )
    return PendingLogin(
        request,
        expires_at=time.time() + lasts,
        port=redirect.port,
        via=redirect.kind,
        retry_without_scopes=discovered and bool(scopes),
    )


def prepared_device(  # noqa: PLR0913  what a request depends on
    config: ServerConfig,
    source: TokenSource,
    discovery: Discovery,
    registrations: Registrations,
    http: Http,
    *,
    added: tuple[str, ...] | None,
) -> PendingLogin:
    """Choose scopes and registration, and ask for a code to enter on another device (RFC 8628).

    Args:
        config: The server and how to sign in to it.
        source: The login so far.
        discovery: What was found out of the server.
        registrations: Gives the client id.
        http: Asks.
        added: Scopes to add to those asked for before.

    Raises:
        LoginError: The server does not offer it, or there is no way to a client id.
        GrantError: It refuses.
        ServerError: It cannot be reached or understood.
    """
    server = discovery.sign_in_at
    device.endpoint_of(server)
    scopes, discovered = _scopes(config, source, discovery, server, added)
    registration = registrations.obtain(
        registering.choose(config, server, redirect_known=True),
        server,
        None,
        wanted=scopes,
        bound=union(scopes, discovery.scopes_supported),
        keep=True,
    )
    try:
        request = client.begin_device(server, registration, discovery.resource, scopes, http)
    except GrantError as error:
        if error.error == "invalid_client":
            registrations.drop_reused()  # the next sign-in makes a new one
        if error.error != "invalid_scope" or not discovered:
            raise
        request = client.begin_device(server, registration, discovery.resource, (), http)
    require_page(
        request.url,
        "verification_uri",
        server=config.url,
        # threat: browser-led-inside
        allow_private=config.allow_private_network,
    )
    return PendingLogin(request, expires_at=request.expires_at, via="device")


def _scopes(
    config: ServerConfig,
    source: TokenSource,
    discovery: Discovery,
    server: AuthorizationServer,
    added: tuple[str, ...] | None,
) -> tuple[tuple[str, ...], bool]:
    """Give the scopes to ask for, and whether they were discovered."""
    if added is None:
        challenged = discovery.challenged_scopes
        return chosen(config.scopes, challenged, discovery.scopes_supported, server)
    record = source.load_or_none()
    if record is None and added:
        return added, False
    # Step-up (SEP-2350); where the challenge named none, all that the resource announces.
    held = record.requested_scopes if record else config.scopes
    return union(held, added or discovery.scopes_supported), False


def fits(
    pending: PendingLogin,
    config: ServerConfig,
    added: tuple[str, ...] | None,
    *,
    on_device: bool,
    choose_account: bool,
) -> bool:
    """Whether a pending sign-in is what a person asks for now, too."""
    request = pending.request
    if on_device and not isinstance(request, DeviceRequest):
        return False
    if choose_account and not getattr(request, "choose_account", False):
        return False
    wanted = config.scopes if added is None else added
    return (
        set(wanted or ()) <= set(request.scopes)
        # threat: answer-to-other-credentials
        and config.client_id in (None, request.registration.client_id)
        and (config.issuer is None or same_issuer(config.issuer, request.server.issuer))
        and config.resource in (None, request.resource)
        and (on_device or config.callback_url in (None, request.redirect_uri))
        and (on_device or config.callback_port in (None, 0, pending.port))
    )


LOOK_AROUND = 0.5
"""Seconds between two looks at what others do."""
_A_MOMENT = 5.0


class Sharing(Polling):
    """The half of a sign-in that another process may lead, complete or end."""

    def __init__(  # noqa: PLR0913  what a sign-in depends on
        self,
        config: ServerConfig,
        source: TokenSource,
        added: tuple[str, ...] | None,
        *,
        via: Via,
        relay: str | None,
        timeout: float,
        observer: Observer,
    ) -> None:
        super().__init__(config, source, observer)
        self._added = added
        self._only_pending = False
        self._found_none = False
        self._redirect_via = via
        self._relay = relay
        self._on_device = via == "device"
        self._choose_account = False
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._signed_in_before = 0.0
        self._follows = False
        self._resource_name: str | None = None
        self._unopened = False

    def _can_be_resumed(self, pending: PendingLogin) -> bool:
        return pending.claimed_at is None and self._fits(pending) and self._comes_back(pending)

    def _comes_back(self, pending: PendingLogin) -> bool:
        """Whether its answer can still arrive, and in the way that is wanted here.

        A notebook's page hands it to a panel there only. A code for another device, which nobody
        waits for any more, is not what somebody means who signs in with a browser.
        """
        if pending.via == "device" and not (self._only_pending or self._follows):
            return self._on_device
        if pending.via != "relay":
            return self._redirect_via in ("auto", pending.via)
        address = (pending.request.redirect_uri or "").partition("?")[0]
        return self._redirect_via in ("auto", "relay") and address == self._relay

    def _fits(self, pending: PendingLogin) -> bool:
        return fits(
            pending,
            self._config,
            self._added,
            on_device=self._on_device,
            choose_account=self._choose_account,
        )

    def _follow(self) -> None:
        """Show the sign-in of another process for a moment, or until that one has ended."""
        if self._signed_in_elsewhere():
            return
        pending = self._pendings.current()
        if pending is not None and not (self._only_pending or self._fits(pending)):
            # It does not ask for what is wanted here. Its process sees that it is gone, and leaves.
            self._pendings.drop(pending.request, claimed=False)
        elif pending is not None and self._state != "exchanging":
            self._show(pending)
        with self._changed:
            self._changed.wait_for(self._over, LOOK_AROUND)
        self._give_up_in_time()

    def _show(self, pending: PendingLogin) -> None:
        if not self._follows:
            self._follows = True
            self._note(
                "Being signed in in another notebook or terminal already: this one follows it."
            )
        self._pending = pending
        if self._state != "waiting":
            self._enter("waiting")

    def _await_paste(self) -> None:
        self._follows = True
        pending = self._pendings.current()
        if pending is not None and not self._fits(pending):
            raise LoginError(
                f"The sign-in to {self._config.url} that waits for its answer was begun with other "
                f"settings: at {quote(pending.request.server.issuer)}, for the client "
                f"{quote(pending.request.registration.client_id)}. Complete it with the same ones."
            )
        if pending is None:
            raise LoginError(
                f"No sign-in to {self._config.url} is waiting for its answer (any more): it was "
                "completed, cancelled, or took too long. Begin again."
            )
        self._pending = pending
        self._enter("waiting")
        with self._changed:
            while not self._over():
                self._changed.wait_for(self._over, LOOK_AROUND)
                self._give_up_in_time()

    def _look_around(self) -> None:
        """See what another process made of this sign-in: completed, claimed, or gone."""
        with self._changed:  # not while an answer changes it here
            if self._state != "waiting":
                return
            failure = self._failed_elsewhere()
            if not self._signed_in_elsewhere() and failure is not None:
                raise failure

    def _failed_elsewhere(self) -> LoginError | None:
        current, ours = self._pendings.current(), self._pending
        if current is None or ours is None or not current.is_for(ours.request):
            return LoginCancelled(
                "The sign-in was ended or replaced in another notebook or terminal."
            )
        if self._pendings.exchange_in_progress(current):
            self._deadline = max(self._deadline, time.monotonic() + _A_MOMENT)
        elif current.claimed_at is not None:
            return LoginError(
                "The process that completed this sign-in died before its end. Sign in again."
            )
        return None

    @property
    def _left_to_wait(self) -> float:
        return max(self._deadline - time.monotonic(), 0.05)

    def _give_up_in_time(self) -> None:
        if self._state == "exchanging" or self._over() or time.monotonic() <= self._deadline:
            return
        if self._pending is not None and isinstance(self._pending.request, DeviceRequest):
            raise LoginTimeout("Nobody agreed on the other device in time. Sign in again.")
        raise LoginTimeout(
            f"No answer came from the browser within {self._timeout:g} s. "
            "Where a server shows an error page of its own, none ever comes."
        )

    def _last_sign_in(self) -> float:
        record = self._source.load_or_none()
        return record.signed_in_at if record else 0.0

    def _signed_in_elsewhere(self) -> bool:
        """Whether another process has completed it: to be asked after all other questions.

        That one stores the login first, and only then forgets what was pending.
        """
        signed_in_at = self._last_sign_in()
        # One that was claimed when this one began may have been stored even before that.
        claimed_at = self._pending.claimed_at if self._pending else None
        stored = claimed_at is not None and signed_in_at >= claimed_at
        if not stored and signed_in_at in (0.0, self._signed_in_before):
            return False
        self._finish("signed_in", None)
        return True
