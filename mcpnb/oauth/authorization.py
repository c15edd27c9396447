"""The two requests that a person approves, and the response that belongs to each.

In a browser (RFC 6749 section 4.1), or with a code on another device (RFC 8628).
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any, TypeGuard
from urllib.parse import SplitResult, parse_qsl, urlsplit

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from mcpnb.errors import (
    AnswerRefused,
    GrantError,
    LoginDenied,
    LoginError,
    ProtocolError,
    ServerError,
)
from mcpnb.oauth.credentials import Registration
from mcpnb.oauth.models import AuthorizationServer, Secret
from mcpnb.oauth.registration import GRANT
from mcpnb.oauth.urls import require_endpoint
from mcpnb.text import quote, sanitize

_LONGEST = 16_384
_MOST_FIELDS = 64
_SINGLE = ("code", "state", "iss", "error")
_INTERVAL = 5.0
"""Seconds between two polls if the server names none (RFC 8628 section 3.2)."""
_LIFETIME = 600.0
_LONGEST_CODE = 64


# In a browser


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """One authorization request: what was sent, and what its response is checked against.

    `server` is recorded with verifier and state before the browser leaves (RFC 9207; the
    specification's mix-up defence): the code goes to this server's token endpoint or nowhere.

    Raises:
        TypeError: The verifier cannot be one (RFC 7636 section 4.1).
    """

    server: AuthorizationServer
    registration: Registration
    redirect_uri: str
    resource: str
    scopes: tuple[str, ...]
    # threat: guessable-state
    state: Secret = field(default_factory=lambda: Secret(secrets.token_urlsafe(32)))
    # threat: guessable-state
    verifier: Secret = field(default_factory=lambda: Secret(secrets.token_urlsafe(64)))
    """Fresh like `state` for each request (RFC 7636 section 4.1)."""
    choose_account: bool = False
    """Whether the server has to ask who signs in, even if it remembers somebody."""

    def __post_init__(self) -> None:
        if not self.verifier.reveal().isascii():
            raise TypeError("not a verifier")

    @property
    def user_code(self) -> None:
        """No code is entered anywhere."""
        return

    @property
    def nonce(self) -> Secret:
        """What distinguishes it from every other request."""
        return self.state

    def without_scopes(self) -> AuthorizationRequest:
        """Return a new request that leaves the scopes to the server."""
        return AuthorizationRequest(
            self.server,
            self.registration,
            redirect_uri=self.redirect_uri,
            resource=self.resource,
            scopes=(),
            choose_account=self.choose_account,
        )

    @property
    def url(self) -> str:
        """The address that the person opens. It holds ``state``, never the verifier."""
        prompts = ["select_account"] if self.choose_account else []  # OIDC Core section 3.1.2.1
        if "offline_access" in self.scopes:
            # OIDC Core section 11: without it, the scope may be ignored silently.
            prompts.append("consent")
        extra = {"prompt": " ".join(prompts)} if prompts else {}
        url: str = prepare_grant_uri(
            self.server.authorization_endpoint,
            client_id=self.registration.client_id,
            response_type="code",
            redirect_uri=self.redirect_uri,
            scope=" ".join(self.scopes) or None,
            state=self.state.reveal(),
            # threat: code-injection
            code_challenge=create_s256_code_challenge(self.verifier.reveal()),
            # threat: pkce-plain
            code_challenge_method="S256",
            # threat: token-for-another-audience
            resource=self.resource,
            **extra,
        )
        return url


@dataclass(frozen=True, slots=True)
class ValidatedResponse:
    """A code that passed every check of `validate_response`: the only kind that is exchanged."""

    request: AuthorizationRequest
    code: Secret


def validate_response(text: str, request: AuthorizationRequest) -> ValidatedResponse:
    """Check a redirected address: place, parameters, ``state``, ``iss``, and then content.

    Raises:
        AnswerRefused: It is not the response to this request. The wait can go on.
        ProtocolError: It is, but from the wrong issuer (RFC 9207): nothing of it is used or shown.
        LoginDenied: The authorization server reports an error.
    """
    params = _params(text.strip(), request)
    given = params.get("state", "")
    # threat: csrf, login-fixation, forged-error
    # threat: answer-to-an-earlier-sign-in, open-redirect-at-the-callback
    if not hmac.compare_digest(given.encode(), request.state.reveal().encode()):
        raise AnswerRefused(
            "That address belongs to another sign-in: its “state” does not match. Finish the "
            "sign-in in the tab that was opened last."
        )
    # threat: error-of-another-issuer
    _check_issuer(params.get("iss"), request.server)
    # threat: error-beside-a-code
    if "error" in params:
        description = params.get("error_description") or ""
        detail = f": {quote(description)}" if description else ""
        raise LoginDenied(_denied(params["error"]) + detail, error=params["error"])
    # threat: implicit-answer
    if not params.get("code"):
        raise AnswerRefused("That address holds no code. Copy the whole address, to its end.")
    return ValidatedResponse(request, Secret(params["code"]))


def _params(text: str, request: AuthorizationRequest) -> dict[str, str]:
    if len(text) > _LONGEST:
        raise AnswerRefused("That text is too long to be the address that a sign-in ends at.")
    # threat: bare-code
    if "://" not in text:
        raise AnswerRefused(
            "Paste the whole address that the browser ended at, beginning with http. A code "
            "alone is refused: without “state” and “iss” nobody can tell whether it belongs to "
            "this sign-in."
        )
    try:
        text.encode()  # a terminal passes on bytes that it cannot decode as lone surrogates
        parts, awaited = urlsplit(text), urlsplit(request.redirect_uri)
        pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise AnswerRefused("That is not a readable address. Copy it again, whole.") from None
    elsewhere = AnswerRefused(
        f"That is not the address this sign-in waits for: {request.redirect_uri}"
    )
    # threat: answer-at-another-address
    if _place(parts) != _place(awaited):
        if text.startswith(request.server.authorization_endpoint):
            raise AnswerRefused(
                "That is the address where the sign-in begins. Approve there first; then copy the "
                "address that the browser ends at."
            )
        raise elsewhere
    params: dict[str, str] = {}
    for name, value in pairs:
        # threat: parameters-twice
        if name in _SINGLE and name in params:
            # RFC 6749 section 3.1: parameters must not be included more than once.
            raise AnswerRefused(f"That address holds “{name}” twice. It is not used.")
        params.setdefault(name, value)
    # threat: mix-up-without-iss
    if any(params.get(name) != value for name, value in parse_qsl(awaited.query)):
        raise elsewhere
    return params


def _place(parts: SplitResult) -> tuple[str, str, str]:
    return parts.scheme.lower(), parts.netloc.lower(), parts.path


def _check_issuer(given: str | None, server: AuthorizationServer) -> None:
    # RFC 9207 section 2.4: compared as received, also where the server does not announce it, and
    # before anything of an error response is shown.
    # threat: mix-up-missing-iss
    if given is None and server.iss_in_response:
        raise ProtocolError(
            "The response does not say which authorization server it is from, although this one "
            "announces that it always does. It was not used.",
            rule="RFC 9207 section 2.4",
        )
    # threat: mix-up, iss-that-looks-alike
    if given is not None and given != server.issuer:
        raise ProtocolError(
            "The response came from another authorization server than the one asked. It was not "
            "used.",
            rule="RFC 9207 section 2.4",
        )


def _denied(error: str) -> str:
    known = {
        "access_denied": "The sign-in was declined",
        "invalid_scope": "The authorization server does not grant the scopes asked for",
        "invalid_target": "The authorization server does not know this MCP server (resource)",
        "unauthorized_client": "The authorization server does not let this client sign in this way",
        "temporarily_unavailable": "The authorization server is busy; try again in a moment",
        "server_error": "The authorization server had an internal error; try again",
    }
    return known.get(error) or f"The authorization server refused with {quote(error, 80)}"


# On another device


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """One device authorization: what a person enters where, and how to poll for the result."""

    server: AuthorizationServer
    registration: Registration
    resource: str
    scopes: tuple[str, ...]
    device_code: Secret
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_at: float
    """Seconds since the epoch."""
    interval: float
    """Seconds between two polls, at least."""
    grant: str = GRANT
    """What tells it from an authorization request at rest."""

    @property
    def url(self) -> str:
        """The address to open: with the code in it, if the server gives such a one."""
        return self.verification_uri_complete or self.verification_uri

    @property
    def redirect_uri(self) -> None:
        """No browser is sent anywhere."""
        return

    @property
    def nonce(self) -> Secret:
        """What distinguishes it from every other request."""
        return self.device_code


def device_endpoint(server: AuthorizationServer) -> str:
    """Return the device authorization endpoint (RFC 8628 section 4).

    Raises:
        LoginError: The server has none.
    """
    if server.device_authorization_endpoint is None:
        raise LoginError(
            f"The authorization server {quote(server.issuer)} offers no sign-in on another "
            "device. Sign in with a browser instead. If that runs on another machine, paste the "
            "address that it ends at."
        )
    return server.device_authorization_endpoint


def read_device_request(  # noqa: PLR0913  all that the response leaves out
    document: Any,
    server: AuthorizationServer,
    registration: Registration,
    resource: str,
    scopes: tuple[str, ...],
    *,
    now: float,
) -> DeviceRequest:
    """Validate the response to a request sent at `now` (RFC 8628 section 3.2).

    Raises:
        GrantError: Nobody could sign in with it.
    """
    found = document if isinstance(document, dict) else {}
    device_code, user_code = found.get("device_code"), found.get("user_code")
    # Google's name for it; RFC 8628 settled on the other.
    uri = found.get("verification_uri") or found.get("verification_url")
    complete = found.get("verification_uri_complete")
    # JSON can hold lone surrogates, which no form can.
    if not _is_text(device_code) or not device_code.isprintable():
        device_code = None
    if device_code is None or not _is_text(user_code) or not _is_page(uri):
        raise GrantError("The response of the device authorization endpoint is not complete.")
    return DeviceRequest(
        server=server,
        registration=registration,
        resource=resource,
        scopes=scopes,
        device_code=Secret(device_code),
        user_code=sanitize(user_code, _LONGEST_CODE),
        verification_uri=uri,
        verification_uri_complete=complete if _is_page(complete) else None,
        expires_at=now + (_number(found.get("expires_in")) or _LIFETIME),
        interval=_number(found.get("interval")) or _INTERVAL,
    )


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())


def _is_page(value: object) -> TypeGuard[str]:
    """Whether a person can be sent there: https, or http on this machine, and one line."""
    try:
        # threat: dangerous-device-page
        return bool(require_endpoint(value, "verification_uri"))
    except ServerError:
        return False


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 86_400:
        return None
    return float(value)
