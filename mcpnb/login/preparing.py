"""From what is known of a server to the authorization request that a person opens."""

from __future__ import annotations

import time

from mcpnb import grants
from mcpnb.errors import GrantError
from mcpnb.http import Http
from mcpnb.models import AuthorizationServer, Discovery, ServerConfig
from mcpnb.pending import PendingLogin
from mcpnb.protocol import device
from mcpnb.protocol import registration as registering
from mcpnb.protocol.authorization import AuthorizationRequest
from mcpnb.protocol.device import DeviceRequest
from mcpnb.protocol.scopes import chosen, union
from mcpnb.protocol.urls import require_page, same_issuer
from mcpnb.redirects import Redirect, address
from mcpnb.registrations import Registrations
from mcpnb.tokens import TokenSource

__all__ = ["fits", "prepared", "prepared_device"]


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
        request = grants.begin_device(server, registration, discovery.resource, scopes, http)
    except GrantError as error:
        if error.error == "invalid_client":
            registrations.drop_reused()  # the next sign-in makes a new one
        if error.error != "invalid_scope" or not discovered:
            raise
        request = grants.begin_device(server, registration, discovery.resource, (), http)
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
    record = source.readable()
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
