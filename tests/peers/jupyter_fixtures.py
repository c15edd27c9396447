"""Fixtures of notebooks in real front ends, as a pytest plugin.

Servers live as long as the tests; for each test there are fresh windows, kernels and folders.
Measured on two cores: a Jupyter server is up after 2 seconds, JupyterHub with somebody's server
after 5 to 8, Chromium after 1; a notebook is open and its kernel ready after 3.3 in JupyterLab and
after 2.2 in Notebook 7, reloaded after 1.8 and 1.0.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpnb.environment import CALLBACK
from tests.peers.browsers import missing
from tests.peers.jupyter import Jupyter, jupyter
from tests.peers.jupyter_hub import Hub, hub
from tests.peers.machines import Machine, machine, reaching
from tests.peers.voila import voila

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


def tidied(server: Jupyter) -> Iterator[Jupyter]:
    """Lend a server to a test, and leave nothing of it."""
    yield server
    server.tidy()


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


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """`jupyter lab`, in the environment that mcpnb is installed in."""
    with jupyter(place(tmp_path_factory, "lab")) as server:
        yield server


@pytest.fixture
def lab(lab_server: Jupyter) -> Iterator[Jupyter]:
    """The same for one test. It serves Voila as well."""
    yield from tidied(lab_server)


@pytest.fixture(scope="session")
def notebook7_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """`jupyter notebook`."""
    with jupyter(place(tmp_path_factory, "notebook"), application="notebook") as server:
        server.pages = "notebook"
        yield server


@pytest.fixture
def notebook7(notebook7_server: Jupyter) -> Iterator[Jupyter]:
    """The same for one test."""
    yield from tidied(notebook7_server)


@pytest.fixture(scope="session")
def prefixed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """`jupyter lab` below a path, as on Binder."""
    with jupyter(place(tmp_path_factory, "prefixed"), base_url="/user/some-repo-x1/") as server:
        yield server


@pytest.fixture
def prefixed(prefixed_server: Jupyter) -> Iterator[Jupyter]:
    """The same for one test."""
    yield from tidied(prefixed_server)


@pytest.fixture(scope="session")
def plain_lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """`jupyter lab` in an environment without mcpnb, anywidget and ipywidgets."""
    given = os.environ.get("MCPNB_TEST_JUPYTER")
    folder = Path(given) if given else ROOT / ".venv-jupyter"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        missing(f"A Jupyter in {folder}", "tests/run installs it")
    with jupyter(place(tmp_path_factory, "plain"), python=python) as server:
        yield server


@pytest.fixture
def plain_lab(plain_lab_server: Jupyter) -> Iterator[Jupyter]:
    """The same for one test; its kernels are of the environment with mcpnb."""
    yield from tidied(plain_lab_server)


@pytest.fixture(scope="session")
def hub_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The server of somebody at a JupyterHub."""
    with hub(place(tmp_path_factory, "hub")) as server:
        yield server


@pytest.fixture
def hub_lab(hub_server: Hub) -> Iterator[Jupyter]:
    """The same for one test."""
    yield from tidied(hub_server)


@pytest.fixture(scope="session")
def voila_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """`voila FOLDER`."""
    with voila(place(tmp_path_factory, "voila")) as server:
        yield server


@pytest.fixture
def voila_alone(voila_server: Jupyter) -> Iterator[Jupyter]:
    """The same for one test."""
    yield from tidied(voila_server)


@pytest.fixture(scope="session")
def far_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """`jupyter lab` that talks to its kernels through files: they have no network with it."""
    with jupyter(place(tmp_path_factory, "far"), "--KernelManager.transport=ipc") as server:
        yield server


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
def far(far_server: Jupyter) -> Iterator[Far]:
    """A JupyterLab whose kernels' loopback the browser cannot reach."""
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(machine())
        stack.callback(far_server.tidy)
        yield Far(far_server, own, stack.enter_context(contextlib.ExitStack()))
