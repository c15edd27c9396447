"""An ASGI application on a free loopback port, in a thread of this process."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import uvicorn

__all__ = ["App", "Receive", "Scope", "Send", "free_socket", "served"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def free_socket() -> socket.socket:
    """Bind a free port now: servers here must know their own address before they are made."""
    # With the protocol's number: without it asyncio leaves Nagle's delay on (measured: 40 ms an
    # answer that comes in two pieces).
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", 0))
    return bound


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextlib.contextmanager
def served(app: App, bound: socket.socket) -> Iterator[None]:
    """Serve `app` on a socket from `free_socket` until the block ends."""
    config = uvicorn.Config(
        app, log_level="error", lifespan="on", ws="none", timeout_graceful_shutdown=1
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, args=([bound],), name="served", daemon=True)
    thread.start()
    try:
        assert server.up.wait(10), "the application did not start"
        yield
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()
        assert not thread.is_alive(), "the application did not stop"
