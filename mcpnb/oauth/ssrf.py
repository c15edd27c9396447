"""Connections to allowed addresses only: the address that was checked is the one connected to."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from concurrent.futures import Future

import httpx
import truststore

from mcpnb.errors import ProtocolError
from mcpnb.oauth.urls import Address, may_connect, unwrapped
from mcpnb.text import quote

_MOST_ADDRESSES = 4
ONCE = httpx.Limits(max_keepalive_connections=0)
"""Each connection carries one request. If a server sends more than its response, the library takes
the rest for the next response (measured: a registration was read from a second copy of the
metadata), which RFC 9112 section 6.3 forbids."""


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


def literal(host: str) -> Address | None:
    """Return the address that a host is, if it is one and no name.

    In every notation that resolvers, browsers and proxies accept: ``127.1``, ``2130706433`` and
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


def forbidden(host: str, found: list[Address]) -> ProtocolError:
    """Return the error that says that none of these addresses may be contacted."""
    return ProtocolError(
        f"{quote(host)} is at {', '.join(map(str, found[:3])) or 'no address'}, inside a private "
        "or link-local network, where a public server's metadata must not lead. If it is your own "
        "network, set allow_private_network = true for this server in mcpnb's configuration.",
        rule="MCP security best practices, server-side request forgery",
    )
