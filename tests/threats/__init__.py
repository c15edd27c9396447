"""The threat table: every attack has a name, a rule with its source, and tests that try it.

`table.toml` is the table. Tests say which attack they try with `@pytest.mark.threat("mix-up")`;
`tests/test_threats.py` checks that table, tests and SECURITY.md agree. A comment
``# threat: mix-up`` in the code marks the rule: `tests/run long` takes the marked line out and sees
the row's tests fail.
"""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.house import ROOT


@dataclass(frozen=True)
class Threat:
    """One attack; the head of `table.toml` says what the fields mean."""

    id: str
    attack: str
    rule: str
    source: str
    marked: bool = True
    browser: bool = False


PROMISES: dict[str, tuple[Threat, ...]] = {}
"""The attacks on each promise, by the words that it begins with in SECURITY.md."""

for _rows in tomllib.loads(Path(__file__).with_name("table.toml").read_text("utf-8"))["promise"]:
    _words = _rows.pop("words")
    PROMISES[_words] = tuple(Threat(name, **row) for name, row in _rows.items())

THREATS = {threat.id: threat for rows in PROMISES.values() for threat in rows}
"""All rows by their id."""


@cache
def who_tries() -> dict[str, list[str]]:
    """Return the tests of each id that a mark names: read from them, without running anything."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "node_modules" in path.parts:
            continue
        at = path.relative_to(ROOT).as_posix()
        ahead: list[tuple[str, ast.stmt]] = [
            (at, node) for node in ast.parse(path.read_text("utf-8")).body
        ]
        while ahead:
            at, node = ahead.pop(0)
            match node:
                case ast.ClassDef(name=name, body=body):
                    ahead += [(f"{at}::{name}", inner) for inner in body]
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    for threat in _marks(node):
                        found[threat].append(f"{at}::{name}")
    return dict(found)


def _marks(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [
        str(argument.value)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.threat"
        for argument in decorator.args
        if isinstance(argument, ast.Constant)
    ]
