"""Import times and whole-process times, each in fresh interpreters, in turns."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.bench import processes
from tests.bench.server import remote
from tests.bench.table import Row, Table

__all__ = ["run"]

IMPORT = """
import importlib, sys, time
started = time.perf_counter()
importlib.import_module(sys.argv[1])
print(time.perf_counter() - started)
"""
IMPORT_TARGET = 0.040
COMMAND = "import sys; from mcpnb.cli import main; sys.argv[0] = 'mcpnb'; sys.exit(main())"


def run(rounds: int) -> list[Table]:
    """Measure."""
    return [_imports(rounds), _whole(rounds)]


def _imports(rounds: int) -> Table:
    took: dict[str, list[float]] = {"mcp": [], "mcpnb": []}
    with tempfile.TemporaryDirectory() as home:
        for turn in range(rounds + 1):
            for name, seconds in took.items():
                said = processes.finish([sys.executable, "-c", IMPORT, name], Path(home))
                if turn:  # the first one may write bytecode
                    seconds.append(float(said))
    reference = median(took["mcp"])
    ours = median(took["mcpnb"])
    rows = [
        Row(f"mcp {importlib.metadata.version('mcp')}", f"{reference * 1000:.1f}", 1.0),
        Row(
            "mcpnb",
            f"{ours * 1000:.1f}",
            ours / reference,
            f"<= {IMPORT_TARGET * 1000:.0f} ms",
            met=ours <= IMPORT_TARGET,
        ),
    ]
    return Table(f"import in a fresh interpreter (median of {rounds})", "ms", "mcp", rows)


def _whole(rounds: int) -> Table:
    with remote() as server, tempfile.TemporaryDirectory() as home:
        processes.sign_in(server.url, Path(home))
        mcpnb = _command()
        bare = f"Python {platform.python_version()}, nothing else"
        commands: dict[str, tuple[list[str], float | None]] = {
            bare: ([sys.executable, "-c", "pass"], None),
            "mcpnb --help": ([*mcpnb, "--help"], 0.12),
            "mcpnb token URL": ([*mcpnb, "token", server.url], 0.25),
            "mcpnb call URL TOOL": ([*mcpnb, "call", server.url, "echo", "text=hello"], 1.2),
        }
        took: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(rounds + 1):
            for name, (command, _) in commands.items():
                started = time.perf_counter()
                processes.finish(command, Path(home))
                if turn:
                    took[name].append(time.perf_counter() - started)
    reference = median(took[bare])
    rows = []
    for name, (_, limit) in commands.items():
        seconds = median(took[name])
        target = "" if limit is None else f"<= {limit} s"
        met = None if limit is None else seconds <= limit
        rows.append(Row(name, f"{seconds:.3f}", seconds / reference, target, met))
    return Table(f"whole process (median of {rounds})", "s", "bare Python", rows)


def _command() -> list[str]:
    script = Path(sys.executable).with_name("mcpnb")
    return [str(script)] if script.exists() else [sys.executable, "-c", COMMAND]
