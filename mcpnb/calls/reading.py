"""Lists with all their pages, and resources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from mcpnb.calls.results import ResourceContents

if TYPE_CHECKING:
    from mcpnb.calls.connection import SignedInClient

__all__ = ["all_pages", "read_resource"]

# A server that always names a further page would be asked for ever.
_PAGES = 200


async def all_pages(fetch: Callable[..., Awaitable[Any]], member: str) -> list[Any]:
    """Follow a list's cursors to its end.

    Args:
        fetch: A verb of the client that takes ``cursor``.
        member: Where a page holds its items.
    """
    found: list[Any] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await fetch(cursor=cursor)
        found += getattr(page, member)
        cursor = page.next_cursor
        if not cursor:
            break
    return found


async def read_resource(client: SignedInClient, uri: str) -> ResourceContents:
    """Read one resource."""
    return ResourceContents(await client.read_resource(uri), uri)
