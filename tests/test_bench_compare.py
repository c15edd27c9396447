"""What `python -m tests.bench compare` says of mcpnb is so. What others do is for them to test."""

from __future__ import annotations

import time

import pytest

from tests.bench import compare
from tests.bench.compare_contenders import CONTENDERS
from tests.bench.compare_lab import lab, place
from tests.bench.compare_questions import QUESTIONS, Answer, Candidate, Question, asked
from tests.bench.table import printed
from tests.fakes.server import Grant

MCPNB = CONTENDERS[0]
# The last one is about what the others made it print.
# Each starts a process or more; README's table has what all of them said when it was printed.
CASES = [
    pytest.param(each, marks=pytest.mark.slow if number == 0 else pytest.mark.soak)
    for number, each in enumerate(QUESTIONS[:-1])
]


# The relay listens on the port that the sign-in named.
@pytest.mark.xdist_group("desk")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("question", CASES, ids=lambda question: question.title)
def test_mcpnb_answers_as_it_is_meant_to(question: Question) -> None:
    answer = asked(question, Candidate(MCPNB))

    assert answer.value == question.wanted, answer.note


def test_a_secret_in_what_was_printed_is_found_also_across_lines() -> None:
    with lab() as server, place(server) as here:
        server.access["access-of-somebody"] = (Grant("client", (), None), time.time() + 60)
        assert here.shown().total() == 0

        here.said += ["a log says access-of", "   -somebody"]

        assert here.shown() == {"access token": 1}


def test_who_is_not_installed_is_shown_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    question = Question("requests", lambda _: Answer("6"), "6")
    monkeypatch.setattr(compare, "QUESTIONS", (question,))
    for contender in CONTENDERS[1:]:
        monkeypatch.setattr(type(contender), "version", None)

    rows, grid = compare.run(1)

    assert "npm install --prefix $MCPNB_PEERS @openai/codex mcp-remote" in printed(rows)
    assert printed(grid).splitlines()[-1] == f"| requests | 6 |{' not installed |' * 5}"
