"""The official conformance suite, scenario by scenario, read strictly.

Exit code, time-out, FAILURE, WARNING and SKIPPED all count. A scenario where a client has to refuse
passes only if mcpnb refused for the right reason: a client that crashes or does nothing would
pass the suite's own reading.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conformance.scenarios import BEYOND_THE_SDK, NOT_ON_THIS_WIRE, REFUSED, SCENARIOS
from tests.conformance.suite import Outcome, node_modules, run, scored

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def _node() -> None:
    """Skip where there is no Node, but never in CI, where a skip would hide everything."""
    if node_modules() is None:
        reason = "no Node 22 with the conformance suite: run `npm ci` in tests/node"
        if os.environ.get("MCPNB_CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def wrong(outcome: Outcome, version: str, scenario: str) -> list[str]:
    """List what is wrong with an outcome, the way that a negative scenario ended included."""
    found = outcome.wrong(NOT_ON_THIS_WIRE.get((version, scenario)))
    refusal = REFUSED.get(scenario)
    end = f"refused: {refusal}: " if refusal else "done"
    if outcome.client_exit_code != (1 if refusal else 0) or not outcome.last_line.startswith(end):
        found.append(
            f"the client ended with {outcome.client_exit_code} and {outcome.last_line!r}, "
            f"not with {end!r}"
        )
    return found


@pytest.mark.parametrize(
    ("version", "scenario"),
    [(version, scenario) for version, names in SCENARIOS.items() for scenario in names],
)
def test_scenario_passes_strictly(version: str, scenario: str, tmp_path: Path) -> None:
    """Every scored scenario that the SDK can pass is passed, in the version it is scored for."""
    outcome = run(scenario, version, tmp_path)

    assert wrong(outcome, version, scenario) == [], outcome.said


@pytest.mark.parametrize("script", ["", "raise SystemExit(1)", "raise RuntimeError"])
def test_a_client_that_gives_up_passes_no_negative_scenario(script: str, tmp_path: Path) -> None:
    """The suite forgives an error there; this reading does not."""
    client = tmp_path / "client.py"
    client.write_text(script)

    outcome = run("auth/scope-retry-limit", "2026-07-28", tmp_path, client)

    assert wrong(outcome, "2026-07-28", "auth/scope-retry-limit") != []


def test_a_scenario_of_another_version_counts_as_failed(tmp_path: Path) -> None:
    """The suite skips it and ends with 0."""
    outcome = run("auth/iss-supported", "2025-11-25", tmp_path)

    assert outcome.exit_code == 0
    assert wrong(outcome, "2025-11-25", "auth/iss-supported") != []


def test_only_the_sdks_own_gap_keeps_the_last_scenario_from_passing(tmp_path: Path) -> None:
    """All checks succeed; what fails is that the SDK wants a `resultType` in every result."""
    version, scenario = BEYOND_THE_SDK

    outcome = run(scenario, version, tmp_path)

    assert {status for _, status in outcome.checks} == {"SUCCESS"}, outcome.said
    assert outcome.client_exit_code == 1, "the SDK passes now: move it to SCENARIOS"
    assert "resultType" in outcome.said


@pytest.mark.parametrize("version", ["2026-07-28", "2025-11-25"])
def test_no_scored_scenario_is_left_out(version: str) -> None:
    """What the suite itself scores for a client is what is run here, and nothing less."""
    here = set(SCENARIOS[version]) | {name for wire, name in [BEYOND_THE_SDK] if wire == version}

    assert here == scored(version)
