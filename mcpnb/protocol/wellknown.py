"""Where metadata documents are, in the order in which they are asked for."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from authlib.oauth2.rfc8414 import get_well_known_url

__all__ = ["authorization_server_urls", "legacy_endpoints", "protected_resource_urls"]


def _inserted(identifier: str, suffix: str) -> str:
    # RFC 8414 section 3.1 and RFC 9728 section 3.1: a terminating slash goes before the insertion.
    url: str = get_well_known_url(identifier.rstrip("/"), external=True, suffix=suffix)
    return url


def protected_resource_urls(server: str) -> list[str]:
    """Candidates for protected-resource metadata (RFC 9728 section 3.1): path, root."""
    parts = urlsplit(server)
    root = _inserted(
        urlunsplit((parts.scheme, parts.netloc, "", "", "")), "oauth-protected-resource"
    )
    if parts.path in ("", "/"):
        return [root]
    path = _inserted(
        urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")), "oauth-protected-resource"
    )
    return [f"{path}?{parts.query}" if parts.query else path, root]


def authorization_server_urls(issuer: str) -> list[str]:
    """Candidates for authorization-server metadata (specification, discovery page).

    RFC 8414 insertion, OIDC insertion, and, for an issuer with a path, OIDC appending.
    """
    urls = [
        _inserted(issuer, "oauth-authorization-server"),
        _inserted(issuer, "openid-configuration"),
    ]
    if urlsplit(issuer).path.strip("/"):
        urls.append(issuer.rstrip("/") + "/.well-known/openid-configuration")
    return urls


def legacy_endpoints(server: str) -> tuple[str, str, str, str]:
    """Issuer and default endpoints of a 2025-03-26 server that has no metadata at all."""
    parts = urlsplit(server)
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin, f"{origin}/authorize", f"{origin}/token", f"{origin}/register"
