"""What people install: the wheel, in an environment of its own, with the sources out of reach."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import mcpnb
from tests.fakes.server import FakeServer
from tests.peers.browsers import missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("wheel"),  # it is built, and installed, once
]

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
VERSION = mcpnb.__version__
ABOUT, DATA = f"mcpnb-{VERSION}.dist-info", f"mcpnb-{VERSION}.data/data"
CALLBACK = "share/jupyter/labextensions/mcpnb/callback.html"
BESIDES_CODE = {
    "mcpnb/demo/page.html",
    "mcpnb/doctor/checks.txt",
    "mcpnb/py.typed",
    "mcpnb/panel/callback.html",
    "mcpnb/panel/panel.css",
    "mcpnb/panel/panel.js",
}
NOTEBOOKS = {
    f"mcpnb/demo/notebooks/{name}.ipynb"
    for name in ("01-sign-in", "02-remote-kernel", "03-your-own-clients", "04-headless")
}
WRITTEN = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
HEAVY = {"ipykernel", "jupyter_server", "jupyterlab", "matplotlib", "numpy", "pandas", "rich"}

UNWANTED = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}
"""The first: what is imported again and again is to be compiled once."""

SIGNS_IN = """
import json, sys, urllib.request
import mcpnb

session = mcpnb.connect(sys.argv[1], callback_port=0)
login = session.login(timeout=20)
login.until("waiting", timeout=20)
with urllib.request.urlopen(login.url, timeout=20) as page:
    landed = page.status
login.wait(timeout=20)
result = session.call("echo", text="from the wheel")
said = {"landed": landed, "text": result.text, "tools": [tool.name for tool in session.tools()]}
print(json.dumps(said | {"file": mcpnb.__file__}))
"""
SHOWS = """
import json, sys
import ipywidgets
import mcpnb
from mcpnb import environment

