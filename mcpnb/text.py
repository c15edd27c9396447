"""Text for people: make server text safe, hide secrets, format numbers, draw tables and QR codes.

Nothing here gives a server a way into the page. No HTML, Markdown or link of a server is rendered,
nothing is loaded from anywhere, and reading-direction and control characters become spaces.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Sequence

# Letters and marks that nobody sees, although Python counts them as printable: fillers, variation
# selectors (Unicode's Default_Ignorable_Code_Point; the latter smuggle text), and Braille's blank.
# Two names that differ in them look alike. U+FE0E and U+FE0F stay: they choose between text and
# emoji. str.isprintable() rejects bidirectional controls, zero-width characters and escapes.
_HIDDEN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE0E), *range(0xE0100, 0xE01F0))))
)


def sanitize(text: object, limit: int = 300) -> str:
    """Return server text that is safe on one line of a terminal: no control characters, capped."""
    # threat: megabytes-shown
    raw = redact(str(text))[: limit + 1]
    # threat: terminal-escapes, bidirectional-text, invisible-text, line-breaks, panel-texts
    kept = "".join(c if c.isprintable() and c not in _HIDDEN else " " for c in raw)
    return kept[:limit] + "…" if len(raw) > limit else kept


def quote(text: object, limit: int = 300) -> str:
    """Return server text in quotation marks: capped, escaped, marked as somebody else's words."""
    return f"“{sanitize(text, limit)}”"


LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a character. JSON can write one, and no request can hold it."""


# Secrets

MASK = "*****"
"""What stands in the place of a secret."""
_PIECE = 10
"""Characters of a secret that give it away, even where a server repeats only a part of it."""
_SHORTEST = 4

_secrets: tuple[tuple[str, re.Pattern[str], str, tuple[str, ...] | None], ...] = ()
"""Each: the text, what finds it, what is shown in its place, and hosts; longest text first."""
_adding = threading.Lock()


def add_secret(secret: str, instead: str, *, hosts: tuple[str, ...] | None = None) -> None:
    """Hide a text in every error, log record and text for people from now on.

    Every error of ours goes through `redact`, and so does `sanitize`: an address is in too many
    messages for each of them to know which part of it is secret.

    Args:
        secret: The text to hide.
        instead: What to show in its place.
        hosts: For a text that may be an ordinary word as well, such as ``production``: it is hidden
            only as a whole word, and only in texts that have one of these. Left out: everywhere.
    """
    global _secrets  # noqa: PLW0603  replaced whole: readers need no lock
    text = re.escape(secret)
    if hosts is not None:
        # Of a percent-encoded separator ("%2F") the last character looks like a part of the word.
        begin = r"(?:(?<![\w.-])|(?<=%[0-9A-Fa-f]{2}))" if secret[0].isalnum() else ""
        text = begin + text + (r"(?![\w-]|\.\w)" if secret[-1].isalnum() else "")
    found = (secret, re.compile(text), instead.replace("\\", r"\\"), hosts)
    with _adding:
        known = {(entry[0], entry[3]): entry for entry in _secrets} | {(secret, hosts): found}
        # The longest first: a short one may be a part of it.
        _secrets = tuple(sorted(known.values(), key=lambda entry: -len(entry[0])))


def redact(text: str) -> str:
    """Return the text without the secrets that `add_secret` was given."""
    for _, pattern, instead, hosts in _secrets:
        if hosts is None or any(host in text.lower() for host in hosts):
            text = pattern.sub(instead, text)
    return text


class Redactor:
    """Hides the secrets of one conversation, and any part of them of ten characters or more."""

    def __init__(self, *secrets: str) -> None:
        self._short: set[str] = set()
        self._pieces: set[str] = set()
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Hide these from now on, also in the form in which a URL has them."""
        from urllib.parse import quote_plus

        for secret in secrets:
            for form in (secret, quote_plus(secret)):
                if len(form) >= _PIECE:
                    starts = range(len(form) - _PIECE + 1)
                    self._pieces |= {form[start : start + _PIECE] for start in starts}
                elif len(form) >= _SHORTEST:
                    self._short.add(form)

    def __call__(self, text: str) -> str:
        """Return a text without the secrets."""
        for secret in sorted(self._short, key=len, reverse=True):
            text = text.replace(secret, MASK)
        parts: list[str] = []
        shown_from = hidden_until = 0
        for start in range(len(text) - _PIECE + 1):
            if text[start : start + _PIECE] in self._pieces:
                if start > hidden_until or not parts:
                    parts += [text[shown_from:start], MASK]
                shown_from = hidden_until = start + _PIECE
        return "".join([*parts, text[shown_from:]])


