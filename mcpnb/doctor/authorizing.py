"""The authorization server's metadata: where it is, whose it is, and what it announces."""

from __future__ import annotations

from typing import Any

from mcpnb.doctor.describing import Described
from mcpnb.doctor.looking import Look, Reading
from mcpnb.doctor.report import Check, Side
from mcpnb.doctor.topics import found, problem, unknown, warning
from mcpnb.doctor.unreachable import why_unreachable
from mcpnb.errors import ServerError, ServerUnreachable
from mcpnb.oauth.metadata import authorization_server, authorization_server_urls
from mcpnb.oauth.models import AuthorizationServer
from mcpnb.oauth.urls import origin_of, require_endpoint, same_issuer
from mcpnb.text import quote

__all__ = ["Authorizing", "authorizing"]

_OPERATOR: Side = "server operator"


class Authorizing:
    """What was read of the authorization server that a sign-in would go to."""

    def __init__(
        self,
        issuer: str,
        document: dict[str, Any] | None = None,
        server: AuthorizationServer | None = None,
    ) -> None:
        self.issuer = issuer
        self.document = document
        """As it came, good or not."""
        self.server = server
        """As far as it can be read."""

    def strings(self, name: str) -> list[str] | None:
        """Give a member that is a list of strings; `None`: it says nothing of the kind."""
        value = (self.document or {}).get(name)
        value = value.split() if isinstance(value, str) else value
        return [str(v) for v in value[:200]] if isinstance(value, list) else None


def authorizing(look: Look, described: Described) -> tuple[list[Check], Authorizing]:
    """Look for the authorization server's metadata, and whose it is."""
    checks = _pinned(look, described)
    used = look.found.authorization_server if look.found else None
    issuer = described.issuers[0]
    if used is not None:
        issuer = next((i for i in described.issuers if same_issuer(i, used.issuer)), issuer)
    asked = f"authorization server {issuer}"
    try:
        require_endpoint(issuer, "authorization server")
    except ServerError as error:
        fix = "Name the issuer's https address in authorization_servers."
        checks.append(problem("authorization-server", asked, str(error), _OPERATOR, fix))
        return checks, Authorizing(issuer)
    readings: list[Reading] = []
    for url in authorization_server_urls(issuer):
        reading = look.http.reading(url)
        readings.append(reading)
        if reading.document is not None and (used is None or used.url in ("", url)):
            break
    last = readings[-1]
    if last.document is None:
        checks.append(_absent(look, described, issuer, readings))
        return checks, Authorizing(issuer, server=used)
    checks.append(_where(look, described, last))
    checks.append(_issuer(issuer, last.document.get("issuer"), last.url))
    checks.append(_endpoints(last.document, last.url))
    return checks, Authorizing(issuer, last.document, used or _read(last.document, last.url))


def _read(document: dict[str, Any], url: str) -> AuthorizationServer | None:
    try:
        return authorization_server(document, issuer=str(document.get("issuer")), url=url)
    except ServerError:
        return None


def _pinned(look: Look, described: Described) -> list[Check]:
    wanted = look.config.issuer
    if wanted is None or any(same_issuer(i, wanted) for i in described.issuers):
        return []
    if not described.names_them:
        return []
    said = ", ".join(quote(i) for i in described.issuers[:3])
    return [
        problem(
            "credentials",
            "“authorization_servers” of the protected-resource metadata",
            f"Your configuration gives credentials for {quote(wanted)}, and the server names "
            f"{said}: they are not sent there",
            "your configuration",
            "If the server has moved, give its new issuer, and credentials that were made there.",
        )
    ]


