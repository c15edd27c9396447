"""`python -m tests.bench` runs. What it measures is for people to read: no time is asserted."""

from __future__ import annotations

import pytest

from tests.bench import crowd
from tests.bench.__main__ import MEASUREMENTS, main
from tests.bench.calls import TOO_SLOW

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

COUNTED = {"refreshes", "together"}
"""Counts have no noise, so that their targets can be held to."""


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_measurement_prints_mcpnb_beside_its_target(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every measurement ends and names mcpnb with what it should reach; counts have reached it."""
    # Each crowd is a case of `tests/tokens/test_one_refresh.py`, too.
    monkeypatch.setattr(crowd, "CROWDS", [each for each in crowd.CROWDS if each.calls == 8][:1])
    assert main([name, "--rounds", "1"]) == 0

    said = capsys.readouterr().out
    ours = [line for line in said.splitlines() if line.startswith("  mcpnb")]
    assert ours
    assert all("met" in line or "MISSED" in line for line in ours)
    if name in COUNTED:
        assert [line for line in ours if "MISSED" in line and not line.endswith(TOO_SLOW)] == []
