"""mcpnb's own OAuth requests: bounded in time and size, to addresses that are allowed."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self
from urllib.parse import urljoin

import httpx
import truststore

from mcpnb.errors import DiscoveryError, ServerError, ServerUnreachable
from mcpnb.oauth.ssrf import ONCE, PinnedTransport, forbidden, literal, may_connect
from mcpnb.oauth.urls import origin_of
from mcpnb.scrub import redact_logs
from mcpnb.text import quote

ACCEPTED: Final = "gzip"
"""How a response may be compressed: the value for ``Accept-Encoding``."""
MAX_BODY = 1024 * 1024
"""Bytes that are read of any response. Real metadata has a few kilobytes."""
# threat: redirect-loop
_REDIRECTS = 3
_CONNECT, _READ, _TOTAL = 10.0, 20.0, 30.0
"""Seconds: for one address, for one silence, and for all of a request from DNS to its last byte."""
_LONGEST_WAIT = 3600.0
_AGAIN = "Try again in a moment."
# What the library says of a connection. What it says of a response that it cannot read repeats
# that, which may be the one with the tokens (measured: its head and body run together).
_HUNG_UP = ("Server disconnected", "peer closed connection")

redact_logs("httpx", "httpcore.http11")

# Responses

# threat: unknown-packing
_COMPRESSED = ("gzip", "x-gzip", "deflate")
_EITHER = 32
"""Added to zlib's window: it then detects gzip's format or its own by the first bytes."""
_STEP = 1024 * 1024


class Unpacking:
    """Decompresses the body of one response as it arrives.

    Raises:
        ValueError: It is compressed in a way that was not asked for, or in several.
    """

    def __init__(self, encoding: str) -> None:
        kind = encoding.strip().lower()
        if kind not in ("", "identity", *_COMPRESSED):
            raise ValueError("it is compressed in a way that was not asked for")
        self._zlib: Any = None
        if kind in _COMPRESSED:
            self._zlib = zlib.decompressobj(zlib.MAX_WBITS | _EITHER)

    def parts(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the next bytes in parts of at most one MiB; each is made when it is asked for.

        Raises:
            ValueError: They are not what was announced.
        """
        if self._zlib is None:
            yield chunk
            return
        while chunk and not self._zlib.eof:
            try:
                # threat: decompression-bomb
                part = self._zlib.decompress(chunk, _STEP)
            except zlib.error as error:
                raise ValueError(str(error)) from error
            chunk = self._zlib.unconsumed_tail
            yield part


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response, its body read up to `MAX_BODY`."""

    url: str
    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            DiscoveryError: It is not JSON; the message says what it looks like instead.
        """
        try:
            return json.loads(self.body)
        # threat: metadata-not-json
        except (ValueError, RecursionError):
            kind = self.headers.get("content-type", "").partition(";")[0]
            what = f"{quote(kind)} data" if kind else "other data"
            if "html" in kind:
                what = "a web page"
            elif "json" in kind:
                what = "garbled or incomplete data"
            raise DiscoveryError(
                f"{quote(self.url)} answered with {what} where JSON was expected (HTTP "
                f"{self.status}). Try again in a moment. If it stays so, the server is at fault."
            ) from None

    def json_object(self) -> dict[str, Any] | None:
        """Return the body as a JSON object, or `None` if it is anything else."""
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

        A date is measured against the server's own clock if the response has a ``Date``.
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


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as it was sent, and its response, for an observer. It holds secrets."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    content: str = field(repr=False)
    response: Response | None = None
    error: ServerError | None = None
    """Why there is no response."""


# Failures

_DEEPEST = 8
_MOST = 160


