"""The marked rules of the code, and how each is taken out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.house import PACKAGE

__all__ = ["MARK", "Rule", "rules", "without"]

MARK = re.compile(r"threat: ([a-z0-9-]+(?:, [a-z0-9-]+)*)")
_READ = {".py", ".js", ".css", ".html"}


@dataclass(frozen=True)
class Rule:
    """One marked line of the package.

    Attributes:
        file: Its path within the package.
        line: The first line after its marks, counted from 1.
        threats: The rows that it answers.
    """

    file: str
    line: int
    threats: tuple[str, ...]


def rules() -> Iterator[Rule]:
    """Yield every marked rule, file by file."""
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix not in _READ:
            continue
        threats: list[str] = []
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if (mark := MARK.search(line)) is not None:
                threats += mark[1].split(", ")
            elif threats:
                yield Rule(path.relative_to(PACKAGE).as_posix(), number, tuple(threats))
                threats = []


def without(rule: Rule) -> str | None:
    """Return the file's text without a rule; `None` where no operator here can take it out.

    A condition counts as false, a raised error is not raised, a truth that is returned is always
    true, a call for its effect is not made.
    """
    if not rule.file.endswith(".py"):
        return None
    text = (PACKAGE / rule.file).read_text("utf-8")
    found = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.stmt) and node.lineno == rule.line
    ]
    for node in found:
        match node:
            case ast.If(test=test) | ast.While(test=test):
                return _replaced(text, test, "False")
            case ast.Raise():
                return _replaced(text, node, "pass")
            case ast.Return(value=ast.BoolOp() | ast.Compare() | ast.UnaryOp() as value):
                return _replaced(text, value, "True")
            case ast.Expr(value=ast.Call()):
                return _replaced(text, node, "pass")
    return None


def _replaced(text: str, node: ast.stmt | ast.expr, instead: str) -> str:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    lines = text.encode().splitlines(keepends=True)
    before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
    after = lines[node.end_lineno - 1][node.end_col_offset :] + b"".join(lines[node.end_lineno :])
    return (before + instead.encode() + after).decode()
