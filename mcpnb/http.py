"""Our own OAuth traffic: small, bounded in time and size, and only to where it may go.

Three rules, each enforced where the connection is made (design section 5):

* A name is resolved once, its addresses are checked, and a checked one is connected to.
* Nothing that a public server names may lead to a private network. Link-local addresses, where
  cloud machines serve their credentials, are never contacted.
* A redirect is followed for a GET within its origin, never for anything that carries a secret.

Through an HTTP proxy names are resolved by the proxy: the address check then covers literal
addresses only. Loopback is always connected to directly.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

import httpx
import truststore

from mcpnb.errors import DiscoveryError, ProtocolError, ServerUnreachable, quoted

__all__ = ["Answer", "Http"]

MAX_BODY = 1024 * 1024
"""Bytes read of any answer. Real metadata has a few kilobytes."""
_REDIRECTS = 3
_MOST_ADDRESSES = 4
_CONNECT, _READ, _TOTAL = 10.0, 20.0, 30.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, its body read as far as `MAX_BODY`."""

    url: str
    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Give the body as JSON.

        Raises:
            DiscoveryError: It is not JSON; the message says what it looks like instead.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            kind = self.headers.get("content-type", "").partition(";")[0]
            what = (
                "a web page" if "html" in kind else f"{quoted(kind)} data" if kind else "other data"
            )
            raise DiscoveryError(
                f"{quoted(self.url)} answered with {what} where JSON was expected (HTTP "
                f"{self.status})."
            ) from None

    def json_object(self) -> dict[str, Any] | None:
        """Give the body as a JSON object, or `None` if it is anything else."""
        try:
            document = self.json()
        except DiscoveryError:
            return None
        return document if isinstance(document, dict) else None

    @property
    def challenges(self) -> list[str]:
        """All ``WWW-Authenticate`` fields."""
        return self.headers.get_list("www-authenticate")

    @property
    def retry_after(self) -> float | None:
        """``Retry-After`` in seconds, a number or a date (RFC 9110 section 10.2.3), at most 3600.

        A date is measured against the server's own clock where it says what that shows.
        """
        value = self.headers.get("retry-after", "")
        # isascii: “²” is a digit, too, and no number.
        if value.isascii() and value.isdigit():
            return min(float(value), _LONGEST_WAIT)
        until = _date(value)
        if until is None:
            return None
        now = _date(self.headers.get("date", "")) or datetime.now(UTC)
        return min(max((until - now).total_seconds(), 0.0), _LONGEST_WAIT)


_LONGEST_WAIT = 3600.0


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


# IPv6 prefixes whose last 32 bits are an IPv4 address: NAT64, the well-known one (RFC 6052) and the
# local one (RFC 8215), whose other layouts cannot be known; and IPv4-compatible (RFC 4291).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def _unwrapped(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 one embeds (mapped, 6to4, NAT64, ...), or the address."""
    if isinstance(address, ipaddress.IPv6Address):
        compatible = address in _COMPATIBLE and int(address) > 0xFFFF  # not “::” and “::1”
        if compatible or address in _NAT64 or address in _LOCAL_NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
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


def _may_connect(address: Address, *, private_ok: bool) -> bool:
    real = _unwrapped(address)
    if real.is_link_local or real.is_multicast or real.is_unspecified or real in _NEVER:
        return False
    site_local = isinstance(real, ipaddress.IPv6Address) and real.is_site_local
    return private_ok or (real.is_global and not site_local and address not in _LOCAL_NAT64)


