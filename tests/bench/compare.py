"""How mcpnb compares with what else there is: the same questions, answered by runs.

What is compared and not a dependency of the tests is looked for in the folder that `MCPNB_PEERS`
names; without it those columns say how to get it.
"""

from __future__ import annotations

from tests.bench.compare_contenders import CONTENDERS, Contender
from tests.bench.compare_questions import QUESTIONS, Answer, Candidate, Question, asked
from tests.bench.table import Grid, Row, Table


def run(rounds: int) -> list[Table]:  # noqa: ARG001 - what is asked here has no noise
    """Ask everybody everything: a table for each question, and one that sums them up."""
    here = [each for each in CONTENDERS if each.version]
    candidates = {each.name: Candidate(each) for each in here}
    answers = [
        {each.name: asked(question, candidates[each.name]) for each in here}
        for question in QUESTIONS
    ]
    tables = [_table(*pair) for pair in zip(QUESTIONS, answers, strict=True)]
    head = ["", *(f"{each.name} {each.version or ''}".strip() for each in CONTENDERS)]
    cells = [
        [question.title, *(_cell(told.get(each.name)) for each in CONTENDERS)]
        for question, told in zip(QUESTIONS, answers, strict=True)
    ]
    return [*tables, Grid("side by side", "", "", (), [head, *cells])]


def _cell(answer: Answer | None) -> str:
    return answer.value if answer else "not installed"


def _table(question: Question, answers: dict[str, Answer]) -> Table:
    return Table(question.title, "", "", [_row(question, each, answers) for each in CONTENDERS])


def _row(question: Question, contender: Contender, answers: dict[str, Answer]) -> Row:
    answer = answers.get(contender.name)
    if answer is None:
        return Row(contender.name, "-", note=f"not installed: {contender.install}")
    who = f"{contender.name} {contender.version}"
    if contender is not CONTENDERS[0]:
        return Row(who, answer.value, note=answer.note)
    met = answer.value == question.wanted
    return Row(who, answer.value, target=question.wanted, met=met, note=answer.note)
