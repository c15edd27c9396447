"""The marked rules of the code, and how each is taken out by machine."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.house import PACKAGE

_MARK = re.compile(r"threat: ([a-z0-9-]+(?:, [a-z0-9-]+)*)")
_READ = {".py", ".js", ".css", ".html"}
_HARMLESS = {
    "asyncio.timeout": "__import__('contextlib').AsyncExitStack()",
    "_seal": "{second}",
    "decompress": "{function}({argument})",
    "filter": "{second}",
    "html.escape": "{argument}",
    "lock": "__import__('contextlib').nullcontext()",
    "named": "tuple({argument}.split())",
    "os.fsencode": "b''",
    "os.urandom": "bytes({argument})",
    "redact": "{argument}",
    "resolve": "{object}",
    "sanitize": "str({argument})",
    "secrets.token_urlsafe": "'a' * {argument}",
    "shlex.quote": "{argument}",
    "sockets.ended_in": "__import__('contextlib').nullcontext()",
}
"""Calls that are the rule, by their whole name or their last, and what stands there without it."""

_DENIES = {"_lately", "deep", "in_backoff", "private", "revoked"}
"""Truths, and functions that return one, with which something is refused, left or taken back."""


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
            if (mark := _MARK.search(line)) is not None:
                threats += mark[1].split(", ")
            elif threats and line.strip():
                yield Rule(path.relative_to(PACKAGE).as_posix(), number, tuple(threats))
                threats = []


def without(rule: Rule) -> str | None:
    """Return the file's text without a rule; `None` where no operator here can take it out."""
    if not rule.file.endswith(".py"):
        return None
    text, nodes, parents = _parsed(rule.file)
    here = [node for node in nodes if getattr(node, "lineno", None) == rule.line]
    for operator in (_of_statement, _of_part, _of_call, _of_choice, _of_argument, _of_value):
        for node in here:
            for change in operator(node, parents.get(node)):
                return _replaced(text, *change)
    return None


@functools.cache  # of 230 rules in 70 files, each time the tests are collected
def _parsed(file: str) -> tuple[str, list[ast.AST], dict[ast.AST, ast.AST]]:
    """Return a file's text, its nodes and their parents."""
    text = (PACKAGE / file).read_text("utf-8")
    # Outer nodes come first: `walk` goes level by level.
    nodes = list(ast.walk(ast.parse(text)))
    return text, nodes, {child: node for node in nodes for child in ast.iter_child_nodes(node)}


_Place = tuple[int, int, int, int]
_Changes = Iterator[tuple[_Place, str]]
"""From which line and column to which, and what stands there instead."""


def _of_statement(node: ast.AST, parent: ast.AST | None) -> _Changes:
    """A condition counts as false, an error is not raised, a call for its effect is not made."""
    match node:
        case ast.If(test=test) | ast.While(test=test):
            yield _place(test), "False"
        case ast.Raise() | ast.Expr(value=ast.Call()):
            yield _place(node), "pass"
        case ast.Return(value=ast.Compare() | ast.Call(func=ast.Name("bool")) as value):
            yield _place(value), str(getattr(parent, "name", "") not in _DENIES)
        case ast.Return(value=ast.expr() as value) if _returns(parent, "bool"):
            yield _place(value), "True"
        case ast.Return(value=ast.expr() as value) if _returns(parent, "bytes"):
            yield _place(value), "b''"
        case ast.Assign(targets=[target], value=ast.BoolOp() | ast.Compare() | ast.UnaryOp()):
            yield _place(node.value), str(ast.unparse(target) not in _DENIES)
        case ast.Assign(targets=[target], value=value) if _names(target) & _names(value):
            yield _place(node), "pass"  # it has a value from before
        case ast.ExceptHandler(type=ast.Tuple() as kinds):
            yield _place(kinds), "()"


def _of_part(node: ast.AST, parent: ast.AST | None) -> _Changes:
    """A line within an expression: an operand, a branch, an entry of a dict."""
    match parent, node:
        case ast.BoolOp(op=op, values=[first, *_]), ast.expr():
            if node.lineno != first.lineno or isinstance(node, ast.BoolOp):
                yield _place(node), str(isinstance(op, ast.And))
        case ast.IfExp(test=test, lineno=line), ast.expr() if node is test and line != node.lineno:
            yield _place(node), "True"
        case ast.IfExp(orelse=other, lineno=line), ast.expr():
            if node is other and line != node.lineno:
                yield _place(node), "None"
        case ast.withitem(context_expr=ast.Name() as entered), _ if node is entered:
            yield _place(entered), "__import__('contextlib').nullcontext()"
        case ast.Dict(keys=keys, values=values), ast.expr() if node in keys:
            value = values[keys.index(node)]
            if isinstance(value, ast.Constant) and isinstance(value.value, bool):
                yield _place(value), str(not value.value)
            else:
                yield _place(node, value), "**{}"


