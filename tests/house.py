"""The plan of the house, and the means to compare it with what is built.

`tests/test_house.py` does the comparing. Who adds a room or a library writes it here first.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_SPEC = find_spec("mcpnb")
assert _SPEC is not None
assert _SPEC.origin is not None
PACKAGE = Path(_SPEC.origin).parent

DOOR = "__init__"
FLOORS = (
    ("text", "version"),
    ("errors",),
    ("concurrency", "environment", "ui"),
    ("scrub",),
    ("oauth",),
    ("storage",),
    ("config",),
    ("tokens",),
    ("login",),
    ("calls",),
    ("doctor",),
    ("session",),
    ("panel",),
    ("stores",),
    (DOOR,),
    ("demo",),
    ("cli",),
    ("__main__",),
)
"""From the ground up: a room imports only from floors below its own.

The demo stands on the front door: it types what a person types.
"""

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

HOMES = {
    "IPython": {"calls", "panel"},
    "anyio": {"calls"},
    "anywidget": {"panel"},
    "authlib": {"oauth"},
    "click": {"cli"},
    "cryptography": {"storage"},
    "filelock": {"concurrency"},
    "httpx": {"oauth", "tokens"},
    "httpx2": {"tokens", "calls"},
    "joserfc": {"oauth"},
    "jupyter_core": {"environment"},
    "keyring": {"storage"},
    "mcp": {"calls"},
    "mcp_types": {"calls"},
    "nest_asyncio2": {"session"},
    "pandas": {"calls"},
    "platformdirs": {"config", "storage"},
    "qrcode": {"text"},
    "rich": {"cli"},
    "tomlkit": {"config"},
    "truststore": {"oauth"},
}
DEMO = {*("anyio", "click", "httpx2", "mcp", "pydantic", "starlette", "uvicorn")}
"""What the demo may use: it is other people's servers and browser, and only shipped here."""

STARTED = {"ipykernel", "jupyter-server-proxy", "jupyterlab", "matplotlib", "pandas"}
"""What the demo declares and does not import: it starts these, and its notebooks import them."""

SHIPPED_WITH = {"mcp_types": "mcp"}
"""Libraries that belong to a declared one, in the same version."""

OPTIONAL = {"IPython", "pandas"}
"""Used where the person has them, and never asked for."""

IN_TOUCH = {"client", "discovery", "http", "ssrf"}
"""The modules of `oauth` that send something. The others are rules: functions of their input."""

OUTSIDE = {
    "asyncio",
    "datetime",
    "http",
    "os",
    "pathlib",
    "socket",
    "subprocess",
    "threading",
    "time",
}
"""What the rules of `oauth` leave to others."""

HEAVY = {
    *("IPython", "anyio", "anywidget", "authlib", "click", "cryptography", "httpx", "httpx2"),
    *(
        "ipywidgets",
        "joserfc",
        "jupyter_core",
        "keyring",
        "mcp",
        "pandas",
        "pydantic",
        "qrcode",
        "rich",
    ),
    *("tomlkit", "traitlets"),
}
"""What `import mcpnb` leaves for its first use."""


@cache
def parsed() -> dict[Path, ast.Module]:
    """Read the whole package."""
    return {file: ast.parse(file.read_text("utf-8")) for file in sorted(PACKAGE.rglob("*.py"))}


def room_of(file: Path) -> str:
    """Name the room that a file belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def place(file: Path, line: int | None = None) -> str:
    """Write where something is, for a failed test's report."""
    return f"{file.relative_to(PACKAGE)}" + (f":{line}" if line else "")


def imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Give the dotted name of everything imported, at the top or within a function."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                parts = package.split(".")
                parents = parts[: len(parts) + 1 - level] if level else []
                origin = ".".join([*parents, *filter(None, [module])])
                yield from (f"{origin}.{alias.name}" for alias in names)
            case ast.Call(
                func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]
            ):
                yield name


def imports_of(file: Path) -> set[str]:
    """Give the dotted names that a file of the package imports."""
    package = ".".join(["mcpnb", *file.relative_to(PACKAGE).parent.parts])
    return set(imports(parsed()[file], package))


def rooms_known(file: Path) -> set[str]:
    """Name the other rooms that a file imports from; a public name counts as the front door."""
    paths = (name.split(".") for name in imports_of(file))
    found = {
        path[1] if len(path) > 1 and path[1] in FLOOR else DOOR
        for path in paths
        if path[0] == "mcpnb"
    }
    return found - {room_of(file)}


def libraries_of(file: Path) -> set[str]:
    """Name the third-party libraries that a file imports."""
    tops = {name.partition(".")[0] for name in imports_of(file)}
    return tops - sys.stdlib_module_names - {"mcpnb"}


@cache
def _tests_in(path: str) -> frozenset[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def is_there(reference: str) -> bool:
    """Whether there is a test of that name: ``tests/test_x.py::test_name``."""
    path, _, name = reference.partition("::")
    return name.startswith("test_") and (ROOT / path).is_file() and name in _tests_in(path)
