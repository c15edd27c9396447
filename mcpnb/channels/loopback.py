"""The loopback listener (RFC 8252 section 7.3): waits for the browser on this machine."""

from __future__ import annotations

import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from mcpnb.channels.base import Deliver, Reply
from mcpnb.channels.page import HEADERS, page
from mcpnb.errors import LoginError

__all__ = ["DEFAULT_PORT", "LoopbackListener"]

DEFAULT_PORT = 27182
"""Fixed, so that it can be registered beforehand and forwarded with ``ssh -L``."""
_IDLE = 10.0
"""Seconds that one connection may say nothing."""
_LAST_PAGE = 3.0
"""Seconds to let the last page reach the browser before the port is closed."""


class LoopbackListener:
    """Listens on one port from construction on, and delivers what is sent to one path.

    Stray, forged and malformed requests are answered and otherwise ignored; every connection has a
    thread and a time-out of its own, so that none can hold up another. Headers are never logged: a
    proxy in front may have put the person's cookies there.
    """

    def __init__(self, port: int, *, everywhere: bool = False, fallback: bool = True) -> None:
        """Bind the port.

        Args:
            port: The port; 0 for any free one.
            everywhere: Bind all interfaces instead of 127.0.0.1, for a configured public address.
            fallback: Take any free port where `port` is in use.

        Raises:
            LoginError: The port cannot be had.
        """
        self.fell_back = False
        host = "0.0.0.0" if everywhere else "127.0.0.1"  # noqa: S104  the person configured a public address
        try:
            self._server = _Server((host, port), _Connection)
        except OSError as error:
            if not fallback or port == 0:
                raise LoginError(
                    f"Port {port} cannot be listened on ({error.strerror}). Close what uses it, "
                    "or choose another one (callback_port=, --port)."
                ) from None
            self._server = _Server((host, 0), _Connection)
            self.fell_back = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def listen(self, redirect_uri: str, deliver: Deliver) -> None:
        """Begin to deliver what is sent to the path of `redirect_uri`.

        Args:
            redirect_uri: The address that the browser will be sent to, as it was registered.
            deliver: Called in a connection's thread; the page waits for what it returns.
        """
        self._server.expect(redirect_uri, deliver)

    def close(self) -> None:
        """Stop listening once the last page is sent, or `_LAST_PAGE` seconds have passed."""
        self._server.drained(_LAST_PAGE)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=2)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.redirect: tuple[str, Deliver] | None = None
        self._answering = 0
        self._changed = threading.Condition()
        super().__init__(address, handler)

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

    def expect(self, redirect_uri: str, deliver: Deliver) -> None:
        self.redirect = (redirect_uri, deliver)

    def hosts(self, redirect_uri: str) -> set[str]:
        """``Host`` values to accept: ours and the configured one (against DNS rebinding)."""
        local = {f"{h}:{self.server_port}" for h in ("127.0.0.1", "localhost", "[::1]")}
        return local | {urlsplit(redirect_uri).netloc.lower()}

    def answering(self, change: int) -> None:
        with self._changed:
            self._answering += change
            self._changed.notify_all()

    def drained(self, timeout: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._answering == 0, timeout)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a closed connection is no event, and a traceback would leak."""


class _Connection(BaseHTTPRequestHandler):
    server: _Server
    timeout = _IDLE
    server_version, sys_version = "mcpnb", ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        expected = self.server.redirect
        if expected is None:
            self._send(404, page("Nothing here", "No sign-in is waiting here.", good=False))
            return
        redirect_uri, deliver = expected
        if self.headers.get("Host", "").lower() not in self.server.hosts(redirect_uri):
            self._send(
                421, page("Wrong address", "This is not the address of the sign-in.", good=False)
            )
            return
        path, _, query = self.path.partition("?")
        if path != urlsplit(redirect_uri).path:
            self._send(
                404, page("Nothing here", "The sign-in goes on in the other tab.", good=False)
            )
            return
        self.server.answering(+1)
        try:
            base, _, own_query = redirect_uri.partition("?")
            query = f"{own_query}&{query}" if own_query and own_query not in query else query
            self._reply(deliver(f"{base}?{query}"))
        finally:
            self.server.answering(-1)

    def _reply(self, reply: Reply) -> None:
        if reply.outcome == "again" and reply.location is not None:
            self.send_response(302)
            self.send_header("Location", reply.location)
            for name in ("Referrer-Policy", "Cache-Control"):
                self.send_header(name, HEADERS[name])
            self._end_of_head(0)
            return
        good = reply.outcome == "done"
        status = {"done": 200, "failed": 400, "refused": 400}.get(reply.outcome, 400)
        self._send(status, page(reply.heading, reply.text, good=good))

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
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
        self._send(
            status, page("Not understood", "Only a browser's GET is answered here.", good=False)
        )

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class named it
        """Log nothing: the request line holds the code."""
