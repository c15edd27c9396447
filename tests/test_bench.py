"""`python -m tests.bench` runs. What it measures is for people to read: no time is asserted."""

from __future__ import annotations

import pytest

from tests.bench.__main__ import MEASUREMENTS, main
from tests.bench.together import TOO_SLOW

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

APART = "compare"
"""Asks others for minutes; what it says of mcpnb is in `test_bench_compare.py`."""
COUNTED = {"requests", "restart", "refreshes", "together"}
"""Counts have no noise, so that their targets can be held to."""


@pytest.mark.parametrize("name", [name for name in MEASUREMENTS if name != APART])
def test_measurement_prints_mcpnb_beside_its_target(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every measurement ends and names mcpnb with what it should reach; counts have reached it."""
    assert main([name, "--rounds", "1"]) == 0

    said = capsys.readouterr().out
    ours = [line for line in said.splitlines() if line.startswith("  mcpnb")]
    assert ours
    assert all("met" in line or "MISSED" in line for line in ours)
    if name in COUNTED:
        assert [line for line in ours if "MISSED" in line and not line.endswith(TOO_SLOW)] == []