def _of_call(node: ast.AST, _: ast.AST | None) -> _Changes:
    """A call that makes something safe is not made."""
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        instead = _HARMLESS.get(name) or _HARMLESS.get(name.rpartition(".")[2])
        if instead is not None:
            given = dict(zip(("argument", "second"), map(ast.unparse, node.args), strict=False))
            given |= {"function": name, "object": name.rpartition(".")[0]}
            yield _place(node), f"({instead.format_map(given)})"


def _of_choice(node: ast.AST, _: ast.AST | None) -> _Changes:
    """What was checked goes on unchecked; what was made safe goes on as it was."""
    match node:
        case ast.IfExp(body=body, orelse=other):
            unchecked = isinstance(body, ast.Name | ast.Constant)
            nothing = isinstance(other, ast.Constant) and other.value is None
            yield _place(node), ast.unparse(body if unchecked or nothing else other)
        case ast.Return(value=ast.BoolOp(op=ast.Or(), values=[*_, last]) as value):
            yield _place(value), ast.unparse(last)
        case ast.ListComp(generators=[ast.comprehension(ifs=[condition])]):
            yield _place(condition), "True"
        case ast.FunctionDef(name=name) if name.startswith("__"):
            start = node.col_offset + len("def ")
            yield (node.lineno, start, node.lineno, start), "without"


def _of_argument(node: ast.AST, call: ast.AST | None) -> _Changes:
    """A file may be read by others; another argument is not given, or allows everything."""
    match node:
        case ast.keyword(arg="mode", value=ast.Constant() as value):
            yield _place(value), "0o666"
        case ast.keyword(value=ast.Constant(value=bool(given)) as value):
            if _begins_its_line(node, call):
                yield _place(value), str(not given)
        case ast.keyword(value=(ast.BoolOp() | ast.Compare() | ast.UnaryOp()) as value):
            yield _place(value), "True"
        case ast.keyword(value=ast.Dict(values=[*_, last])):
            yield _place(last), "None"
        case ast.keyword(arg=str(name), value=value) if _begins_its_line(node, call):
            yield _place(value), "True" if name.startswith("allow_") else "None"


def _of_value(node: ast.AST, parent: ast.AST | None) -> _Changes:
    """A limit is out of reach, a list of what is refused is empty."""
    match parent, node:
        case ast.Assign(value=value), ast.BinOp(op=ast.BitOr()) if node is value:
            yield _place(node), ast.unparse(value).partition(" | ")[0]
        case ast.Assign(value=value), ast.Constant() | ast.BinOp() if node is value:
            yield _place(node), "10**9"
        case ast.Assign(value=value), ast.Tuple(elts=[ast.Constant(), *_]) if node is value:
            yield _place(node), "()"
        case ast.Assign(value=value), ast.Call(func=ast.Name("frozenset")) if node is value:
            yield _place(node), "frozenset()"


def _place(first: ast.expr | ast.stmt, last: ast.expr | ast.stmt | None = None) -> _Place:
    last = last or first
    assert last.end_lineno is not None
    assert last.end_col_offset is not None
    return first.lineno, first.col_offset, last.end_lineno, last.end_col_offset


def _returns(function: ast.AST | None, kind: str) -> bool:
    # The nearest parent only: a return within a branch has its own operators.
    returns = getattr(function, "returns", None)
    return returns is not None and ast.unparse(returns) == kind


def _begins_its_line(node: ast.keyword, call: ast.AST | None) -> bool:
    assert isinstance(call, ast.Call)
    others: list[ast.expr | ast.keyword] = [call.func, *call.args, *call.keywords]
    return all(each.lineno != node.lineno or each.col_offset >= node.col_offset for each in others)


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _replaced(text: str, place: _Place, instead: str) -> str:
    lines = text.encode().splitlines(keepends=True)
    first, start, last, end = place
    before = b"".join(lines[: first - 1]) + lines[first - 1][:start]
    after = lines[last - 1][end:] + b"".join(lines[last:])
    return (before + instead.encode() + after).decode()