def reason(error: Exception) -> str:
    """Return why a connection failed, from what either HTTP library raised.

    Their own messages say that all attempts failed, or hold the number of an error (measured). The
    system's words are at the bottom of the chain.
    """
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "its TLS certificate is not trusted by this machine"
    cause: BaseException | None = error
    for _ in range(_DEEPEST):
        if isinstance(cause, ExceptionGroup):  # one for each address
            cause = cause.exceptions[0]
        if isinstance(cause, ssl.SSLError):  # its number is not one of the system's
            return quote(f"TLS failed: {cause.reason or cause}", _MOST)
        if isinstance(cause, socket.gaierror):
            return quote(f"name resolution failed: {cause.strerror or cause}", _MOST)
        if isinstance(cause, OSError) and cause.errno is not None:
            return quote(os.strerror(cause.errno), _MOST)
        cause = (cause.__cause__ or cause.__context__) if cause is not None else None
    return quote(str(error) or type(error).__name__, _MOST)


def _lost(host: str, error: httpx.HTTPError, *, late: bool) -> ServerUnreachable:
    """Return the error for a request that was sent and has no usable response."""
    garbled = isinstance(error, httpx.DecodingError | httpx.RemoteProtocolError)
    if late:
        what = f"{host} took longer than {_TOTAL:.0f} seconds to respond."
    elif isinstance(error, httpx.TimeoutException):
        what = f"{host} did not respond within {_READ:.0f} seconds."
    elif garbled and not str(error).startswith(_HUNG_UP):
        what = f"The response of {host} is garbled: it is not HTTP."
    else:
        what = f"The connection to {host} broke: {reason(error)}."
    return ServerUnreachable(f"{what} {_AGAIN}", sent=True)


# Requests


class _Deadline:
    """The end of a request: its connections are shut down when it comes.

    The library's time-outs are for one operation each. A server that sends a byte now and then,
    even in the head of a response, would never meet one.
    """

    def __init__(self) -> None:
        self.at = time.monotonic() + _TOTAL
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(_TOTAL, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        with contextlib.suppress(RuntimeError):  # the interpreter ends, and starts no thread
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        while self._sockets:
            self._sockets.pop().close()

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self.at

    def seen(self, event: str, info: dict[str, Any]) -> None:
        """Note a new connection (httpcore's trace extension)."""
        if event == "connection.connect_tcp.complete":
            opened = info["return_value"].get_extra_info("socket")
            if opened is not None:
                # Our own handle on the same connection: TLS takes the first one away.
                self._sockets.append(opened.dup())
            if self.passed:
                self._end()

    def _end(self) -> None:
        for opened in list(self._sockets):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)


