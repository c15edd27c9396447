"""What `auth` costs: one call after another, and 50 at once by mcpnb and its peers.

At once they are made with a valid token, after a restart and after a 401. Counted are the refreshes
and the sign-ins that they lead to, timed is how long they all take.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx2

import mcpnb
from mcpnb.stores import FileStore
from tests.bench.contestants import MCPNB, Peer, peers
from tests.bench.server import Remote, remote
from tests.bench.table import Row, Table
from tests.fakes.people import sign_in

STATIC = "static header"
PARALLEL = 50
DELAY_MS = 50
SLOW_EVERY = 5
"""The peers answer one call after another: they join every fifth load only."""
SHORT = 1
"""Seconds that a token lives which is to expire: as few as can be said."""
PATIENCE = 60
LIMITS = httpx2.Limits(max_connections=2 * PARALLEL)
TOO_SLOW = "too slow"


def overhead(rounds: int) -> list[Table]:
    """Measure single calls: 100 of each contestant in a round."""
    return asyncio.run(_overhead(100 * rounds))


async def _overhead(calls: int) -> list[Table]:
    with remote() as server:
        session = mcpnb.connect(server.url, store="memory", callback_port=0)
        await asyncio.to_thread(sign_in, session)
        auths = {MCPNB: session.auth} | {peer.name: peer.make() for peer in peers(server.url)}
        took: dict[str, list[float]] = {STATIC: [], **{name: [] for name in auths}}
        async with contextlib.AsyncExitStack() as stack:
            clients = {}
            for name in took:
                client = httpx2.AsyncClient(timeout=PATIENCE, trust_env=False)
                clients[name] = await stack.enter_async_context(client)
            clients[STATIC].headers |= session.headers()
            for number in range(calls + 1):
                for name in rotated(took, number):
                    started = time.perf_counter()
                    answer = await clients[name].get(f"{server.base}/work", auth=auths.get(name))
                    seconds = time.perf_counter() - started
                    answer.raise_for_status()
                    if number:  # the first one signs the peers in, and opens the connections
                        took[name].append(seconds)
    title = f"one call with a fresh token, in turns (median of {calls} each)"
    reference, limit, rows = median(took[STATIC]), 1.03, []
    for name, each in took.items():
        value, ratio = f"{median(each) * 1000:.2f}", median(each) / reference
        if name == MCPNB:
            rows.append(Row(name, value, ratio, f"<= {limit}x", met=ratio <= limit))
        else:
            rows.append(Row(name, value, ratio))
    return [Table(title, "ms", STATIC, rows)]


def rotated(names: Iterable[str], by: int) -> list[str]:
    """Return them in another order each time: nobody is always the first."""
    each = list(names)
    return each[by % len(each) :] + each[: by % len(each)]


@dataclass(frozen=True)
class Situation:
    """In which 50 calls are made."""

    title: str
    refreshes: int
    """What it may cost; a sign-in it may never."""
    expires: bool = False
    """The token is over by the clock, and everything is made anew from what is stored."""
    rejected: bool = False
    """The server stops accepting the token, whatever the clock says."""
    limit: float | None = None
    """How long they may take, relative to a static header."""


SITUATIONS = (
    Situation("at start (signed in, token valid)", 0, limit=1.1),
    Situation("after a restart (stored login, token expired)", 1, expires=True),
    Situation("after a 401 (token rejected before its time)", 1, rejected=True),
)


@dataclass
class Result:
    """What one contestant did in one situation, over all rounds it took part in."""

    seconds: list[float] = field(default_factory=list)
    refreshes: int = 0
    """In the worst round, as the sign-ins."""
    sign_ins: int = 0
    refused: set[str] = field(default_factory=set)
    failures: Counter[str] = field(default_factory=Counter)


def together(rounds: int) -> list[Table]:
    """Measure. A round is one load for each contestant in each situation."""
    tables = []
    with remote() as server:
        for situation in SITUATIONS:
            results: dict[str, Result] = {}
            for number in range(rounds + 1):
                with tempfile.TemporaryDirectory() as folder:
                    # The first one brings every code path up.
                    into = results if number else {}
                    asyncio.run(_round(number, server, FileStore(Path(folder)), situation, into))
            tables.append(_table(situation, results))
    return tables


async def _round(
    number: int, server: Remote, store: FileStore, situation: Situation, results: dict[str, Result]
) -> None:
    """Bring all of them into the situation, then let one after another make its calls."""
    server.grant_for(SHORT if situation.expires else 3600)
    session = mcpnb.connect(server.url, store=store, callback_port=0)
    await asyncio.to_thread(sign_in, session)
    contestants = [Peer(MCPNB, lambda: mcpnb.connect(server.url, store=store).auth)]
    contestants += peers(server.url) if number % SLOW_EVERY == 1 else []
    how: dict[str, dict[str, Any]] = {each.name: {"auth": each.make()} for each in contestants}
    for given in how.values():
        await _load(server, given, Result(), 1)  # a peer signs in with its first call
    if situation.expires:
        await asyncio.sleep(SHORT + 0.1)
        server.grant_for(3600)
        how = {each.name: {"auth": each.make()} for each in contestants}
    elif situation.rejected:
        server.expire()
    valid = mcpnb.connect(server.url, store="memory", callback_port=0)
    await asyncio.to_thread(sign_in, valid)
    how[STATIC] = {"headers": valid.headers()}
    for name in rotated(how, number):
        result = results.setdefault(name, Result())
        await _load(server, how[name], result, PARALLEL, opened_by=how[STATIC])


async def _load(
    server: Remote,
    given: dict[str, Any],
    result: Result,
    calls: int,
    opened_by: dict[str, Any] | None = None,
) -> None:
    """Make calls side by side, over connections that others have opened beforehand."""
    url = f"{server.base}/work?{DELAY_MS}"
    async with httpx2.AsyncClient(limits=LIMITS, timeout=PATIENCE, trust_env=False) as client:
        if opened_by is not None:
            await asyncio.gather(*(client.get(url, **opened_by) for _ in range(PARALLEL)))
        server.forget()
        started = time.perf_counter()
        tasks = [asyncio.create_task(client.get(url, **given)) for _ in range(calls)]
        _, late = await asyncio.wait(tasks, timeout=PATIENCE)
        result.seconds.append(time.perf_counter() - started)
        for task in late:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    counted = server.counted()
    result.refreshes = max(result.refreshes, counted.refreshes)
    result.sign_ins = max(result.sign_ins, counted.sign_ins)
    result.refused.update(counted.refused)
    result.failures.update(problem for answer in answers if (problem := _problem(answer)))


def _problem(answer: httpx2.Response | BaseException) -> str:
    if isinstance(answer, asyncio.CancelledError):
        return f"no answer within {PATIENCE} s"
    if isinstance(answer, BaseException):
        return f"{type(answer).__name__}: {answer}"
    return "" if answer.is_success else f"HTTP {answer.status_code}"


def _table(situation: Situation, results: dict[str, Result]) -> Table:
    reference = median(results[STATIC].seconds)
    rows = []
    for name in dict.fromkeys((STATIC, MCPNB, *results)):
        result = results[name]
        ratio = median(result.seconds) / reference
        counted = "" if name == STATIC else f"{result.refreshes}, {result.sign_ins}"
        notes = [f"token request refused by {each}" for each in sorted(result.refused)]
        if lost := result.failures.total():
            notes.append(f"{lost} calls failed: {', '.join(result.failures)[:200]}")
        note = "; ".join(notes)
        if name != MCPNB:
            rows.append(Row(name, counted, ratio, note=note))
            continue
        target, fits = f"{situation.refreshes}, 0", not result.failures
        fits &= (result.refreshes, result.sign_ins) == (situation.refreshes, 0)
        if situation.limit is not None:
            target += f", <= {situation.limit}x"
            if fits and ratio > situation.limit:
                fits, note = False, TOO_SLOW
        rows.append(Row(name, counted, ratio, target, met=fits, note=note))
    title = (
        f"{PARALLEL} parallel calls of {DELAY_MS} ms {situation.title}: median of "
        f"{len(results[MCPNB].seconds)} loads, with a {STATIC} {reference * 1000:.0f} ms"
    )
    return Table(title, "refreshes, sign-ins", STATIC, rows)
