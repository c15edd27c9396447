"""Requests to the token and revocation endpoints, and the validation of their responses."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote_plus, unquote_plus

from authlib.oauth2.rfc6749.parameters import prepare_token_request
from authlib.oauth2.rfc7009 import prepare_revoke_token_request

from mcpnb.errors import GrantError
from mcpnb.oauth.authorization import AuthorizationRequest, ValidatedResponse
from mcpnb.oauth.credentials import LoginRecord, Registration, Tokens
from mcpnb.oauth.models import Secret, ServerConfig
from mcpnb.oauth.scopes import named
from mcpnb.text import MASK, quote

if TYPE_CHECKING:
    from mcpnb.oauth.device import DeviceRequest


Request = tuple[str, dict[str, str]]
"""A form body and the headers that go with it."""

_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
# RFC 6750 section 2.1 (b64token), widened to what RFC 6749 appendix A.12 allows: no line breaks,
# ever.
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")
_VISIBLE = re.compile(r"[\x20-\x7e]+")
_MAX_LIFETIME = 10 * 365 * 86_400
_SECRETS = ("client_secret", "code", "code_verifier", "device_code", "refresh_token", "token")
_SHORTEST = 6
"""Characters of a secret that is looked for: a shorter one would be found in any text."""


# Requests


def exchange(response: ValidatedResponse) -> Request:
    """Make the request that turns a validated code into tokens (RFC 6749 4.1.3, RFC 7636 4.5)."""
    request = response.request
    body = prepare_token_request(
        "authorization_code",
        redirect_uri=request.redirect_uri,
        code=response.code.reveal(),
        # threat: code-injection
        code_verifier=request.verifier.reveal(),
        # threat: token-for-another-audience
        resource=request.resource,
    )
    return authenticated(body, request.registration)


def refresh(record: LoginRecord) -> Request:
    """Make the refresh request (RFC 6749 section 6), with ``resource`` as at sign-in (RFC 8707).

    No ``scope``: left out it means “as granted”, and servers refuse a wider one.

    Raises:
        GrantError: The login has no refresh token.
    """
    token = record.tokens.refresh_token
    if token is None:
        raise GrantError("This login has no refresh token.", error="invalid_grant")
    body = prepare_token_request(
        # threat: token-for-another-audience, scope-widening-at-refresh
        "refresh_token",
        refresh_token=token.reveal(),
        resource=record.resource,
    )
    return authenticated(body, record.registration)


def revoke(token: Secret, hint: str, registration: Registration) -> Request:
    """Make a revocation request (RFC 7009 section 2.1)."""
    body, _ = prepare_revoke_token_request(token.reveal(), hint)
    return authenticated(body, registration)


def authenticated(body: str, registration: Registration) -> Request:
    """Add the client authentication to a form (RFC 6749 section 2.3)."""
    headers = dict(_FORM)
    secret = registration.client_secret
    # With Basic, too: it is no second authentication (RFC 6749 section 3.2.1), and some servers
    # look the client up by it first (measured with the MCP SDK's own routes).
    body += f"&client_id={quote_plus(registration.client_id)}"
    if registration.auth_method == "client_secret_basic" and secret is not None:
        # RFC 6749 section 2.3.1: both parts are form-encoded first (authlib's own does not do it).
        pair = f"{quote_plus(registration.client_id)}:{quote_plus(secret.reveal())}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return body, headers
    # threat: secret-sent-another-way
    if registration.auth_method == "client_secret_post" and secret is not None:
        body += f"&client_secret={quote_plus(secret.reveal())}"
    return body, headers


# Responses


def read_tokens(
    document: Any,
    *,
    now: float,
    asked: tuple[str, ...],
    previous: Tokens | None = None,
) -> Tokens:
    """Validate a token response (RFC 6749 section 5.1) and make its times absolute.

    Args:
        document: The JSON body.
        now: When the request was sent, seconds since the epoch (a slow response expires early).
        asked: The scopes asked for, which apply if the response names none.
        previous: The tokens that were refreshed: a missing refresh token, scope or lifetime stays.

    Raises:
        GrantError: The response is no usable bearer token.
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
    lifetime = _seconds(document.get("expires_in"))
    if lifetime is None and previous is not None:
        lifetime = previous.lifetime
    if isinstance(scope, str) and scope.strip():
        # threat: scopes-that-are-none
        scopes = named(scope)
    else:
        scopes = previous.scopes if previous else asked
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
    request: AuthorizationRequest | DeviceRequest,
    tokens: Tokens,
    config: ServerConfig,
    *,
    now: float,
) -> LoginRecord:
    """Return all that a login needs from now on: after a restart nothing is discovered again.

    Args:
        request: What was asked for, and of whom.
        tokens: What was granted.
        config: The server, by its canonical URL, and the person's label.
        now: Seconds since the epoch.
    """
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


def secrets_sent(body: str, headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets of a request, as sent and decoded: an error may repeat them."""
    found = [value for name, value in parse_qsl(body) if name in _SECRETS]
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    if scheme == "Basic":
        found += [given, unquote_plus(base64.b64decode(given).decode().partition(":")[2])]
    found += [quote_plus(value) for value in found]
    return tuple(sorted({s for s in found if len(s) >= _SHORTEST}, key=len, reverse=True))


def grant_error(
    status: int,
    document: Any,
    *,
    doing: str,
    retry_after: float | None,
    sent: tuple[str, ...] = (),
) -> GrantError:
    """Read an error response by its code, whatever the status (RFC 6749 section 5.2).

    Args:
        status: The HTTP status.
        document: The JSON body, or `None` if there was none.
        doing: What failed, for the message.
        retry_after: Seconds from ``Retry-After``.
        sent: Secrets of the request: they are left out, wherever the response has them.
    """
    body = document if isinstance(document, dict) else {}
    error = body.get("error")
    code = error if isinstance(error, str) else ""
    words = str(body.get("error_description") or code or f"HTTP {status}")
    for secret in sent:
        # threat: secret-in-an-error
        code, words = code.replace(secret, MASK), words.replace(secret, MASK)
    return GrantError(
        f"{doing} was refused by the authorization server: {quote(words)}",
        error=code,
        status=status,
        retry_after=retry_after,
    )
