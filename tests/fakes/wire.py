"""The HTTP side of the fake: a loopback port that records every request and plays replies."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """One request, as it came."""

    method: str
    path: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, list[str]]:
        """Parameters of the URL, repetitions kept."""
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def form(self) -> dict[str, list[str]]:
        """Parameters of a form body, repetitions kept."""
        return parse_qs(self.body.decode(), keep_blank_values=True)

    @property
    def json(self) -> Any:
        """The JSON body, or `None`."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def bearer(self) -> str | None:
        """The access token presented."""
        value = self.headers.get("authorization", "")
        return value.removeprefix("Bearer ") if value.startswith("Bearer ") else None


@dataclass(frozen=True)
class Reply:
    """One answer. A mapping or list as `body` becomes JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    """Close the connection without a word."""
    hold: threading.Event | None = None
    """Answer once this is set (or the server closes)."""

    def encoded(self) -> tuple[bytes, dict[str, str]]:
        """Return the bytes to send, and the headers that go with them."""
        headers = dict(self.headers)
        if isinstance(self.body, bytes):
            return self.body, headers
        if isinstance(self.body, str):
            return self.body.encode(), {"Content-Type": "text/html; charset=utf-8"} | headers
        return json.dumps(self.body).encode(), {"Content-Type": "application/json"} | headers


def html(text: str, status: int = 200) -> Reply:
    """Make a page."""
    return Reply(status, f"<!doctype html><title>page</title><p>{text}</p>")


def redirect(url: str, status: int = 302) -> Reply:
    """Send the client elsewhere."""
    return Reply(status, headers={"Location": url})


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A client that gives up midway must not leave a thread behind.
    timeout = 30
    server: _Listening

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Keep quiet."""

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            method=self.command,
            path=urlsplit(self.path).path,
            target=self.path,
            headers={k.lower(): v for k, v in self.headers.items()},
            body=self.rfile.read(length),
        )
        self.close_connection = True
        reply = self.server.wire.reply_to(request)
        if reply.hold is not None:
            reply.hold.wait(30)
        with contextlib.suppress(OSError):
            if reply.drop:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            body, headers = reply.encoded()
            self.send_response_only(reply.status)
            headers = {"Date": self.date_time_string()} | headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

    do_GET = do_POST = do_DELETE = do_PUT = do_HEAD = do_OPTIONS = _serve  # noqa: N815


class _Listening(ThreadingHTTPServer):
    wire: Wire
    daemon_threads = True
    # Bursts of the parallel tests are larger than the library's backlog of 5.
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """Count what broke in here; the fixture complains at the end."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            self.wire.broken.append(repr(error))


class Wire:
    """A loopback port: routes, scripted replies, a record of everything asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.broken: list[str] = []
        self.routes: dict[str, Callable[[Request], Reply]] = {}
        """What answers a path when nothing is scripted for it."""
        self.closing = threading.Event()
        self._scripted: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self._always: dict[str, Reply] = {}
        self._guard = threading.Lock()
        self._listening = _Listening(("127.0.0.1", 0), _Connection)
        self._listening.wire = self
        self.port: int = self._listening.server_address[1]
        self.base = f"http://127.0.0.1:{self.port}"
        # A short poll keeps closing cheap: there are hundreds of these in a run.
        self._thread = threading.Thread(
            target=self._listening.serve_forever, args=(0.005,), name="fake", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, and let go whoever is being kept waiting."""
        self.closing.set()
        self._listening.shutdown()
        self._listening.server_close()
        self._thread.join(5)

    def script(self, path: str, *replies: Reply) -> None:
        """Play these once, in order, before anything else that `path` would do."""
        self._scripted[path].extend(replies)

    def always(self, path: str, reply: Reply) -> None:
        """Answer `path` with this from now on."""
        self._always[path] = reply

    def restore(self, path: str) -> None:
        """Let `path` do again what it does by itself."""
        del self._always[path]

    def never(self) -> Reply:
        """Make a reply that does not come before the server closes."""
        return Reply(503, hold=self.closing)

    def asked(self, path: str, method: str | None = None) -> list[Request]:
        """Everything asked of `path` so far."""
        with self._guard:
            return [r for r in self.requests if r.path == path and method in {None, r.method}]

    def reply_to(self, request: Request) -> Reply:
        """Find the answer to one request."""
        with self._guard:
            self.requests.append(request)
            waiting = self._scripted[request.path]
            if waiting:
                return waiting.popleft()
        if request.path in self._always:
            return self._always[request.path]
        route = self.routes.get(request.path)
        return route(request) if route else html("nothing here", 404)
