"""Stored logins: reading one in a process that runs, and listing many in one that does not yet."""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import mcpnb
from mcpnb.stores import FileStore, RecordName
from tests.bench import processes
from tests.bench.contestants import sign_in
from tests.bench.server import remote
from tests.bench.table import Row, Table

__all__ = ["run"]

MANY = 200
READS = 200
READ_TARGET = 0.001
LIST_TARGET = 1.0


def run(rounds: int) -> list[Table]:
    """Measure."""
    with remote() as server, tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = FileStore(home)
        session = mcpnb.connect(server.url, store=store, callback_port=0)
        sign_in(session)
        reads = _reads(session, store, rounds)
        _multiply(store, RecordName("login", server.url))
        return [reads, _list(home, rounds)]


def _reads(session: mcpnb.Session, store: FileStore, rounds: int) -> Table:
    key = RecordName("login", session.server)
    took: dict[str, list[float]] = {"warm": [], "written": []}
    session.headers()
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(READS):
            session.headers()
        took["warm"].append((time.perf_counter() - started) / READS)
        record = store.read(key)
        assert record is not None
        store.write(key, record)  # as a sibling would
        started = time.perf_counter()
        session.headers()
        took["written"].append(time.perf_counter() - started)
    rows = [
        _read_row("mcpnb, headers() of a warm login", median(took["warm"])),
        _read_row("mcpnb, headers() after a sibling's write", median(took["written"])),
    ]
    return Table(f"reading a stored login (median of {rounds})", "ms", "", rows)


def _read_row(who: str, seconds: float) -> Row:
    return Row(
        who,
        f"{seconds * 1000:.3f}",
        target=f"<= {READ_TARGET * 1000:.0f} ms",
        met=seconds <= READ_TARGET,
    )


def _multiply(store: FileStore, key: RecordName) -> None:
    record = store.read(key)
    assert record is not None
    for number in range(1, MANY):
        server = f"https://mcp{number}.example.com/mcp"
        store.write(RecordName("login", server), record | {"server": server})


def _list(home: Path, rounds: int) -> Table:
    commands = {
        f"Python {platform.python_version()}, nothing else": [sys.executable, "-c", "pass"],
        f"mcpnb list, {MANY} logins": [sys.executable, "-m", "mcpnb", "list"],
    }
    took: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            said = processes.finish(command, home)
            if turn:
                took[name].append(time.perf_counter() - started)
    assert said.count("authenticated") == MANY, said
    bare, ours = (median(seconds) for seconds in took.values())
    names = list(commands)
    rows = [
        Row(names[0], f"{bare:.3f}", 1.0),
        Row(names[1], f"{ours:.3f}", ours / bare, f"<= {LIST_TARGET:.0f} s", ours <= LIST_TARGET),
    ]
    return Table(f"whole process (median of {rounds})", "s", "bare Python", rows)
