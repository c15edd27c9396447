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

import contextlib
import json
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin

import httpx
import truststore

from mcpnb.discreet import discreet_logs
from mcpnb.errors import DiscoveryError, ServerError, ServerUnreachable, quoted
from mcpnb.http.addresses import ONCE, PinnedTransport, forbidden, literal, may_connect
from mcpnb.http.answers import Answer, Exchange
from mcpnb.http.reasons import reason
from mcpnb.unpacking import ACCEPTED, Unpacking

__all__ = ["Http"]

discreet_logs("httpx", "httpcore.http11")

MAX_BODY = 1024 * 1024
"""Bytes read of any answer. Real metadata has a few kilobytes."""
# threat: redirect-loop
_REDIRECTS = 3
_CONNECT, _READ, _TOTAL = 10.0, 20.0, 30.0
_AGAIN = "Try again in a moment."
# What the library says of a connection. What it says of an answer that it cannot read repeats that,
# which may be the one with the tokens (measured: its head and body run together).
_HUNG_UP = ("Server disconnected", "peer closed connection")


class _Sockets:
    """The connections of a request, to end them when it takes too long as a whole.

    Time-outs of the library are for one read each: a server that sends a byte now and then, in the
    head of an answer at that, would never meet one.
    """

    def __init__(self) -> None:
        self._open: list[socket.socket] = []

    def seen(self, event: str, info: dict[str, Any]) -> None:
        """Take note of a new connection (httpcore's trace extension)."""
        if event == "connection.connect_tcp.complete":
            opened = info["return_value"].get_extra_info("socket")
            if opened is not None:
                # A handle of our own on the same connection: TLS takes the first one away.
                self._open.append(opened.dup())

    @contextlib.contextmanager
    def ended_in(self, seconds: float) -> Iterator[None]:
        """End them all so many seconds from now, unless that is left before."""
        timer = threading.Timer(seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end(self) -> None:
        for opened in list(self._open):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the handles back."""
        while self._open:
            self._open.pop().close()


class Http:
    """One conversation with a server and its authorization server.

    Thread-safe. Nothing here retries: whoever asks knows whether a request may be sent twice.
    """

    def __init__(
        self,
        server: str,
        *,
        allow_private: bool = False,
        seen: Callable[[Exchange], object] | None = None,
    ) -> None:
        """Open it for one MCP server.

        Args:
            server: The server's URL; its own host may be private, since the person named it.
            allow_private: Whether its metadata may lead to private networks, too.
            seen: Told of every request with what came of it, in the thread that asks.
        """
        self._seen = seen or (lambda _: None)
        self._own_host = _raw_host(server)
        timeout = httpx.Timeout(_READ, connect=_CONNECT)
        common: dict[str, Any] = {
            "timeout": timeout,
            # threat: code-led-elsewhere, registration-led-elsewhere, redirect-with-a-secret
            "follow_redirects": False,
            "limits": ONCE,
            "headers": {
                "User-Agent": "mcpnb",
                "Accept": "application/json",
                "Accept-Encoding": ACCEPTED,
            },
        }
        self._allow_private = allow_private
        self._direct = httpx.Client(
            transport=PinnedTransport(self._own_host, allow_private=allow_private), **common
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
            # threat: metadata-led-elsewhere, redirect-of-discovery
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
        address = literal(parts.host)
        # threat: proxy-sees-loopback
        if parts.host == "localhost" or (address is not None and address.is_loopback):
            return self._direct  # a proxy's loopback is another machine
        proxies = urllib.request.getproxies()
        proxied = proxies.get(parts.scheme) or proxies.get("all")
        if not proxied or urllib.request.proxy_bypass(parts.host):
            return self._direct
        own = parts.host == self._own_host
        # threat: ssrf-by-proxy
        if address is not None and not may_connect(address, private_ok=own or self._allow_private):
            raise forbidden(parts.host, [address])
        if proxied not in self._proxied:
            # Named, and not left to the library's own reading of the environment: where the two
            # disagree, it would connect directly, past the check of addresses.
            context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                self._proxied[proxied] = httpx.Client(
                    verify=context, proxy=proxied, trust_env=False, **self._common
                )
            except (ImportError, ValueError) as error:
                # Its address may hold a password: not repeated.
                raise ServerUnreachable(
                    f"The proxy that the environment names for {parts.scheme} cannot be used "
                    # threat: proxy-password-shown
                    f"({type(error).__name__}): only http and https proxies can."
                ) from None
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
        try:
            answer = self._carried(method, url, headers, content, head_only=head_only)
        except ServerError as error:
            self._seen(Exchange(method, url, headers, content, error=error))
            raise
        self._seen(Exchange(method, url, headers, content, answer))
        return answer

    def _carried(
        self, method: str, url: str, headers: dict[str, str], content: str, *, head_only: bool
    ) -> Answer:
        deadline, sockets = time.monotonic() + _TOTAL, _Sockets()
        try:
            request = httpx.Request(method, url)
            client = self._client(url)
            with (
                contextlib.closing(sockets),
                # threat: slow-drip
                sockets.ended_in(_TOTAL),
                client.stream(
                    method,
                    url,
                    content=content or None,
                    headers=headers,
                    extensions={"trace": sockets.seen},
                ) as response,
            ):
                # threat: endless-stream
                body = b"" if head_only else _read(response, deadline)
                return Answer(str(request.url), response.status_code, response.headers, body)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
            # The last one for a host such as xn--a, which is the encoding of nothing.
            raise DiscoveryError(f"{quoted(url)} is not a usable address.") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ServerUnreachable(
                f"{quoted(_host(url))} cannot be reached: {reason(error)}."
            ) from None
        except httpx.TimeoutException:
            raise ServerUnreachable(
                f"{quoted(_host(url))} did not answer within {_READ:.0f} seconds. {_AGAIN}",
                sent=True,
            ) from None
        except httpx.HTTPError as error:
            if time.monotonic() >= deadline:  # its connections were ended here
                raise _too_slow(url) from None
            if _is_garbled(error):
                raise ServerUnreachable(
                    f"What {quoted(_host(url))} answered is garbled: it is not HTTP. {_AGAIN}",
                    sent=True,
                ) from None
            raise ServerUnreachable(
                f"The connection to {quoted(_host(url))} broke: {reason(error)}. {_AGAIN}",
                sent=True,
            ) from None


def _read(response: httpx.Response, deadline: float) -> bytes:
    body = bytearray()
    for part in _unpacked(response):
        body += part
        # threat: metadata-without-end, huge-body
        if len(body) > MAX_BODY:
            raise DiscoveryError(
                f"{quoted(_host(str(response.url)))} sent more than {MAX_BODY // 1024} KiB where "
                "a small document was expected. It was not read further."
            )
        if time.monotonic() > deadline:
            raise _too_slow(str(response.url))
    return bytes(body)


def _unpacked(response: httpx.Response) -> Iterator[bytes]:
    try:
        unpacking = Unpacking(response.headers.get("content-encoding", ""))
        for chunk in response.iter_raw():
            yield from unpacking.parts(chunk)
    except ValueError as error:
        raise httpx.DecodingError(str(error)) from error


def _too_slow(url: str) -> ServerUnreachable:
    return ServerUnreachable(
        f"{quoted(_host(url))} took longer than {_TOTAL:.0f} seconds to answer. {_AGAIN}", sent=True
    )


def _raw_host(url: str) -> str:
    """Give the host as it goes over the wire; nothing where it cannot: each request says so."""
    try:
        return httpx.URL(url).raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError):
        return ""


def _host(url: str) -> str:
    return httpx.URL(url).host


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def _same_origin(left: str, right: str) -> bool:
    try:
        a, b = ((u.scheme, u.host, u.port) for u in (httpx.URL(left), httpx.URL(right)))
    except (httpx.InvalidURL, UnicodeError):
        return False
    return a == b


def _is_garbled(error: httpx.HTTPError) -> bool:
    hung_up = str(error).startswith(_HUNG_UP)
    return isinstance(error, httpx.DecodingError | httpx.RemoteProtocolError) and not hung_up
