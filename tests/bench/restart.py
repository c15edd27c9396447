"""Requests that a restart costs beyond the calls themselves, with a valid and an expired token."""

from __future__ import annotations

import asyncio
import importlib.util
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import processes
from tests.bench.contestants import FASTMCP, MCPNB, MISSING, peers
from tests.bench.requests import call_with
from tests.bench.server import Remote, Seen, remote
from tests.bench.table import Row, Table

__all__ = ["run"]


@dataclass(frozen=True)
class Case:
    """A token's state at the restart."""

    title: str
    lifetime: int
    allowed: int


CASES = (
    Case("with a valid token", 3600, 0),
    # As short as a lifetime can be said, so that it is over by every clock after a second.
    Case("with an expired token", 1, 1),
)


def run(rounds: int) -> list[Table]:  # noqa: ARG001 - counted once: a count has no noise
    """Count."""
    return [_case(case) for case in CASES]


def _case(case: Case) -> Table:
    with remote() as server, tempfile.TemporaryDirectory() as home:
        server.grant_for(case.lifetime)
        processes.sign_in(server.url, Path(home))
        _wait(server, case)
        processes.call(server.url, Path(home))
        rows = [_row(MCPNB, server.seen(), case.allowed)]
        for peer in peers(server.url):
            server.grant_for(case.lifetime)
            asyncio.run(call_with(peer.make(), server.url))
            _wait(server, case)
            asyncio.run(call_with(peer.make(), server.url))
            rows.append(_row(peer.name, server.seen()))
    if importlib.util.find_spec("fastmcp") is None:
        rows.append(Row(FASTMCP, "-", note=MISSING))
    return Table(f"extra requests after a restart {case.title}", "requests", "", rows)


def _wait(server: Remote, case: Case) -> None:
    if case.allowed:
        time.sleep(case.lifetime + 0.1)
        server.expire()
        server.grant_for(3600)
    server.forget()


def _row(name: str, seen: list[Seen], allowed: int | None = None) -> Row:
    extra = [one for one in seen if one.path != "/mcp" or one.status in {401, 403}]
    opened = any(one.path == "/as/authorize" for one in extra)
    return Row(
        name,
        str(len(extra)),
        target="" if allowed is None else str(allowed),
        met=None if allowed is None else len(extra) == allowed,
        note="opens the browser" if opened else "",
    )
