"""How mcpnb would become a client of the authorization server, and what may come back where."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from mcpnb.doctor.authorizing import Authorizing
from mcpnb.doctor.looking import Look
from mcpnb.doctor.report import Check
from mcpnb.doctor.topics import found, problem, unknown, warning
from mcpnb.errors import ClientIdRequired, ConfigError, McpnbError
from mcpnb.login import redirects
from mcpnb.login.clients import Registrations
from mcpnb.login.loopback import DEFAULT_PORT
from mcpnb.oauth import registration as registering
from mcpnb.oauth.credentials import LoginRecord, Registration, RegistrationMethod
from mcpnb.oauth.models import AuthorizationServer, ServerConfig
from mcpnb.oauth.urls import is_loopback_host
from mcpnb.storage import RecordName
from mcpnb.text import quote

__all__ = ["callback_port", "client_checks"]

_OURS = ("none", "client_secret_basic", "client_secret_post")
_WAYS = {
    "preregistered": "The client id of your configuration",
    "cimd": "Your client metadata document",
    "dcr": "mcpnb registers itself at the first sign-in",
}


def callback_port(config: ServerConfig) -> int:
    """Give the port that the answer would come to; 0: any free one."""
    if config.callback_port is not None:
        return int(config.callback_port)
    own = urlsplit(config.callback_url) if config.callback_url else None
    return (own.port if own else None) or DEFAULT_PORT


def client_checks(
    look: Look, at: Authorizing, record: LoginRecord | None
) -> tuple[list[Check], RegistrationMethod | None]:
    """Look at the client id, its authentication and its redirect.

    Returns:
        The checks, and which way to a client id would be taken.
    """
    server = at.server
    if server is None:
        return [], None
    try:
        method = registering.choose(look.config, server, redirect_known=True)
    except ClientIdRequired as error:
        return [_no_way(server, error), *_authentication(look, at, None)], None
    redirect_uri = redirects.address(look.config, redirects.expected(look.config), server, method)
    checks = [_registration(look, server, method, redirect_uri)]
    checks += _authentication(look, at, method)
    if method == "cimd":
        checks += _document(look, redirect_uri)
    else:
        checks.append(_redirect(look, server, method, redirect_uri, record))
    return checks, method


def _no_way(server: AuthorizationServer, error: ClientIdRequired) -> Check:
    offers = ", ".join(
        ["client metadata documents"] * server.client_id_metadata
        + ["dynamic registration"] * (server.registration_endpoint is not None)
    )
    return problem(
        "registration",
        "“registration_endpoint”, “client_id_metadata_document_supported”, your configuration",
        f"{error} It announces: {offers or 'no way to register'}",
        "your configuration",
        "Register mcpnb at the authorization server by hand, with the redirect address "
        f"http://127.0.0.1:{DEFAULT_PORT}/callback, and give the client id (--client-id, or "
        "oauth.client_id in the configuration). Or the operator offers client metadata documents "
        "or dynamic registration.",
    )


def _registration(
    look: Look, server: AuthorizationServer, method: RegistrationMethod, redirect_uri: str
) -> Check:
    asked = "“registration_endpoint”, “client_id_metadata_document_supported”, your configuration"
    if method == "dcr":
        if not server.url:
            return unknown("registration", asked, "Only the sign-in shows whether one can register")
        known = _kept(look, server, redirect_uri) is not None
        return found("registration", asked, "mcpnb is registered" if known else _WAYS[method])
    try:
        # For these two nothing is asked and nothing written.
        Registrations(look.config, look.store, look.http).obtain(
            method, server, redirect_uri, wanted=(), bound=(), keep=False
        )
    except McpnbError as error:
        fix = (
            "Give an https address with a path (client_metadata_url)."
            if isinstance(error, ConfigError)
            else "Give the issuer that the client id belongs to (issuer=), or new credentials."
        )
        return problem("registration", asked, str(error), "your configuration", fix)
    return found("registration", asked, _WAYS[method])


def _kept(look: Look, server: AuthorizationServer, redirect_uri: str) -> Registration | None:
    name = Registration(server.issuer, "", "dcr", redirect_uri=redirect_uri).name
    try:
        stored = look.store.read(RecordName("client", name))
        return Registration.from_dict(stored) if stored else None
    except (McpnbError, KeyError, TypeError):
        return None  # then it would register anew


def _authentication(look: Look, at: Authorizing, method: RegistrationMethod | None) -> list[Check]:
    if at.document is None:
        return []
    asked = "“token_endpoint_auth_methods_supported”"
    offered = at.strings("token_endpoint_auth_methods_supported")
    if offered is None:
        return [found("client-auth", asked, "Nothing is announced: mcpnb is a public client")]
    said = quote(", ".join(offered[:6]) or "nothing")
    if not set(offered) & set(_OURS):
        return [
            problem(
                "client-auth",
                asked,
                f"Of what is announced ({said}) mcpnb can use none",
                "server operator",
                "Allow public clients (“none”), or client_secret_basic or client_secret_post.",
            )
        ]
    secret = look.config.client_secret is not None
    if "none" not in offered and (method == "cimd" or (method == "preregistered" and not secret)):
        wanted = "The token endpoint wants a client that authenticates"
        if method == "cimd":
            fix = "Announce “none” for clients with a metadata document."
            return [problem("client-auth", asked, f"{wanted} ({said})", "server operator", fix)]
        fix = "Give the client secret, too (client_secret=, or oauth.client_secret_env_var)."
        return [problem("client-auth", asked, f"{wanted} ({said})", "your configuration", fix)]
    return [found("client-auth", asked, ", ".join(m for m in offered if m in _OURS))]


def _redirect(
    look: Look,
    server: AuthorizationServer,
    method: RegistrationMethod,
    redirect_uri: str,
    record: LoginRecord | None,
) -> Check:
    asked = "your configuration, and what is stored of earlier sign-ins"
    any_port = callback_port(look.config) == 0 and not look.config.callback_url
    shown = "http://127.0.0.1:(any free port)/callback" if any_port else redirect_uri
    if method == "dcr":
        worked = record is not None and record.registration.redirect_uri == redirect_uri
        if worked or _kept(look, server, redirect_uri) is not None:
            return found("redirect", asked, f"{shown}, as it is registered")
        return unknown(
            "redirect",
            asked,
            f"{shown} would be registered; whether the server allows it shows only then",
        )
    if any_port:
        return warning(
            "redirect",
            asked,
            f"{shown}: the port is another one each time, and not every server allows that for a "
            "client that was registered by hand",
            "your configuration",
            f"Leave callback_port out: {DEFAULT_PORT} is always the same.",
        )
    return unknown(
        "redirect",
        asked,
        f"{shown}: whether it is registered for your client id only the server knows. If it is "
        "not, the browser shows an error page of the server, and nothing comes back",
        f"Compare it with the redirect addresses of the client at {quote(server.issuer)}: they "
        "have to be the same, letter for letter.",
        "your configuration",
    )


def _document(look: Look, redirect_uri: str) -> list[Check]:
    url = str(look.config.client_metadata_url)
    reading = look.http.reading(url)
    asked = f"GET {url}"
    if reading.document is None:
        said = f"Your client metadata document cannot be read: {reading.said}"
        fix = "Host it there (“mcpnb client-metadata” prints one), reachable for the server."
        return [problem("client-document", asked, said, "your configuration", fix)]
    if reading.document.get("client_id") != url:
        said = f"Its client_id is {quote(reading.document.get('client_id'))}, not its own address"
        fix = f"Set “client_id” in it to exactly {quote(url)}."
        return [problem("client-document", asked, said, "your configuration", fix)]
    return [
        found("client-document", asked, "It names itself"),
        _allowed(reading.document, asked, redirect_uri),
    ]


def _allowed(document: dict[str, Any], asked: str, redirect_uri: str) -> Check:
    listed = document.get("redirect_uris")
    uris = [u for u in listed if isinstance(u, str)] if isinstance(listed, list) else []
    if redirect_uri in uris:
        return found("redirect", asked, f"{redirect_uri}, as the document lists it")
    fix = f"Add {quote(redirect_uri)} to “redirect_uris” of your client metadata document."
    own = urlsplit(redirect_uri)
    if any(_same_but_port(own, uri) for uri in uris):
        said = f"{redirect_uri} is listed with another port only, which not every server allows"
        return warning("redirect", asked, said, "your configuration", fix)
    said = f"{redirect_uri} is not among the document's redirect_uris: the server will refuse it"
    return problem("redirect", asked, said, "your configuration", fix)


def _same_but_port(own: Any, uri: str) -> bool:
    try:
        other = urlsplit(uri)
    except ValueError:
        return False
    same = (other.scheme, other.hostname, other.path) == (own.scheme, own.hostname, own.path)
    return same and is_loopback_host(own.hostname)
