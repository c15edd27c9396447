"""Figures of a run: how much was tried, printed below pytest's summary, for README to quote.

A test says `figures.add("attacks tried")` where it has tried one; what several processes of
pytest-xdist counted is added up.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

NAMES = (
    "attacks tried",
    "rules removed, and noticed",
    "fault positions tried",
    "inputs fuzzed",
    "kills survived",
    "secrets planted",
    "bytes searched",
    "secrets found",
)
"""What is counted, in the order in which it is printed."""

_counted: Counter[str] = Counter()


def add(name: str, number: int = 1) -> None:
    """Count `number` more of what is called `name`, one of `NAMES`."""
    if name not in NAMES:
        raise ValueError(f"{name!r} is none of the figures: {NAMES}")
    _counted[name] += number


def pytest_runtest_call(item: pytest.Item) -> None:
    """Count a test that tries an attack; where one fails, the run is not quoted anyway."""
    if item.get_closest_marker("threat"):
        add("attacks tried")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what a worker counted to who started it."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["figures"] = dict(_counted)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what a worker counted; one that crashed has nothing to say."""
    _counted.update(getattr(node, "workeroutput", {}).get("figures", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures, if there are any."""
    if not _counted:
        return
    if "secrets planted" in _counted:
        _counted["secrets found"] += 0
    terminalreporter.section("figures of this run")
    for name in NAMES:
        if name in _counted:
            terminalreporter.write_line(f"{_counted[name]:>13,}  {name}")