def _absent(look: Look, described: Described, issuer: str, readings: list[Reading]) -> Check:
    asked = ", ".join(f"GET {r.url}" for r in readings)
    for reading in readings:
        if isinstance(reading.error, ServerUnreachable):
            said, side, fix = why_unreachable(reading.error)
            said = f"The authorization server cannot be asked. {said}"
            return problem("authorization-server", f"GET {reading.url}", said, side, fix)
        if reading.error is not None:
            said = str(reading.error)
            elsewhere = "redirects to" in said
            return problem(
                "authorization-server",
                f"GET {reading.url}",
                said,
                _OPERATOR,
                "Serve the metadata at the issuer's own origin, without a redirect, or name the "
                "issuer at the other origin in authorization_servers."
                if elsewhere
                else "Serve the metadata there as a JSON object.",
            )
    if look.found is not None and not described.names_them:
        return unknown(
            "authorization-server",
            asked,
            "No metadata. The addresses of old servers would be tried: /authorize, /token and "
            "/register at the server's origin",
            "Serve authorization-server metadata (RFC 8414).",
            _OPERATOR,
        )
    return problem(
        "authorization-server",
        asked,
        f"The authorization server {quote(issuer)} has no metadata at any of its well-known "
        f"addresses ({'; '.join(r.said for r in readings)})",
        _OPERATOR,
        f"Serve the metadata of {quote(issuer)} at {quote(readings[0].url)}; if the issuer is "
        "another one, correct authorization_servers.",
    )


def _where(look: Look, described: Described, last: Reading) -> Check:
    asked = f"GET {last.url}"
    steps = look.found.steps if look.found else ()
    # What discovery itself wrote of those that it passed by.
    others = [s for s in steps if s.answer.startswith(("not used", "not usable"))]
    if others:
        said = "; ".join(f"{quote(s.request)} is {s.answer}" for s in others[:3])
        fix = "Mend that document too: another client may take it first."
        return warning("authorization-server", asked, f"Found here, but {said}", _OPERATOR, fix)
    if not described.names_them and look.http.reading(last.url).document and _has_prm(look):
        return warning(
            "authorization-server",
            asked,
            "The protected-resource metadata names no authorization server; the server's own "
            "origin is taken for it",
            _OPERATOR,
            "Name the issuer in “authorization_servers” of the protected-resource metadata.",
            rule="RFC 9728 section 2; MCP 2026-07-28, authorization server location",
        )
    return found("authorization-server", asked, f"Metadata found at {last.url}")


def _has_prm(look: Look) -> bool:
    return look.found is not None and look.found.protected_resource is not None


def _issuer(expected: str, said: object, url: str) -> Check:
    asked = f"“issuer” in {url}"
    if said == expected:
        return found("issuer", asked, f"{said}")
    fix = f"Set “issuer” to {quote(expected)}, or name {quote(said)} in authorization_servers."
    if not isinstance(said, str) or not said:
        answer = "The metadata names no issuer: none of it is used"
        return problem("issuer", asked, answer, _OPERATOR, f"Set “issuer” to {quote(expected)}.")
    differ = f"The metadata says {quote(said)}, and the server names {quote(expected)}"
    if said.rstrip("/") == expected.rstrip("/"):
        differ += ": one has a trailing slash and the other has none"
        if same_issuer(said, expected):
            differ += ". mcpnb accepts that after a bare origin; stricter clients don't"
            return warning("issuer", asked, differ, _OPERATOR, f"{fix} They have to be identical.")
        differ += ", which makes another issuer: none of it is used"
        return problem("issuer", asked, differ, _OPERATOR, f"{fix} They have to be identical.")
    try:
        elsewhere = origin_of(said) != origin_of(expected)
    except ValueError:
        elsewhere = False
    where = ", which is at another origin than this metadata" if elsewhere else ""
    return problem("issuer", asked, f"{differ}{where}: none of it is used", _OPERATOR, fix)


def _endpoints(document: dict[str, Any], url: str) -> Check:
    required = ("authorization_endpoint", "token_endpoint")
    optional = ("registration_endpoint", "revocation_endpoint", "device_authorization_endpoint")
    wrong = []
    for name in (*required, *optional):
        if name in required or document.get(name) is not None:
            try:
                require_endpoint(document.get(name), name)
            except ServerError as error:
                wrong.append(str(error))
    if wrong:
        fix = "Announce authorization_endpoint and token_endpoint, and https addresses only."
        return problem("endpoints", f"endpoints in {url}", " ".join(wrong), _OPERATOR, fix)
    return found("endpoints", f"endpoints in {url}", "Authorization and token endpoints are there")
