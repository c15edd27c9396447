"""Which tests try which attack: read from their marks, without running anything."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache

from tests.house import ROOT

__all__ = ["who_tries"]


@cache
def who_tries() -> dict[str, list[str]]:
    """Return the tests of each id that a mark names, as pytest is told them."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "node_modules" in path.parts:
            continue
        tree = ast.parse(path.read_text("utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for threat in _marks(node):
                    found[threat].append(f"{path.relative_to(ROOT).as_posix()}::{node.name}")
    return dict(found)


def _marks(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [
        str(argument.value)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.threat"
        for argument in decorator.args
        if isinstance(argument, ast.Constant)
    ]
