"""`python -m tests.bench` runs, and what its `compare` says of mcpnb is so.

What it measures is for people to read: no time is asserted. What others do is for them to test.
"""

from __future__ import annotations

import pytest

from tests.bench import compare, crowd
from tests.bench.__main__ import MEASUREMENTS, main
from tests.bench.calls import TOO_SLOW
from tests.bench.compare import QUESTIONS, Answer, Question, asked
from tests.bench.compare_contenders import CONTENDERS

COUNTED = {"refreshes", "together"}
"""Counts have no noise, so that their targets can be held to."""


@pytest.mark.slow
@pytest.mark.timeout(120)
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


# Each starts a process or more; README's table has what all of them said when it was printed.
CASES = [
    pytest.param(each, marks=pytest.mark.slow if number == 0 else pytest.mark.soak)
    for number, each in enumerate(QUESTIONS)
]


# The relay listens on the port that the sign-in named.
@pytest.mark.xdist_group("desk")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("question", CASES, ids=lambda question: question.title)
def test_mcpnb_answers_as_it_is_meant_to(question: Question) -> None:
    answer = asked(question, CONTENDERS[0])

    assert answer.value == question.wanted, answer.note


def test_who_is_not_installed_is_shown_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compare, "QUESTIONS", (Question("requests", lambda _: Answer("6"), "6"),))
    for contender in CONTENDERS[1:]:
        monkeypatch.setattr(type(contender), "version", None)

    said = compare.side_by_side()

    assert "npm install --prefix $MCPNB_PEERS @openai/codex mcp-remote" in said
    assert f"| requests | 6 |{' not installed |' * 5}\n" in said
