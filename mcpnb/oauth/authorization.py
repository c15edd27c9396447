"""The authorization request, and the one answer that belongs to it."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from mcpnb.errors import AnswerRefused, LoginDenied, ProtocolError
from mcpnb.oauth import models
from mcpnb.oauth.credentials import Registration
from mcpnb.oauth.models import AuthorizationServer, Secret
from mcpnb.text import quote

__all__ = ["AuthorizationRequest", "ValidatedResponse", "validate_response"]

_MAX_ANSWER = 16_384
_MAX_FIELDS = 64
_SINGLE = ("code", "state", "iss", "error")


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """One authorization request: what was sent, and what its answer is checked against.

    `server` is recorded here, beside verifier and state, before the browser leaves (RFC 9207; the
    specification's mix-up defence): the code goes to this server's token endpoint or nowhere.
    """

    server: AuthorizationServer
    registration: Registration
    redirect_uri: str
    resource: str
    scopes: tuple[str, ...]
    state: Secret
    verifier: Secret
    choose_account: bool = False
    """Whether the server is to ask who signs in, whoever its page remembers."""

    @classmethod
    def new(  # noqa: PLR0913  what a request is made of
        cls,
        server: AuthorizationServer,
        registration: Registration,
        *,
        redirect_uri: str,
        resource: str,
        scopes: tuple[str, ...],
        choose_account: bool = False,
    ) -> AuthorizationRequest:
        """Make a request with a fresh state and verifier (RFC 7636 section 4.1)."""
        return cls(
            server=server,
            registration=registration,
            redirect_uri=redirect_uri,
            resource=resource,
            scopes=scopes,
            # threat: guessable-state
            state=Secret(secrets.token_urlsafe(32)),
            # threat: guessable-state
            verifier=Secret(secrets.token_urlsafe(64)),
            choose_account=choose_account,
        )

    @property
    def nonce(self) -> Secret:
        """What tells it from every other one."""
        return self.state

    def without_scopes(self) -> AuthorizationRequest:
        """Make the request anew, leaving the scopes to the server."""
        return AuthorizationRequest.new(
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
            # OIDC Core section 11: without it the scope may be ignored silently.
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

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form, secrets included: only for an encrypting store."""
        return {
            "server": asdict(self.server),
            "registration": self.registration.to_dict(),
            "redirect_uri": self.redirect_uri,
            "resource": self.resource,
            "scopes": list(self.scopes),
            "state": self.state.reveal(),
            "verifier": self.verifier.reveal(),
            "choose_account": self.choose_account,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> AuthorizationRequest:
        """Read the JSON form back.

        Raises:
            KeyError: It is incomplete.
            TypeError: It is something else.
        """
        verifier = models.text(data, "verifier")
        if not verifier.isascii():
            raise TypeError("no verifier of ours")
        return cls(
            server=AuthorizationServer.from_dict(data["server"]),
            registration=Registration.from_dict(data["registration"]),
            redirect_uri=models.text(data, "redirect_uri"),
            resource=models.text(data, "resource"),
            scopes=models.texts(data, "scopes"),
            state=Secret(models.text(data, "state")),
            verifier=Secret(verifier),
            choose_account=bool(data.get("choose_account")),
        )


@dataclass(frozen=True, slots=True)
class ValidatedResponse:
    """A code that passed every check of `read_answer`: the only kind that is exchanged."""

    request: AuthorizationRequest
    code: Secret


def validate_response(text: str, request: AuthorizationRequest) -> ValidatedResponse:
    """Check a redirected address: place, parameters, ``state``, ``iss``, and then content.

    Args:
        text: The full address the browser was sent to, from a listener or pasted.
        request: The request that waits for it.

    Raises:
        AnswerRefused: It is not the answer to this request. The wait can go on.
        ProtocolError: It is, but from the wrong issuer (RFC 9207): nothing of it is used or shown.
        LoginDenied: The authorization server reports an error.
    """
    params = _params(text.strip(), request)
    given = params.get("state", "")
    # threat: csrf, login-fixation, forged-error
    # threat: answer-to-an-earlier-sign-in, open-redirect-at-the-callback
    if not hmac.compare_digest(given.encode(), request.state.reveal().encode()):
        raise AnswerRefused(
            "That address belongs to another sign-in (its “state” is not the one of this one). "
            "Finish the sign-in in the tab that was opened last."
        )
    # threat: error-of-another-issuer
    _check_issuer(params.get("iss"), request.server)
    # threat: error-beside-a-code
    if "error" in params:
        said = params.get("error_description") or ""
        detail = f": {quote(said)}" if said else ""
        raise LoginDenied(_denied(params["error"]) + detail, error=params["error"])
    # threat: implicit-answer
    if not params.get("code"):
        raise AnswerRefused("That address holds no code. Copy the whole address, to its end.")
    return ValidatedResponse(request, Secret(params["code"]))


def _params(text: str, request: AuthorizationRequest) -> dict[str, str]:
    if len(text) > _MAX_ANSWER:
        raise AnswerRefused("That text is too long to be the address of an answer.")
    # threat: bare-code
    if "://" not in text:
        raise AnswerRefused(
            "Paste the whole address that the browser ended at, beginning with http. A code "
            "alone is refused: without “state” and “iss” nobody can tell whether it belongs to "
            "this sign-in."
        )
    try:
        text.encode()  # a terminal hands on bytes that it cannot decode as lone surrogates
        parts, awaited = urlsplit(text), urlsplit(request.redirect_uri)
        place = (parts.scheme.lower(), (parts.netloc).lower(), parts.path)
        pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise AnswerRefused("That is not a readable address. Copy it again, whole.") from None
    own = dict(parse_qsl(awaited.query))
    # threat: answer-at-another-address
    if place != (awaited.scheme.lower(), awaited.netloc.lower(), awaited.path):
        if text.startswith(request.server.authorization_endpoint):
            raise AnswerRefused(
                "That is the address where the sign-in begins. Approve there first; then copy the "
                "address that the browser ends at."
            )
        raise AnswerRefused(
            f"That is not the address this sign-in waits for: {request.redirect_uri}"
        )
    params: dict[str, str] = {}
    for name, value in pairs:
        # threat: parameters-twice
        if name in _SINGLE and name in params:
            # RFC 6749 section 3.1: parameters must not be included more than once.
            raise AnswerRefused(f"That address holds “{name}” twice. It is not used.")
        params.setdefault(name, value)
    # threat: mix-up-without-iss
    if any(params.get(k) != v for k, v in own.items()):
        raise AnswerRefused(
            f"That is not the address this sign-in waits for: {request.redirect_uri}"
        )
    return params


def _check_issuer(given: str | None, server: AuthorizationServer) -> None:
    # RFC 9207 section 2.4: compared as received, also where the server does not announce it, and
    # before anything of an error answer is shown.
    # threat: mix-up-missing-iss
    if given is None and server.iss_in_response:
        raise ProtocolError(
            "The answer does not say which authorization server it is from, although this one "
            "announces that it always does. It was not used.",
            rule="RFC 9207 section 2.4",
        )
    # threat: mix-up, iss-that-looks-alike
    if given is not None and given != server.issuer:
        raise ProtocolError(
            "The answer came from another authorization server than the one asked. It was not "
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
