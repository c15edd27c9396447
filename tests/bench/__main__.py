"""`python -m tests.bench [NAME...]`: measure and print, target beside each value."""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import os
import platform
from collections.abc import Callable, Sequence

from tests.bench import calls, click, compare, crowd, times
from tests.bench.table import Table, printed

MEASUREMENTS: dict[str, tuple[Callable[[int], list[Table]], int]] = {
    "overhead": (calls.overhead, 20),
    "startup": (times.startup, 15),
    "refreshes": (crowd.refreshes, 1),
    "together": (calls.together, 5),
    "click": (click.run, 20),
}
"""Each with its usual number of rounds."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named measurements, or all. Missed targets don't change the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    names = [*MEASUREMENTS, "compare"]
    parser.add_argument("name", nargs="*", choices=[*names, []], help="all but compare")
    parser.add_argument("--rounds", type=int, help="fewer is quicker, more is steadier")
    given = parser.parse_args(arguments)
    # A peer's log lines do not belong into the tables.
    logging.getLogger("mcp").addHandler(logging.NullHandler())
    print(_versions())
    # What others do takes minutes, and changes with their releases only.
    for name in given.name or MEASUREMENTS:
        if name == "compare":
            print(f"\n{compare.side_by_side()}")
            continue
        measure, usual = MEASUREMENTS[name]
        for table in measure(given.rounds or usual):
            print(f"\n{printed(table)}", flush=True)
    return 0


def _versions() -> str:
    where = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    names = ("mcpnb", "mcp", "fastmcp", "httpx2", "authlib")
    found = [f"{name} {importlib.metadata.version(name)}" for name in names]
    return ", ".join([f"Python {platform.python_version()} on {where}", *found])


if __name__ == "__main__":
    raise SystemExit(main())
