"""Tests that are named by other tests: that what is claimed to be shown somewhere, is."""

from __future__ import annotations

import ast
from functools import cache

from tests.house import ROOT


@cache
def _names(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def is_there(reference: str) -> bool:
    """Whether there is a test of that name: ``tests/test_x.py::test_name``."""
    path, _, name = reference.partition("::")
    return name.startswith("test_") and (ROOT / path).is_file() and name in _names(path)
