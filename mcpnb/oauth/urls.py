"""Addresses: which ones may be used at all, and when two name the same thing."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from mcpnb.errors import ConfigError, DiscoveryError, ProtocolError
from mcpnb.text import quote

__all__ = [
    "canonical_server",
    "host_of",
    "is_loopback_host",
    "origin_of",
    "require_callback",
    "require_endpoint",
    "require_page",
    "resource_covers",
    "same_issuer",
]

_LONGEST = 2_000
"""Characters of an endpoint: it is shown, drawn and sent to pages."""
_LONGEST_HOST = 253
"""Characters of a name in DNS (RFC 1035 section 2.3.4)."""
_DEFAULT_PORTS = {"https": 443, "http": 80}
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:\d+|0x[\da-f]*)", re.ASCII)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


def _split(url: str) -> SplitResult:
    # A backslash is a slash to browsers, and a letter of the host to this parser.
    # threat: address-that-reads-two-ways
    if any(c.isspace() or not c.isprintable() or c == "\\" for c in url):
        raise ValueError("white space, control characters or a backslash")
    parts = urlsplit(url)
    _ = parts.port  # raises ValueError on a port that is not one
    if len(parts.hostname or "") > _LONGEST_HOST:
        # Of other letters, the name in DNS takes the square of their number (measured: 13 s for
        # ten thousand).
        raise ValueError("a host name that is too long")
    return parts


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


def origin_of(url: str) -> tuple[str, str, int]:
    """Give scheme, host and port (RFC 6454), normalised so that equal origins compare equal.

    A host in the letters of some language is given as it stands in DNS, ``xn--...``: that is how
    HTTP libraries and servers write it.
    """
    parts = _split(url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    return scheme, _in_dns(host), parts.port or _DEFAULT_PORTS.get(scheme, 0)


def host_of(url: str) -> str:
    """Give the host of an address as it stands in DNS, with its port if it has one of its own."""
    parts = _split(url)
    port = f":{parts.port}" if parts.port is not None else ""
    host = _in_dns((parts.hostname or "").lower())
    return f"[{host}]{port}" if ":" in host else f"{host}{port}"


def require_page(url: str, what: str, *, server: str, allow_private: bool) -> str:
    """Check where a server has the person's browser sent: not from outside into their own network.

    Their browser has cookies there, and a click is enough for a page that acts on a GET.

    Args:
        url: An endpoint that passed `require_endpoint`.
        what: Its name in the metadata, for the message.
        server: The MCP server that the person gave; one of their own network may lead there.
        allow_private: Whether configuration allows it.

    Raises:
        ProtocolError: It is an address of this machine or of a private network.
    """
    # threat: browser-led-inside
    if allow_private or _is_private(server) or not _is_private(url):
        return url
    raise ProtocolError(
        f"The server's {what} {quote(url)} leads into your own network, and the server is not in "
        "it. If that is right, set allow_private_network.",
        rule="MCP security best practices, SSRF",
    )


def _is_private(url: str) -> bool:
    host = _as_browsers_read(_split(url).hostname or "")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        # 127.1, 2130706433, 0x7f.0.0.1: addresses to browsers, and no honest way to write one.
        local = host == "localhost" or host.endswith(".localhost")
        return local or _ENDS_IN_A_NUMBER.fullmatch(host) is not None
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        return not (inner.is_global if inner else address.is_global and address in _GLOBAL_UNICAST)
    return not address.is_global


def _as_browsers_read(host: str) -> str:
    # WHATWG URL, section 3.5, as far as it makes other text of it: escapes, wide letters and dots,
    # and what UTS 46 ignores.
    wide = unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".").lower()
    kept = (c for c in wide if unicodedata.category(c) not in ("Mn", "Cf"))
    return "".join(kept).rstrip(".")


def _in_dns(host: str) -> str:
    # RFC 5891 section 4.4, and no mapping beside lower case: that could make two hosts one. (The
    # codec "idna" has straße.example be strasse.example.)
    return ".".join(
        # threat: lookalike-host
        label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}"
        for label in host.split(".")
    )


def canonical_server(url: str) -> str:
    """Give an MCP server's canonical URI (RFC 8707 section 2; specification: canonical server URI).

    Scheme and host in lower case, no default port, no fragment, no lone slash after the host. Path
    and query stay as they are.

    Raises:
        ConfigError: It is no https URL (http is for loopback only), or carries a password.
    """
    try:
        parts = _split(url.strip())
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{quote(url)} is not a usable address: {error}.") from None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if scheme not in _DEFAULT_PORTS or not host:
        raise ConfigError(
            f"{quote(url)} is not the address of an MCP server: "
            "give one that begins with https://, or a configured name."
        )
    if parts.username or parts.password:
        raise ConfigError(
            "An address with a user name or password in it is refused: sign in instead."
        )
    # threat: plain-http
    if scheme == "http" and not is_loopback_host(host):
        raise ConfigError(
            f"{quote(url)} is plain http: a token sent there could be read on the way. "
            "Use https; http is accepted for this machine only (OAuth 2.1 section 1.5)."
        )
    netloc = f"[{host}]" if ":" in host else host
    if port and port != _DEFAULT_PORTS[scheme]:
        netloc += f":{port}"
    path = "" if parts.path == "/" and not parts.query else parts.path
    return urlunsplit((scheme, netloc, path, parts.query, ""))


def require_endpoint(url: object, what: str) -> str:
    """Check an endpoint that a server named: an https URL, or http on loopback.

    Args:
        url: The value from the metadata document.
        what: Its name there, for the message.

    Raises:
        DiscoveryError: It is no URL.
        ProtocolError: It has another scheme (``javascript:``, ``file:``, ...), plain http to
            elsewhere, or a password.
    """
    # threat: endpoint-without-end
    if not isinstance(url, str) or not 0 < len(url) <= _LONGEST:
        raise DiscoveryError(f"The server's metadata has no usable {what}.")
    try:
        parts = _split(url)
    except ValueError:
        raise DiscoveryError(f"The server's {what} is not an address: {quote(url)}.") from None
    scheme = parts.scheme.lower()
    # threat: dangerous-address, plain-http
    secure = scheme == "https" or (scheme == "http" and is_loopback_host(parts.hostname))
    # threat: credentials-in-an-endpoint
    if not secure or not parts.hostname or "@" in parts.netloc:
        raise ProtocolError(
            f"The server's {what} {quote(url)} is refused: it has to be an https address.",
            rule="OAuth 2.1 section 1.5; MCP security best practices, URL schemes",
        )
    return url


def require_callback(url: object) -> str:
    """Check a callback address that a person configured: https, or http on loopback.

    Raises:
        ConfigError: It is none that a browser would be sent to safely.
    """
    try:
        parts = _split(url) if isinstance(url, str) else None
    except ValueError:
        parts = None
    local = parts is not None and parts.scheme == "http" and is_loopback_host(parts.hostname)
    if (
        parts is None
        or not parts.hostname
        or (parts.scheme != "https" and not local)
        or parts.username is not None
        or parts.fragment
    ):
        raise ConfigError(
            "callback_url has to be an https address (http for this machine only), not "
            f"{quote(url)}."
        )
    return str(url)


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

    RFC 9728 section 3.3 wants them identical; deployed servers and both official SDKs also accept a
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
