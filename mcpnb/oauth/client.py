"""The requests of an OAuth client, and what it takes of their responses.

Each raises `GrantError` if the authorization server refuses or its response cannot be used, and
`ServerUnreachable` if there is no response; ``sent`` tells whether it may have got the request.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping
from functools import partial
from urllib.parse import quote_plus, urlencode

from mcpnb.errors import GrantError, ServerError, ServerUnreachable
from mcpnb.oauth import registration as registering
from mcpnb.oauth.authorization import (
    AuthorizationRequest,
    DeviceRequest,
    ValidatedResponse,
    device_endpoint,
    read_device_request,
)
from mcpnb.oauth.credentials import LoginRecord, Registration, Tokens
from mcpnb.oauth.http import Http, Response
from mcpnb.oauth.models import AuthorizationServer, Secret, ServerConfig
from mcpnb.oauth.scopes import named
from mcpnb.scrub import scrub_traceback
from mcpnb.text import MASK, quote

_AGAIN = "Try again in a moment. If it stays so, that server is at fault."
# RFC 6750 section 2.1 (b64token), widened to what RFC 6749 appendix A.12 allows: no line breaks,
# ever.
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")
_VISIBLE = re.compile(r"[\x20-\x7e]+")
_MAX_LIFETIME = 10 * 365 * 86_400
_SECRETS = ("code", "code_verifier", "device_code", "refresh_token", "token")
_SHORTEST = 6
"""Characters of a secret that is looked for: a shorter one would be found in any text."""

Fields = Mapping[str, str]
"""The fields of a form. Those with no text in them are not sent."""


# Requests


@scrub_traceback
def register(
    server: AuthorizationServer, redirect_uri: str | None, scopes: tuple[str, ...], http: Http
) -> Registration:
    """Register a client dynamically (RFC 7591); again without ``scope`` if that is refused.

    Without a redirect it is a client for the device grant.
    """
    endpoint = server.registration_endpoint
    if endpoint is None:
        raise GrantError("The authorization server offers no dynamic registration.")
    headers = {"Content-Type": "application/json"}
    asked = registering.metadata(redirect_uri, server, scopes)
    response = http.send("POST", endpoint, headers=headers, content=json.dumps(asked))
    if response.status == 400 and "scope" in asked:
        # Measured: servers refuse the whole registration for one scope they do not list. Without
        # it, the client gets the server's default set and asks for scopes at the authorization.
        without = {name: value for name, value in asked.items() if name != "scope"}
        retried = http.send("POST", endpoint, headers=headers, content=json.dumps(without))
        if retried.status in (200, 201):
            asked, response = without, retried
    if response.status == 429:
        raise grant_error(response, "Registration (too many of late)")
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
    """Exchange a validated code for tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.5)."""
    now, request = time.time(), response.request
    fields = {
        "grant_type": "authorization_code",
        "redirect_uri": request.redirect_uri,
        "code": response.code.reveal(),
        # threat: code-injection
        "code_verifier": request.verifier.reveal(),
        # threat: token-for-another-audience
        "resource": request.resource,
    }
    endpoint, doing = request.server.token_endpoint, "Exchanging the code"
    post = partial(
        _post, endpoint, fields, request.registration, doing, http, advice="Sign in again."
    )
    try:
        document = post()
    except ServerUnreachable as error:
        if error.sent:
            raise
        document = post()  # the first one never arrived: the code is unused
    return read_tokens(document, now=now, asked=request.scopes)


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
    """
    now, fields = time.time(), {"scope": " ".join(scopes), "resource": resource}
    doing = "Signing in on another device"
    document = _post(device_endpoint(server), fields, registration, doing, http)
    return read_device_request(document, server, registration, resource, scopes, now=now)


