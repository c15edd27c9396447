"""What the authorization server announces that it can do."""

from __future__ import annotations

from mcpnb.doctor.authorizing import Authorizing
from mcpnb.doctor.looking import Look
from mcpnb.doctor.report import Check, Side
from mcpnb.doctor.topics import found, problem, unknown, warning
from mcpnb.errors import ServerError
from mcpnb.oauth.metadata import require_pkce
from mcpnb.oauth.models import AuthorizationServer
from mcpnb.oauth.scopes import chosen
from mcpnb.text import quote

__all__ = ["announcing"]

_OPERATOR: Side = "server operator"


def announcing(look: Look, at: Authorizing) -> list[Check]:
    """Look at PKCE, grants, issuer in answers, revocation and scopes."""
    if at.document is None:
        return []
    checks = [_pkce(look, at), _iss(at), _grants(at), _revocation(at)]
    return [*checks, *([_scopes(look, at.server)] if at.server else [])]


def _pkce(look: Look, at: Authorizing) -> Check:
    asked = "“code_challenge_methods_supported”"
    methods = at.strings("code_challenge_methods_supported")
    if methods is not None and "S256" in methods:
        return found("pkce", asked, ", ".join(methods[:5]))
    announced = AuthorizationServer(
        at.issuer,
        "",
        "",
        code_challenge_methods=None if methods is None else tuple(methods),
        url="x",
    )
    fix = "Announce “code_challenge_methods_supported”: [“S256”] (and check it, of course)."
    try:
        require_pkce(announced, allow_missing=look.config.allow_missing_pkce)
    except ServerError:
        if methods is None:
            said = "PKCE is not announced, so clients have to refuse: a stolen code could be used"
            fix += (
                " If you trust this server all the same, set allow_missing_pkce = true for it in "
                "your configuration."
            )
        else:
            offered = ", ".join(methods[:5]) or "no method"
            said = f"PKCE is announced without S256 ({quote(offered)}): that protects nobody"
        return problem("pkce", asked, said, _OPERATOR, fix)
    said = "PKCE is not announced; your configuration allows that (allow_missing_pkce)"
    return warning("pkce", asked, said, _OPERATOR, fix)


def _iss(at: Authorizing) -> Check:
    name = "authorization_response_iss_parameter_supported"
    if (at.document or {}).get(name) is True:
        return found("iss", f"“{name}”", "Answers carry the issuer")
    return warning(
        "iss",
        f"“{name}”",
        "Answers don't carry “iss”, which tells this authorization server from one that would mix "
        "it up with another. Where mcpnb registers itself, it takes a redirect address for this "
        "issuer alone instead",
        _OPERATOR,
        f"Send “iss” with every authorization response, and announce “{name}”: true.",
    )


def _grants(at: Authorizing) -> Check:
    asked = "“grant_types_supported”, “response_types_supported”"
    grants, responses = (
        at.strings("grant_types_supported"),
        at.strings("response_types_supported"),
    )
    if responses is not None and "code" not in responses:
        return problem(
            "grants",
            asked,
            "The response type “code” is not announced: no sign-in with a browser is possible",
            _OPERATOR,
            "Announce “response_types_supported”: [“code”].",
        )
    if grants is None:
        return unknown(
            "grants",
            asked,
            "Nothing is said of refresh tokens: whether a login renews itself shows at the sign-in",
            "Announce “grant_types_supported”: [“authorization_code”, “refresh_token”].",
            _OPERATOR,
        )
    if "authorization_code" not in grants:
        return problem(
            "grants",
            asked,
            "The authorization code grant is not announced: no sign-in with a browser is possible",
            _OPERATOR,
            "Announce “authorization_code” in “grant_types_supported”.",
        )
    if "refresh_token" not in grants:
        return warning(
            "grants",
            asked,
            "No refresh tokens are announced: somebody has to sign in again each time a token ends",
            _OPERATOR,
            "Give refresh tokens, and announce “refresh_token” in “grant_types_supported”.",
        )
    return found("grants", asked, "Authorization code and refresh token")


def _revocation(at: Authorizing) -> Check:
    if (at.document or {}).get("revocation_endpoint") is not None:
        return found("revocation", "“revocation_endpoint”", "Signing out revokes the login there")
    return warning(
        "revocation",
        "“revocation_endpoint”",
        "There is none: after signing out, tokens are good until they expire, whoever has them",
        _OPERATOR,
        "Offer token revocation (RFC 7009), and announce “revocation_endpoint”.",
    )


def _scopes(look: Look, server: AuthorizationServer) -> Check:
    challenged = look.challenge.scopes if look.challenge else None
    supported = look.found.scopes_supported if look.found else ()
    scopes, discovered = chosen(look.config.scopes, challenged, supported, server)
    if not scopes:
        return found("scopes", "challenge and metadata", "None are asked for: the server decides")
    whose = "as the server announces" if discovered else "as you configured"
    return found("scopes", "challenge and metadata", f"{quote(' '.join(scopes))}, {whose}")
