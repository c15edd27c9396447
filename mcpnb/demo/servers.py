"""The demo's two servers on loopback ports, started and stopped together."""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import ExitStack
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcpnb.demo.authorization import AuthorizationServer
from mcpnb.demo.endpoints import application
from mcpnb.demo.mcp_server import ResourceServer

Answer = tuple[str, str, int]
"""Method, path and status of a response."""

HOST = "127.0.0.1"
STOP_SECONDS = 5.0
RECORD_LIMIT = 20_000

# Without any handler, Python writes warnings to stderr by itself, into the middle of a transcript.
# Whoever configures logging still gets every record.
_QUIET = logging.NullHandler()


def bind(port: int = 0) -> socket.socket:
    """Take a loopback port, a free one by default.

    It is bound here and handed over, so that nobody else can take it in between, and a server knows
    its own address before it is made.

    Raises:
        OSError: Somebody else has the port.
    """
    # With the protocol named, asyncio switches Nagle's algorithm off. Without, each response waits
    # for a delayed acknowledgement (measured: 43 ms instead of 3).
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
        sock.listen(128)
    except BaseException:
        sock.close()
        raise
    return sock


def recorded(app: ASGIApp, answers: list[Answer]) -> ASGIApp:
    """Return the application, noting each response in `answers`."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                answers.append((scope["method"], scope["path"], message["status"]))
                # A demo may run for days.
                del answers[:-RECORD_LIMIT]
            await send(message)

        await app(scope, receive, noting)

    return serve


class Listening:
    """An application on a socket of `bind`, in a thread of its own."""

    def __init__(self, app: ASGIApp, sock: socket.socket, name: str) -> None:
        for logger in ("uvicorn", "mcp", "sse_starlette"):
            logging.getLogger(logger).addHandler(_QUIET)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            ws="none",
            server_header=False,
            # An open event stream of an old client would hold up the end for good.
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._socket = sock
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        with self._socket:
            self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        # A request that comes early waits in the queue of the socket.
        self._thread.start()
        return self

    def ask_to_stop(self) -> None:
        """Ask the server to end, without waiting."""
        self._server.should_exit = True

    def __exit__(self, *_: object) -> None:
        self.ask_to_stop()
        self._thread.join(STOP_SECONDS)


class DemoServers:
    """An authorization server and an MCP server on the loopback, as a context manager.

    Attributes:
        mcp_url: The address of the MCP server: what a person signs in to.
        issuer: The address of the authorization server.
        authorization_server: Its switches and counters.
        mcp_server: Its counters.
        answers: What the authorization server answered, oldest first.
        mcp_answers: What the MCP server answered.
    """

    def __init__(self, *, port: int = 0, **switches: Any) -> None:
        """Take the ports.

        Args:
            port: The MCP server's port; the authorization server gets the next. 0: any two.
            switches: See `AuthorizationServer`.

        Raises:
            OSError: A port is taken.
        """
        with ExitStack() as undo:
            mcp_socket = undo.enter_context(bind(port))
            issuer_socket = undo.enter_context(bind(port + 1 if port else 0))
            self.mcp_url = f"http://{HOST}:{mcp_socket.getsockname()[1]}/mcp"
            self.issuer = f"http://{HOST}:{issuer_socket.getsockname()[1]}"
            self.authorization_server = AuthorizationServer(self.issuer, {self.mcp_url}, **switches)
            self.mcp_server = ResourceServer(self.mcp_url, self.authorization_server)
            undo.pop_all()
        self.answers: list[Answer] = []
        self.mcp_answers: list[Answer] = []
        issuer = recorded(application(self.authorization_server), self.answers)
        mcp = recorded(self.mcp_server.app, self.mcp_answers)
        self._servers = (
            Listening(issuer, issuer_socket, "demo authorization server"),
            Listening(mcp, mcp_socket, "demo MCP server"),
        )

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for server in self._servers:
                undo.enter_context(server)
            self._running = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop both at once, so that it takes as long as one."""
        for server in self._servers:
            server.ask_to_stop()
        self._running.close()
