"""What a measurement gives, and how it is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One contestant's result."""

    who: str
    value: str
    ratio: float | None = None
    """How much of the reference's value it is."""
    target: str = ""
    met: bool | None = None
    note: str = ""


def limited(  # noqa: PLR0913 - a row has as many columns
    who: str, value: float, limit: float, unit: str, ratio: float | None = None, *, digits: int
) -> Row:
    """Return the row of a value that shall not be above its limit."""
    return Row(who, f"{value:.{digits}f}", ratio, f"<= {limit:g} {unit}", met=value <= limit)


@dataclass(frozen=True)
class Table:
    """One question, its contestants, and what a value is measured in."""

    title: str
    unit: str
    reference: str
    """What ratios are taken against; empty where there are none."""
    rows: Sequence[Row]


def printed(table: Table) -> str:
    """Lay a table out for a terminal."""
    head = ["", table.unit, f"vs {table.reference}" if table.reference else "", "target", ""]
    cells = [head]
    for row in table.rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
        met = {None: "", True: "met", False: "MISSED"}[row.met]
        note = f"{met}  {row.note}" if met and row.note else met or row.note
        cells.append([row.who, row.value, ratio, row.target, note])
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = []
    for who, value, ratio, target, note in cells:
        line = (
            f"  {who:<{widths[0]}}  {value:>{widths[1]}}  {ratio:>{widths[2]}}"
            f"  {target:<{widths[3]}}  {note}"
        )
        lines.append(line.rstrip())
    return "\n".join([table.title, *lines])
