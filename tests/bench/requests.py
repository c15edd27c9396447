"""Requests from a bare URL to signed in, as the server counted them."""

from __future__ import annotations

import asyncio
import importlib.util
from collections import Counter

import httpx2

import mcpnb
from tests.bench.contestants import FASTMCP, MCPNB, MISSING, peers, sign_in
from tests.bench.server import Seen, remote
from tests.bench.table import Row, Table

__all__ = ["LIST_TOOLS", "run"]

LIST_TOOLS = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/list",
    "params": {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    },
}
HEADERS = {
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/list",
}
MOST = 6


def run(rounds: int) -> list[Table]:  # noqa: ARG001 - counted once: a count has no noise
    """Count."""
    with remote() as server:
        sign_in(mcpnb.connect(server.url, store="memory", callback_port=0))
        rows = [_row(MCPNB, server.seen())]
        for peer in peers(server.url):
            server.forget()
            asyncio.run(call_with(peer.make(), server.url))
            rows.append(_row(peer.name, server.seen()))
    if importlib.util.find_spec("fastmcp") is None:
        rows.append(Row(FASTMCP, "-", note=MISSING))
    return [Table("from URL to signed in, the browser's own included", "requests", "", rows)]


async def call_with(auth: httpx2.Auth, url: str) -> None:
    """Make one MCP request; a peer signs in when it is refused."""
    async with httpx2.AsyncClient(auth=auth, timeout=30, trust_env=False) as client:
        answer = await client.post(url, json=LIST_TOOLS, headers=HEADERS)
        answer.raise_for_status()


def _row(name: str, seen: list[Seen]) -> Row:
    asked = [f"{one.method} {one.path}" for one in seen]
    # A peer's request that was held back for the sign-in follows the token: not counted.
    asked = asked[: asked.index("POST /as/token") + 1]
    twice = {request: times for request, times in Counter(asked).items() if times > 1}
    repeated = ", ".join(f"{request} {times}x" for request, times in twice.items())
    ours = name == MCPNB
    return Row(
        name,
        str(len(asked)),
        target=f"<= {MOST}, none twice" if ours else "",
        met=len(asked) <= MOST and not twice if ours else None,
        note=f"repeated: {repeated}" if repeated else "none twice",
    )
