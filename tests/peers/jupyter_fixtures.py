"""Fixtures of notebooks in real front ends, as a pytest plugin.

Servers live as long as the tests; for each test there are fresh windows, kernels and folders.
Measured on two cores: a Jupyter server is up after 2 seconds, JupyterHub with somebody's server
after 5 to 8, Chromium after 1; a notebook is open and its kernel ready after 3.3 in JupyterLab and
after 2.2 in Notebook 7, reloaded after 1.8 and 1.0.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from mcpnb.environment import CALLBACK
from tests.peers.browsers import missing
from tests.peers.jupyter import Jupyter, jupyter, voila
from tests.peers.jupyter_hub import hub
from tests.peers.machines import Machine, machine, reaching

ROOT = Path(__file__).resolve().parents[2]
IPYKERNELS = ("6.31", "7.3", "7.4")
"""They differ in what reaches a kernel while a cell runs. The last is the environment's own."""


def ipykernel(version: str) -> dict[str, str]:
    """Give what a kernelspec's environment needs for one of `IPYKERNELS`."""
    if version == IPYKERNELS[-1]:
        return {}
    folder = Path(sys.prefix) / "ipykernel" / version
    if not folder.is_dir():
        missing(f"ipykernel {version}", "tests/run installs it")
    return {"PYTHONPATH": str(folder)}


def place(factory: pytest.TempPathFactory, name: str) -> Path:
    """Make a server's folder; see to it that the page for redirects is served as it is now.

    pip put it where servers look, but as a copy, also in an editable installation. A link instead
    is refused: tornado 6.6 answers 403 to what leads out of its folders (measured).
    """
    installed = Path(sys.prefix) / "share" / "jupyter" / CALLBACK
    if not installed.is_file():
        missing("mcpnb with its page for redirects", "tests/run installs it")
    source = ROOT / "mcpnb" / "panel" / installed.name
    if installed.read_bytes() != source.read_bytes():
        shutil.copyfile(source, installed)
    return factory.mktemp(name)


def _without_mcpnb() -> Path:
    """Find the environment without mcpnb, anywidget and ipywidgets."""
    given = os.environ.get("MCPNB_TEST_JUPYTER")
    folder = Path(given) if given else ROOT / ".venv-jupyter"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        missing(f"A Jupyter in {folder}", "tests/run installs it")
    return python


Lent = Callable[[str], Jupyter]
"""Lends one of `SERVERS`."""
SERVERS: dict[str, Callable[[Path], AbstractContextManager[Jupyter]]] = {
    "lab": jupyter,
    "notebook7": partial(jupyter, application="notebook"),
    # As on Binder.
    "prefixed": partial(jupyter, base_url="/user/some-repo-x1/"),
    # As on most workstations; its kernels are of the environment with mcpnb.
    "plain": lambda place: jupyter(place, python=_without_mcpnb()),
    "hub": hub,
    "voila": voila,
    # It talks to its kernels through files: they have no network with it.
    "far": lambda place: jupyter(place, "--KernelManager.transport=ipc"),
}


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lent]:
    """Start each of `SERVERS` when it is first wanted, for all tests."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def run(name: str) -> Jupyter:
            return stack.enter_context(SERVERS[name](place(tmp_path_factory, name)))

        yield run


@pytest.fixture
def lent(running: Lent) -> Iterator[Lent]:
    """Lend servers to a test, by name, and leave nothing of it."""
    with contextlib.ExitStack() as stack:

        def lend(name: str) -> Jupyter:
            server = running(name)
            stack.callback(server.tidy)
            return server

        yield lend


@pytest.fixture
def lab(lent: Lent) -> Jupyter:
    """`jupyter lab`, in the environment that mcpnb is installed in. It serves Voila as well."""
    return lent("lab")


class Far:
    """A kernel's machine, which shares nothing with the browser's but a server's files."""

    def __init__(self, server: Jupyter, far: Machine, doors: contextlib.ExitStack) -> None:
        self.server = server
        self.machine = far
        self._doors = doors

    def kernelspec(self, **environment: str) -> str:
        """Write a kernelspec of kernels over there; see `Jupyter.kernelspec`."""
        return self.server.kernelspec(*self.machine.command, **environment)

    def reaches(self, port: int) -> None:
        """Have a loopback port of the browser's machine there, too."""
        self._doors.enter_context(reaching(self.machine, port))


@pytest.fixture
def far(lent: Lent) -> Iterator[Far]:
    """A JupyterLab whose kernels' loopback the browser cannot reach."""
    with machine() as own, contextlib.ExitStack() as doors:
        yield Far(lent("far"), own, doors)
