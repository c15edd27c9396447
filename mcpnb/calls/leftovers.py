"""What a server sent beyond an answer: never the answer to the next request.

RFC 9112 section 6.3: a client must not take it for a separate response. The HTTP library keeps it
in its buffer and does (measured): a call would get the result of an earlier one, or, where the ids
of JSON-RPC tell the two apart, wait for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2

__all__ = ["no_leftovers"]


def no_leftovers(http: httpx2.AsyncClient) -> Callable[[Any], Awaitable[None]]:
    """Give the request hook that closes idle connections on which something was left over."""

    async def close_them(_: Any) -> None:
        transports: list[Any] = [http._transport, *http._mounts.values()]  # noqa: SLF001  no other way
        for transport in transports:
            for connection in getattr(getattr(transport, "_pool", None), "connections", ()):
                if connection.is_idle() and _leftover(connection):
                    await connection.aclose()

    return close_them


def _leftover(connection: Any) -> bytes:
    inner = connection
    while (deeper := getattr(inner, "_connection", None)) is not None:  # a proxy's holds another
        inner = deeper
    protocol = getattr(inner, "_h11_state", None)  # HTTP/2 numbers its answers
    return bytes(protocol.trailing_data[0]) if protocol is not None else b""