class Http:
    """One conversation with a server and its authorization server.

    Thread-safe. Nothing here retries: only the caller knows whether a request may be sent twice.
    """

    def __init__(
        self,
        server: str,
        *,
        allow_private: bool = False,
        seen: Callable[[Exchange], object] | None = None,
    ) -> None:
        """Open it for one MCP server, whose own host may be private: the person named it.

        Args:
            server: The server's URL.
            allow_private: Whether its metadata may lead to private networks, too.
            seen: Called with every request and its response, in the thread of the caller.
        """
        self._seen = seen or (lambda _: None)
        try:
            self._own_host = httpx.URL(server).raw_host.decode("ascii")
        except (httpx.InvalidURL, UnicodeError):
            self._own_host = ""  # each request to it says so
        self._common: dict[str, Any] = {
            "timeout": httpx.Timeout(_READ, connect=_CONNECT),
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
            transport=PinnedTransport(self._own_host, allow_private=allow_private), **self._common
        )
        self._proxied: dict[str, httpx.Client] = {}
        self._lock = threading.Lock()

    def get(self, url: str) -> Response:
        """GET a document, following redirects within its origin.

        Raises:
            ServerUnreachable: There is no response; ``sent`` tells whether the request may have
                arrived. Every request raises it.
            DiscoveryError: The URL cannot be used, or the response is too large or leads elsewhere.
            ProtocolError: The address is one that may not be contacted.
        """
        for _ in range(_REDIRECTS):
            response = self.send("GET", url, headers={})
            location = response.headers.get("location", "")
            if response.status not in (301, 302, 303, 307, 308) or not location:
                return response
            # threat: metadata-led-elsewhere, redirect-of-discovery
            if (target := _within_origin(url, location)) is None:
                raise DiscoveryError(
                    f"{quote(url)} redirects to {quote(location)}. A redirect to elsewhere is not "
                    "followed. If that is the right server, use its address."
                )
            if target == url:
                return response
            url = target
        raise DiscoveryError(f"{quote(url)} redirects without end.")

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        content: str = "",
        head_only: bool = False,
    ) -> Response:
        """Send one request. No redirect is followed: it may carry a secret. Raises as `get`.

        With `head_only` the body of the response stays unread: an event stream would never end.
        """
        try:
            response = self._carry(method, url, headers, content, head_only=head_only)
        except ServerError as error:
            self._seen(Exchange(method, url, headers, content, error=error))
            raise
        self._seen(Exchange(method, url, headers, content, response))
        return response

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
        proxy = proxies.get(parts.scheme) or proxies.get("all")
        if not proxy or urllib.request.proxy_bypass(parts.host):
            return self._direct
        own = parts.host == self._own_host
        # threat: ssrf-by-proxy
        if address is not None and not may_connect(address, private_ok=own or self._allow_private):
            raise forbidden(parts.host, [address])
        with self._lock:
            if proxy not in self._proxied:
                # Named, and not left to the library's own reading of the environment: where the two
                # disagree, it would connect directly, past the check of addresses.
                context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                try:
                    self._proxied[proxy] = httpx.Client(
                        verify=context, proxy=proxy, trust_env=False, **self._common
                    )
                except (ImportError, ValueError) as error:
                    # Its address may hold a password: not repeated.
                    raise ServerUnreachable(
                        f"The proxy that the environment names for {parts.scheme} cannot be used "
                        # threat: proxy-password-shown
                        f"({type(error).__name__}): only http and https proxies can."
                    ) from None
            return self._proxied[proxy]

    def _carry(
        self, method: str, url: str, headers: dict[str, str], content: str, *, head_only: bool
    ) -> Response:
        deadline = _Deadline()
        try:
            sent_to, client = httpx.URL(url), self._client(url)
            with (
                # threat: slow-drip
                deadline,
                client.stream(
                    method,
                    sent_to,
                    content=content or None,
                    headers=headers,
                    extensions={"trace": deadline.seen, "deadline": deadline.at},
                ) as response,
            ):
                # threat: endless-stream
                body = b"" if head_only else _body(response, deadline)
                return Response(str(sent_to), response.status_code, response.headers, body)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
            # The last one for a host such as xn--a, which is the encoding of nothing.
            raise DiscoveryError(f"{quote(url)} is not a usable address.") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            host = quote(httpx.URL(url).host)
            raise ServerUnreachable(f"{host} cannot be reached: {reason(error)}.") from None
        except httpx.HTTPError as error:
            raise _lost(quote(httpx.URL(url).host), error, late=deadline.passed) from None


def _body(response: httpx.Response, deadline: _Deadline) -> bytes:
    body = bytearray()
    try:
        unpacking = Unpacking(response.headers.get("content-encoding", ""))
        for chunk in response.iter_raw():
            for part in unpacking.parts(chunk):
                body += part
                # threat: metadata-without-end, huge-body
                if len(body) > MAX_BODY:
                    raise DiscoveryError(
                        f"{quote(response.url.host)} sent more than {MAX_BODY // 1024} KiB where a "
                        "small document was expected. It was not read further."
                    )
            if deadline.passed:
                raise httpx.ReadTimeout("the whole took too long")
    except ValueError as error:
        raise httpx.DecodingError(str(error)) from error
    return bytes(body)


def _within_origin(url: str, location: str) -> str | None:
    """Return where a redirect leads, or `None` if that is another origin."""
    try:
        target = urljoin(url, location)
        return target if origin_of(target) == origin_of(url) else None
    except ValueError:
        return None
