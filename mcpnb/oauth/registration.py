"""Becoming a client: pre-registered, client ID metadata document, dynamic registration."""

from __future__ import annotations

import re
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from mcpnb.errors import ClientIdRequired, ConfigError, GrantError, LoginError
from mcpnb.oauth.credentials import AuthMethod, Registration, RegistrationMethod
from mcpnb.oauth.models import AuthorizationServer, Secret, ServerConfig
from mcpnb.oauth.scopes import named
from mcpnb.oauth.urls import is_loopback_host, require_document, same_issuer
from mcpnb.text import quote

_IDENTITY = {"client_name": "mcpnb", "client_uri": "https://pypi.org/project/mcpnb/"}
LOOPBACK_REDIRECTS = ("http://127.0.0.1:27182/callback",)
"""The redirect that can be registered beforehand: the fixed port."""
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
"""The device grant's name (RFC 8628 section 3.4)."""
# RFC 6749 appendix A.1 and A.2. Some servers store all they know of a client in its id.
_VISIBLE = re.compile(r"[\x20-\x7e]{1,4000}")
_NO_END = 1e11
"""Seconds since the epoch: what is later than that is no date."""


def choose(
    config: ServerConfig,
    server: AuthorizationServer,
    *,
    redirect_known: bool,
    not_covered: str = "",
) -> RegistrationMethod:
    """Choose the first mechanism that the person, the server and the redirect allow.

    Args:
        config: What the person gave.
        server: The authorization server's metadata.
        redirect_known: Whether the redirect can have been registered beforehand (the fixed port, or
            a configured address); another one needs dynamic registration.
        not_covered: The message if no mechanism covers the redirect.

    Raises:
        ClientIdRequired: None is left.
        LoginError: One is left in principle, but it cannot cover this redirect.
    """
    wanted = config.registration
    # threat: client-metadata-document-unasked
    metadata_ok = bool(config.client_metadata_url) and (
        server.client_id_metadata or wanted == "cimd"
    )
    if config.client_id and wanted in ("auto", "preregistered"):
        method: RegistrationMethod = "preregistered"
    elif metadata_ok and wanted in ("auto", "cimd"):
        method = "cimd"
    elif server.registration_endpoint and wanted in ("auto", "dcr"):
        return "dcr"
    else:
        raise ClientIdRequired(_no_way(config, server))
    # threat: port-taken-by-another
    if not redirect_known:
        if wanted == "auto" and server.registration_endpoint and method == "cimd":
            return "dcr"
        raise LoginError(not_covered)
    return method


def _no_way(config: ServerConfig, server: AuthorizationServer) -> str:
    who = quote(server.issuer)
    if config.registration == "dcr":
        return f"The authorization server {who} offers no dynamic registration (dcr)."
    if config.registration == "cimd":
        return "registration=“cimd” needs client_metadata_url, where your document is hosted."
    if config.registration == "preregistered":
        return "registration=“preregistered” needs client_id."
    document = " It also accepts a client metadata document (client_metadata_url=)."
    return (
        f"The authorization server {who} lets no client register by itself. Register mcpnb there "
        f"(redirect address {LOOPBACK_REDIRECTS[0]}) and give the client id: "
        "client_id=..., --client-id, or oauth.client_id in the configuration."
        f"{document if server.client_id_metadata else ''}"
    )


def metadata(
    redirect_uri: str | None, server: AuthorizationServer, scopes: tuple[str, ...]
) -> dict[str, Any]:
    """Return the client metadata for dynamic registration (RFC 7591 section 2).

    Without a redirect the client is for the device grant (RFC 8628): servers refuse that to one
    that is registered for the authorization code.

    ``grant_types`` names the refresh token, without which some servers never give one (SEP-2207);
    ``application_type`` is native for loopback and web otherwise (SEP-837).
    """
    native = redirect_uri is None or is_loopback_host(urlsplit(redirect_uri).hostname)
    document: dict[str, Any] = {
        **_IDENTITY,
        "redirect_uris": [redirect_uri] if redirect_uri else [],
        "grant_types": ["authorization_code" if redirect_uri else GRANT, "refresh_token"],
        "response_types": ["code"] if redirect_uri else [],
        "token_endpoint_auth_method": _auth_method(server, has_secret=False),
        "application_type": "native" if native else "web",
    }
    return document | ({"scope": " ".join(scopes)} if scopes else {})


