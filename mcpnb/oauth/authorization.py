"""The authorization request, and the one response that belongs to it."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, urlsplit

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from mcpnb.errors import AnswerRefused, LoginDenied, ProtocolError
from mcpnb.oauth.credentials import Registration
from mcpnb.oauth.models import AuthorizationServer, Secret
from mcpnb.text import quote

_LONGEST = 16_384
_MOST_FIELDS = 64
_SINGLE = ("code", "state", "iss", "error")


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

    Args:
        text: The full address the browser was sent to, from a listener or pasted.
        request: The request that waits for it.

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
