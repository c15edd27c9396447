"""What the doctor checked, what it found, and what to do: for a person or a program."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from mcpnb.text import block, count, page, quote, sanitize

Verdict = Literal["ok", "warning", "problem", "unknown"]
"""``unknown``: only a sign-in, or a change somewhere, would tell."""
Side = Literal["server operator", "your configuration", "this machine", "your login"]
"""Who can fix it. ``your login``: a new sign-in does."""

_VERDICTS: dict[str, Verdict] = {"ok": "ok", "!": "warning", "x": "problem", "?": "unknown"}
_SIDES: dict[str, Side] = {
    "operator": "server operator",
    "configuration": "your configuration",
    "machine": "this machine",
    "login": "your login",
}
_MOST = 1_500
"""Characters of one text of a report."""


def _rows(table: str) -> dict[str, list[str]]:
    lines = re.sub(r"(?m)^#.*\n", "", table).replace("MCP,", "MCP 2026-07-28,")
    lines = re.sub(r"\n +", " ", lines)
    rows = (line.split(" |") for line in lines.splitlines() if line)
    return {name: [cell.strip() for cell in cells] for name, *cells in rows}


TABLE = _rows(Path(__file__).with_name("checks.txt").read_text("utf-8"))
"""The texts of all checks and findings, by name; the file says what is in a row."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked. Its texts are safe to print, wherever they came from."""

    id: str
    title: str
    asked: str
    """What was requested from whom, or looked at where."""
    answer: str
    """What was found, in words."""
    rule: str
    """What decided: an RFC, or a section of a specification."""
    verdict: Verdict = "ok"
    fix: str | None = None
    """What to do."""
    side: Side | None = None
    """Who can do it."""

    def __post_init__(self) -> None:
        for name in ("asked", "answer", "fix"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, sanitize(value, _MOST))

    @property
    def mark(self) -> str:
        """``ok``, ``!``, ``x`` or ``?``."""
        return next(mark for mark, verdict in _VERDICTS.items() if verdict == self.verdict)

    @property
    def details(self) -> list[tuple[str, str]]:
        """What else a person needs to know: of each step of a sign-in, and of what is not right."""
        step = self.id.startswith("sign-in")
        lines = [(f"To do ({self.side})" if self.side else "To do", self.fix or "")]
        if step or self.verdict in ("warning", "problem"):
            lines = [("Sent" if step else "Asked", self.asked), ("Rule", self.rule), *lines]
        return [(name, text) for name, text in lines if text]


class _Words(string.Formatter):
    """Fills in a text; ``!q`` quotes the words of a server."""

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return quote(value) if conversion == "q" else super().convert_field(value, conversion)


def first_of(**kinds: object) -> str:
    """Return the name of the first of these that is true; ``ok`` if none is."""
    return next((kind for kind, applies in kinds.items() if applies), "ok")


def date(seconds: float) -> str:
    """Write seconds since the epoch as a date in UTC: a report goes to people elsewhere."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return "at a time that cannot be shown"


def check(finding: str, *, of: str = "", asked: str = "", rule: str = "", **words: object) -> Check:
    """Make a check from the table.

    Args:
        finding: The name of a finding, such as ``issuer/slash``.
        of: The check it is a finding of, if its name does not begin with it.
        asked: What was requested, or looked at, if not what the table says.
        rule: Which rule decided, if not the one of the table.
        words: Fill in the texts.
    """
    name = of or finding.partition("/")[0]
    title, usually_asked, usual_rule = TABLE[name]
    kind, *texts = TABLE[finding]
    fill = _Words().vformat
    answer, fix, special_rule = [*(fill(text, (), words) for text in texts), "", ""][:3]
    mark, _, side = kind.partition(" ")
    return Check(
        id=name,
        title=title,
        asked=asked or fill(usually_asked, (), words),
        answer=answer,
        rule=rule or special_rule or usual_rule,
        verdict=_VERDICTS[mark],
        fix=fix or None,
        side=_SIDES.get(side),
    )


class Report:
    """What `mcpnb doctor` found: text as `repr`, also in a notebook; `to_dict` for programs."""

    def __init__(self, server: str | None, checks: Iterable[Check]) -> None:
        """Report on a server, or on this machine alone (`None`)."""
        # An address can hold a secret from the environment.
        self.server = None if server is None else sanitize(server, _MOST)
        self.checks = tuple(checks)

    def edited(self, edit: Callable[[str], str]) -> Report:
        """Return the report with each of its texts as `edit` returns it."""
        return Report(
            self.server,
            (
                replace(c, asked=edit(c.asked), answer=edit(c.answer), fix=c.fix and edit(c.fix))
                for c in self.checks
            ),
        )

    @property
    def problems(self) -> tuple[Check, ...]:
        """What prevents a sign-in or a call."""
        return tuple(c for c in self.checks if c.verdict == "problem")

    @property
    def warnings(self) -> tuple[Check, ...]:
        """What is not right, and works or may work nevertheless."""
        return tuple(c for c in self.checks if c.verdict == "warning")

    @property
    def verdict(self) -> Verdict:
        """``problem``, ``warning`` or ``ok``."""
        return "problem" if self.problems else "warning" if self.warnings else "ok"

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def __getitem__(self, check: str) -> Check:
        """Return a check by its id.

        Raises:
            KeyError: It was not made: an earlier problem prevented it, or it does not apply.
        """
        for one in self.checks:
            if one.id == check:
                return one
        raise KeyError(check)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it: ``server``, ``verdict`` and ``checks``."""
        checks = [asdict(check) for check in self.checks]
        return {"server": self.server, "verdict": self.verdict, "checks": checks}

    @property
    def summary(self) -> str:
        """One line: how many problems there are, and the first thing to do."""
        counts = [count(len(self.problems), "problem")] if self.problems else []
        counts += [count(len(self.warnings), "warning")] if self.warnings else []
        if not counts:
            return f"No problem found ({len(self.checks)} checks)."
        first = next((c for c in (*self.problems, *self.warnings) if c.fix), None)
        to_do = f" First, {first.side or 'you'}: {first.fix}" if first else ""
        return f"{', '.join(counts)}.{to_do}"

    def __repr__(self) -> str:
        lines = []
        for one in self.checks:
            lines.append(f"{one.mark:<3} {one.title}: {one.answer}")
            lines += [f"      {name}: {text}" for name, text in one.details]
        return "\n".join([*lines, self.summary])

    def _repr_html_(self) -> str:
        return page([block(repr(self))])
