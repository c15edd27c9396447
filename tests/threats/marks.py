"""Which tests try which attack: read from their marks, without running anything."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from tests.house import ROOT

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def who_tries() -> dict[str, list[str]]:
    """Return the tests of each id that a mark names, as pytest is told them."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "node_modules" in path.parts:
            continue
        tree = ast.parse(path.read_text("utf-8"))
        for name, node in _tests(tree.body):
            for threat in _marks(node):
                found[threat].append(f"{path.relative_to(ROOT).as_posix()}::{name}")
    return dict(found)


def _tests(body: list[ast.stmt], of: str = "") -> Iterator[tuple[str, _Function]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _tests(node.body, f"{of}{node.name}::")
        elif isinstance(node, _Function):
            yield of + node.name, node


def _marks(node: _Function) -> list[str]:
    return [
        str(argument.value)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.threat"
        for argument in decorator.args
        if isinstance(argument, ast.Constant)
    ]
