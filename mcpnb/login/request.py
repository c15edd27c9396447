"""What one sign-in is asked to do and works with, and the request that a person opens for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from mcpnb.errors import GrantError, McpnbError
from mcpnb.login.pending import PendingLogin, PendingLogins, PendingRequest
from mcpnb.login.redirects import Redirect, address
from mcpnb.login.registrations import Registrations
from mcpnb.oauth import client
from mcpnb.oauth import registration as registering
from mcpnb.oauth.authorization import AuthorizationRequest, DeviceRequest, device_endpoint
from mcpnb.oauth.http import Exchange, Http
from mcpnb.oauth.models import Callback, Discovery, ServerConfig
from mcpnb.oauth.scopes import chosen, union
from mcpnb.oauth.ssrf import require_page
from mcpnb.oauth.urls import same_issuer
from mcpnb.tokens import TokenSource


@dataclass(frozen=True, slots=True)
class SignInRequest:
    """What a person asks of one sign-in."""

    scopes: tuple[str, ...] | None = None
    """Scopes to add to those of the login so far (step-up, SEP-2350)."""
    callback: Callback = "auto"
    """How the authorization response comes back."""
    page: str | None = None
    """The address of the Jupyter page that hands responses to a panel, where one is served."""
    open_browser: bool = False
    """Open the authorization URL in a browser on this machine."""
    timeout: float = 300
    """Seconds to wait for the person."""
    anew: bool = False
    """Do not resume what another process began and left."""
    choose_account: bool = False
    """Have the server ask which account signs in."""
    only_resume: bool = False
    """Follow or resume what is pending, and begin nothing."""

    @property
    def on_device(self) -> bool:
        """Whether the person signs in on another device (RFC 8628)."""
        return self.callback == "device"

    @property
    def may_resume(self) -> bool:
        """Whether a sign-in that another process left may be resumed."""
        return not (self.anew or self.choose_account)

    def fits(self, pending: PendingLogin, config: ServerConfig) -> bool:
        """Return whether a pending sign-in asks for what this one asks for, too."""
        request = pending.request
        if self.on_device and not pending.on_device:
            return False
        if self.choose_account and not getattr(request, "choose_account", False):
            return False
        wanted = config.scopes if self.scopes is None else self.scopes
        return (
            set(wanted or ()) <= set(request.scopes)
            # threat: answer-to-other-credentials
            and config.client_id in (None, request.registration.client_id)
            and (config.issuer is None or same_issuer(config.issuer, request.server.issuer))
            and config.resource in (None, request.resource)
            and (self.on_device or config.callback_url in (None, request.redirect_uri))
            and (self.on_device or config.callback_port in (None, 0, pending.port))
        )

    def can_receive(self, pending: PendingLogin, *, is_follower: bool) -> bool:
        """Return whether the response to a pending sign-in can still arrive, in the wanted way.

        A notebook's page hands it to a panel in that notebook only. A code for another device that
        nobody waits for any more is not what a person means who signs in with a browser.
        """
        if pending.callback == "device" and not (self.only_resume or is_follower):
            return self.on_device
        if pending.callback != "page":
            return self.callback in ("auto", pending.callback)
        page = (pending.request.redirect_uri or "").partition("?")[0]
        return self.callback in ("auto", "page") and page == self.page


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


@dataclass(frozen=True, slots=True)
class Deps:
    """What one sign-in works with."""

    config: ServerConfig
    tokens: TokenSource
    http: Http
    pending: PendingLogins
    clients: Registrations
    observer: Observer

    @classmethod
    def of(cls, config: ServerConfig, tokens: TokenSource, observer: Observer | None) -> Self:
        """Return what a sign-in to the server of `config` works with; nobody is contacted."""
        observer = observer or Observer()
        http = Http(config.url, allow_private=config.allow_private_network, seen=observer.exchanged)
        clients = Registrations(config, tokens.store, http)
        return cls(config, tokens, http, PendingLogins(tokens.store, tokens.key), clients, observer)


def authorization_request(
    asked: SignInRequest, deps: Deps, discovery: Discovery, redirect: Redirect
) -> PendingLogin:
    """Choose scopes, client and redirect URI, and return the authorization request.

    Raises:
        LoginError: There is no way to a client id, or the given one is another issuer's.
        GrantError: The server does not register a client.
        ServerError: It cannot be reached or understood.
    """
    config, server = deps.config, discovery.sign_in_at
    # threat: browser-led-inside
    require_page(server.authorization_endpoint, "authorization_endpoint", config)
    scopes, discovered = _scopes(asked, deps, discovery)
    method = registering.choose(
        config, server, redirect_known=redirect.known, not_covered=redirect.not_covered
    )
    redirect_uri = address(config, redirect, server, method)
    bound = union(scopes, discovery.scopes_supported)
    registered = deps.clients.obtain(
        method, server, redirect_uri, wanted=scopes, bound=bound, keep=redirect.comes_again
    )
    request = AuthorizationRequest(
        server,
        registered,
        # threat: registration-with-another-redirect
        redirect_uri=redirect_uri,
        resource=discovery.resource,
        scopes=scopes,
        choose_account=asked.choose_account,
    )
    return PendingLogin(
        request,
        expires_at=time.time() + asked.timeout,
        port=redirect.port,
        callback=redirect.kind,
        retry_without_scopes=discovered and bool(scopes),
    )


def device_request(asked: SignInRequest, deps: Deps, discovery: Discovery) -> PendingLogin:
    """Choose scopes and client, and get a code to enter on another device (RFC 8628).

    Raises:
        LoginError: The server does not offer it, or there is no way to a client id.
        GrantError: It refuses.
        ServerError: It cannot be reached or understood.
    """
    config, server = deps.config, discovery.sign_in_at
    device_endpoint(server)
    scopes, discovered = _scopes(asked, deps, discovery)
    method = registering.choose(config, server, redirect_known=True)
    bound = union(scopes, discovery.scopes_supported)
    registered = deps.clients.obtain(method, server, None, wanted=scopes, bound=bound, keep=True)

    def begin(scopes: tuple[str, ...]) -> DeviceRequest:
        return client.begin_device(server, registered, discovery.resource, scopes, deps.http)

    try:
        request = begin(scopes)
    except GrantError as error:
        if error.error == "invalid_client":
            deps.clients.drop_reused()  # the next sign-in registers a new client
        if error.error != "invalid_scope" or not discovered:
            raise
        request = begin(())
    # threat: browser-led-inside
    require_page(request.url, "verification_uri", config)
    return PendingLogin(request, expires_at=request.expires_at, callback="device")


def _scopes(asked: SignInRequest, deps: Deps, discovery: Discovery) -> tuple[tuple[str, ...], bool]:
    """Return the scopes to request, and whether they were discovered."""
    if asked.scopes is None:
        return chosen(
            deps.config.scopes,
            discovery.challenged_scopes,
            discovery.scopes_supported,
            discovery.sign_in_at,
        )
    record = deps.tokens.load_or_none()
    if record is None and asked.scopes:
        return asked.scopes, False
    # Step-up (SEP-2350); where the challenge named none, all that the resource announces.
    before = record.requested_scopes if record else deps.config.scopes
    return union(before, asked.scopes or discovery.scopes_supported), False
