"""What a person sees of a server's words: neutralised, escaped, capped, honest about the rest.

Nothing here gives a server a way into the page: no HTML, Markdown or link of its own is rendered,
nothing is loaded from anywhere, and reading-direction and control characters become spaces.
"""

from __future__ import annotations

import html
import json
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcpnb.text import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcpnb.calls.tables import Table

__all__ = [
    "NOTEBOOK",
    "TERMINAL",
    "Caps",
    "Grid",
    "block",
    "count",
    "excerpt",
    "folded",
    "html_table",
    "json_excerpt",
    "json_line",
    "page",
    "paragraph",
    "shown_grid",
    "text_table",
]


@dataclass(frozen=True, slots=True)
class Caps:
    """How much of a result is shown; the rest is counted."""

    rows: int
    columns: int
    cell: int
    table: int
    """Characters of all cells together."""
    text: int
    lines: int
    json: int
    images: int
    image_bytes: int


# A notebook file keeps what it shows: about 1 MB of text at the very most, and a few pictures.
NOTEBOOK = Caps(60, 20, 200, 60_000, 20_000, 1_000, 20_000, 8, 8_000_000)
TERMINAL = Caps(20, 12, 60, 20_000, 2_000, 40, 2_000, 8, 0)

_WIDTH = 100
_NARROWEST = 12


@dataclass(frozen=True, slots=True)
class Grid:
    """Cells that are safe to show as text (not yet as HTML)."""

    columns: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    total_rows: int
    total_columns: int

    def left_out(self, columns: int | None = None) -> str:
        """Say how much of the table is not shown; empty if all is."""
        shown = len(self.columns) if columns is None else columns
        missing = []
        if self.total_rows > len(self.rows):
            missing.append(count(self.total_rows - len(self.rows), "more row"))
        if self.total_columns > shown:
            missing.append(count(self.total_columns - shown, "more column"))
        return f"… {' and '.join(missing)} not shown" if missing else ""


def count(number: int, noun: str) -> str:
    """Count a thing in English: ``1 row``, ``1,200 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def excerpt(text: str, characters: int, lines: int) -> tuple[str, str]:
    """Give the start of a server's text, line ends kept, and a note on what was left out."""
    # splitlines knows carriage returns and Unicode's separators too: none may overwrite a line.
    kept = text[:characters].splitlines(keepends=True)[:lines]
    left = len(text) - sum(map(len, kept))
    bare = (line.splitlines()[0].replace("\t", "    ") for line in kept)
    shown = "\n".join(sanitize(line, characters * 4) for line in bare)
    return shown, f"… {count(left, 'more character')} not shown" if left else ""


def json_excerpt(data: object, characters: int, lines: int) -> tuple[str, str]:
    """Give the start of data as indented JSON, and a note if that is not all."""
    text, whole = _json_start(data, characters, indent=2)
    shown, cut = excerpt(text, characters, lines)
    if cut:
        return shown, "… the rest is not shown"
    return shown, "" if whole else "… the rest cannot be shown: it goes too deep, or is too long"


def json_line(data: object, limit: int) -> str:
    """Give data as one capped line of JSON."""
    text, whole = _json_start(data, limit, indent=None)
    return sanitize(text, limit) + ("" if whole or len(text) > limit else "…")


def _json_start(data: object, characters: int, indent: int | None) -> tuple[str, bool]:
    # iterencode stops where the excerpt ends: of 100 MB no more is encoded than is shown.
    chunks: list[str] = []
    size = 0
    encoder = json.JSONEncoder(indent=indent, ensure_ascii=False, default=str)
    try:
        for chunk in encoder.iterencode(data):
            chunks.append(chunk)
            size += len(chunk)
            if size > characters:
                break
    except (ValueError, TypeError, RecursionError):
        return "".join(chunks), False
    return "".join(chunks), True


def shown_grid(table: Table, caps: Caps) -> Grid:
    """Cut a table down to what is shown of it."""
    names = table.columns[: caps.columns]
    values = table.head(caps.rows, caps.columns)
    rows: list[list[str]] = []
    budget = caps.table
    for value_row in values:
        row = [_cell(value, caps.cell) for value in value_row]
        budget -= sum(map(len, row))
        if budget < 0 and rows:
            break
        rows.append(row)
    numeric = [
        bool(rows) and all(_is_number(row[i]) for row in values[: len(rows)])
        for i in range(len(names))
    ]
    columns = [sanitize(name, caps.cell) for name in names]
    return Grid(columns, rows, numeric, len(table), len(table.columns))


def text_table(grid: Grid, width: int = _WIDTH) -> str:
    """Draw a table for a terminal: aligned, at most `width` wide."""
    if not grid.columns:
        return grid.left_out()
    widths = [
        max([_width(name), *(_width(row[i]) for row in grid.rows)])
        for i, name in enumerate(grid.columns)
    ]
    widths = widths[: (width + 2) // 3]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        widest = max(widths)
        if widest > _NARROWEST:
            widths[widths.index(widest)] -= 1
        else:
            widths.pop()
    lines = [grid.columns, ["-" * w for w in widths], *grid.rows]
    drawn = [
        "  ".join(
            _padded(cell, w, right=right)
            for cell, w, right in zip(line, widths, grid.numeric, strict=False)
        ).rstrip()
        for line in lines
    ]
    note = grid.left_out(len(widths))
    return "\n".join([*drawn, note] if note else drawn)


def html_table(grid: Grid) -> str:
    """Draw a table as HTML, every cell escaped."""
    head = _row("th", grid.columns, grid.numeric)
    body = "".join(_row("td", row, grid.numeric) for row in grid.rows)
    table = f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
    return table + paragraph(grid.left_out())


def block(text: str, note: str = "") -> str:
    """Show text as it is, in a block that wraps."""
    style = "white-space:pre-wrap;overflow-wrap:anywhere"
    # threat: markup-from-servers
    return f'<pre dir="auto" style="{style}">{html.escape(text)}</pre>{paragraph(note)}'


def folded(summary: str, text: str, note: str = "") -> str:
    """Show text behind a line to open it with."""
    return f"<details><summary>{html.escape(summary)}</summary>{block(text, note)}</details>"


def paragraph(text: str) -> str:
    """Show one line of ours; nothing for an empty one."""
    return f"<p>{html.escape(text)}</p>" if text else ""


def page(parts: Iterable[str]) -> str:
    """Put the parts of a display together."""
    # The classes keep MathJax away: a cell with two dollar signs is no formula, and TeX can link.
    # threat: formulas-and-markdown
    return f'<div class="mcpnb-result tex2jax_ignore mathjax_ignore">{"".join(parts)}</div>'


def _row(tag: str, cells: list[str], numeric: list[bool]) -> str:
    drawn = (
        f'<{tag} dir="auto" style="text-align:{"right" if right else "left"}">'
        # threat: markup-from-servers
        f"{html.escape(cell)}</{tag}>"
        for cell, right in zip(cells, numeric, strict=True)
    )
    return f"<tr>{''.join(drawn)}</tr>"


def _cell(value: Any, limit: int) -> str:
    if value is None:
        return ""
    return sanitize(value, limit) if isinstance(value, str) else json_line(value, limit)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _width(text: str) -> int:
    return sum(_cells_of(c) for c in text)


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _padded(text: str, width: int, *, right: bool) -> str:
    if _width(text) > width:
        kept, used = "", 1
        for character in text:
            used += _cells_of(character)
            if used > width:
                break
            kept += character
        text = kept + "…"
    space = " " * (width - _width(text))
    return space + text if right else text + space
