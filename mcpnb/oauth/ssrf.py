"""Where requests, and a person's browser, may be led: to which IP addresses.

A request connects to the address that was checked. OAuth metadata comes from strangers, and whoever
reads it must not be sent into their own network (MCP security best practices, SSRF).
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import ssl
import threading
import time
import unicodedata
from concurrent.futures import Future
from urllib.parse import unquote, urlsplit

import httpx
import truststore

from mcpnb.errors import ProtocolError
from mcpnb.oauth.models import ServerConfig
from mcpnb.text import quote

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_MOST_ADDRESSES = 4
ONCE = httpx.Limits(max_keepalive_connections=0)
"""Each connection carries one request. If a server sends more than its response, the library takes
the rest for the next response (measured: a registration was read from a second copy of the
metadata), which RFC 9112 section 6.3 forbids."""

# IPv6 prefixes whose last 32 bits are an IPv4 address: NAT64, the well-known one (RFC 6052) and the
# local one (RFC 8215), whose other layouts cannot be known; and IPv4-compatible (RFC 4291).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
# All that IANA assigns for global use. Of what lies outside, such as the IPv4-translated addresses
# of a stateless translator (RFC 7915), nobody can tell where it leads.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Where clouds serve credentials or manage machines, outside of the link-local ranges: AWS and GCP
# over IPv6, Azure's WireServer, Alibaba, Oracle. Never contacted.
_NEVER = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "100.100.100.200", "192.0.0.192"),
    )
)
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:\d+|0x[\da-f]*)", re.ASCII)


# Addresses


def unwrapped(address: Address) -> Address:
    """Return the IPv4 address inside an IPv6 one (mapped, 6to4, NAT64, ...), or the address."""
    if isinstance(address, ipaddress.IPv6Address):
        compatible = address in _COMPATIBLE and int(address) > 0xFFFF  # not “::” and “::1”
        # threat: ssrf-ipv4-in-ipv6
        if compatible or address in _NAT64 or address in _LOCAL_NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        # threat: ssrf-ipv4-in-ipv6
        return address.ipv4_mapped or address.sixtofour or address
    return address


def may_connect(address: Address, *, private_ok: bool) -> bool:
    """Whether an address may be contacted; some never are, whoever names them."""
    real = unwrapped(address)
    # threat: ssrf-cloud-metadata
    if real.is_link_local or real.is_multicast or real.is_unspecified or real in _NEVER:
        return False
    assigned = isinstance(real, ipaddress.IPv4Address) or real in _GLOBAL_UNICAST
    # threat: ssrf-private-address, ssrf-unassigned-ipv6
    return private_ok or (real.is_global and assigned and address not in _LOCAL_NAT64)


def literal(host: str) -> Address | None:
    """Return the address that a host is, if it is one and no name.

    In every notation that resolvers, browsers and proxies accept: ``127.1``, ``2130706433`` and
    ``0x7f.1`` are this machine, too.
    """
    # threat: ssrf-numeric-host
    plain = host.removesuffix(".")
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(plain)
    try:
        # threat: ssrf-numeric-host
        return ipaddress.IPv4Address(socket.inet_aton(plain))
    except (OSError, UnicodeError):
        return None


def forbidden(host: str, found: list[Address]) -> ProtocolError:
    """Return the error that says that none of these addresses may be contacted."""
    return ProtocolError(
        f"{quote(host)} is at {', '.join(map(str, found[:3])) or 'no address'}, inside a private "
        "or link-local network, where a public server's metadata must not lead. If it is your own "
        "network, set allow_private_network = true for this server in mcpnb's configuration.",
        rule="MCP security best practices, server-side request forgery",
    )


# Pages


def require_page(url: str, what: str, config: ServerConfig) -> None:
    """Check a page that a server sends the person's browser to: never into their own network.

    The browser has cookies there, and one click is enough for a page that acts on a GET.

    Args:
        url: An endpoint that passed `require_endpoint`.
        what: Its name in the metadata, for the message.
        config: The MCP server. One in the person's own network may lead there.

    Raises:
        ProtocolError: It is an address of this machine or of a private network.
    """
    # threat: browser-led-inside
    if _is_private(url) and not (config.allow_private_network or _is_private(config.url)):
        raise ProtocolError(
            f"The server's {what} {quote(url)} leads into your own network, and the server is not "
            "in it. If that is right, set allow_private_network.",
            rule="MCP security best practices, SSRF",
        )


def _is_private(url: str) -> bool:
    host = _as_browsers_read(urlsplit(url).hostname or "")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        # 127.1, 2130706433, 0x7f.0.0.1: addresses to browsers, and no honest way to write one.
        local = host == "localhost" or host.endswith(".localhost")
        return local or _ENDS_IN_A_NUMBER.fullmatch(host) is not None
    return not may_connect(address, private_ok=False)


def _as_browsers_read(host: str) -> str:
    # WHATWG URL, section 3.5, as far as it changes the text: escapes, wide letters and dots, and
    # what UTS 46 ignores.
    wide = unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".").lower()
    shown = (c for c in wide if unicodedata.category(c) not in ("Mn", "Cf"))
    return "".join(shown).rstrip(".")


# Connections


class PinnedTransport(httpx.BaseTransport):
    """Connects to the address that was checked; TLS still verifies the name (SNI).

    Each request has to say in its extension ``deadline`` when it ends (`time.monotonic`).
    """

    def __init__(self, own_host: str, *, allow_private: bool) -> None:
        self._own_host = own_host
        self._allow_private = allow_private
        self._own_is_private: bool | None = None
        self._context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._by_host: dict[str, httpx.HTTPTransport] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it to a checked address of its host, see `httpx.BaseTransport`."""
        # As it goes over the wire (IDNA 2008). Python's own encoding of a Unicode name is that of
        # 2003, which turns some into another owner's domain.
        # threat: idna-lookalike
        host = request.url.raw_host.decode("ascii")
        transport = self._transport(host)
        failure: httpx.ConnectError | httpx.ConnectTimeout | None = None
        for address in self._addresses(host, request.url.port or 0, request)[:_MOST_ADDRESSES]:
            timeout = request.extensions["timeout"]
            pinned = httpx.Request(
                request.method,
                # threat: dns-rebinding-at-connect
                request.url.copy_with(host=str(address)),
                headers=request.headers,
                stream=request.stream,
                extensions={
                    **request.extensions,
                    # threat: pinned-address-without-name
                    "sni_hostname": host,
                    "timeout": {**timeout, "connect": min(timeout["connect"], _left(request))},
                },
            )
            try:
                return transport.handle_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure or httpx.ConnectError("no address")

    def _transport(self, host: str) -> httpx.HTTPTransport:
        # One pool per name: connections are pooled by address, and two names on one address must
        # not share a connection that TLS verified for the first only.
        with self._lock:
            if host not in self._by_host:
                self._by_host[host] = httpx.HTTPTransport(verify=self._context, limits=ONCE)
            return self._by_host[host]

    def _addresses(self, host: str, port: int, request: httpx.Request) -> list[Address]:
        found = _resolve(host, port, request)
        private_ok = self._private_ok(host, found, request)
        # threat: metadata-leads-inside, ssrf-one-of-several
        allowed = [a for a in found if may_connect(a, private_ok=private_ok)]
        if not allowed:
            raise forbidden(host, found)
        return allowed

    def _private_ok(self, host: str, found: list[Address], request: httpx.Request) -> bool:
        """Whether private addresses are allowed: the person's own server has one.

        Decided by the first addresses of its name. One global address makes it a public server for
        good. Otherwise a name that changes its addresses (DNS rebinding) would open the inside.
        """
        # threat: private-server-locked-out
        if self._allow_private:
            return True
        if host != self._own_host:
            if self._own_is_private is not None:
                return self._own_is_private
            found = _resolve(self._own_host, 0, request)
        # threat: private-server-locked-out
        private = not any(unwrapped(a).is_global for a in found)
        with self._lock:  # another thread may have seen a global address during this look-up
            # threat: dns-rebinding-of-the-server
            self._own_is_private = private and self._own_is_private is not False
            return self._own_is_private

    def close(self) -> None:
        """Close all connections."""
        for transport in self._by_host.values():
            transport.close()


def _left(request: httpx.Request) -> float:
    """Return the seconds until a request's deadline. Never 0, which would not wait at all."""
    return max(float(request.extensions["deadline"]) - time.monotonic(), 0.001)


def _resolve(host: str, port: int, request: httpx.Request) -> list[Address]:
    if (address := literal(host)) is not None:
        return [address]
    found: Future[list[Address]] = Future()

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            texts = [str(info[4][0]).partition("%")[0] for info in infos]
            found.set_result(list(dict.fromkeys(map(ipaddress.ip_address, texts))))
        except BaseException as error:  # noqa: BLE001  it belongs to the caller
            found.set_exception(error)

    try:
        # A resolver takes its own time, and cannot be interrupted.
        threading.Thread(target=look_up, name="mcpnb-resolver", daemon=True).start()
    except RuntimeError:  # the interpreter ends, and starts no thread any more
        look_up()
    try:
        return found.result(_left(request))
    except TimeoutError:
        raise httpx.ConnectTimeout("name resolution takes too long", request=request) from None
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"name resolution failed: {error}", request=request) from error
