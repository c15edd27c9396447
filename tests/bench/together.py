"""50 parallel calls by mcpnb and its peers: at start, after a restart and after a 401.

Counted are the refreshes and the sign-ins that the calls lead to, timed is how long they all take.
What one refresh takes is timed, too, with a single call in the same situation: 50 may take no more.
After a 401 each call needs a second request: there they are measured against a client that sends
everything twice, the first time with a token that is refused, and gets the new one for nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx2

import mcpnb
from mcpnb.stores import FileStore
from tests.bench.contestants import MCPNB, Peer, peers
from tests.bench.overhead import rotated
from tests.bench.server import Remote, Seen, remote
from tests.bench.table import Row, Table
from tests.fakes.people import sign_in

STATIC = "static header"
TWICE = "static header, refused once"
ALONE, STATIC_ALONE = YARDSTICKS = ("alone", "static alone")
"""One call instead of many, with `Session.auth` and with a static header."""
PARALLEL = 50
DELAY_MS = 50
LIMIT = 1.1
TOO_SLOW = "too slow"
SLOW_EVERY = 5
"""The peers answer one call after another: they join every fifth round only."""
SHORT = 1
"""Seconds that a token lives which is to expire: as few as can be said."""
PATIENCE = 60
LIMITS = httpx2.Limits(max_connections=2 * PARALLEL)


@dataclass(frozen=True)
class Situation:
    """In which the calls are made."""

    title: str
    refreshes: int
    """What it may cost; a sign-in it may never."""
    expires: bool = False
    """The token is over by the clock, and everything is made anew from what is stored."""
    rejected: bool = False
    """The server stops accepting the token, whatever the clock says."""


SITUATIONS = (
    Situation("at start (signed in, token valid)", 0),
    Situation("after a restart (stored login, token expired)", 1, expires=True),
    Situation("after a 401 (token rejected before its time)", 1, rejected=True),
)


@dataclass
class Result:
    """What one contestant did in one situation, over all rounds it took part in."""

    seconds: list[float] = field(default_factory=list)
    refreshes: int = 0
    sign_ins: int = 0
    refused: set[str] = field(default_factory=set)
    """Refreshes that were not granted: where they went, and the answer."""
    failures: Counter[str] = field(default_factory=Counter)
    calls: int = 0

    def add(self, seconds: float, failures: Iterable[str], calls: int, seen: list[Seen]) -> None:
        """Take in one round; counts are those of the worst."""
        self.seconds.append(seconds)
        self.calls += calls
        self.failures.update(failures)
        refreshes = [one for one in seen if one.grant == "refresh_token"]
        self.refreshes = max(self.refreshes, len(refreshes))
        self.refused |= {f"{one.path}: {one.status}" for one in refreshes if one.status != 200}
        # A peer may look at the address before it opens it: one sign-in, one `state`.
        states = {one.state for one in seen if one.path == "/as/authorize"}
        self.sign_ins = max(self.sign_ins, len(states))


Results = dict[str, Result]


def run(rounds: int) -> list[Table]:
    """Measure. A round is one load for each contestant in each situation."""
    with remote() as server:
        return [_table(each, _results(server, each, rounds)) for each in SITUATIONS]


def _results(server: Remote, situation: Situation, rounds: int) -> Results:
    results: Results = {}
    for number in range(rounds + 1):
        # The first one brings every code path up; peers don't need that at their ratios.
        into: Results = results if number else {}
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(_round(number, server, Path(folder), situation, into))
    return results


async def _round(
    number: int, server: Remote, folder: Path, situation: Situation, results: Results
) -> None:
    """Bring all of them into the situation, then let one after another make its calls."""
    if situation.expires:
        server.grant_for(SHORT)
    contestants = [
        await asyncio.to_thread(_mcpnb, name, server.url, folder) for name in (ALONE, MCPNB)
    ]
    contestants += peers(server.url) if number % SLOW_EVERY == 1 else []
    auths = {each.name: each.make() for each in contestants}
    for each in contestants.copy():
        # A peer signs in with its first call.
        if failures := (await _load(server, 1, auths[each.name]))[1]:
            results.setdefault(each.name, Result()).failures.update(failures)
            contestants.remove(each)
            del auths[each.name]
    if situation.expires:
        await asyncio.sleep(SHORT + 0.1)
        server.grant_for(3600)
        auths = {each.name: each.make() for each in contestants}
    if situation.expires or situation.rejected:
        server.expire()
    valid = mcpnb.connect(server.url, store="memory", callback_port=0)
    await asyncio.to_thread(sign_in, valid)
    auths[STATIC] = auths[STATIC_ALONE] = static = _Static(valid)
    if situation.rejected:
        auths[TWICE] = _Static(valid, before="refused")
    for name in rotated(auths, number):
        calls = 1 if name in YARDSTICKS else PARALLEL
        seconds, failures, seen = await _load(server, calls, auths[name], first=static)
        results.setdefault(name, Result()).add(seconds, failures, calls, seen)


def _mcpnb(name: str, url: str, folder: Path) -> Peer:
    store = FileStore(folder / name.replace(" ", "-"))
    sign_in(mcpnb.connect(url, store=store, callback_port=0))
    return Peer(name, lambda: mcpnb.connect(url, store=store).auth)


class _Static(httpx2.Auth):
    """The header with a valid token; if wanted, each request is sent with another one before."""

    def __init__(self, session: mcpnb.Session, before: str = "") -> None:
        self._tokens = [token for token in (before, session.access_token()) if token]

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        for token in self._tokens:
            request.headers["Authorization"] = f"Bearer {token}"
            yield request


async def _load(
    server: Remote, calls: int, auth: httpx2.Auth, first: httpx2.Auth | None = None
) -> tuple[float, list[str], list[Seen]]:
    """Make calls side by side.

    Args:
        server: Where to.
        calls: How many.
        auth: With which token.
        first: What opens the connections beforehand, so that they count for nobody.
    """
    url = f"{server.base}/work?{DELAY_MS}"
    async with httpx2.AsyncClient(limits=LIMITS, timeout=PATIENCE, trust_env=False) as client:
        if first is not None:
            await asyncio.gather(*(client.get(url, auth=first) for _ in range(PARALLEL)))
        server.forget()
        started = time.perf_counter()
        tasks = [asyncio.create_task(client.get(url, auth=auth)) for _ in range(calls)]
        _, late = await asyncio.wait(tasks, timeout=PATIENCE)
        seconds = time.perf_counter() - started
        for task in late:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    return seconds, [problem for answer in answers if (problem := _problem(answer))], server.seen()


def _problem(answer: httpx2.Response | BaseException) -> str:
    if isinstance(answer, asyncio.CancelledError):
        return f"no answer within {PATIENCE} s"
    if isinstance(answer, BaseException):
        return f"{type(answer).__name__}: {answer}"
    return "" if answer.is_success else f"HTTP {answer.status_code}"


def _table(situation: Situation, results: Results) -> Table:
    took = {name: median(result.seconds) for name, result in results.items() if result.seconds}
    reference = took[STATIC]
    limit = LIMIT * took.get(TWICE, reference) / reference
    allowed = f"{LIMIT}x of that"
    if situation.rejected:
        allowed = f"{LIMIT}x of what it takes refused once"
    if situation.refreshes:
        refresh = max(0.0, took[ALONE] - took[STATIC_ALONE])
        limit += refresh / reference
        allowed += f", plus the one refresh of {refresh * 1000:.0f} ms"
    rows = []
    order = dict.fromkeys((STATIC, TWICE, MCPNB, *results))
    for name in [name for name in order if name in results and name not in YARDSTICKS]:
        result = results[name]
        if name not in took:
            rows.append(Row(name, "-", note=f"did not get there: {', '.join(result.failures)}"))
            continue
        ratio = took[name] / reference
        counted = "" if name in (STATIC, TWICE) else f"{result.refreshes}, {result.sign_ins}"
        if name != MCPNB:
            rows.append(Row(name, counted, ratio, note=_note(result)))
            continue
        fits = (result.refreshes, result.sign_ins) == (situation.refreshes, 0)
        slow = TOO_SLOW if fits and ratio > limit else ""
        rows.append(
            Row(
                name,
                counted,
                ratio,
                target=f"{situation.refreshes}, 0, <= {limit:.2f}x",
                met=fits and not slow and not result.failures,
                note=_note(result) or slow,
            )
        )
    title = (
        f"{PARALLEL} parallel calls of {DELAY_MS} ms {situation.title}: median of "
        f"{len(results[MCPNB].seconds)} loads\n  with a {STATIC} {reference * 1000:.0f} ms; "
        f"allowed: {allowed}"
    )
    return Table(title, "refreshes, sign-ins", STATIC, rows)


def _note(result: Result) -> str:
    notes = [f"refresh refused by {each}" for each in sorted(result.refused)]
    if lost := result.failures.total():
        notes.append(f"{lost} of {result.calls} calls failed: {', '.join(result.failures)[:200]}")
    return "; ".join(notes)
