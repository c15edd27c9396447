"""What fresh processes take: imports, and whole commands."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from mcpnb.stores import FileStore, RecordName
from tests.bench import environment
from tests.bench.server import remote
from tests.bench.table import Row, Table, limited

IMPORT = """
import importlib, sys, time
started = time.perf_counter()
importlib.import_module(sys.argv[1])
print(time.perf_counter() - started)
"""
SIGN_IN = """
import sys, mcpnb
from tests.fakes.people import sign_in
sign_in(mcpnb.connect(sys.argv[1], store="file", callback_port=0))
"""
BARE = f"Python {platform.python_version()}, nothing else"
PATIENCE = 60
MANY = 200


def startup(rounds: int) -> list[Table]:
    """Measure."""
    python = [sys.executable, "-c"]
    with remote() as server, tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        imports = {name: [*python, IMPORT, name] for name in ("mcp", "mcpnb")}
        took = _in_turns(imports, home, rounds, printed=True)
        reference, ours = took["mcp"], took["mcpnb"]
        import_rows = [
            Row(f"mcp {importlib.metadata.version('mcp')}", f"{reference * 1000:.1f}", 1.0),
            limited("mcpnb", ours * 1000, 40, "ms", ours / reference, digits=1),
        ]
        _finish([*python, SIGN_IN, server.url], home)
        command = str(Path(sys.executable).with_name("mcpnb"))
        commands = {
            BARE: [*python, "pass"],
            "mcpnb --help": [command, "--help"],
            "mcpnb token URL": [command, "token", server.url],
            "mcpnb call URL TOOL": [command, "call", server.url, "whoami"],
        }
        took = _in_turns(commands, home, rounds)
        _copy_login(home)
        took |= _in_turns({f"mcpnb list, {MANY} logins": [command, "list"]}, home, rounds)
    rows = [Row(BARE, f"{took[BARE]:.3f}", 1.0)]
    for (name, seconds), limit in zip(list(took.items())[1:], (0.12, 0.25, 1.2, 1), strict=True):
        rows.append(limited(name, seconds, limit, "s", seconds / took[BARE], digits=3))
    return [
        Table(f"import in a fresh interpreter (median of {rounds})", "ms", "mcp", import_rows),
        Table(f"whole process (median of {rounds})", "s", "bare Python", rows),
    ]


def _copy_login(home: Path) -> None:
    """Copy the one login of a home until there are `MANY`."""
    store = FileStore(home)
    [key] = store.keys("login")
    record = store.read(key)
    assert record is not None
    for number in range(1, MANY):
        url = f"https://mcp{number}.example.com/mcp"
        store.write(RecordName("login", url), record | {"server": url})


def _in_turns(
    commands: dict[str, list[str]], home: Path, rounds: int, *, printed: bool = False
) -> dict[str, float]:
    """Return the median of each: of its own seconds, or of those that it `printed`."""
    took: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            said = _finish(command, home)
            seconds = time.perf_counter() - started
            if turn:  # the first one may write bytecode
                took[name].append(float(said) if printed else seconds)
    return {name: median(each) for name, each in took.items()}


def _finish(command: list[str], home: Path) -> str:
    """Run a command to its successful end, and return what it printed."""
    return subprocess.run(
        command,
        env=environment(home),
        cwd=home,
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=True,
    ).stdout