panel = mcpnb.Panel(mcpnb.connect("https://mcp.example.com/mcp", store="memory"))
box = ipywidgets.VBox([panel])
state = panel.get_state()
said = {"esm": state["_esm"], "css": state["_css"], "in": [type(w).__name__ for w in box.children]}
print(json.dumps(said | {"callback": str(environment.installed(environment.CALLBACK))}))
"""


@dataclass(frozen=True)
class Built:
    """What was built from the tree, and with what."""

    builder: Path
    wheel: Path
    sdist: Path

    @property
    def files(self) -> dict[str, bytes]:
        """What the wheel holds."""
        return content(self.wheel)


@dataclass(frozen=True)
class Environment:
    """An environment, and what is run there: with nothing of this one in its way."""

    python: Path

    def run(self, *command: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run one of its commands, in the test's own folder."""
        kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
        # Neither the working folder nor that of a script is looked for modules.
        ran = subprocess.run(
            [self.python.parent / command[0], *command[1:]],
            env={**kept, "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == code, f"exit {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        assert "Traceback" not in ran.stderr, ran.stderr
        return ran

    def says(self, program: str, *arguments: str) -> Any:
        """Run a program; give the JSON that it prints."""
        return json.loads(self.run("python", "-I", "-c", program, *arguments).stdout)


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def pip(python: Path, *arguments: str | Path) -> bool:
    ours = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python"]
    return subprocess.run([*ours, python, *arguments], check=False, timeout=500).returncode == 0


def new_environment(folder: Path) -> Path:
    # Ours has a pip; a second one would take longer to unpack than the wheel.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    return folder / "bin" / "python"


def build(builder: Path, tree: Path, place: Path) -> None:
    """Have the backend that the project names make a wheel and an sdist (PEP 517)."""
    backend = PROJECT["build-system"]["build-backend"]
    program = f"import sys, {backend} as backend; "
    program += "backend.build_wheel(sys.argv[1]); backend.build_sdist(sys.argv[1])"
    subprocess.run([builder, "-c", program, place], cwd=tree, check=True, timeout=60)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build wheel and sdist, as a release does."""
    place = tmp_path_factory.mktemp("built")
    builder = new_environment(place / "builder")
    wants = PROJECT["build-system"]["requires"]
    if not pip(builder, "install", "-q", *wants):
        missing("What builds a wheel", f"pip install {' '.join(wants)}")
    build(builder, ROOT, place)
    [wheel], [sdist] = place.glob("*.whl"), place.glob("*.tar.gz")
    return Built(builder, wheel, sdist)


@pytest.fixture(scope="module")
def plain(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Do what ``pip install mcpnb`` does: no extras."""
    python = new_environment(tmp_path_factory.mktemp("plain") / "environment")
    # Most of it is never imported here, and need not be compiled.
    assert pip(python, "install", "-q", "--no-compile", built.wheel)
    return Environment(python)


@pytest.fixture(scope="module")
def with_demo() -> Environment:
    """Take the environment of `notebooks/demo`: it has a wheel of this tree, and the extra."""
    command = '. tests/venv.sh && ready_venv "$PWD/.venv-demo" demo'
    if subprocess.run(["bash", "-c", command], cwd=ROOT, check=False, timeout=500).returncode:  # noqa: S607
        missing("What the demo needs", "notebooks/demo --terminal")
    return Environment(ROOT / ".venv-demo" / "bin" / "python")


# What is in it


def test_the_wheel_has_every_part_of_the_tree_and_nothing_else(built: Built) -> None:
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mcpnb").rglob("*.py")}
    own = {f"{ABOUT}/{name}" for name in WRITTEN}

    assert built.files.keys() == code | BESIDES_CODE | NOTEBOOKS | own | {f"{DATA}/{CALLBACK}"}
    files = built.files
    for name in files:
        if name.startswith("mcpnb/"):
            source = name.removeprefix("mcpnb/demo/") if name in NOTEBOOKS else name
            assert files[name] == (ROOT / source).read_bytes(), name
    assert files[f"{DATA}/{CALLBACK}"] == files["mcpnb/panel/callback.html"]
    assert files[f"{ABOUT}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_the_wheel_says_what_it_is(built: Built) -> None:
    said = email.message_from_bytes(built.files[f"{ABOUT}/METADATA"])
    assert (said["Name"], said["Version"]) == ("mcpnb", VERSION)
    assert (said["License-Expression"], said["Requires-Python"]) == ("MIT", ">=3.11")
    assert said["Description-Content-Type"] == "text/markdown"
    assert built.files[f"{ABOUT}/entry_points.txt"].split() == (
        b"[console_scripts] mcpnb = mcpnb.cli:main".split()
    )
    # One wheel for all: nothing is compiled.
    assert built.wheel.name == f"mcpnb-{VERSION}-py3-none-any.whl"


def test_the_sdist_has_what_the_tree_has(built: Built) -> None:
    """And nothing that only a working copy has: environments, caches, what npm brought."""
    with tarfile.open(built.sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}

    tops = {name.partition("/")[0] for name in names}
    documents = {path.name for path in ROOT.glob("*.md")}
    assert tops == documents | {
        *(".gitignore", "LICENSE", "PKG-INFO", "pyproject.toml"),
        *("binder", "mcpnb", "notebooks", "tests"),
    }
    assert names >= {"tests/run", "tests/venv.sh", "notebooks/demo", "binder/postBuild"}
    unwanted = (".pyc", ".whl", ".coverage")
    assert [name for name in names if "node_modules" in name or name.endswith(unwanted)] == []


def test_a_wheel_made_from_the_sdist_is_the_same(built: Built, tmp_path: Path) -> None:
    """Which is what pip does where it is told to take no wheels."""
    with tarfile.open(built.sdist) as packed:
        # Python 3.11.2, which Debian has, knows no filters yet.
        packed.extraction_filter = getattr(tarfile, "data_filter", None)
        packed.extractall(tmp_path)  # noqa: S202  our own
    [tree] = tmp_path.iterdir()
    build(built.builder, tree, tmp_path)

    [again] = tmp_path.glob("*.whl")
    assert content(again) == built.files


# Installed, and nothing else


def test_without_extras_it_needs_none_of_the_heavy_ones(plain: Environment) -> None:
    """A kernel has few of them, a server none; and what is there fits together."""
    code = "import importlib.metadata as m, json; "
    code += "print(json.dumps([d.name.lower().replace('-', '_') for d in m.distributions()]))"
    assert HEAVY.isdisjoint(plain.says(code))
    assert pip(plain.python, "check")


def test_a_person_signs_in_calls_and_asks_the_doctor(plain: Environment, fake: FakeServer) -> None:
    """A sign-in through the loopback port; the terminal's commands then find the same login."""
    said = plain.says(SIGNS_IN, fake.url)
    assert (said["landed"], said["text"]) == (200, "from the wheel")
    assert said["tools"] == ["echo", "publish"]
    assert Path(said["file"]).is_relative_to(plain.python.parents[1])

    assert plain.run("mcpnb", "call", fake.url, "echo", "text=once more").stdout == "once more\n"
    assert "problem" not in plain.run("mcpnb", "doctor", fake.url).stdout
    assert len(fake.token_requests("authorization_code")) == 1


def test_the_terminal_helps_configures_and_looks_at_the_machine(plain: Environment) -> None:
    assert "Usage: mcpnb" in plain.run("mcpnb", "--help").stdout
    assert VERSION in plain.run("mcpnb", "--version").stdout
    assert plain.run("python", "-m", "mcpnb", "list", "--json").stdout == "[]\n"
    plain.run("mcpnb", "add", "harbour", "--url", "https://mcp.example.com/mcp", "--no-login")
    assert "Callback port: " in plain.run("mcpnb", "doctor").stdout


def test_a_panel_is_made_with_what_anywidget_brings_and_jupyter_finds_its_page(
    built: Built, plain: Environment
) -> None:
    """Every Jupyter server of the environment serves it from there, without a restart."""
    said = plain.says(SHOWS)
    assert said["esm"].encode() == built.files["mcpnb/panel/panel.js"]
    assert said["css"].encode() == built.files["mcpnb/panel/panel.css"]
    assert said["in"] == ["Panel"]
    page = plain.python.parents[1] / CALLBACK
    assert page.read_bytes() == built.files["mcpnb/panel/callback.html"]
    assert Path(said["callback"]) == page


def test_the_demo_says_what_to_install(plain: Environment) -> None:
    """Only JupyterLab is missing: the transcript needs no more than what mcpnb itself installs."""
    ran = plain.run("mcpnb", "demo", code=1)
    assert ran.stdout == ""
    assert ran.stderr.splitlines()[1:] == ['   pip install "mcpnb[demo]"']
    assert "All 10 steps happened" in plain.run("mcpnb", "demo", "--terminal").stdout


def test_with_its_extra_the_demo_plays_from_the_wheel(built: Built, with_demo: Environment) -> None:
    place = Path(with_demo.says("import json, mcpnb; print(json.dumps(mcpnb.__file__))")).parents[1]
    assert place.is_relative_to(with_demo.python.parents[1])
    for name, written in built.files.items():
        if name.startswith("mcpnb/"):
            assert (place / name).read_bytes() == written, name

    assert "All 10 steps happened" in with_demo.run("mcpnb", "demo", "--terminal").stdout


# What it tells a type checker


def test_a_type_checker_sees_the_whole_public_surface(plain: Environment, tmp_path: Path) -> None:
    """As strict as it can be; without `py.typed` in the wheel, all of it would be Any."""
    files = [path.read_text("utf-8") for path in sorted((ROOT / "tests" / "typed").glob("*.py"))]
    for number, text in enumerate(files):
        (tmp_path / f"file_{number}.py").write_text(text, "utf-8")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-incremental"]
    checked = subprocess.run(
        [*mypy, "--python-executable", plain.python, "."],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "MYPYPATH"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert len(files) == 2
