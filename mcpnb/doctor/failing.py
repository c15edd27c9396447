"""Why a sign-in failed at the step where it did, whose side that is on, and what to do."""

from __future__ import annotations

from typing import NamedTuple

from mcpnb.doctor.report import Side
from mcpnb.doctor.unreachable import Why, why_unreachable
from mcpnb.errors import (
    ClientIdRequired,
    ConfigError,
    GrantError,
    LoginDenied,
    McpnbError,
    ProtocolError,
    ServerUnreachable,
    StoreError,
)
from mcpnb.oauth.authorization import AuthorizationRequest
from mcpnb.text import quote

__all__ = ["Failure", "failure"]

_OPERATOR: Side = "server operator"
_OWN: Side = "your configuration"
_LATER = "Try again in a moment; if it stays like this, tell the server's operator."
_BY_HAND = (
    "Register mcpnb at the authorization server by hand, with this redirect address, and give the "
    "client id (--client-id, or oauth.client_id in the configuration)."
)


class Failure(NamedTuple):
    """What is to be said of the step at which a sign-in ended."""

    said: str
    side: Side
    fix: str
    rule: str = ""


def failure(
    error: McpnbError, step: str, request: AuthorizationRequest | None, unanswered: Why | None
) -> Failure:
    """Explain an error.

    Args:
        error: How the sign-in ended.
        step: The step at which it did.
        request: The authorization request, if it had come so far.
        unanswered: Why the last request brought no answer, if it brought none.
    """
    match error:
        case ServerUnreachable():
            why = unanswered or why_unreachable(error)
            return Failure(why.what, why.side, why.fix)
        case ProtocolError():
            return _broken_rule(error, step, request)
        case LoginDenied():
            return _denied(error, request)
        case GrantError():
            refused = _not_registered if step == "sign-in-registration" else _not_exchanged
            return refused(error, request)
    return _of_our_own(error)


def _of_our_own(error: McpnbError) -> Failure:
    if isinstance(error, StoreError):
        fix = "See “Store” and “Keyring”. What had been granted was taken back, if anything."
        return Failure(str(error), "this machine", fix)
    if isinstance(error, ClientIdRequired | ConfigError):
        return Failure(str(error), _OWN, "See “Client id”, and do what the message says.")
    return Failure(str(error), _OPERATOR, "See what the checks above say of it.")


def _broken_rule(error: ProtocolError, step: str, request: AuthorizationRequest | None) -> Failure:
    if step != "sign-in-answer" or request is None:
        return Failure(str(error), _OPERATOR, "See what the checks above say of it.", error.rule)
    return Failure(
        str(error),
        _OPERATOR,
        f"Send iss={quote(request.server.issuer)} with every answer, errors included, letter for "
        "letter as in “issuer” of the metadata; or no iss at all, and announce no "
        "authorization_response_iss_parameter_supported. If you don't know where that answer came "
        "from, do not sign in there: it may be an attack (mix-up).",
        error.rule,
    )


def _denied(error: LoginDenied, request: AuthorizationRequest | None) -> Failure:
    scopes = " ".join(request.scopes) if request else ""
    resource = quote(request.resource) if request else "the resource"
    known: dict[str, Failure] = {
        "access_denied": Failure(
            "",
            "your login",
            "If it was not you who declined, ask whether your account may use this server.",
        ),
        "invalid_scope": Failure(
            "",
            _OWN,
            f"Asked for: {quote(scopes)}. Ask for what the server has: --scopes, or scopes = "
            "[...] in the configuration. The operator should announce only scopes that it grants."
            if scopes
            else "No scope was asked for, and this server wants one: name it with --scopes, or as "
            "scopes = [...] in the configuration. The operator should announce it.",
            "RFC 6749 sections 3.3 and 4.1.2.1",
        ),
        "invalid_target": Failure(
            "",
            _OPERATOR,
            f"The authorization server has to know the MCP server by “resource” {resource}. If it "
            "knows it under another name, give that (oauth_resource, resource=).",
            "RFC 8707 section 2",
        ),
        "unauthorized_client": Failure(
            "",
            _OPERATOR,
            "Allow this client the authorization code grant, or give another client id.",
        ),
        "temporarily_unavailable": Failure("", _OPERATOR, _LATER),
        "server_error": Failure("", _OPERATOR, _LATER),
    }
    usual = Failure(
        "", _OPERATOR, "Look up the error code at the server; its log has the whole reason."
    )
    rule = "RFC 6749 section 4.1.2.1"
    found = known.get(error.error, usual)
    return found._replace(said=str(error), rule=found.rule or rule)


def _not_registered(error: GrantError, request: AuthorizationRequest | None) -> Failure:
    del request
    rule, said = "RFC 7591 section 3.2.2", str(error)
    if error.error == "invalid_redirect_uri":
        return Failure(
            f"The redirect address is not allowed. {said}",
            _OPERATOR,
            "Allow http://127.0.0.1 on any port for native clients (RFC 8252 section 7.3). Until "
            f"then: {_BY_HAND} Or give an address that is allowed (--callback-url).",
            f"{rule}; RFC 8252 section 7.3",
        )
    if error.status in (401, 403):
        return Failure(f"Registration is not open to everybody. {said}", _OWN, _BY_HAND, rule)
    if error.status == 429 or error.status >= 500:
        return Failure(said, _OPERATOR, _LATER, rule)
    fix = f"Accept what was sent, as RFC 7591 has it. Until then: {_BY_HAND}"
    return Failure(said, _OPERATOR, fix, rule)


def _not_exchanged(error: GrantError, request: AuthorizationRequest | None) -> Failure:
    said, rule = str(error), "RFC 6749 section 5.2"
    if error.error == "invalid_client":
        return _client_unknown(said, request)._replace(rule=rule)
    if error.status == 429 or error.status >= 500:
        return Failure(said, _OPERATOR, _LATER, rule)
    code_grant = "Allow this client the authorization code grant at the token endpoint."
    known: dict[str, Failure] = {
        "invalid_grant": Failure(
            f"The code was not accepted. {said}",
            _OPERATOR,
            "Sign in again, without waiting between approving and pasting: a code is good once, "
            "and for a short time. If it stays like this, the server compares redirect_uri, "
            "client_id or code_verifier (S256) wrongly: its log says which.",
            f"{rule}; RFC 7636 section 4.6",
        ),
        "invalid_target": Failure(
            said,
            _OPERATOR,
            "Take the same “resource” at the token endpoint as in the authorization request.",
            "RFC 8707 section 2.2",
        ),
        "unauthorized_client": Failure(said, _OPERATOR, code_grant, rule),
        "unsupported_grant_type": Failure(said, _OPERATOR, code_grant, rule),
        "": Failure(
            said,
            _OPERATOR,
            "Answer with HTTP 200 and a JSON object: “access_token”, “token_type”: “Bearer”, and "
            "“expires_in”.",
            "RFC 6749 section 5.1",
        ),
    }
    usual = "Look up the error code at the server; its log has the whole reason."
    return known.get(error.error) or Failure(said, _OPERATOR, usual, rule)


def _client_unknown(said: str, request: AuthorizationRequest | None) -> Failure:
    said = f"The client is not known, or its secret is wrong or has ended. {said}"
    if request is not None and request.registration.method == "preregistered":
        return Failure(
            said,
            _OWN,
            "Compare client id and secret with those at the authorization server, and make a new "
            "secret if it has ended (oauth.client_secret_env_var).",
        )
    return Failure(said, "your login", "Sign in again: mcpnb registers anew then.")