def _auth_method(server: AuthorizationServer, *, has_secret: bool) -> AuthMethod:
    offered = server.token_auth_methods
    if not has_secret and (offered is None or "none" in offered):
        return "none"
    # RFC 8414 section 2: where nothing is announced, client_secret_basic is the default.
    if offered is None or "client_secret_basic" in offered:
        return "client_secret_basic"
    return "client_secret_post" if "client_secret_post" in offered else "none"


def from_response(
    status: int, body: Any, *, asked: dict[str, Any], server: AuthorizationServer
) -> Registration:
    """Read a registration response (RFC 7591 section 3.2.1); 200 is accepted like 201.

    Raises:
        GrantError: The server refused, or its response makes no client.
    """
    document = body if isinstance(body, dict) else {}
    redirect_uri = next(iter(asked["redirect_uris"]), None)
    client_id = document.get("client_id")
    # threat: registration-with-an-unusable-client-id
    if status not in (200, 201) or not _is_visible(client_id):
        error = document.get("error")
        silent = f"HTTP {status}" if status not in (200, 201) else "no usable client_id"
        words = document.get("error_description") or error or silent
        purpose = "It was to be a client for the sign-in on another device."
        if redirect_uri:
            purpose = f"The redirect address was {redirect_uri}."
        raise GrantError(
            f"The authorization server did not register mcpnb: {quote(words)}. {purpose} "
            "If it has to be registered by hand, give its client id (client_id=, --client-id).",
            error=error if isinstance(error, str) else "",
            status=status,
        )
    secret = document.get("client_secret")
    secret = secret if _is_visible(secret) else None
    method = document.get("token_endpoint_auth_method")
    # threat: registration-with-an-unknown-method
    if method not in ("none", "client_secret_basic", "client_secret_post"):
        # RFC 7591 section 2: omitted means client_secret_basic, if there is a secret to send.
        method = _auth_method(server, has_secret=True) if secret else "none"
    expires = document.get("client_secret_expires_at")
    scope = document.get("scope", asked.get("scope"))
    return Registration(
        issuer=server.issuer,
        client_id=client_id,
        method="dcr",
        auth_method=method if secret else "none",
        client_secret=Secret(secret) if secret and method != "none" else None,
        secret_expires_at=float(expires)
        # threat: registration-with-an-absurd-end
        if isinstance(expires, int | float) and 0 < expires < _NO_END
        else None,
        redirect_uri=redirect_uri,
        # threat: command-in-a-scope
        scopes=(named(scope) or None) if isinstance(scope, str) else None,
    )


def _is_visible(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _VISIBLE.fullmatch(value) is not None


def metadata_document(url: str, callback_urls: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the document to host at `url`, its client id (draft-ietf-oauth-client-id-metadata).

    `callback_urls` are redirect addresses in addition to the loopback one.

    Raises:
        ConfigError: `url` is no https address with a path.
    """
    return {
        "client_id": require_document(url),
        **_IDENTITY,
        "redirect_uris": [*LOOPBACK_REDIRECTS, *callback_urls],
        "grant_types": ["authorization_code", "refresh_token", GRANT],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    }


def preregistered(
    config: ServerConfig, server: AuthorizationServer, *, pinned_issuer: str | None
) -> Registration:
    """Return the registration of a client id that the person gave, bound to its issuer (SEP-2352).

    That is a configured one, else the one where it was used before (`pinned_issuer`).

    Raises:
        LoginError: The server now names another issuer: the secret is not sent there.
    """
    bound = config.issuer or pinned_issuer
    # threat: client-secret-to-a-new-issuer
    if bound is not None and not same_issuer(bound, server.issuer):
        raise LoginError(
            f"The client id belongs to the authorization server {quote(bound)}, but the server "
            f"now names {quote(server.issuer)}. Nothing was sent there. If this move is right, "
            "give issuer=, and credentials of the new one."
        )
    if config.client_id is None:
        raise ConfigError("client_id is missing.")
    has_secret = config.client_secret is not None
    return Registration(
        issuer=server.issuer,
        client_id=config.client_id,
        method="preregistered",
        auth_method=_auth_method(server, has_secret=True) if has_secret else "none",
        client_secret=config.client_secret,
    )


def via_metadata_document(config: ServerConfig, server: AuthorizationServer) -> Registration:
    """Return the registration whose client id is the address of our document (SEP-991).

    Raises:
        ConfigError: The address is no https URL with a path.
    """
    url = require_document(config.client_metadata_url or "")
    return Registration(issuer=server.issuer, client_id=url, method="cimd")
