"""What was looked at, what was found, what to do about it: for a person or a program."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mcpnb.text import sanitize

__all__ = ["Check", "Report", "Side", "Step", "Verdict"]

Verdict = Literal["ok", "warning", "problem", "unknown"]
"""``unknown``: it cannot be found out without signing in, or without changing something."""
Side = Literal["server operator", "your configuration", "this machine", "your login"]
"""Who can mend it. ``your login``: a new sign-in does."""

_MARKS: dict[Verdict, str] = {"ok": "ok", "warning": "!", "problem": "x", "unknown": "?"}
_MOST = 1_500


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. Its texts are safe to print, wherever they came from."""

    id: str
    title: str
    asked: str
    """What was asked of whom, or looked at where."""
    answer: str
    """What came, in words."""
    rule: str
    """What decided: an RFC or the section of a specification."""
    verdict: Verdict = "ok"
    fix: str | None = None
    side: Side | None = None
    """Whose side the fix is on."""

    def __post_init__(self) -> None:
        for name in ("asked", "answer", "fix"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, sanitize(value, _MOST))

    @property
    def mark(self) -> str:
        """``ok``, ``!``, ``x`` or ``?``."""
        return _MARKS[self.verdict]

    @property
    def details(self) -> list[tuple[str, str]]:
        """What a person wants to know besides where not all is well."""
        whose = f"To do ({self.side})" if self.side else "To do"
        lines = [(whose, self.fix or "")]
        if self.verdict in ("warning", "problem"):
            lines = [("Asked", self.asked), ("Rule", self.rule), *lines]
        return [(name, text) for name, text in lines if text]


@dataclass(frozen=True, slots=True)
class Step(Check):
    """One step of a sign-in as it happened: what was sent is of interest where all is well, too."""

    @property
    def details(self) -> list[tuple[str, str]]:
        """What was sent, which rule there is for it, and what to do."""
        whose = f"To do ({self.side})" if self.side else "To do"
        lines = [("Sent", self.asked), ("Rule", self.rule), (whose, self.fix or "")]
        return [(name, text) for name, text in lines if text]


class Report:
    """What `mcpnb doctor` found: text as `repr`, a table in a notebook, `to_dict` for programs."""

    def __init__(self, server: str | None, checks: list[Check]) -> None:
        """Report on a server, or on this machine alone.

        Args:
            server: Its address; `None`: only the machine was looked at.
            checks: In the order in which a sign-in comes by them.
        """
        # An address can have a secret in it, from the environment.
        self.server = None if server is None else sanitize(server, _MOST)
        self.checks = tuple(checks)

    @property
    def problems(self) -> tuple[Check, ...]:
        """What stands in the way of a sign-in or a call."""
        return tuple(c for c in self.checks if c.verdict == "problem")

    @property
    def warnings(self) -> tuple[Check, ...]:
        """What is not as it should be, and works all the same, or may."""
        return tuple(c for c in self.checks if c.verdict == "warning")

    @property
    def verdict(self) -> Verdict:
        """``problem``, ``warning`` or ``ok``."""
        return "problem" if self.problems else "warning" if self.warnings else "ok"

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def __getitem__(self, check: str) -> Check:
        """Give a check by its id.

        Raises:
            KeyError: It was not made: an earlier problem stood in its way, or it does not apply.
        """
        for one in self.checks:
            if one.id == check:
                return one
        raise KeyError(check)

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON has it: ``server``, ``verdict`` and ``checks``."""
        return {
            "server": self.server,
            "verdict": self.verdict,
            "checks": [asdict(check) for check in self.checks],
        }

    @property
    def summary(self) -> str:
        """One line: how many problems there are, and the first thing to do."""
        counts = [
            f"{len(found)} {word}{'' if len(found) == 1 else 's'}"
            for found, word in ((self.problems, "problem"), (self.warnings, "warning"))
            if found
        ]
        if not counts:
            return f"No problem found ({len(self.checks)} checks)."
        first = next((c for c in (*self.problems, *self.warnings) if c.fix), None)
        to_do = f" First, {first.side or 'you'}: {first.fix}" if first else ""
        return f"{', '.join(counts)}.{to_do}"

    def __repr__(self) -> str:
        lines = []
        for check in self.checks:
            lines.append(f"{check.mark:<3} {check.title}: {check.answer}")
            lines += [f"      {name}: {text}" for name, text in check.details]
        return "\n".join([*lines, self.summary])

    def _repr_html_(self) -> str:
        rows = []
        for check in self.checks:
            more = "".join(
                f"<br><small>{html.escape(name)}: {html.escape(text)}</small>"
                for name, text in check.details
            )
            cells = (check.mark, check.title)
            row = "".join(f"<td style='text-align:left'>{html.escape(c)}</td>" for c in cells)
            rows.append(
                f"<tr>{row}<td style='text-align:left'>{html.escape(check.answer)}{more}</td></tr>"
            )
        return f"<table>{''.join(rows)}</table><p>{html.escape(self.summary)}</p>"
