"""The loopback listener (RFC 8252 section 7.3) that receives an authorization response."""

from __future__ import annotations

import contextlib
import errno
import html
import os
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from mcpnb.errors import LoginError

_HEADINGS = {
    "done": "Signed in",
    "failed": "Not signed in",
    "refused": "Not the expected response",
    "again": "Once more",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of a delivered response, in words for the person's browser."""

    outcome: Literal["done", "failed", "refused", "again"]
    """``refused``: not the expected response. ``again``: the browser has to go on to `location`."""
    text: str = ""
    location: str | None = None
    title: str | None = None
    """Replaces the usual heading of the outcome."""

    @property
    def heading(self) -> str:
        """The outcome in a few words."""
        return self.title or _HEADINGS[self.outcome]


Deliver = Callable[[str], Reply]
"""Takes the address that the browser was sent to, and returns the outcome when it is known."""


_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    # The address of this page holds the code: no referrer, no frame, nothing loaded, nothing run.
    # threat: callback-page-referrer
    "Referrer-Policy": "no-referrer",
    # threat: callback-page-policy
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors "
    "'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>mcpnb: {title}</title>
<meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; display: grid; place-items: center; min-height: 90vh;
margin: 0; }} main {{ max-width: 34rem; padding: 2rem; text-align: center; overflow-wrap: anywhere;
}} h1 {{ font-size: 1.5rem; margin: .5rem 0; }} p {{ margin: .5rem 0; opacity: .8; }}
.mark {{ font-size: 2.5rem; line-height: 1; }} .good {{ color: #1a8f4c; }} .bad {{ color: #c4442b;
}} </style></head>
<body><main role="status"><div class="mark {tone}" aria-hidden="true">{mark}</div>
<h1>{title}</h1><p>{text}</p></main></body></html>
"""


def page(title: str, text: str, *, good: bool) -> bytes:
    """Return the page. Both texts are escaped here, whoever wrote them."""
    return _PAGE.format(
        # threat: callback-page-xss
        title=html.escape(title),
        # threat: callback-page-xss
        text=html.escape(text),
        tone="good" if good else "bad",
        mark="✓" if good else "✕",
    ).encode()


# threat: listener-flooded
_MOST = 32
"""Connections at a time. A browser needs one or two; each costs a thread and a descriptor."""
_WHOLE = 15.0
"""Seconds in which a request has to be there whole: a time-out is for each read alone."""
_PAUSE = 0.2
DEFAULT_PORT = 27182
"""Fixed, so that it can be registered beforehand and forwarded with ``ssh -L``."""
_IDLE = 10.0
"""Seconds that one connection may be silent."""
_LAST_PAGE = 3.0
"""Seconds to let the last page reach the browser before the port is closed."""


class LoopbackListener:
    """Listens on one port from construction on, and delivers requests for one path.

    Stray, forged and malformed requests get a reply and are otherwise ignored, and so are requests
    that a page sends by itself. Every connection has a thread and a time-out of its own, so that
    none blocks another. Headers are never logged: a proxy in front may put cookies there.
    """

    def __init__(
        self, port: int, *, everywhere: bool = False, fallback: bool = True, host: str | None = None
    ) -> None:
        """Bind the port.

        Args:
            port: The port; 0 for any free one.
            everywhere: Bind all interfaces instead of 127.0.0.1, for a configured public address.
            fallback: Take any free port where `port` is in use.
            host: The host in the redirect URI. For ``localhost``, browsers try [::1] first
                (RFC 8252 section 8.3), so that is bound, too, where this machine has it.

        Raises:
            LoginError: The port cannot be bound.
        """
        self.awaited: tuple[str, Deliver] | None = None
        """The redirect URI, and what takes its requests."""
        self.leads: dict[str, list[str]] = {}
        """By its path, the address that a browser is led to, until one has been."""
        self.fell_back = False
        # threat: listener-open-to-the-network
        own = "0.0.0.0" if everywhere else "127.0.0.1"  # noqa: S104  the person configured a public address
        try:
            self._servers = [_Server(own, port, self)]
        except OSError as error:
            if not fallback or port == 0:
                raise _not_bound(port, error) from None
            self._servers = [_Server(own, 0, self)]
            self.fell_back = True
        self.port: int = self._servers[0].server_address[1]
        # threat: callback-by-name
        if host in ("localhost", "::1") and not everywhere:
            self._listen_on_six()
        self._threads = [
            threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
            )
            for server in self._servers
        ]
        for thread in self._threads:
            thread.start()

    def _listen_on_six(self) -> None:
        try:
            self._servers.append(_Server("::1", self.port, self))
        except OSError as error:
            # threat: callback-by-name
            if error.errno != errno.EADDRINUSE:
                return  # a machine without IPv6: its browsers have none, either
            self._servers[0].server_close()
            raise _not_bound(self.port, error) from None

    def listen(self, redirect_uri: str, deliver: Deliver) -> None:
        """Start to deliver requests for the path of `redirect_uri`.

        Args:
            redirect_uri: The address that the browser will be sent to, as it was registered.
            deliver: Called in a connection's thread; the browser waits for its result.
        """
        self.awaited = (redirect_uri, deliver)

    def lead(self, url: str) -> str:
        """Return an address of this listener that redirects to `url`, once.

        It is for a browser's command line, which every user of the machine can read. Whoever reads
        an authorization URL can sign the person in to another account. A second opening of this
        address shows the person that somebody else has opened it.
        """
        path = f"/go/{secrets.token_urlsafe(24)}"
        self.leads[path] = [url]
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        """Stop listening once the last page is sent, or `_LAST_PAGE` seconds have passed."""
        deadline = time.monotonic() + _LAST_PAGE
        for server in self._servers:
            server.drain(deadline - time.monotonic())
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join(timeout=2)


def _not_bound(port: int, error: OSError) -> LoginError:
    to_do = "Choose"
    if error.errno == errno.EADDRINUSE:
        to_do = f"Close the program that uses it (lsof -i :{port} names it), or choose"
    return LoginError(
        f"Port {port} cannot be listened on ({error.strerror}). {to_do} another port "
        "(callback_port=, --port)."
    )


# threat: listener-held-up
class _Server(ThreadingHTTPServer):
    """A server that a flood of connections neither fills up nor keeps busy.

    When all places are taken, a new connection takes the place of the one whose request has been
    incomplete for longest. Idle connections, however many, block nobody.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str, port: int, listener: LoopbackListener) -> None:
        self.listener = listener
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._talking: dict[socket.socket, float] = {}
        """Connections whose request is incomplete, oldest first, with their start times."""
        self._listened_to: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__((host, port), _Connection)
        _OPEN.add(self)

    def server_bind(self) -> None:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        elif os.name == "posix":
            # Else the port stays taken for a minute after each sign-in (TCP's TIME_WAIT). On
            # Windows the option would let another program listen on the same port.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Not HTTPServer's: it looks up the host's full name, which can take seconds.
        socket_address = self.server_address
        self.socket.bind(socket_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except (ConnectionError, BlockingIOError):  # gone again before it was accepted
            raise
        except OSError:
            # No descriptor is left, say: the connection waits on, and select() says so without end.
            # threat: listener-flooded
            time.sleep(_PAUSE)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Return whether there is a place for a new connection."""
        with self._changed:
            # threat: listener-flooded
            if len(self._talking) + len(self._listened_to) >= _MOST:
                if not self._talking:
                    return False
                self._hang_up(next(iter(self._talking)))
            self._talking[request] = time.monotonic()
        return True

    def service_actions(self) -> None:
        """Close connections whose request takes too long; called every 20 ms."""
        with self._changed:
            latest = time.monotonic() - _WHOLE
            # threat: listener-flooded
            for late in [each for each, since in self._talking.items() if since < latest]:
                self._hang_up(late)

    def shutdown_request(self, request: Any) -> None:
        with self._changed:
            self._talking.pop(request, None)
            self._listened_to.discard(request)
            self._changed.notify_all()
        super().shutdown_request(request)

    def answering(self, request: socket.socket) -> bool:
        """Note that the request is complete. Return whether the connection is still open."""
        with self._changed:
            if self._talking.pop(request, None) is None:
                return False
            self._listened_to.add(request)
            return True

    def drain(self, timeout: float) -> None:
        """Wait until every request is answered."""
        with self._changed:
            self._changed.wait_for(lambda: not self._listened_to, timeout)

    def _hang_up(self, request: socket.socket) -> None:
        del self._talking[request]
        with contextlib.suppress(OSError):  # its own thread closes it
            request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: a closed connection is no event, and a traceback would leak."""


_WANTED = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
# What a browser fetches in advance, by the names of today's and earlier ones.
_PURPOSES = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
_IN_ADVANCE = ("prefetch", "prerender", "preview")
_NO_PAGE = "Responses are accepted from a tab of their own, not from what a page loads by itself."
_OPENED = (
    "This address works once, and somebody has already opened it. If that was not you, cancel the "
    "sign-in where it waits, and start again."
)


class _Connection(BaseHTTPRequestHandler):
    server: _Server
    timeout = _IDLE
    server_version, sys_version = "mcpnb", ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        if not self.server.answering(self.connection):
            return  # hung up on meanwhile
        listener = self.server.listener
        if listener.awaited is None:
            self._refuse(404, "Nothing here", "No sign-in is waiting here.")
            return
        redirect_uri, deliver = listener.awaited
        path, _, query = self.path.partition("?")
        # threat: dns-rebinding-of-the-listener
        if self.headers.get("Host", "").lower() not in self._hosts(redirect_uri):
            self._refuse(421, "Wrong address", "This is not the address of the sign-in.")
        # threat: answer-that-a-page-loads
        elif not self._is_navigation():
            # Before anything is delivered: a picture in any page could be the answer of somebody
            # who wants the person to work in their account (RFC 9700 section 4.7).
            self._refuse(403, "Not a page", _NO_PAGE)
        elif path in listener.leads:
            self._lead(listener.leads[path])
        elif path != urlsplit(redirect_uri).path:
            self._refuse(404, "Nothing here", "The sign-in goes on in the other tab.")
        else:
            base, _, own_query = redirect_uri.partition("?")
            query = f"{own_query}&{query}" if own_query and own_query not in query else query
            self._reply(deliver(f"{base}?{query}"))

    def _hosts(self, redirect_uri: str) -> set[str]:
        """``Host`` values to accept: ours and the configured one (against DNS rebinding)."""
        local = {f"{h}:{self.server.server_port}" for h in ("127.0.0.1", "localhost", "[::1]")}
        return local | {urlsplit(redirect_uri).netloc.lower()}

    def _is_navigation(self) -> bool:
        """Return whether a request may be a person's navigation, in a tab of its own.

        An image, a frame or a script of any page can send a request, and no page can remove these
        headers. Old browsers, text browsers and programs send none: theirs may be navigations.
        """
        wanted = all(self.headers.get(name, right) == right for name, right in _WANTED.items())
        said = " ".join(self.headers.get(name, "") for name in _PURPOSES).lower()
        # threat: answer-that-a-page-loads
        return wanted and not any(word in said for word in _IN_ADVANCE)

    def _lead(self, target: list[str]) -> None:
        try:
            # threat: authorization-url-in-a-process-list
            self._redirect(303, target.pop())
        except IndexError:  # taken in one step, so that of two threads only one leads on
            self._refuse(410, "Opened already", _OPENED)

    # threat: cross-site-post-to-the-listener
    def _reply(self, reply: Reply) -> None:
        if reply.outcome == "again" and reply.location is not None:
            self._redirect(302, reply.location)
        elif reply.outcome == "done":
            self._send(200, page(reply.heading, reply.text, good=True))
        else:
            self._refuse(400, reply.heading, reply.text)

    def _redirect(self, status: int, url: str) -> None:
        self.send_response(status)
        # Of a header's letters; an endpoint may have others.
        self.send_header("Location", "".join(c if c.isascii() else quote(c) for c in url))
        for name in ("Referrer-Policy", "Cache-Control"):
            self.send_header(name, _HEADERS[name])
        self._end_of_head(0)

    def _refuse(self, status: int, title: str, text: str) -> None:
        self._send(status, page(title, text, good=False))

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self._end_of_head(len(body))
        self.wfile.write(body)

    def _end_of_head(self, length: int) -> None:
        self.send_header("Content-Length", str(length))
        # Said, too: who thinks that the connection stays open may send the next request into it.
        self.send_header("Connection", "close")
        self.end_headers()

    def send_error(
        self,
        code: int,
        message: str | None = None,  # noqa: ARG002  what the request held is not repeated
        explain: str | None = None,  # noqa: ARG002
    ) -> None:
        """Answer whatever is not a plain GET without repeating any of it."""
        self.close_connection = True
        status = 405 if code == 501 else code
        self._refuse(status, "Not understood", "Only a browser's GET is answered here.")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class named it
        """Log nothing: the request line holds the code."""


_OPEN: weakref.WeakSet[_Server] = weakref.WeakSet()


def _close_in_child() -> None:
    # Its parent is the one that answers: a port that the child holds, too, would stay taken after
    # the sign-in, and have browsers wait for an answer.
    for server in list(_OPEN):
        server.socket.close()


if hasattr(os, "register_at_fork"):
    # threat: fork-with-a-port
    os.register_at_fork(after_in_child=_close_in_child)
