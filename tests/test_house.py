"""The house keeps its plan: who may know whom, what is public, and what never shows."""

from __future__ import annotations

import ast
import copy
import dataclasses
import json
import pickle
import re
import subprocess
import sys
import textwrap
import tomllib
import traceback
from importlib.metadata import packages_distributions
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.oauth import authorization, credentials, models
from tests import house
from tests.oauth.test_at_rest import DEVICE, LOGIN_2, REQUEST

# One process reads the whole package, and not each of those that pytest-xdist starts.
pytestmark = pytest.mark.xdist_group("house")

PUBLIC = [
    "Login",
    "LoginRequired",
    "McpnbError",
    "Panel",
    "Session",
    "ToolError",
    "__version__",
    "allow_nested_asyncio",
    "connect",
    "discover",
    "errors",
    "servers",
    "stores",
]


# Rooms


def test_every_room_has_a_floor() -> None:
    """A new room is placed in FLOORS before anybody can use it, and an old one leaves it."""
    assert {house.room_of(file) for file in house.parsed()} == set(house.FLOOR)


def test_a_room_knows_only_rooms_below() -> None:
    """Nor does it know its neighbours."""
    steps = {
        (house.room_of(file), other, house.place(file))
        for file in house.parsed()
        for other in house.rooms_known(file)
    }

    wrong = [
        f"{where} imports {other}"
        for room, other, where in sorted(steps)
        if house.FLOOR[other] >= house.FLOOR[room]
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import mcpnb.login", "mcpnb.login"),
        ("from mcpnb import login", "mcpnb.login"),
        ("from mcpnb.login import Login", "mcpnb.login.Login"),
        ("from ..login import Login", "mcpnb.login.Login"),
        ("from . import base", "mcpnb.storage.base"),
        ("def late():\n    import httpx", "httpx"),
        ("def late():\n    return importlib.import_module('rich.table')", "rich.table"),
        ("if TYPE_CHECKING:\n    import httpx", "httpx"),
    ],
)
def test_no_way_to_import_is_overlooked(source: str, found: str) -> None:
    """Within functions, relative, by name or for types alone: it counts."""
    assert list(house.imports(ast.parse(source), "mcpnb.storage")) == [found]


def test_errors_know_only_how_text_is_shown() -> None:
    """Everything else can raise them, whatever it is."""
    known = {"__future__.annotations", "mcpnb.text.redact"}
    assert house.imports_of(house.PACKAGE / "errors.py") == known


def test_the_protocol_touches_nothing_outside() -> None:
    """Its rules are functions of what they are given: no I/O, no clock, no state."""
    tops = {
        name.partition(".")[0]
        for file in house.parsed()
        if house.room_of(file) == "oauth" and file.stem not in house.IN_TOUCH
        for name in house.imports_of(file)
    }
    assert tops & house.OUTSIDE == set()