class _PinnedTransport(httpx.BaseTransport):
    """Connects to the address that was checked; TLS still verifies the name (SNI)."""

    def __init__(self, own_host: str, *, allow_private: bool) -> None:
        self._own_host = own_host
        self._allow_private = allow_private
        self._own_is_private: bool | None = None
        self._context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._by_host: dict[str, httpx.HTTPTransport] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        # As it goes over the wire (IDNA 2008). Python's own encoding of a Unicode name is that of
        # 2003, which makes another owner's domain of some.
        host = request.url.raw_host.decode("ascii")
        transport = self._transport(host)
        failure: httpx.ConnectError | httpx.ConnectTimeout | None = None
        for address in self._addresses(host, request.url.port or 0, request)[:_MOST_ADDRESSES]:
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=str(address)),
                headers=request.headers,
                stream=request.stream,
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
                self._by_host[host] = httpx.HTTPTransport(verify=self._context)
            return self._by_host[host]

    def _addresses(self, host: str, port: int, request: httpx.Request) -> list[Address]:
        found = _resolve(host, port, request)
        private_ok = self._private_ok(host, found, request)
        allowed = [a for a in found if _may_connect(a, private_ok=private_ok)]
        if not allowed:
            raise _forbidden(host, found)
        return allowed

    def _private_ok(self, host: str, found: list[Address], request: httpx.Request) -> bool:
        """Whether private addresses are allowed: the person's own server has one.

        Decided by what its name led to first. One global address makes it a public server for good,
        or a name that changes its mind (DNS rebinding) would open the inside.
        """
        if self._allow_private:
            return True
        if host == self._own_host:
            private = not any(_unwrapped(a).is_global for a in found)
            self._own_is_private = private and self._own_is_private is not False
        elif self._own_is_private is None:
            own = _resolve(self._own_host, 0, request)
            self._own_is_private = not any(_unwrapped(a).is_global for a in own)
        return bool(self._own_is_private)

    def close(self) -> None:
        for transport in self._by_host.values():
            transport.close()


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _resolve(host: str, port: int, request: httpx.Request) -> list[Address]:
    if (literal := _literal(host)) is not None:
        return [literal]
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"name resolution failed: {error}", request=request) from error
    return list(dict.fromkeys(ipaddress.ip_address(str(i[4][0]).partition("%")[0]) for i in infos))


def _forbidden(host: str, found: list[Address]) -> ProtocolError:
    return ProtocolError(
        f"{quoted(host)} is at {', '.join(map(str, found[:3])) or 'no address'}, inside a private "
        "or link-local network, which a public server's metadata must not lead to. If it is your "
        "own network, set allow_private_network = true for this server in mcpnb's configuration.",
        rule="MCP security best practices, server-side request forgery",
    )


