"""The threat table: every attack has a name, a rule with its source, and tests that try it.

Tests say which attack they try with `@pytest.mark.threat("mix-up")`; `tests/test_threats.py` checks
that table and tests agree in both directions. A comment ``# threat: mix-up`` in the code marks the
rule: `tests/run long` takes the marked line out and sees the row's tests fail.
"""

from __future__ import annotations

from tests.threats import (
    answers,
    at_rest,
    metadata,
    network,
    notebook,
    projects,
    registration,
    results,
    shown,
    sign_in,
    tokens,
    waiting,
)
from tests.threats.row import Threat

__all__ = ["AREAS", "THREATS", "Threat"]

AREAS: dict[str, tuple[Threat, ...]] = {
    "sign-in": (*sign_in.ROWS, *waiting.ROWS, *answers.ROWS),
    "tokens": tokens.ROWS,
    "metadata": metadata.ROWS,
    "registration": registration.ROWS,
    "network": (*network.ROWS, *results.ROWS),
    "shown": shown.ROWS,
    "at-rest": at_rest.ROWS,
    "notebook": notebook.ROWS,
    "projects": projects.ROWS,
}
"""The rows of each area, in the order of a sign-in."""

THREATS: dict[str, Threat] = {threat.id: threat for rows in AREAS.values() for threat in rows}
"""All rows by their id."""