# Numbers and times


def count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 row``, ``1,200 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a length of time in its largest unit: ``45 seconds``, ``5 minutes``, ``2 days``."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds > 0.99 * size:  # an hour is still an hour a moment after it began
            return count(round(seconds / size), unit)
    return count(max(round(seconds), 0), "second")


def at(moment: float) -> str:
    """Return the local time of a moment (seconds since the epoch), with its day unless today."""
    try:
        then, today = time.localtime(moment), time.localtime()
    except (OverflowError, OSError, ValueError):
        return "at a time that cannot be shown"
    day = "" if then[:3] == today[:3] else time.strftime("on %Y-%m-%d ", then)
    return day + time.strftime("at %H:%M:%S", then)


# Excerpts


def excerpt(text: str, characters: int, lines: int) -> tuple[str, str]:
    """Return the start of a server's text with its line ends, and a note on what is left out."""
    # splitlines knows carriage returns and Unicode's separators too: none may overwrite a line.
    kept = text[:characters].splitlines(keepends=True)[:lines]
    left = len(text) - sum(map(len, kept))
    bare = (line.splitlines()[0].replace("\t", "    ") for line in kept)
    shown = "\n".join(sanitize(line, characters * 4) for line in bare)
    return shown, f"… {count(left, 'more character')} not shown" if left else ""


def json_excerpt(data: object, characters: int, lines: int) -> tuple[str, str]:
    """Return the start of data as indented JSON, and a note if that is not all."""
    text, whole = _json_start(data, characters, indent=2)
    shown, cut = excerpt(text, characters, lines)
    if cut:
        return shown, "… the rest is not shown"
    return shown, "" if whole else "… the rest cannot be shown: it is too deep or too long"


def json_line(data: object, limit: int) -> str:
    """Return data as one capped line of JSON."""
    text, whole = _json_start(data, limit, indent=None)
    return sanitize(text, limit) + ("" if whole or len(text) > limit else "…")


def _json_start(data: object, characters: int, indent: int | None) -> tuple[str, bool]:
    import json

    # iterencode stops where the excerpt ends: of 100 MB, no more is encoded than is shown.
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


# Tables

_NARROWEST = 12


