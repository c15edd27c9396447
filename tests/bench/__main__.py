"""`python -m tests.bench [NAME...]`: measure and print, target beside each value."""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import os
import platform
from collections.abc import Callable, Sequence

import mcpnb
from tests.bench import click, compare, overhead, refreshes, requests, times, together
from tests.bench.table import Table, printed

MEASUREMENTS: dict[str, tuple[Callable[[int], list[Table]], int]] = {
    "overhead": (overhead.run, 20),
    "requests": (requests.to_sign_in, 1),
    "startup": (times.startup, 15),
    "restart": (requests.after_a_restart, 1),
    "stored": (times.stored, 7),
    "refreshes": (refreshes.run, 1),
    "together": (together.run, 5),
    "click": (click.run, 20),
    "compare": (compare.run, 1),
}
"""Each with its usual number of rounds."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named measurements, or all. Missed targets don't change the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[*MEASUREMENTS, []], help="all but compare")
    parser.add_argument("--rounds", type=int, help="fewer is quicker, more is steadier")
    given = parser.parse_args(arguments)
    # A peer's log lines do not belong into the tables.
    logging.getLogger("mcp").addHandler(logging.NullHandler())
    print(_versions())
    # What others do takes minutes, and changes with their releases only.
    for name in given.name or [name for name in MEASUREMENTS if name != "compare"]:
        measure, usual = MEASUREMENTS[name]
        for table in measure(given.rounds or usual):
            print(f"\n{printed(table)}", flush=True)
    return 0


def _versions() -> str:
    names = ("mcp", "fastmcp", "httpx2", "authlib")
    where = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    found = [f"Python {platform.python_version()} on {where}", f"mcpnb {mcpnb.__version__}"]
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


if __name__ == "__main__":
    raise SystemExit(main())
