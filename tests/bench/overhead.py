"""What `auth` costs with a fresh token: calls one after another, and 50 at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from statistics import median

import httpx2

import mcpnb
from tests.bench.contestants import MCPNB, peers
from tests.bench.server import remote
from tests.bench.table import Row, Table
from tests.fakes.people import sign_in

STATIC = "static header"
PARALLEL = 50
DELAY_MS = 50
SLOW_EVERY = 5
"""Contestants that answer one after another join every fifth parallel round only."""


def run(rounds: int) -> list[Table]:
    """Measure. One round is 100 single calls of each contestant and one parallel load."""
    return asyncio.run(_measure(rounds))


async def _measure(rounds: int) -> list[Table]:
    with remote() as server:
        session = mcpnb.connect(server.url, store="memory", callback_port=0)
        await asyncio.to_thread(sign_in, session)
        async with contextlib.AsyncExitStack() as stack:
            limits = httpx2.Limits(max_connections=2 * PARALLEL)

            async def client(**how: object) -> httpx2.AsyncClient:
                made = httpx2.AsyncClient(limits=limits, timeout=60, trust_env=False, **how)  # type: ignore[arg-type]
                return await stack.enter_async_context(made)

            contestants = {
                STATIC: await client(headers=session.headers()),
                MCPNB: await client(auth=session.auth),
            }
            for peer in peers(server.url):
                contestants[peer.name] = await client(auth=peer.make())
            for each in contestants.values():
                # Signs the peers in, and brings every connection and code path up once.
                (await each.get(f"{server.base}/work")).raise_for_status()
            return [
                await _single(contestants, f"{server.base}/work", 100 * rounds),
                await _parallel(contestants, f"{server.base}/work?{DELAY_MS}", rounds),
            ]


async def _single(contestants: dict[str, httpx2.AsyncClient], url: str, calls: int) -> Table:
    took: dict[str, list[float]] = {name: [] for name in contestants}
    for call in range(calls):
        for name in rotated(contestants, call):
            started = time.perf_counter()
            answer = await contestants[name].get(url)
            took[name].append(time.perf_counter() - started)
            answer.raise_for_status()
    title = f"one call with a fresh token, in turns (median of {calls} each)"
    return _table(title, took, limit=1.03)


async def _parallel(contestants: dict[str, httpx2.AsyncClient], url: str, rounds: int) -> Table:
    took: dict[str, list[float]] = {name: [] for name in contestants}
    for load in range(rounds + 1):
        for name in rotated(contestants, load):
            serial = took[name] and took[name][0] > 5 * DELAY_MS / 1000
            if serial and load % SLOW_EVERY:
                continue
            started = time.perf_counter()
            answers = await asyncio.gather(*[contestants[name].get(url) for _ in range(PARALLEL)])
            took[name].append(time.perf_counter() - started)
            assert {answer.status_code for answer in answers} == {200}
    # The first round opens the connections.
    warm = {name: each[1:] or each for name, each in took.items()}
    title = (
        f"{PARALLEL} parallel calls of {DELAY_MS} ms with a fresh token, in turns "
        f"(median of {len(warm[MCPNB])} loads each)"
    )
    return _table(title, warm, limit=1.1)


def rotated(names: Iterable[str], by: int) -> list[str]:
    """Give them in another order each time: nobody is always the first."""
    each = list(names)
    return each[by % len(each) :] + each[: by % len(each)]


def _table(title: str, took: dict[str, list[float]], limit: float) -> Table:
    reference = median(took[STATIC])
    rows = []
    for name, seconds in took.items():
        ratio = median(seconds) / reference
        ours = name == MCPNB
        rows.append(
            Row(
                name,
                f"{median(seconds) * 1000:.2f}",
                ratio,
                target=f"<= {limit}x" if ours else "",
                met=ratio <= limit if ours else None,
            )
        )
    return Table(title, "ms", STATIC, rows)
