"""From the address to the server's first answer."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from mcpnb.doctor.looking import Look
from mcpnb.doctor.report import Check
from mcpnb.doctor.topics import found, problem, warning
from mcpnb.doctor.unreachable import CHECK_ADDRESS, why_unreachable
from mcpnb.errors import ConfigError
from mcpnb.oauth.http import Response
from mcpnb.oauth.metadata import protected_resource_urls
from mcpnb.oauth.urls import canonical_server, origin_of
from mcpnb.text import quote

__all__ = ["address", "reaching", "shown_address"]

_TRY_LATER = "Try again later; if it stays like this, tell the server's operator."


def shown_address(server: str) -> str:
    """Give an address without the password that may be in it."""
    try:
        parts = urlsplit(server.strip())
    except ValueError:
        return "an address that cannot be read"
    own, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"…@{host}").geturl() if at and own else server


def address(server: str) -> Check:
    """Look at the address alone; nobody is contacted."""
    asked = quote(shown_address(server))
    try:
        canonical = canonical_server(server)
    except ConfigError as error:
        fix = "Give the server's https address, without user name and password."
        if server.strip().lower().startswith("http://"):
            fix = (
                "Use the https address, without user name and password. If the server has none, "
                "its operator has to set up TLS."
            )
        return problem("address", asked, str(error), "your configuration", fix)
    host = urlsplit(canonical).hostname
    secure = "https" if canonical.startswith("https:") else f"http on loopback ({host})"
    return found("address", asked, f"{canonical}, {secure}")


def reaching(look: Look) -> tuple[list[Check], bool]:
    """Look at the connection and the first answer.

    Returns:
        The checks, and whether there is a server to look further at.
    """
    asked = f"POST {look.server}, without a token"
    first = look.first
    if first is None:
        error = look.http.refused or look.failure
        answer, side, fix = why_unreachable(error)
        return [problem("reach", asked, answer, side, fix)], False
    checks = [found("reach", asked, f"HTTP {first.status}")]
    if 300 <= first.status < 400:
        return [*checks, _redirected(look.server, first, asked)], False
    if first.status >= 500:
        answer = f"The server fails: HTTP {first.status}"
        return [*checks, problem("server", asked, answer, "server operator", _TRY_LATER)], False
    if not look.wants_sign_in and look.found is None and not _described(look):
        answer = str(look.failure)
        return [
            *checks,
            problem("server", asked, answer, "your configuration", CHECK_ADDRESS),
        ], False
    return [*checks, *_answered(look, first, asked)], True


def _described(look: Look) -> bool:
    """Whether it failed only later than at the question whether it is an MCP server at all."""
    readings = (look.http.reading(url) for url in protected_resource_urls(look.server))
    return any(r.document is not None or r.error is not None for r in readings)


def _redirected(server: str, answer: Response, asked: str) -> Check:
    target = urljoin(server, answer.headers.get("location", ""))
    try:
        elsewhere = origin_of(target) != origin_of(server)
    except ValueError:
        elsewhere = True
    where = f"redirects to {'another origin' if elsewhere else 'another path'}, {quote(target)}"
    return problem(
        "server",
        asked,
        f"HTTP {answer.status}: the server {where}; a token is not sent after a redirect",
        "your configuration",
        f"If {quote(target)} is the server, use that address; else the operator has to answer at "
        "the address itself.",
        rule="RFC 9110 section 15.4; OAuth 2.1 section 7.5.2",
    )


def _answered(look: Look, first: Response, asked: str) -> list[Check]:
    if not look.wants_sign_in:
        needed = look.found is None or look.found.authorization_server is not None
        also = "but says how to sign in" if needed else "no sign-in is needed"
        return [found("server", asked, f"It answers without a token (HTTP {first.status}); {also}")]
    server = found("server", asked, f"It asks for a sign-in (HTTP {first.status})")
    return [server, _challenged(look, first, asked)]


def _challenged(look: Look, first: Response, asked: str) -> Check:
    challenge = look.challenge
    if challenge is None:
        schemes = "another scheme than Bearer" if first.challenges else "no WWW-Authenticate"
        return warning(
            "challenge",
            asked,
            f"HTTP {first.status} with {schemes}: clients have to guess where its metadata is",
            "server operator",
            "Send WWW-Authenticate: Bearer resource_metadata=“...” with each 401.",
        )
    named = challenge.params.get("resource_metadata")
    said = f"metadata at {quote(named)}" if named else "metadata at its well-known address"
    scopes = f", scope {quote(' '.join(challenge.scopes))}" if challenge.scopes else ""
    return found("challenge", asked, f"Bearer, {said}{scopes}")