@scrub_traceback
def poll_device(request: DeviceRequest, http: Http) -> Tokens:
    """Ask whether the person has approved by now (RFC 8628 section 3.4).

    Raises:
        GrantError: Not yet (``authorization_pending``, ``slow_down``), or never.
    """
    now, endpoint = time.time(), request.server.token_endpoint
    fields = {
        "grant_type": registering.GRANT,
        "device_code": request.device_code.reveal(),
        "resource": request.resource,
    }
    doing = "Signing in on another device"
    document = _post(endpoint, fields, request.registration, doing, http)
    return read_tokens(document, now=now, asked=request.scopes)


@scrub_traceback
def refresh(record: LoginRecord, http: Http) -> Tokens:
    """Get fresh tokens with the refresh token (RFC 6749 section 6).

    With ``resource`` as at the sign-in (RFC 8707). No ``scope``: left out it means “as granted”,
    and servers refuse a wider one.
    """
    now, old = time.time(), record.tokens
    if old.refresh_token is None:
        raise GrantError("This login has no refresh token.", error="invalid_grant")
    fields = {
        "grant_type": "refresh_token",
        "refresh_token": old.refresh_token.reveal(),
        # threat: token-for-another-audience
        "resource": record.resource,
    }
    doing = "Renewing the login"
    document = _post(record.token_endpoint, fields, record.registration, doing, http)
    return read_tokens(document, now=now, asked=old.scopes, previous=old)


@scrub_traceback
def revoke(record: LoginRecord, http: Http) -> bool:
    """Revoke a login's tokens (RFC 7009), and return whether the server confirmed it.

    Without a revocation endpoint, or if the server cannot be reached, they are left to expire.
    """
    endpoint, done = record.revocation_endpoint, True
    if endpoint is None:
        return False
    for secret, hint in (
        (record.tokens.refresh_token, "refresh_token"),
        (record.tokens.access_token, "access_token"),
    ):
        if secret is None:
            continue
        fields = {"token": secret.reveal(), "token_type_hint": hint}
        body, headers = authenticated(fields, record.registration)
        try:
            response = http.send("POST", endpoint, headers=headers, content=body)
            if response.status in (400, 401) and "&client_secret=" not in body:
                # Measured: the MCP SDK's routes want the field here, even if it is empty.
                body += "&client_secret="
                response = http.send("POST", endpoint, headers=headers, content=body)
        except ServerError:
            return False
        done = done and response.status == 200
    return done


def _post(  # noqa: PLR0913  a form, and where it goes
    endpoint: str,
    fields: Fields,
    registration: Registration,
    doing: str,
    http: Http,
    *,
    advice: str = "",
) -> object:
    """Send a form to an authorization server and return the JSON object of its consent."""
    body, headers = authenticated(fields, registration)
    response = http.send("POST", endpoint, headers=headers, content=body)
    document = response.json_object()
    if response.status == 200 and document is None:
        raise GrantError(
            f"{doing} failed: the authorization server's response cannot be read. {_AGAIN}",
            status=response.status,
        )
    # threat: error-beside-a-token
    if response.status != 200 or document is None or "error" in document:
        raise grant_error(response, doing, sent=_secrets(fields, registration), advice=advice)
    return document


def authenticated(fields: Fields, registration: Registration) -> tuple[str, dict[str, str]]:
    """Return a form with the client authentication (RFC 6749 section 2.3), and its headers."""
    secret, method = registration.client_secret, registration.auth_method
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    form = {name: value for name, value in fields.items() if value}
    # With Basic, too: it is no second authentication (RFC 6749 section 3.2.1), and some servers
    # look the client up by it first (measured with the MCP SDK's own routes).
    form["client_id"] = registration.client_id
    if method == "client_secret_basic" and secret is not None:
        headers["Authorization"] = f"Basic {_basic(registration, secret)}"
    # threat: secret-sent-another-way
    if method == "client_secret_post" and secret is not None:
        form["client_secret"] = secret.reveal()
    return urlencode(form), headers


def _basic(registration: Registration, secret: Secret) -> str:
    # RFC 6749 section 2.3.1: both parts are form-encoded first (authlib's own does not do it).
    pair = f"{quote_plus(registration.client_id)}:{quote_plus(secret.reveal())}"
    return base64.b64encode(pair.encode()).decode()


