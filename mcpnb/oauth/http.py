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
from typing import Any, Final
from urllib.parse import urljoin

import httpx
import truststore

from mcpnb.errors import DiscoveryError, ServerError, ServerUnreachable
from mcpnb.oauth.ssrf import ONCE, PinnedTransport, forbidden, literal, may_connect
from mcpnb.scrub import redact_logs
from mcpnb.text import quote

__all__ = ["ACCEPTED", "Exchange", "Http", "Response", "Unpacking", "reason"]

ACCEPTED: Final = "gzip"
"""What answers may be packed as: the value for ``Accept-Encoding``."""
_PLAIN = ("", "identity")
# threat: unknown-packing
_PACKED = ("gzip", "x-gzip", "deflate")
_EITHER = 32
"""Added to zlib's window: whether it is gzip's format or its own shows at the first bytes."""
_STEP = 1024 * 1024


class Unpacking:
    """Unpacks one answer's body as it comes."""

    def __init__(self, encoding: str) -> None:
        """Begin with a body.

        Args:
            encoding: Its ``Content-Encoding`` (RFC 9110 section 8.4).

        Raises:
            ValueError: It is packed in a way that was not asked for, or in several.
        """
        kind = encoding.strip().lower()
        if kind not in (*_PLAIN, *_PACKED):
            raise ValueError("it is packed in a way that was not asked for")
        plain = kind in _PLAIN
        self._packed: Any = None if plain else zlib.decompressobj(zlib.MAX_WBITS | _EITHER)

    def parts(self, chunk: bytes) -> Iterator[bytes]:
        """Unpack the next bytes, in parts of a MiB at most; none is made before it is asked for.

        Raises:
            ValueError: They are not what was announced.
        """
        if self._packed is None:
            yield chunk
            return
        while chunk and not self._packed.eof:
            try:
                # threat: decompression-bomb
                part = self._packed.decompress(chunk, _STEP)
            except zlib.error as error:
                raise ValueError(str(error)) from error
            chunk = self._packed.unconsumed_tail
            yield part


@dataclass(frozen=True, slots=True)
class Response:
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
                f"{self.status}). Try again in a moment; if it stays so, the server is at fault."
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


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as it was sent, and what came of it: for who looks on. It holds secrets."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    content: str = field(repr=False)
    answer: Response | None = None
    error: ServerError | None = None
    """Why there is no answer."""


_LONGEST_WAIT = 3600.0


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


_DEEPEST = 8
_MOST = 160


def reason(error: Exception) -> str:
    """Say why, from what either HTTP library raised.

    What they say themselves is that all attempts failed, or has the number of an error in it
    (measured): the system's own words are at the bottom.
    """
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "its TLS certificate is not trusted by this machine"
    cause: BaseException | None = error
    for _ in range(_DEEPEST):
        if isinstance(cause, ExceptionGroup):  # one for each address
            cause = cause.exceptions[0]
        if isinstance(cause, ssl.SSLError):  # its number is none of the system's
            return quote(f"TLS failed: {cause.reason or cause}", _MOST)
        if isinstance(cause, socket.gaierror):
            return quote(f"name resolution failed: {cause.strerror or cause}", _MOST)
        if isinstance(cause, OSError) and cause.errno is not None:
            return quote(os.strerror(cause.errno), _MOST)
        cause = (cause.__cause__ or cause.__context__) if cause is not None else None
    return quote(str(error) or type(error).__name__, _MOST)


redact_logs("httpx", "httpcore.http11")

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

    def get(self, url: str, *, headers: dict[str, str] | None = None) -> Response:
        """GET a document, following redirects within its origin."""
        for _ in range(_REDIRECTS):
            answer = self._send("GET", url, headers=headers or {})
            target = _joined(url, answer.headers.get("location", ""))
            if answer.status not in (301, 302, 303, 307, 308) or target == url:
                return answer
            # threat: metadata-led-elsewhere, redirect-of-discovery
            if not _same_origin(url, target):
                raise DiscoveryError(
                    f"{quote(url)} redirects to {quote(target)}; a redirect to elsewhere is not "
                    "followed. If that is the right server, use its address."
                )
            url = target
        raise DiscoveryError(f"{quote(url)} redirects without end.")

    def probe(
        self, method: str, url: str, *, content: str = "", headers: dict[str, str]
    ) -> Response:
        """Ask for the answer's head only: an event stream would never end."""
        return self._send(method, url, content=content, headers=headers, head_only=True)

    def post_form(self, url: str, body: str, headers: dict[str, str]) -> Response:
        """POST a form to an endpoint. No redirect is followed: it carries a secret."""
        return self._send("POST", url, content=body, headers=headers)

    def post_json(self, url: str, body: dict[str, Any]) -> Response:
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
    ) -> Response:
        try:
            answer = self._carried(method, url, headers, content, head_only=head_only)
        except ServerError as error:
            self._seen(Exchange(method, url, headers, content, error=error))
            raise
        self._seen(Exchange(method, url, headers, content, answer))
        return answer

    def _carried(
        self, method: str, url: str, headers: dict[str, str], content: str, *, head_only: bool
    ) -> Response:
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
                return Response(str(request.url), response.status_code, response.headers, body)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
            # The last one for a host such as xn--a, which is the encoding of nothing.
            raise DiscoveryError(f"{quote(url)} is not a usable address.") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ServerUnreachable(
                f"{quote(_host(url))} cannot be reached: {reason(error)}."
            ) from None
        except httpx.TimeoutException:
            raise ServerUnreachable(
                f"{quote(_host(url))} did not answer within {_READ:.0f} seconds. {_AGAIN}",
                sent=True,
            ) from None
        except httpx.HTTPError as error:
            if time.monotonic() >= deadline:  # its connections were ended here
                raise _too_slow(url) from None
            if _is_garbled(error):
                raise ServerUnreachable(
                    f"What {quote(_host(url))} answered is garbled: it is not HTTP. {_AGAIN}",
                    sent=True,
                ) from None
            raise ServerUnreachable(
                f"The connection to {quote(_host(url))} broke: {reason(error)}. {_AGAIN}",
                sent=True,
            ) from None


def _read(response: httpx.Response, deadline: float) -> bytes:
    body = bytearray()
    for part in _unpacked(response):
        body += part
        # threat: metadata-without-end, huge-body
        if len(body) > MAX_BODY:
            raise DiscoveryError(
                f"{quote(_host(str(response.url)))} sent more than {MAX_BODY // 1024} KiB where "
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
        f"{quote(_host(url))} took longer than {_TOTAL:.0f} seconds to answer. {_AGAIN}", sent=True
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