class Grid:
    """The part of a table that is shown. The cells may be a server's: they are made safe here."""

    def __init__(
        self,
        columns: Sequence[object],
        rows: Sequence[Sequence[object]],
        *,
        total: tuple[int, int] = (0, 0),
        cell: int = 200,
        characters: int | None = None,
    ) -> None:
        """Take the cells to show; `None` is an empty cell, and a column of numbers goes right.

        Args:
            columns: The names of the columns.
            rows: The cells, row by row.
            total: Rows and columns of the whole table, if it has more: the others are counted.
            cell: Characters of a cell.
            characters: Characters of all cells together: later rows are left out.
        """
        self._columns = [sanitize(name, cell) for name in columns]
        self._rows: list[list[str]] = []
        for row in rows:
            drawn = [_cell(value, cell) for value in row]
            if characters is not None:
                characters -= sum(map(len, drawn))
                if characters < 0 and self._rows:
                    break
            self._rows.append(drawn)
        self._numeric = [
            bool(self._rows) and all(_is_number(row[i]) for row in rows[: len(self._rows)])
            for i in range(len(columns))
        ]
        self._total_rows = max(total[0], len(rows))
        self._total_columns = max(total[1], len(columns))

    def text(self, width: int = 100) -> str:
        """Draw the table for a terminal: aligned, at most `width` characters wide."""
        lines = [self._columns, *self._rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self._columns))]
        widths = widths[: (width + 2) // 3]
        while sum(widths) + 2 * (len(widths) - 1) > width:
            widest = max(widths)
            if widest > _NARROWEST:
                widths[widths.index(widest)] -= 1
            else:
                widths.pop()
        lines.insert(1, ["-" * w for w in widths])
        drawn = [
            "  ".join(
                cut.rjust(w) if right else cut.ljust(w)
                for cell, w, right in zip(line, widths, self._numeric, strict=False)
                for cut in [cell if len(cell) <= w else cell[: w - 1] + "…"]
            ).rstrip()
            for line in lines
        ]
        note = self._left_out(len(widths))
        return "\n".join([*(drawn if widths else []), *([note] if note else [])])

    def html(self) -> str:
        """Draw the table as HTML, every cell escaped."""
        head = self._html_row("th", self._columns)
        body = "".join(self._html_row("td", row) for row in self._rows)
        table = f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
        return table + paragraph(self._left_out(len(self._columns)))

    def _html_row(self, tag: str, cells: list[str]) -> str:
        drawn = (
            f'<{tag} dir="auto" style="text-align:{"right" if right else "left"}">'
            # threat: markup-from-servers
            f"{_escape(cell)}</{tag}>"
            for cell, right in zip(cells, self._numeric, strict=True)
        )
        return f"<tr>{''.join(drawn)}</tr>"

    def _left_out(self, columns: int) -> str:
        missing = []
        if self._total_rows > len(self._rows):
            missing.append(count(self._total_rows - len(self._rows), "more row"))
        if self._total_columns > columns:
            missing.append(count(self._total_columns - columns, "more column"))
        return f"… {' and '.join(missing)} not shown" if missing else ""


def _cell(value: object, limit: int) -> str:
    if value is None:
        return ""
    return sanitize(value, limit) if isinstance(value, str) else json_line(value, limit)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


# HTML


def block(text: str, note: str = "") -> str:
    """Return text as it is, in an HTML block that wraps, and a note below it."""
    style = "white-space:pre-wrap;overflow-wrap:anywhere"
    # threat: markup-from-servers
    return f'<pre dir="auto" style="{style}">{_escape(text)}</pre>{paragraph(note)}'


def folded(summary: str, text: str, note: str = "") -> str:
    """Return text as HTML behind a line that opens it."""
    return f"<details><summary>{_escape(summary)}</summary>{block(text, note)}</details>"


def paragraph(text: str) -> str:
    """Return one line as an HTML paragraph; nothing for an empty one."""
    return f"<p>{_escape(text)}</p>" if text else ""


def page(parts: Iterable[str]) -> str:
    """Join the parts of an HTML display. Everything that mcpnb displays as HTML goes through it."""
    # The classes keep MathJax away: a cell with two dollar signs is no formula, and TeX can link.
    # threat: formulas-and-markdown
    return f'<div class="mcpnb-result tex2jax_ignore mathjax_ignore">{"".join(parts)}</div>'


def _escape(text: str) -> str:
    import html

    return html.escape(text)


# QR codes

_MOST_IN_A_CODE = 1200
"""Characters; a code of these has about 120 modules a side, as many columns of a terminal."""
_QUIET_ZONE = 4
"""Modules of quiet zone around the code (ISO/IEC 18004 section 9.1)."""
_BLACK_ON_WHITE, _RESET = "\x1b[30;107m", "\x1b[0m"


def qr_modules(text: str) -> list[list[bool]]:
    """Return a QR code's modules row by row, with the quiet zone; true is dark.

    Raises:
        ValueError: The text is too long for a code that a camera could read.
    """
    if len(text) > _MOST_IN_A_CODE:
        raise ValueError(f"a QR code holds no more than {_MOST_IN_A_CODE} characters")
    import qrcode  # 20 ms that most commands do not need

    code = qrcode.QRCode(border=_QUIET_ZONE, error_correction=qrcode.constants.ERROR_CORRECT_L)
    code.add_data(text)
    code.make(fit=True)
    return [[bool(module) for module in row] for row in code.get_matrix()]


def qr_code(text: str, *, colour: bool) -> str:
    """Draw a QR code for a terminal, two rows of modules in a line. Raises as `qr_modules`.

    Args:
        text: What it says.
        colour: Black on white by escape sequences, whatever the terminal's colours are. Without,
            light modules are drawn: right on a dark terminal, and inverted on a light one.
    """
    rows = qr_modules(text)
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    blocks = " ▀▄█" if colour else "█▄▀ "
    lines = [
        "".join(blocks[upper + 2 * lower] for upper, lower in zip(above, below, strict=True))
        for above, below in zip(rows[::2], rows[1::2], strict=True)
    ]
    return "\n".join(f"{_BLACK_ON_WHITE}{line}{_RESET}" if colour else line for line in lines)