def _secrets(fields: Fields, registration: Registration) -> tuple[str, ...]:
    """Return the secrets of a request, as sent and decoded: an error may repeat them."""
    found = [value for name, value in fields.items() if name in _SECRETS]
    if (secret := registration.client_secret) is not None:
        found += [secret.reveal(), _basic(registration, secret)]
    found += [quote_plus(value) for value in found]
    return tuple(sorted({s for s in found if len(s) >= _SHORTEST}, key=len, reverse=True))


# Responses


def grant_error(
    response: Response, doing: str, *, sent: tuple[str, ...] = (), advice: str = ""
) -> GrantError:
    """Read an error response by its code, whatever the status (RFC 6749 section 5.2).

    `doing` and `advice` are for the message. Secrets that were `sent` are left out of it.
    """
    body = response.json_object() or {}
    error = body.get("error")
    code = error if isinstance(error, str) else ""
    words = str(body.get("error_description") or code or f"HTTP {response.status}")
    for secret in sent:
        # threat: secret-in-an-error
        code, words = code.replace(secret, MASK), words.replace(secret, MASK)
    message = f"{doing} was refused by the authorization server: {quote(words)}"
    return GrantError(
        f"{message}. {advice}" if advice else message,
        error=code,
        status=response.status,
        retry_after=response.retry_after,
    )


def read_tokens(
    document: object, *, now: float, asked: tuple[str, ...], previous: Tokens | None = None
) -> Tokens:
    """Validate a token response (RFC 6749 section 5.1) and make its times absolute.

    Args:
        document: The JSON body.
        now: When the request was sent, seconds since the epoch (a slow response expires early).
        asked: The scopes asked for, which apply if the response names none.
        previous: The tokens that were refreshed: a missing refresh token, scope or lifetime stays.
    """
    # threat: answer-without-a-token
    if not isinstance(document, dict):
        raise GrantError("The token endpoint's response is not a JSON object.")
    access = document.get("access_token")
    # threat: token-that-adds-a-header
    if not isinstance(access, str) or not _HEADER_SAFE.fullmatch(access):
        raise GrantError("The token endpoint's response holds no usable access token.")
    kind = document.get("token_type", "bearer")
    # threat: token-type
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise GrantError(f"The server gave a token of type {quote(kind)}; only Bearer can be used.")
    refresh_token = document.get("refresh_token")
    scope = document.get("scope")
    scopes = previous.scopes if previous else asked
    if isinstance(scope, str) and scope.strip():
        # threat: scopes-that-are-none
        scopes = named(scope)
    lifetime = _seconds(document.get("expires_in")) or (previous.lifetime if previous else None)
    return Tokens(
        access_token=Secret(access),
        obtained_at=now,
        expires_at=None if lifetime is None else now + lifetime,
        refresh_token=Secret(refresh_token)
        # threat: refresh-token-unfit-to-send
        if isinstance(refresh_token, str) and _VISIBLE.fullmatch(refresh_token)
        # threat: refresh-token-lost
        else (previous.refresh_token if previous else None),
        scopes=scopes,
    )


def _seconds(value: object) -> float | None:
    # A number in the specification; some servers send it as a string. Nonsense counts as missing.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    # threat: absurd-lifetime
    return min(seconds, _MAX_LIFETIME) if seconds > 0 else None


def login_record(
    request: AuthorizationRequest | DeviceRequest, tokens: Tokens, config: ServerConfig
) -> LoginRecord:
    """Return all that a login needs from now on: after a restart nothing is discovered again."""
    now = time.time()
    return LoginRecord(
        server=config.url,
        account=config.account,
        resource=request.resource,
        registration=request.registration,
        token_endpoint=request.server.token_endpoint,
        revocation_endpoint=request.server.revocation_endpoint,
        tokens=tokens,
        # Milliseconds as the first generation: it only ever rises, across sign-outs too.
        generation=int(now * 1000),
        requested_scopes=request.scopes or tokens.scopes,
        signed_in_at=now,
    )
