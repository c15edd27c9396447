"""Requests, as the server counted them: from a bare URL to signed in, and after a restart."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx2

import mcpnb
from tests.bench import processes
from tests.bench.contestants import MCPNB, peers
from tests.bench.server import Remote, Seen, remote
from tests.bench.table import Row, Table
from tests.fakes.people import sign_in

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
LIFETIMES = {"with a valid token": 3600, "with an expired token": 1}
"""In seconds: as short as one can be said, so that it is over by every clock after a second."""


def to_sign_in(rounds: int) -> list[Table]:  # noqa: ARG001 - counted once: a count has no noise
    """Count those from a URL to signed in."""
    with remote() as server:
        sign_in(mcpnb.connect(server.url, store="memory", callback_port=0))
        rows = [_to_sign_in(MCPNB, server.seen())]
        for peer in peers(server.url):
            server.forget()
            asyncio.run(_call_with(peer.make(), server.url))
            rows.append(_to_sign_in(peer.name, server.seen()))
    return [Table("from URL to signed in, the browser's own included", "requests", "", rows)]


def _to_sign_in(name: str, seen: list[Seen]) -> Row:
    asked = [f"{one.method} {one.path}" for one in seen]
    # A peer's request that was held back for the sign-in follows the token: not counted.
    asked = asked[: asked.index("POST /as/token") + 1]
    twice = {request: times for request, times in Counter(asked).items() if times > 1}
    repeated = ", ".join(f"{request} {times}x" for request, times in twice.items())
    note = f"repeated: {repeated}" if repeated else "none twice"
    if name != MCPNB:
        return Row(name, str(len(asked)), note=note)
    met = len(asked) <= MOST and not twice
    return Row(name, str(len(asked)), target=f"<= {MOST}, none twice", met=met, note=note)


def after_a_restart(rounds: int) -> list[Table]:  # noqa: ARG001 - as above
    """Count those that a restart costs beyond the calls themselves."""
    tables = []
    for title, lifetime in LIFETIMES.items():
        with remote() as server, tempfile.TemporaryDirectory() as home:
            server.grant_for(lifetime)
            processes.sign_in(server.url, Path(home))
            _wait(server, lifetime)
            processes.call(server.url, Path(home))
            extra, note = _extra(server)
            allowed = int(lifetime == 1)
            rows = [Row(MCPNB, str(extra), None, str(allowed), extra == allowed, note)]
            for peer in peers(server.url):
                server.grant_for(lifetime)
                asyncio.run(_call_with(peer.make(), server.url))
                _wait(server, lifetime)
                asyncio.run(_call_with(peer.make(), server.url))
                extra, note = _extra(server)
                rows.append(Row(peer.name, str(extra), note=note))
        tables.append(Table(f"extra requests after a restart {title}", "requests", "", rows))
    return tables


def _wait(server: Remote, lifetime: int) -> None:
    if lifetime == 1:
        time.sleep(lifetime + 0.1)
        server.expire()
        server.grant_for(3600)
    server.forget()


def _extra(server: Remote) -> tuple[int, str]:
    extra = [one for one in server.seen() if one.path != "/mcp" or one.status in {401, 403}]
    opened = any(one.path == "/as/authorize" for one in extra)
    return len(extra), "opens the browser" if opened else ""


async def _call_with(auth: httpx2.Auth, url: str) -> None:
    """Make one MCP request; a peer signs in when it is refused."""
    async with httpx2.AsyncClient(auth=auth, timeout=30, trust_env=False) as client:
        answer = await client.post(url, json=LIST_TOOLS, headers=HEADERS)
        answer.raise_for_status()
