"""Metadata documents: where they are (RFC 8414, RFC 9728), and what they say."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from authlib.oauth2.rfc8414 import get_well_known_url

from mcpnb.errors import DiscoveryError, ProtocolError
from mcpnb.oauth.models import AuthorizationServer, ProtectedResource
from mcpnb.oauth.scopes import named
from mcpnb.oauth.urls import require_endpoint, resource_covers, same_issuer
from mcpnb.text import quote

# Where documents are


def _well_known(identifier: str, suffix: str) -> str:
    # RFC 8414 section 3.1 and RFC 9728 section 3.1: the suffix goes between host and path, without
    # a terminating slash.
    url: str = get_well_known_url(identifier.rstrip("/"), external=True, suffix=suffix)
    return url


def protected_resource_urls(server: str) -> list[str]:
    """Return the candidates for protected-resource metadata (RFC 9728 section 3.1): path, root."""
    parts, suffix = urlsplit(server), "oauth-protected-resource"
    origin = f"{parts.scheme}://{parts.netloc}"
    root = _well_known(origin, suffix)
    if parts.path in ("", "/"):
        return [root]
    path = _well_known(origin + parts.path, suffix)
    return [f"{path}?{parts.query}" if parts.query else path, root]


def authorization_server_urls(issuer: str) -> list[str]:
    """Return the candidates for authorization-server metadata (specification, discovery page).

    RFC 8414 insertion, OIDC insertion, and, for an issuer with a path, OIDC appending.
    """
    urls = [_well_known(issuer, s) for s in ("oauth-authorization-server", "openid-configuration")]
    if urlsplit(issuer).path.strip("/"):
        urls.append(issuer.rstrip("/") + "/.well-known/openid-configuration")
    return urls


def legacy_endpoints(server: str) -> tuple[str, str, str, str]:
    """Return issuer and default endpoints of a 2025-03-26 server without any metadata."""
    parts = urlsplit(server)
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin, f"{origin}/authorize", f"{origin}/token", f"{origin}/register"


# What documents say

# A document names a handful; more is an attack on memory or on the screen.
_MOST = 200
# The parameters of the authorization request itself, and those that would replace it (RFC 9101) or
# have its response come another way.
_OF_THE_REQUEST = {
    *("client_id", "code_challenge", "code_challenge_method", "redirect_uri", "request"),
    *("request_uri", "resource", "response_mode", "response_type", "scope", "state"),
}
_OPTIONAL_ENDPOINTS = (
    "registration_endpoint",
    "revocation_endpoint",
    "device_authorization_endpoint",
)


def _strings(document: dict[str, Any], name: str) -> tuple[str, ...] | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, str):  # seen in the wild: one scope string instead of an array
        value = value.split()
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise DiscoveryError(f"The metadata's {name} is not a list of strings.")
    return tuple(value[:_MOST])


def _scopes(document: dict[str, Any]) -> tuple[str, ...]:
    return named(" ".join(_strings(document, "scopes_supported") or ()))


def protected_resource(document: dict[str, Any], *, server: str, url: str) -> ProtectedResource:
    """Validate protected-resource metadata for one MCP server.

    Args:
        document: The JSON object.
        server: The MCP server's canonical URL.
        url: Where the document came from.

    Raises:
        DiscoveryError: A member is missing or has the wrong type.
        ProtocolError: ``resource`` names something else (RFC 9728 section 3.3).
    """
    resource = document.get("resource")
    if not isinstance(resource, str) or not resource:
        raise DiscoveryError(f"The protected-resource metadata at {quote(url)} has no “resource”.")
    # threat: resource-confusion
    if not resource_covers(resource, server):
        raise ProtocolError(
            f"The server's metadata is for another resource, {quote(resource)}: "
            "a token for that would not be for this server.",
            rule="RFC 9728 section 3.3",
        )
    name = document.get("resource_name")
    return ProtectedResource(
        resource=resource,
        authorization_servers=_strings(document, "authorization_servers") or (),
        scopes_supported=_scopes(document),
        name=name if isinstance(name, str) else None,
        url=url,
    )


def authorization_server(document: dict[str, Any], *, issuer: str, url: str) -> AuthorizationServer:
    """Validate authorization-server metadata against the issuer its address was built from.

    Raises:
        DiscoveryError: A member is missing or has the wrong type.
        ProtocolError: The document names another issuer, or an endpoint that is not https.
    """
    own = document.get("issuer")
    # threat: issuer-confusion, foreign-document-of-an-older-server
    if not isinstance(own, str) or not same_issuer(own, issuer):
        raise ProtocolError(
            f"The metadata at {quote(url)} says issuer {quote(own)}, expected {quote(issuer)}: "
            "none of it is used.",
            rule="RFC 8414 section 3.3",
        )
    optional: dict[str, Any] = {
        name: require_endpoint(document[name], name)
        for name in _OPTIONAL_ENDPOINTS
        if document.get(name) is not None
    }
    return AuthorizationServer(
        issuer=own,
        authorization_endpoint=_authorization_endpoint(document),
        token_endpoint=require_endpoint(document.get("token_endpoint"), "token_endpoint"),
        scopes_supported=_scopes(document),
        code_challenge_methods=_strings(document, "code_challenge_methods_supported"),
        token_auth_methods=_strings(document, "token_endpoint_auth_methods_supported"),
        iss_in_response=document.get("authorization_response_iss_parameter_supported") is True,
        client_id_metadata=document.get("client_id_metadata_document_supported") is True,
        url=url,
        **optional,
    )


def _authorization_endpoint(document: dict[str, Any]) -> str:
    url = require_endpoint(document.get("authorization_endpoint"), "authorization_endpoint")
    own = {name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    # threat: injected-request-parameters
    if "#" in url or own & _OF_THE_REQUEST:
        raise ProtocolError(
            f"The server's authorization_endpoint {quote(url)} is refused: it has parameters of "
            "the request in it, or a fragment.",
            rule="RFC 6749 section 3.1",
        )
    return url


def require_pkce(server: AuthorizationServer, *, allow_missing: bool) -> None:
    """Refuse an authorization server that does not announce PKCE with S256.

    Args:
        server: Its validated metadata. The 2025-03-26 default endpoints are exempt: there is no
            document that could announce it.
        allow_missing: The person's explicit override for this server (``allow_missing_pkce``).

    Raises:
        ProtocolError: It announces none, or only the plain method.
    """
    methods = server.code_challenge_methods
    # threat: pkce-downgrade, pkce-plain
    if "S256" in (methods or ()) or not server.url or (methods is None and allow_missing):
        return
    what = "does not announce PKCE" if methods is None else "announces PKCE without S256"
    raise ProtocolError(
        f"The authorization server {quote(server.issuer)} {what}, so a stolen code could be used. "
        "If you trust it all the same (some OpenID providers merely forget to announce it), set "
        "allow_missing_pkce = true for this server in mcpnb's configuration.",
        rule="specification 2026-07-28, authorization code protection",
    )
