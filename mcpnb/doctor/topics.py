"""Every check there is: its title, and the rule that it applies. The ids are for programs."""

from __future__ import annotations

from mcpnb.doctor.report import Check, Side, Verdict

__all__ = ["TOPICS", "found", "problem", "unknown", "warning"]

_MCP = "MCP 2026-07-28"

TOPICS: dict[str, tuple[str, str]] = {
    # The server
    "address": ("Address", "OAuth 2.1 section 1.5; RFC 8707 section 2"),
    "reach": ("Connection", "RFC 9110 section 4.3"),
    "server": ("MCP server", f"{_MCP}, transports; RFC 9728 section 5"),
    "challenge": ("Challenge", "RFC 9110 section 15.5.2; RFC 9728 section 5.1"),
    "resource-metadata": (
        "Protected-resource metadata",
        f"RFC 9728 section 3; {_MCP}, protected resource metadata discovery",
    ),
    "resource": ("Resource", "RFC 9728 section 3.3; RFC 8707 section 2"),
    # The authorization server
    "authorization-server": (
        "Authorization server",
        f"RFC 8414 section 3.1; {_MCP}, authorization server metadata discovery",
    ),
    "issuer": ("Issuer", f"RFC 8414 section 3.3; {_MCP}, authorization server discovery"),
    "endpoints": ("Endpoints", "RFC 8414 section 2; OAuth 2.1 section 1.5"),
    "pkce": ("PKCE", f"RFC 7636 section 4.2; {_MCP}, authorization code protection"),
    "iss": (
        "Issuer in answers",
        f"RFC 9207 section 3; RFC 9700 section 4.4; {_MCP}, authorization response validation",
    ),
    "grants": ("Grants", f"RFC 8414 section 2; {_MCP}, refresh tokens"),
    "client-auth": ("Client authentication", "RFC 8414 section 2; RFC 7591 section 2"),
    "revocation": ("Signing out", "RFC 7009 section 2; RFC 8414 section 2"),
    "registration": ("Client id", f"{_MCP}, client registration; RFC 7591"),
    "client-document": ("Client metadata document", f"{_MCP}, client ID metadata documents"),
    "redirect": ("Redirect", f"RFC 8252 section 7.3; {_MCP}, open redirection"),
    "scopes": ("Scopes", f"{_MCP}, scope selection strategy"),
    "credentials": ("Credentials", f"{_MCP}, authorization server binding (SEP-2352)"),
    "discovery": ("Discovery", f"{_MCP}, authorization server discovery"),
    # A sign-in, watched
    "sign-in": ("Sign-in", f"{_MCP}, authorization flow"),
    "sign-in-discovery": ("Sign-in, discovery", "RFC 9728 section 3; RFC 8414 section 3"),
    "sign-in-registration": ("Sign-in, registration", "RFC 7591 section 3"),
    "sign-in-request": (
        "Sign-in, request",
        "OAuth 2.1 section 4.1.1; RFC 7636 section 4.3; RFC 8707 section 2",
    ),
    "sign-in-answer": ("Sign-in, answer", "RFC 6749 section 4.1.2; RFC 9207 section 2.4"),
    "sign-in-token": (
        "Sign-in, exchange",
        "RFC 6749 sections 4.1.3 and 5.1; RFC 7636 section 4.5; RFC 8707 section 2",
    ),
    "sign-in-revocation": ("Sign-in, taken back", "RFC 7009 section 2"),
    # The login
    "login": ("Login", "RFC 6749 section 5.1"),
    "login-issuer": ("Login's issuer", f"{_MCP}, authorization server binding (SEP-2352)"),
    "renewal": ("Renewal", "RFC 6749 sections 5.2 and 6"),
    "client-secret": ("Client secret", "RFC 7591 section 3.2.1"),
    "granted": ("Granted scopes", "RFC 6749 sections 3.3 and 5.1"),
    "audience": ("Audience", f"RFC 8707 section 2; RFC 9068 section 4; {_MCP}, token audience"),
    "headers": ("Headers helper", "http_headers_helper of your configuration"),
    "rejections": ("Rejections", f"RFC 6750 section 3.1; {_MCP}, scope challenge handling"),
    "call": ("Call", f"RFC 6750 sections 2.1 and 3.1; {_MCP}, scope challenge handling"),
    # The machine
    "environment": ("Environment", "environment variables and files that tell the place"),
    "way-back": ("Way back", f"RFC 8252 section 7.3; RFC 8628; {_MCP}, open redirection"),
    "clock": ("Clock", "RFC 9110 section 6.6.1"),
    "python": ("Python", "the versions that mcpnb asks for"),
    "store": ("Store", "OAuth 2.1 section 7.1: tokens are stored securely"),
    "keyring": ("Keyring", "OAuth 2.1 section 7.1: tokens are stored securely"),
    "port": ("Callback port", "RFC 8252 section 7.3"),
    "network": ("Proxy and TLS", "environment variables"),
    "notebook": ("Notebook", "what can be imported"),
    "front-end": ("Front-end part", "Jupyter's data folders (jupyter_core)"),
}


def found(check: str, asked: str, answer: str, *, rule: str = "") -> Check:
    """Make a check that found all well."""
    title, usual = TOPICS[check]
    return Check(check, title, asked, answer, rule or usual)


def problem(  # noqa: PLR0913  the parts of a check
    check: str, asked: str, answer: str, side: Side, fix: str, *, rule: str = ""
) -> Check:
    """Make a check that found what stands in the way of a sign-in or a call."""
    return _not_well("problem", check, (asked, answer, rule), side, fix)


def warning(  # noqa: PLR0913  the parts of a check
    check: str, asked: str, answer: str, side: Side, fix: str, *, rule: str = ""
) -> Check:
    """Make a check that found what is not as it should be."""
    return _not_well("warning", check, (asked, answer, rule), side, fix)


def unknown(check: str, asked: str, answer: str, fix: str = "", side: Side | None = None) -> Check:
    """Make a check that cannot be decided without changing something."""
    return _not_well("unknown", check, (asked, answer, ""), side, fix or None)


def _not_well(
    verdict: Verdict, check: str, said: tuple[str, str, str], side: Side | None, fix: str | None
) -> Check:
    title, usual = TOPICS[check]
    asked, answer, rule = said
    return Check(check, title, asked, answer, rule or usual, verdict, fix, side)
