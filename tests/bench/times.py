"""What fresh processes take, and what reading a stored login takes in one that runs."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import mcpnb
from mcpnb.stores import FileStore, RecordName
from tests.bench import processes
from tests.bench.server import remote
from tests.bench.table import Row, Table, limited
from tests.fakes.people import sign_in

IMPORT = """
import importlib, sys, time
started = time.perf_counter()
importlib.import_module(sys.argv[1])
print(time.perf_counter() - started)
"""
COMMAND = "import sys; from mcpnb.cli import main; sys.argv[0] = 'mcpnb'; sys.exit(main())"
BARE = [sys.executable, "-c", "pass"]
MANY = 200
READS = 200


def startup(rounds: int) -> list[Table]:
    """Measure imports and whole commands."""
    with remote() as server, tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        imports = {name: [sys.executable, "-c", IMPORT, name] for name in ("mcp", "mcpnb")}
        took = _in_turns(imports, home, rounds, printed=True)
        reference, ours = took["mcp"], took["mcpnb"]
        rows = [
            Row(f"mcp {importlib.metadata.version('mcp')}", f"{reference * 1000:.1f}", 1.0),
            limited("mcpnb", ours * 1000, 40, "ms", ours / reference, digits=1),
        ]
        title = f"import in a fresh interpreter (median of {rounds})"
        processes.sign_in(server.url, home)
        script = Path(sys.executable).with_name("mcpnb")
        command = [str(script)] if script.exists() else [sys.executable, "-c", COMMAND]
        commands: dict[str, tuple[list[str], float]] = {
            "mcpnb --help": ([*command, "--help"], 0.12),
            "mcpnb token URL": ([*command, "token", server.url], 0.25),
            "mcpnb call URL TOOL": ([*command, "call", server.url, "echo", "text=hello"], 1.2),
        }
        return [Table(title, "ms", "mcp", rows), _whole(commands, home, rounds)]


def stored(rounds: int) -> list[Table]:
    """Measure reading a login in a process that runs, and listing many in one that does not yet."""
    with remote() as server, tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = FileStore(home)
        session = mcpnb.connect(server.url, store=store, callback_port=0)
        sign_in(session)
        key = RecordName("login", session.server)
        took: dict[str, list[float]] = {"of a warm login": [], "after a sibling's write": []}
        session.headers()
        record = store.read(key)
        assert record is not None
        for _ in range(rounds):
            started = time.perf_counter()
            for _ in range(READS):
                session.headers()
            took["of a warm login"].append((time.perf_counter() - started) / READS)
            store.write(key, record)  # as a sibling would
            started = time.perf_counter()
            session.headers()
            took["after a sibling's write"].append(time.perf_counter() - started)
        rows = [
            limited(f"mcpnb, headers() {when}", median(each) * 1000, 1, "ms", digits=3)
            for when, each in took.items()
        ]
        for number in range(1, MANY):
            url = f"https://mcp{number}.example.com/mcp"
            store.write(RecordName("login", url), record | {"server": url})
        listing = [sys.executable, "-m", "mcpnb", "list"]
        said = processes.finish(listing, home)
        assert said.count("authenticated") == MANY, said
        title = f"reading a stored login (median of {rounds})"
        whole = _whole({f"mcpnb list, {MANY} logins": (listing, 1)}, home, rounds)
        return [Table(title, "ms", "", rows), whole]


def _whole(commands: dict[str, tuple[list[str], float]], home: Path, rounds: int) -> Table:
    bare = f"Python {platform.python_version()}, nothing else"
    each = {bare: BARE} | {name: command for name, (command, _) in commands.items()}
    took = _in_turns(each, home, rounds)
    rows = [Row(bare, f"{took[bare]:.3f}", 1.0)]
    rows += [
        limited(name, took[name], limit, "s", took[name] / took[bare], digits=3)
        for name, (_, limit) in commands.items()
    ]
    return Table(f"whole process (median of {rounds})", "s", "bare Python", rows)


def _in_turns(
    commands: dict[str, list[str]], home: Path, rounds: int, *, printed: bool = False
) -> dict[str, float]:
    """Return the median of each: of its own seconds, or of those that it `printed`."""
    took: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            said = processes.finish(command, home)
            seconds = time.perf_counter() - started
            if turn:  # the first one may write bytecode
                took[name].append(float(said) if printed else seconds)
    return {name: median(each) for name, each in took.items()}
