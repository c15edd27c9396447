"""Which addresses may be connected to; the checked one is the one that is."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading

import httpx
import truststore

from mcpnb.errors import ProtocolError
from mcpnb.text import quote

__all__ = ["ONCE", "PinnedTransport", "forbidden", "literal", "may_connect"]

_MOST_ADDRESSES = 4
ONCE = httpx.Limits(max_keepalive_connections=0)
"""Each connection carries one request. What a server sends beyond its answer is none to the next
one (RFC 9112 section 6.3), and the library takes it for that (measured): a registration was read
from a second copy of the metadata."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IPv6 prefixes whose last 32 bits are an IPv4 address: NAT64, the well-known one (RFC 6052) and the
# local one (RFC 8215), whose other layouts cannot be known; and IPv4-compatible (RFC 4291).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
# All that IANA gives out to the world. Of what lies outside, such as the IPv4-translated addresses
# of a stateless translator (RFC 7915), nobody can say where it leads.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


def _unwrapped(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 one embeds (mapped, 6to4, NAT64, ...), or the address."""
    if isinstance(address, ipaddress.IPv6Address):
        compatible = address in _COMPATIBLE and int(address) > 0xFFFF  # not “::” and “::1”
        # threat: ssrf-ipv4-in-ipv6
        if compatible or address in _NAT64 or address in _LOCAL_NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        # threat: ssrf-ipv4-in-ipv6
        return address.ipv4_mapped or address.sixtofour or address
    return address


# Where clouds serve credentials or manage machines, outside of the link-local ranges: AWS and GCP
# over IPv6, Azure's WireServer, Alibaba, Oracle. Never contacted, whoever asks.
_NEVER = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "100.100.100.200", "192.0.0.192"),
    )
)


def may_connect(address: Address, *, private_ok: bool) -> bool:
    """Whether an address may be contacted; some never are, wherever they are named."""
    real = _unwrapped(address)
    # threat: ssrf-cloud-metadata
    if real.is_link_local or real.is_multicast or real.is_unspecified or real in _NEVER:
        return False
    given_out = isinstance(real, ipaddress.IPv4Address) or real in _GLOBAL_UNICAST
    # threat: ssrf-private-address, ssrf-unassigned-ipv6
    return private_ok or (real.is_global and given_out and address not in _LOCAL_NAT64)


class PinnedTransport(httpx.BaseTransport):
    """Connects to the address that was checked; TLS still verifies the name (SNI)."""

    def __init__(self, own_host: str, *, allow_private: bool) -> None:
        self._own_host = own_host
        self._allow_private = allow_private
        self._own_is_private: bool | None = None
        self._context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._by_host: dict[str, httpx.HTTPTransport] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it to an address of its host that was checked, see `httpx.BaseTransport`."""
        # As it goes over the wire (IDNA 2008). Python's own encoding of a Unicode name is that of
        # 2003, which makes another owner's domain of some.
        # threat: idna-lookalike
        host = request.url.raw_host.decode("ascii")
        transport = self._transport(host)
        failure: httpx.ConnectError | httpx.ConnectTimeout | None = None
        for address in self._addresses(host, request.url.port or 0, request)[:_MOST_ADDRESSES]:
            pinned = httpx.Request(
                request.method,
                # threat: dns-rebinding-at-connect
                request.url.copy_with(host=str(address)),
                headers=request.headers,
                stream=request.stream,
                # threat: pinned-address-without-name
                extensions={**request.extensions, "sni_hostname": host},
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

        Decided by what its name led to first. One global address makes it a public server for good,
        or a name that changes its mind (DNS rebinding) would open the inside.
        """
        # threat: private-server-locked-out
        if self._allow_private:
            return True
        if host == self._own_host:
            # threat: private-server-locked-out
            private = not any(_unwrapped(a).is_global for a in found)
            # threat: dns-rebinding-of-the-server
            self._own_is_private = private and self._own_is_private is not False
        elif self._own_is_private is None:
            own = _resolve(self._own_host, 0, request)
            self._own_is_private = not any(_unwrapped(a).is_global for a in own)
        return bool(self._own_is_private)

    def close(self) -> None:
        """Close all connections."""
        for transport in self._by_host.values():
            transport.close()


def literal(host: str) -> Address | None:
    """Give the address that a host is, if it is one and no name.

    In every way that resolvers, browsers and proxies read one: ``127.1``, ``2130706433`` and
    ``0x7f.1`` are this machine, too.
    """
    # threat: ssrf-numeric-host
    plain = host.removesuffix(".")
    try:
        return ipaddress.ip_address(plain)
    except ValueError:
        pass
    try:
        # threat: ssrf-numeric-host
        return ipaddress.IPv4Address(socket.inet_aton(plain))
    except (OSError, UnicodeError):
        return None


def _resolve(host: str, port: int, request: httpx.Request) -> list[Address]:
    if (address := literal(host)) is not None:
        return [address]
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"name resolution failed: {error}", request=request) from error
    return list(dict.fromkeys(ipaddress.ip_address(str(i[4][0]).partition("%")[0]) for i in infos))


def forbidden(host: str, found: list[Address]) -> ProtocolError:
    """Say that none of these addresses may be contacted."""
    return ProtocolError(
        f"{quote(host)} is at {', '.join(map(str, found[:3])) or 'no address'}, inside a private "
        "or link-local network, which a public server's metadata must not lead to. If it is your "
        "own network, set allow_private_network = true for this server in mcpnb's configuration.",
        rule="MCP security best practices, server-side request forgery",
    )
