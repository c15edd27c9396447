"""On which line of a file a key stands: what the parsers do not tell.

Only for messages and for cutting out whole tables, which is checked afterwards: an unusual spelling
makes a line unknown, never a value wrong.
"""

from __future__ import annotations

import re

__all__ = ["Lines", "json_lines", "split_key", "toml_headers", "toml_lines"]

Lines = dict[tuple[str, ...], int]
"""From a key's path to its line, counted from 1."""

_DEEPEST = 8
"""Parts of a path that is kept: no key of ours has more, and each costs as much as it has parts."""

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"^\s*\[\[?\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(rf"^\s*({_DOTTED})\s*=")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]')


def split_key(dotted: str) -> tuple[str, ...]:
    """Take a dotted TOML key apart."""
    return tuple(
        part[1:-1] if part[0] in "\"'" else part for part in re.findall(_PART, dotted.strip())
    )


def toml_headers(text: str) -> list[tuple[int, tuple[str, ...]]]:
    """Give line and path of each table header, in order."""
    return [(number, path) for number, path, is_header in _toml(text) if is_header]


def toml_lines(text: str) -> Lines:
    """Find the keys and tables of a TOML document."""
    found: Lines = {}
    for number, path, _ in _toml(text):
        # A dotted name makes the tables around it, too.
        for end in range(1, min(len(path), _DEEPEST) + 1):
            found.setdefault(path[:end], number)
    return found


def _toml(text: str) -> list[tuple[int, tuple[str, ...], bool]]:
    found: list[tuple[int, tuple[str, ...], bool]] = []
    table: tuple[str, ...] = ()
    closing = ""
    for number, line in enumerate(text.splitlines(), 1):
        if closing:  # within a text of several lines
            closing = "" if closing in line else closing
            continue
        if header := _HEADER.match(line):
            table = split_key(header[1])
            found.append((number, table, True))
        elif key := _KEY.match(line):
            found.append((number, table + split_key(key[1]), False))
        closing = next((mark for mark in ('"""', "'''") if line.count(mark) % 2), "")
    return found


def json_lines(text: str) -> Lines:
    """Find the keys of a JSON document."""
    found: Lines = {}
    path: list[str] = []
    last: tuple[str, int] | None = None
    line, seen = 1, 0
    for token in _TOKEN.finditer(text):
        line += text.count("\n", seen, token.start())
        seen = token.start()
        match token[0]:
            case "{" | "[":
                path.append("")
            case "}" | "]":
                del path[-1:]
            case ":" if last and path:
                path[-1] = last[0]
                if len(path) <= _DEEPEST:
                    found.setdefault(tuple(path), last[1])
            case said:
                last = (said[1:-1], line) if said[0] == '"' else None
    return found
