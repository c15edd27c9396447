"""URLs: which may be used, which name the same thing, and where a server's metadata is."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit, urlunsplit

from mcpnb.errors import ConfigError, DiscoveryError, ProtocolError
from mcpnb.text import quote

_LONGEST = 2_000
"""Characters of an endpoint: it is shown, drawn and sent to pages."""
_LONGEST_HOST = 253
"""Characters of a name in DNS (RFC 1035 section 2.3.4)."""
DEFAULT_PORTS = {"https": 443, "http": 80}


# Parts


def _split(url: str) -> SplitResult:
    # A backslash is a slash to browsers, and a letter of the host to this parser.
    # threat: address-that-reads-two-ways
    if any(c.isspace() or not c.isprintable() or c == "\\" for c in url):
        raise ValueError("white space, control characters or a backslash")
    parts = urlsplit(url)
    _ = parts.port  # raises ValueError on a port that is not one
    if len(parts.hostname or "") > _LONGEST_HOST:
        # Encoding a name for DNS takes the square of its length (measured: 13 s for ten thousand
        # letters).
        raise ValueError("a host name that is too long")
    return parts


def _split_or_none(url: object) -> SplitResult | None:
    try:
        return _split(url) if isinstance(url, str) else None
    except ValueError:
        return None


def host_span(url: str) -> tuple[int, int]:
    """Return where host and port begin and end in a URL: the part that DNS and TLS reveal."""
    begin = (url.find("://") + 3) if "://" in url else 0
    end = next((at for at in range(begin, len(url)) if url[at] in "/?#\\"), len(url))
    return max(begin, url.rfind("@", begin, end) + 1), end


def origin_of(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port (RFC 6454), normalised so that equal origins compare equal.

    An international host is returned as in DNS, ``xn--...``: that is how HTTP libraries and servers
    write it.

    Raises:
        ValueError: It is no URL.
    """
    parts = _split(url)
    scheme = parts.scheme.lower()
    return scheme, _in_dns(parts.hostname or ""), parts.port or DEFAULT_PORTS.get(scheme, 0)


def host_of(url: str) -> str:
    """Return the host as in DNS, with the port if the URL has one. Raises as `origin_of`."""
    parts = _split(url)
    host, port = _in_dns(parts.hostname or ""), "" if parts.port is None else f":{parts.port}"
    return f"[{host}]{port}" if ":" in host else f"{host}{port}"


def _in_dns(host: str) -> str:
    # RFC 5891 section 4.4, with no mapping except lower case: that could make two hosts one. (The
    # codec "idna" turns straße.example into strasse.example.)
    return ".".join(
        # threat: lookalike-host
        label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}"
        for label in host.lower().split(".")
    )


def is_loopback_host(host: str | None) -> bool:
    """Whether a host name is this machine by RFC 8252 section 7.3 (``localhost``, 127/8, ::1)."""
    if not host:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_secure(parts: SplitResult) -> bool:
    """Whether nobody on the way can read or change it: https, or http that stays here."""
    local = parts.scheme.lower() == "http" and is_loopback_host(parts.hostname)
    return bool(parts.hostname) and (parts.scheme.lower() == "https" or local)


# What may be used


def canonical_server(url: str) -> str:
    """Return an MCP server's canonical URI (RFC 8707 section 2; specification of MCP).

    Scheme and host in lower case, no default port, no fragment, no lone slash after the host. Path
    and query are unchanged.

    Raises:
        ConfigError: It is no https URL (http is for loopback only), or carries a password.
    """
    try:
        parts = _split(url.strip())
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{quote(url)} is not a usable address: {error}.") from None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if scheme not in DEFAULT_PORTS or not host:
        raise ConfigError(
            f"{quote(url)} is not the address of an MCP server. "
            "Give one that begins with https://, or a configured name."
        )
    if parts.username or parts.password:
        raise ConfigError(
            "An address with a user name or password in it is refused. Sign in instead."
        )
    # threat: plain-http
    if not _is_secure(parts):
        raise ConfigError(
            f"{quote(url)} is plain http: a token sent there could be read on the way. "
            "Use https; http is accepted for this machine only (OAuth 2.1 section 1.5). If the "
            "server has no https address, its operator has to set up TLS."
        )
    netloc = f"[{host}]" if ":" in host else host
    if port and port != DEFAULT_PORTS[scheme]:
        netloc += f":{port}"
    path = "" if parts.path == "/" and not parts.query else parts.path
    return urlunsplit((scheme, netloc, path, parts.query, ""))


