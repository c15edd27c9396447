"""README, taken apart: its blocks of code, its tables, its numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from tests.house import ROOT

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (.*?)(?:\s{2,}#.*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of code, and the line that it begins in."""

    language: str
    code: str
    line: int

    @property
    def commands(self) -> list[str]:
        """The command lines of a console block, without their comments."""
        return _COMMAND.findall(self.code)


@cache
def _text() -> str:
    return (ROOT / "README.md").read_text("utf-8")


def blocks(language: str | None = None) -> list[Block]:
    """List the blocks of one language, or all."""
    text = _text()
    found = [
        Block(match[1], match[2], text.count("\n", 0, match.start()) + 1)
        for match in _FENCE.finditer(text)
    ]
    return [block for block in found if language in {None, block.language}]


def section(title: str) -> str:
    """Give the text below a heading, to the next one."""
    _, found, rest = _text().partition(f"\n## {title}\n")
    assert found, f"README has no section {title!r}"
    return rest.partition("\n## ")[0]


def table(title: str) -> list[list[str]]:
    """Give the cells of a section's first table, the heading row included."""
    lines = []
    for line in section(title).splitlines():
        if line.startswith("|"):
            lines.append([cell.strip() for cell in line.strip("|").split("|")])
        elif lines:
            break
    assert set("".join(lines[1])) <= set("-: "), "the second line rules off the first"
    return [lines[0], *lines[2:]]


def numbers_in(text: str) -> list[str]:
    """List the numbers in a text, as they are written."""
    return re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text)
