"""An ASGI application on a free loopback port, in a thread of this process."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from mcpnb.demo.servers import Listening

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@contextlib.contextmanager
def served(app: App, bound: socket.socket) -> Iterator[None]:
    """Serve `app` on a socket from `mcpnb.demo.servers.bind` until the block ends."""
    with Listening(app, bound, "served"):
        yield