def require_endpoint(url: object, what: str) -> str:
    """Check an endpoint that a server named (`what`): an https URL, or http on loopback.

    Raises:
        DiscoveryError: It is no URL.
        ProtocolError: It has another scheme (``javascript:``, ``file:``, ...), plain http to
            elsewhere, or a password.
    """
    # threat: endpoint-without-end
    if not isinstance(url, str) or not 0 < len(url) <= _LONGEST:
        raise DiscoveryError(f"The server's metadata has no usable {what}.")
    if (parts := _split_or_none(url)) is None:
        raise DiscoveryError(f"The server's {what} is not an address: {quote(url)}.")
    # threat: dangerous-address, plain-http, credentials-in-an-endpoint
    if not _is_secure(parts) or "@" in parts.netloc:
        raise ProtocolError(
            f"The server's {what} {quote(url)} is refused: it has to be an https address.",
            rule="OAuth 2.1 section 1.5; MCP security best practices, URL schemes",
        )
    return url


def require_callback(url: object) -> str:
    """Check a callback address that a person configured: https, or http on loopback.

    Raises:
        ConfigError: It is no address that a browser can be sent to safely.
    """
    parts = _split_or_none(url)
    if not parts or not _is_secure(parts) or parts.username is not None or parts.fragment:
        raise ConfigError(
            "callback_url has to be an https address (http for this machine only), not "
            f"{quote(url)}."
        )
    return str(url)


def require_document(url: str) -> str:
    """Check the address of a client metadata document (draft-ietf-oauth-client-id-metadata).

    Raises:
        ConfigError: It is no https URL with a path.
    """
    parts = _split_or_none(url)
    folders = set(parts.path.split("/")) if parts else set()
    odd = folders <= {""} or folders & {".", ".."} or "#" in url
    # threat: client-metadata-document-address
    if not parts or odd or "@" in parts.netloc or not _is_secure(parts):
        raise ConfigError(
            f"client_metadata_url has to be an https address with a path, not {quote(url)}: "
            "no user name, fragment or dots for a folder."
        )
    return url


# What is the same


def same_issuer(left: str, right: str) -> bool:
    """Compare issuers byte for byte (RFC 8414 section 3.3), with one tolerance.

    A bare origin with and without its slash is the same identifier in practice: real servers
    (Google among them) list ``https://as/`` and announce ``https://as``. Under a path the slash
    counts.
    """
    if left == right:
        return True
    bare_left, bare_right = left.removesuffix("/"), right.removesuffix("/")
    # threat: issuer-that-looks-alike
    return bare_left == bare_right and bare_left.count("/") == 2


def resource_covers(resource: str, server: str) -> bool:
    """Whether a protected resource's identifier stands for this MCP server.

    RFC 9728 section 3.3 wants them identical. Deployed servers and both official SDKs also accept a
    resource on the same origin whose path is a parent of the server's (the conformance suite tests
    a bare origin for ``/mcp``). Another origin never does, nor another query, and nothing with a
    fragment (RFC 8707 section 2) or a user name.
    """
    try:
        # threat: resource-that-looks-alike, resource-in-disguise
        if len(resource) > _LONGEST or origin_of(resource) != origin_of(server):
            return False
        named, own = _split(resource), _split(server)
    except ValueError:
        return False
    # threat: resource-in-disguise
    if "@" in named.netloc or "#" in resource or (own.query and named.query not in ("", own.query)):
        return False
    base, path = named.path.rstrip("/"), own.path.rstrip("/")
    # threat: resource-that-looks-alike
    return path == base or path.startswith(base + "/")


# Where metadata is


def root_of(url: str) -> str:
    """Return a URL up to its path: the issuer of a 2025-03-26 server that has no metadata."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _well_known(identifier: str, suffix: str) -> str:
    # RFC 8414 section 3.1 and RFC 9728 section 3.1: the suffix goes between host and path, without
    # a terminating slash.
    return f"{root_of(identifier)}/.well-known/{suffix}{urlsplit(identifier).path.rstrip('/')}"


def protected_resource_urls(server: str) -> list[str]:
    """Return the candidates for protected-resource metadata (RFC 9728 section 3.1): path, root."""
    parts, suffix = urlsplit(server), "oauth-protected-resource"
    root = _well_known(root_of(server), suffix)
    if parts.path in ("", "/"):
        return [root]
    path = _well_known(server, suffix)
    return [f"{path}?{parts.query}" if parts.query else path, root]


def authorization_server_urls(issuer: str) -> list[str]:
    """Return the candidates for authorization-server metadata (specification, discovery page).

    RFC 8414 insertion, OIDC insertion, and, for an issuer with a path, OIDC appending.
    """
    urls = [_well_known(issuer, s) for s in ("oauth-authorization-server", "openid-configuration")]
    if urlsplit(issuer).path.strip("/"):
        urls.append(issuer.rstrip("/") + "/.well-known/openid-configuration")
    return urls
