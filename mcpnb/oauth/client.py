"""The requests of an OAuth client: register, exchange, refresh, device code, poll, revoke."""

from __future__ import annotations

import time

from mcpnb.errors import (
    GrantError,
    ServerError,
    ServerUnreachable,
)
from mcpnb.oauth import device, token
from mcpnb.oauth import registration as registering
from mcpnb.oauth.authorization import ValidatedResponse
from mcpnb.oauth.credentials import LoginRecord, Registration, Tokens
from mcpnb.oauth.device import DeviceRequest
from mcpnb.oauth.http import Http
from mcpnb.oauth.models import (
    AuthorizationServer,
)
from mcpnb.scrub import scrub_traceback

_AGAIN = "Try again in a moment. If it stays so, that server is at fault."


def _post(
    endpoint: str, request: token.Request, doing: str, http: Http, *, advice: str = ""
) -> object:
    """Send a form to an authorization server and return the JSON object of its consent.

    Raises:
        GrantError: It refused, or its response cannot be read.
        ServerUnreachable: It does not answer.
    """
    body, headers = request
    response = http.post_form(endpoint, body, headers)
    document = response.json_object()
    if response.status == 200 and document is None:
        raise GrantError(
            f"{doing} failed: the authorization server's response cannot be read. {_AGAIN}",
            status=response.status,
        )
    # threat: error-beside-a-token
    if response.status != 200 or document is None or "error" in document:
        error = token.grant_error(
            response.status,
            document,
            doing=doing,
            retry_after=response.retry_after,
            sent=token.secrets_sent(body, headers),
        )
        if advice:
            error.args = (f"{error}. {advice}",)
        raise error
    return document


@scrub_traceback
def register(
    server: AuthorizationServer, redirect_uri: str | None, scopes: tuple[str, ...], http: Http
) -> Registration:
    """Register a client dynamically (RFC 7591); again without ``scope`` if that is refused.

    Without a redirect it is a client for the device grant.

    Raises:
        GrantError: The server does not register it.
        ServerUnreachable: It does not answer.
    """
    endpoint = server.registration_endpoint
    if endpoint is None:
        raise GrantError("The authorization server offers no dynamic registration.")
    asked = registering.metadata(redirect_uri, server, scopes)
    response = http.post_json(endpoint, asked)
    if response.status == 400 and "scope" in asked:
        # Measured: servers refuse the whole registration for one scope they do not list. Without
        # it, the client gets the server's default set and asks for scopes at the authorization.
        without = {name: value for name, value in asked.items() if name != "scope"}
        retried = http.post_json(endpoint, without)
        if retried.status in (200, 201):
            asked, response = without, retried
    if response.status == 429:
        raise token.grant_error(
            429, None, doing="Registration (too many of late)", retry_after=response.retry_after
        )
    document = response.json_object()
    if response.status in (200, 201) and document is None:
        raise GrantError(
            "The authorization server's response to the registration of mcpnb cannot be read. "
            f"{_AGAIN}",
            status=response.status,
        )
    return registering.from_response(response.status, document, asked=asked, server=server)


@scrub_traceback
def exchange(response: ValidatedResponse, http: Http) -> Tokens:
    """Exchange a validated code for tokens (RFC 6749 section 4.1.3).

    Raises:
        GrantError: The authorization server refused.
        ServerUnreachable: It does not answer.
    """
    now, asked = time.time(), response.request
    form, endpoint = token.exchange(response), asked.server.token_endpoint
    doing, advice = "Exchanging the code", "Sign in again."
    try:
        document = _post(endpoint, form, doing, http, advice=advice)
    except ServerUnreachable as error:
        if error.sent:
            raise
        # It never arrived: the code is unused.
        document = _post(endpoint, form, doing, http, advice=advice)
    return token.read_tokens(document, now=now, asked=asked.scopes)


@scrub_traceback
def begin_device(
    server: AuthorizationServer,
    registration: Registration,
    resource: str,
    scopes: tuple[str, ...],
    http: Http,
) -> DeviceRequest:
    """Ask for a code to enter on another device (RFC 8628 section 3.1).

    Raises:
        LoginError: The server does not offer it.
        GrantError: It refused.
        ServerUnreachable: It does not answer.
    """
    now, endpoint = time.time(), device.endpoint_of(server)
    form = device.begin(registration, resource, scopes)
    return device.read_begun(
        _post(endpoint, form, "Signing in on another device", http),
        now=now,
        server=server,
        registration=registration,
        resource=resource,
        scopes=scopes,
    )


@scrub_traceback
def poll_device(request: DeviceRequest, http: Http) -> Tokens:
    """Ask whether the person has approved by now (RFC 8628 section 3.4).

    Raises:
        GrantError: Not yet (``authorization_pending``, ``slow_down``), or never.
        ServerUnreachable: The server does not answer.
    """
    now, endpoint = time.time(), request.server.token_endpoint
    document = _post(endpoint, device.poll(request), "Signing in on another device", http)
    return token.read_tokens(document, now=now, asked=request.scopes)


@scrub_traceback
def refresh(record: LoginRecord, http: Http) -> Tokens:
    """Get fresh tokens with the refresh token (RFC 6749 section 6).

    Raises:
        GrantError: The authorization server refused; ``invalid_grant`` ends the login.
        ServerUnreachable: It does not answer; ``sent`` tells whether it may have got the request.
    """
    now, old = time.time(), record.tokens
    document = _post(record.token_endpoint, token.refresh(record), "Renewing the login", http)
    return token.read_tokens(document, now=now, asked=old.scopes, previous=old)


@scrub_traceback
def revoke(record: LoginRecord, http: Http) -> bool:
    """Revoke a login's tokens at the server (RFC 7009), the refresh token first.

    Returns:
        Whether the server confirmed it. Without a revocation endpoint, or if the server cannot be
        reached, the tokens are left to expire.
    """
    endpoint = record.revocation_endpoint
    if endpoint is None:
        return False
    done = True
    for secret, hint in (
        (record.tokens.refresh_token, "refresh_token"),
        (record.tokens.access_token, "access_token"),
    ):
        if secret is None:
            continue
        body, headers = token.revoke(secret, hint, record.registration)
        try:
            response = http.post_form(endpoint, body, headers)
            if response.status in (400, 401) and "&client_secret=" not in body:
                # Measured: the MCP SDK's routes want the field here, even if it is empty.
                response = http.post_form(endpoint, body + "&client_secret=", headers)
        except ServerError:
            return False
        done = done and response.status == 200
    return done
