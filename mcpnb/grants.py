"""Requests to the authorization server and their answers."""

from __future__ import annotations

import time

from mcpnb.discreet import discreet
from mcpnb.errors import GrantError, ServerError, ServerUnreachable
from mcpnb.http import Answer, Http
from mcpnb.models import AuthorizationServer, LoginRecord, Registration, Secret, Tokens
from mcpnb.protocol import device, token
from mcpnb.protocol import registration as registering
from mcpnb.protocol.authorization import ValidatedAnswer
from mcpnb.protocol.device import DeviceRequest

__all__ = ["begin_device", "exchange", "poll_device", "refresh", "register", "revoke"]

_AGAIN = "Try again in a moment; if it stays so, that server is at fault."


@discreet
def register(
    server: AuthorizationServer, redirect_uri: str | None, scopes: tuple[str, ...], http: Http
) -> Registration:
    """Register a client dynamically (RFC 7591), once more without ``scope`` where that is refused.

    Without a redirect it is one for the device grant.

    Raises:
        GrantError: The server does not register it.
        ServerUnreachable: It does not answer.
    """
    if server.registration_endpoint is None:
        raise GrantError("The authorization server offers no dynamic registration.")
    asked = registering.metadata(redirect_uri, server, scopes)
    answer = http.post_json(server.registration_endpoint, asked)
    if answer.status == 400 and "scope" in asked:
        # Measured: servers refuse the whole registration for one scope they do not list. Left out,
        # the client gets the server's default set and asks for what it needs at the authorization.
        without = {k: v for k, v in asked.items() if k != "scope"}
        retried = http.post_json(server.registration_endpoint, without)
        if retried.status in (200, 201):
            asked, answer = without, retried
    if answer.status == 429:
        raise token.grant_error(
            429, None, doing="Registration (too many of late)", retry_after=answer.retry_after
        )
    if answer.status in (200, 201) and answer.json_object() is None:
        raise GrantError(
            "The authorization server's answer to the registration of mcpnb cannot be read. "
            f"{_AGAIN}",
            status=answer.status,
        )
    return registering.from_answer(answer.status, answer.json_object(), asked=asked, server=server)


@discreet
def exchange(answer: ValidatedAnswer, http: Http) -> Tokens:
    """Exchange a validated code for tokens (RFC 6749 section 4.1.3).

    Raises:
        GrantError: The authorization server refused.
        ServerUnreachable: It does not answer.
    """
    now = time.time()
    body, headers = token.exchange(answer)
    endpoint = answer.request.server.token_endpoint
    try:
        reply = http.post_form(endpoint, body, headers)
    except ServerUnreachable as error:
        if error.sent:
            raise
        reply = http.post_form(endpoint, body, headers)  # it never arrived: the code is unused
    sent = token.secrets_sent(body, headers)
    document = _granted(reply, "Exchanging the code", sent, advice="Sign in again.")
    return token.read_tokens(document, now=now, asked=answer.request.scopes)


@discreet
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
    now = time.time()
    body, headers = device.begin(registration, resource, scopes)
    reply = http.post_form(device.endpoint_of(server), body, headers)
    return device.read_begun(
        _granted(reply, "Signing in on another device", token.secrets_sent(body, headers)),
        now=now,
        server=server,
        registration=registration,
        resource=resource,
        scopes=scopes,
    )


@discreet
def poll_device(request: DeviceRequest, http: Http) -> Tokens:
    """Ask whether the person has agreed by now (RFC 8628 section 3.4).

    Raises:
        GrantError: Not yet (``authorization_pending``, ``slow_down``), or never.
        ServerUnreachable: The server does not answer.
    """
    now = time.time()
    body, headers = device.poll(request)
    reply = http.post_form(request.server.token_endpoint, body, headers)
    sent = token.secrets_sent(body, headers)
    document = _granted(reply, "Signing in on another device", sent)
    return token.read_tokens(document, now=now, asked=request.scopes)


@discreet
def refresh(record: LoginRecord, http: Http) -> Tokens:
    """Get fresh tokens with the refresh token (RFC 6749 section 6).

    Raises:
        GrantError: The authorization server refused; ``invalid_grant`` ends the login.
        ServerUnreachable: It does not answer; ``sent`` tells whether it may have got the request.
    """
    now = time.time()
    body, headers = token.refresh(record)
    reply = http.post_form(record.token_endpoint, body, headers)
    document = _granted(reply, "Renewing the login", token.secrets_sent(body, headers))
    return token.read_tokens(document, now=now, asked=record.tokens.scopes, previous=record.tokens)


def _granted(reply: Answer, doing: str, sent: tuple[str, ...], advice: str = "") -> object:
    document = reply.json_object()
    if reply.status == 200 and document is None:
        raise GrantError(
            f"{doing} failed: what the authorization server answered cannot be read. {_AGAIN}",
            status=reply.status,
        )
    # threat: error-beside-a-token
    if reply.status != 200 or document is None or "error" in document:
        error = token.grant_error(
            reply.status, document, doing=doing, retry_after=reply.retry_after, sent=sent
        )
        if advice:
            error.args = (f"{error}. {advice}",)
        raise error
    return document


@discreet
def revoke(record: LoginRecord, http: Http) -> bool:
    """Revoke a login's tokens at the server (RFC 7009), the refresh token first.

    Returns:
        Whether the server confirmed it. A server without a revocation endpoint, or one that cannot
        be reached, leaves the tokens to expire.
    """
    if record.revocation_endpoint is None:
        return False
    held: list[tuple[Secret | None, str]] = [
        (record.tokens.refresh_token, "refresh_token"),
        (record.tokens.access_token, "access_token"),
    ]
    done = True
    for secret, hint in held:
        if secret is None:
            continue
        body, headers = token.revoke(secret, hint, record.registration)
        try:
            reply = http.post_form(record.revocation_endpoint, body, headers)
            if reply.status in (400, 401) and "&client_secret=" not in body:
                # Measured: the MCP SDK's routes want the field here, if only empty.
                reply = http.post_form(
                    record.revocation_endpoint, body + "&client_secret=", headers
                )
        except ServerError:
            return False
        done = done and reply.status == 200
    return done
