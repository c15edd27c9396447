"""An ASGI application on a loopback port, in a thread of its own, with a record of its requests."""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Listening", "Record", "bind"]

HOST = "127.0.0.1"
# A server that takes longer is broken, or the computer is.
STARTUP_SECONDS = 30.0
STOP_SECONDS = 5.0
RECORD_LIMIT = 20_000

# Without any handler, Python writes warnings to stderr by itself, into the middle of a transcript.
# Whoever configures logging still gets every record.
_QUIET = logging.NullHandler()


def bind(port: int = 0) -> socket.socket:
    """Take a loopback port, a free one by default.

    Bound here and handed over, so that nobody else can take it in between and its number is known
    before the server starts.

    Raises:
        OSError: Somebody else has the port.
    """
    # With the protocol named, asyncio switches Nagle's algorithm off; without, each answer waits
    # for a delayed acknowledgement (measured: 43 ms instead of 3).
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
    except BaseException:
        sock.close()
        raise
    return sock


class Record:
    """Notes what was asked and answered, in front of an application.

    Attributes:
        requests: Method and path of each request, oldest first.
        answers: Method, path and status of each answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.requests: list[tuple[str, str]] = []
        self.answers: list[tuple[str, str, int]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note an HTTP request and pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        self._note(self.requests, (method, path))

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(self.answers, (method, path, message["status"]))
            await send(message)

        await self._app(scope, receive, noting)

    @staticmethod
    def _note(notes: list[Any], note: tuple[str | int, ...]) -> None:
        notes.append(note)
        if len(notes) > RECORD_LIMIT:
            # A demo may run for days.
            del notes[: RECORD_LIMIT // 2]


class _Server(uvicorn.Server):
    """uvicorn, telling when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


class Listening:
    """A running server; a context manager that stops it."""

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
        self._server = _Server(config)
        self._socket = sock
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
            self._server.up.set()

    def start(self) -> None:
        """Start, and return once connections are accepted.

        Raises:
            RuntimeError: The server did not start.
        """
        self._thread.start()
        self._server.up.wait(STARTUP_SECONDS)
        if not self._server.started:
            raise RuntimeError(f"the {self._thread.name} did not start")

    def ask_to_stop(self) -> None:
        """Ask the server to end, without waiting."""
        self._server.should_exit = True

    def stop(self) -> None:
        """End the server, waiting a few seconds at most."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