def test_library_rooms_do_not_print() -> None:
    """Only the terminal and the demo talk to standard output."""
    printing = [
        house.place(file, node.lineno)
        for file, tree in house.parsed().items()
        if house.room_of(file) not in {"cli", "demo"}
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def test_no_file_is_longer_than_600_lines() -> None:
    """What grows beyond is more than one idea."""
    tests = (house.ROOT / "tests").rglob("*.py")
    ours = [*house.parsed(), *(file for file in tests if "node_modules" not in file.parts)]
    assert [str(file) for file in ours if len(file.read_text("utf-8").splitlines()) > 600] == []


# Libraries


def test_each_library_has_one_home() -> None:
    """Who wants what a library does asks the room where it lives."""
    strays = [
        f"{house.place(file)} imports {library}"
        for file in house.parsed()
        for library in sorted(house.libraries_of(file))
        if house.room_of(file) not in house.HOMES.get(library, set())
        if not (house.room_of(file) == "demo" and library in house.DEMO)
    ]
    assert strays == []


def declared(requirements: list[str]) -> set[str]:
    """Name what a list of requirements asks for."""
    return {re.split(r"[^\w.-]", line)[0].lower() for line in requirements}


def imported(*, demo: bool) -> set[str]:
    """Name the distributions that the demo, or the rest of the package, cannot do without."""
    known = packages_distributions()
    libraries = {
        library
        for file in house.parsed()
        if (house.room_of(file) == "demo") is demo
        for library in house.libraries_of(file) - house.OPTIONAL
    }
    names = {house.SHIPPED_WITH.get(name) or known[name][0] for name in libraries}
    return {name.lower().replace("_", "-") for name in names}


def test_what_is_imported_is_declared_and_nothing_else_is() -> None:
    """The package leans on no library by way of another one, and carries none along."""
    text = (house.ROOT / "pyproject.toml").read_text("utf-8")
    project = tomllib.loads(text)["project"]
    base = declared(project["dependencies"])
    extra = declared(project["optional-dependencies"]["demo"])

    assert imported(demo=False) == base
    assert extra >= house.STARTED
    assert extra - house.STARTED <= imported(demo=True) <= base | extra


# Names


def test_the_public_names_are_few_and_pinned() -> None:
    """A new name is a decision: it is written here too, and there are at most 16."""
    assert mcpnb.__all__ == PUBLIC
    assert sorted(PUBLIC) == PUBLIC
    assert len(PUBLIC) <= 16
    assert dir(mcpnb) == PUBLIC
    assert all(getattr(mcpnb, name) is not None for name in PUBLIC)


def test_importing_mcpnb_loads_nothing_heavy() -> None:
    """What it can do costs when it is done (design: 40 ms)."""
    code = "import sys, mcpnb; print(*{name.partition('.')[0] for name in sys.modules})"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert set(finished.stdout.split()) & house.HEAVY == set()


# The tree in the docstring of mcpnb.errors

LINE = re.compile(
    r"^(?P<indent>[│ ]*)(?:[├└]── )?(?P<name>[A-Z]\w+)(?: \((?P<also>\w+)\))?(?:  .*)?$"
)


def drawn() -> dict[str, tuple[str, ...]]:
    """Read the bases of each error from the drawing."""
    drawing = (errors.__doc__ or "").partition("::\n\n")[2].partition("\n\n")[0]
    found: dict[str, tuple[str, ...]] = {}
    above: list[str] = []
    for line in textwrap.dedent(drawing).splitlines():
        match = LINE.match(line)
        assert match, f"not a line of a tree: {line}"
        depth = len(match["indent"]) // 4 + ("── " in line)
        del above[depth:]
        parent = above[-1] if above else "Exception"
        found[match["name"]] = (parent, match["also"]) if match["also"] else (parent,)
        above.append(match["name"])
    return found


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    """What a person reads before writing `except` is true."""
    real = {
        name: tuple(base.__name__ for base in thing.__bases__)
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, errors.McpnbError)
    }
    assert drawn() == real
    assert set(errors.__all__) == {*real, "detached"}


# Secrets

MARK = "mark-of-a-secret"
SECRET = models.Secret(MARK)
CONFIG = models.ServerConfig(
    "https://mcp.example.com/mcp", client_secret=SECRET, headers=(models.Header("X", SECRET),)
)


def stored(text: str) -> Any:
    """Read what is stored, with the mark in the place of each secret."""
    return json.loads(
        re.sub(': "(access|refresh|client-secret|verifier|device)"', f': "{MARK}"', text)
    )


LOGIN = credentials.LoginRecord.from_dict(stored(json.dumps(LOGIN_2)))
REQUESTS = [
    credentials.from_json(authorization.AuthorizationRequest, stored(REQUEST)),
    credentials.from_json(authorization.DeviceRequest, stored(DEVICE)),
]
SECRETIVE = [SECRET, CONFIG, LOGIN, LOGIN.tokens, LOGIN.registration, *REQUESTS]


@pytest.mark.threat("secret-in-a-repr")
@pytest.mark.parametrize("value", SECRETIVE, ids=lambda value: type(value).__name__)
def test_a_secret_shows_nowhere(value: Any) -> None:
    """Not in any text made of the value, nor in a traceback that shows local variables."""
    shown = [repr(value), str(value), f"{value}", repr([value]), repr(copy.deepcopy(value))]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown.append(repr(dataclasses.asdict(value)))
    with pytest.raises(LookupError) as caught:
        raise LookupError(value)
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown += report.format()

    assert not any(MARK in text for text in shown)


@pytest.mark.threat("secret-pickled")
@pytest.mark.parametrize("value", SECRETIVE, ids=lambda value: type(value).__name__)
def test_a_secret_leaves_the_process_only_where_it_is_asked_for(value: Any) -> None:
    """Neither pickle nor JSON takes it along by accident."""
    with pytest.raises(TypeError):
        pickle.dumps(value)
    with pytest.raises(TypeError):
        json.dumps(value)
    assert MARK not in json.dumps(value, default=str)


def test_no_value_holds_a_secret_as_plain_text() -> None:
    """A field with the name of a secret is a Secret, in every room."""
    named = re.compile(r"(^|_)(token|secret|verifier|password|device_code)$")
    plain = [
        f"{house.place(file)}: {kind.name}.{field.target.id}"
        for file, tree in house.parsed().items()
        if house.room_of(file) != "demo"  # the servers' own side of it
        for kind in ast.walk(tree)
        if isinstance(kind, ast.ClassDef)
        and "dataclass" in "".join(map(ast.unparse, kind.decorator_list))
        for field in kind.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if named.search(field.target.id) and "Secret" not in ast.unparse(field.annotation)
    ]
    assert plain == []
