"""Refreshes that are sent when many meet a token that is over: coroutines, threads, processes."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mcpnb
from mcpnb.stores import FileStore
from tests.bench.crowd import ANSWERED, CROWDS, Crowd, Kind, let_expire
from tests.bench.server import Remote, remote
from tests.bench.table import Row, Table
from tests.fakes.people import sign_in

ONE = 1
IN_VAIN = 2
"""The first is worth a try; a second may be under way when that turns out to be of no use."""

Spoil = Callable[[Remote, FileStore], None]


def run(rounds: int) -> list[Table]:
    """Count, and give the worst of the rounds: who comes first is for the processes to settle."""

    def expired(server: Remote, store: FileStore) -> None:
        let_expire(store)
        server.expire()

    def rejected(server: Remote, _: FileStore) -> None:
        server.expire()

    with remote() as server:
        return [
            _table(server, "an expired token", rounds, expired),
            _table(server, "a 401", rounds, rejected),
            _in_vain(server, rounds),
        ]


def _table(server: Remote, what: str, rounds: int, spoil: Spoil) -> Table:
    rows = []
    for kind in CROWDS:
        counts, outcomes = list[int](), Counter[str]()
        for _ in range(rounds):
            with _signed_in(server) as store:
                spoil(server, store)
                with Crowd(kind, server.url, store.folder, f"{server.base}/work") as crowd:
                    outcomes.update(crowd.all())
                counts.append(_refreshes(server))
        worst = max(counts, key=lambda count: abs(count - ONE))
        rows.append(_row(kind.name, worst, outcomes))
    return Table(f"refreshes when all meet {what} at once", "refreshes", "", rows)


def _row(who: str, refreshes: int, outcomes: Counter[str]) -> Row:
    lost = outcomes.total() - outcomes[ANSWERED]
    reasons = ", ".join(outcome for outcome in outcomes if outcome != ANSWERED)
    return Row(
        f"mcpnb, {who}",
        str(refreshes),
        target=str(ONE),
        met=refreshes == ONE and not lost,
        note=f"{lost} calls failed: {reasons}" if lost else f"{outcomes.total():,} calls answered",
    )


def _in_vain(server: Remote, rounds: int) -> Table:
    kind = Kind("8 processes of 2 coroutines, 2 calls each", processes=8, coroutines=2, times=2)
    first, later, outcomes = list[int](), list[int](), Counter[str]()
    for _ in range(rounds):
        with _signed_in(server) as store:
            server.reject()
            for counts in (first, later):
                with Crowd(kind, server.url, store.folder, f"{server.base}/work") as crowd:
                    outcomes.update(crowd.all())
                counts.append(_refreshes(server))
                server.forget()
    rows = []
    for who, worst, most in (
        (kind.name, max(first), IN_VAIN),
        ("as many, started right afterwards", max(later), 0),
    ):
        met = worst <= most and not outcomes[ANSWERED]
        rows.append(Row(f"mcpnb, {who}", str(worst), target=f"<= {most}", met=met))
    title = "refreshes when the server goes on to reject every token"
    return Table(title, "refreshes", "", rows)


@contextmanager
def _signed_in(server: Remote) -> Iterator[FileStore]:
    with tempfile.TemporaryDirectory() as folder:
        store = FileStore(Path(folder))
        sign_in(mcpnb.connect(server.url, store=store, callback_port=0))
        server.forget()
        yield store


def _refreshes(server: Remote) -> int:
    return sum(one.grant == "refresh_token" for one in server.seen())