class Http:
    """One conversation with a server and its authorization server.

    Thread-safe. Nothing here retries: whoever asks knows whether a request may be sent twice.
    """

    def __init__(self, server: str, *, allow_private: bool = False) -> None:
        """Open it for one MCP server.

        Args:
            server: The server's URL; its own host may be private, since the person named it.
            allow_private: Whether its metadata may lead to private networks, too.
        """
        self._own_host = httpx.URL(server).raw_host.decode("ascii")
        timeout = httpx.Timeout(_READ, connect=_CONNECT)
        common: dict[str, Any] = {
            "timeout": timeout,
            "follow_redirects": False,
            "headers": {"User-Agent": "mcpnb", "Accept": "application/json"},
        }
        self._allow_private = allow_private
        self._direct = httpx.Client(
            transport=_PinnedTransport(self._own_host, allow_private=allow_private), **common
        )
        self._proxied: dict[str, httpx.Client] = {}
        self._common = common

    def get(self, url: str, *, headers: dict[str, str] | None = None) -> Answer:
        """GET a document, following redirects within its origin."""
        for _ in range(_REDIRECTS):
            answer = self._send("GET", url, headers=headers or {})
            target = _joined(url, answer.headers.get("location", ""))
            if answer.status not in (301, 302, 303, 307, 308) or target == url:
                return answer
            if not _same_origin(url, target):
                raise DiscoveryError(
                    f"{quoted(url)} redirects to {quoted(target)}; a redirect to elsewhere is not "
                    "followed. If that is the right server, use its address."
                )
            url = target
        raise DiscoveryError(f"{quoted(url)} redirects without end.")

    def probe(self, method: str, url: str, *, content: str = "", headers: dict[str, str]) -> Answer:
        """Ask for the answer's head only: an event stream would never end."""
        return self._send(method, url, content=content, headers=headers, head_only=True)

    def post_form(self, url: str, body: str, headers: dict[str, str]) -> Answer:
        """POST a form to an endpoint. No redirect is followed: it carries a secret."""
        return self._send("POST", url, content=body, headers=headers)

    def post_json(self, url: str, body: dict[str, Any]) -> Answer:
        """POST a JSON object to an endpoint. No redirect is followed."""
        headers = {"Content-Type": "application/json"}
        return self._send("POST", url, content=json.dumps(body), headers=headers)

    def close(self) -> None:
        """Close all connections."""
        self._direct.close()
        for client in self._proxied.values():
            client.close()

    def _client(self, url: str) -> httpx.Client:
        parts = httpx.URL(url)
        if parts.scheme not in ("http", "https") or not parts.host:
            raise httpx.UnsupportedProtocol(url)
        literal = _literal(parts.host)
        if parts.host == "localhost" or (literal is not None and literal.is_loopback):
            return self._direct  # a proxy's loopback is another machine
        proxies = urllib.request.getproxies()
        proxied = proxies.get(parts.scheme) or proxies.get("all")
        if not proxied or urllib.request.proxy_bypass(parts.host):
            return self._direct
        own = parts.host == self._own_host
        if literal is not None and not _may_connect(literal, private_ok=own or self._allow_private):
            raise _forbidden(parts.host, [literal])
        if proxied not in self._proxied:
            # Named, and not left to the library's own reading of the environment: where the two
            # disagree, it would connect directly, past the check of addresses.
            context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._proxied[proxied] = httpx.Client(
                verify=context, proxy=proxied, trust_env=False, **self._common
            )
        return self._proxied[proxied]

    def _send(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        content: str = "",
        head_only: bool = False,
    ) -> Answer:
        deadline = time.monotonic() + _TOTAL
        try:
            request = httpx.Request(method, url)
            client = self._client(url)
            with client.stream(method, url, content=content or None, headers=headers) as response:
                body = b"" if head_only else _read(response, deadline)
                return Answer(str(request.url), response.status_code, response.headers, body)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise DiscoveryError(f"{quoted(url)} is not a usable address.") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ServerUnreachable(
                f"{quoted(_host(url))} cannot be reached: {_reason(error)}."
            ) from None
        except httpx.TimeoutException:
            raise ServerUnreachable(
                f"{quoted(_host(url))} did not answer within {_READ:.0f} seconds.", sent=True
            ) from None
        except httpx.HTTPError as error:
            raise ServerUnreachable(
                f"The connection to {quoted(_host(url))} broke: {_reason(error)}.", sent=True
            ) from None


def _read(response: httpx.Response, deadline: float) -> bytes:
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MAX_BODY:
            raise DiscoveryError(
                f"{quoted(_host(str(response.url)))} sent more than {MAX_BODY // 1024} KiB where "
                "a small document was expected. It was not read further."
            )
        if time.monotonic() > deadline:
            raise ServerUnreachable(
                f"{quoted(_host(str(response.url)))} took longer than {_TOTAL:.0f} seconds to "
                "answer.",
                sent=True,
            )
    return bytes(body)


def _host(url: str) -> str:
    return httpx.URL(url).host


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def _same_origin(left: str, right: str) -> bool:
    try:
        a, b = httpx.URL(left), httpx.URL(right)
    except httpx.InvalidURL:
        return False
    return (a.scheme, a.host, a.port) == (b.scheme, b.host, b.port)


def _reason(error: Exception) -> str:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its TLS certificate is not trusted by this machine"
    return quoted(text, 160) if text else type(error).__name__
