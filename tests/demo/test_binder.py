"""`binder/` as Binder uses it: an environment of its files alone, Jupyter below a path, a proxy."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.demo.running import NOTEBOOKS, ROOT
from tests.demo.walking import FIRST, walk_through, with_notebook
from tests.fakes.people import free_port
from tests.peers.browsers import Window, missing
from tests.peers.jupyter import Jupyter, jupyter
from tests.peers.oidc import node_modules
from tests.peers.said import bare_environment, started

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]

BINDER = ROOT / "binder"
PREFIX = "/user/mcpnb-mcpnb-x1y2z3/"
MEMORY = 450 * 2**20
"""What mybinder.org guarantees; it ends what takes more than 2 GB."""


def content() -> str:
    """Sum up what an environment of `binder/` is made of."""
    shipped = [ROOT / "pyproject.toml", ROOT / "README.md", *BINDER.iterdir()]
    shipped += [*(ROOT / "mcpnb").rglob("*"), *(ROOT / "notebooks").glob("*.ipynb")]
    total = hashlib.sha256(sys.version.encode())
    for path in sorted(path for path in shipped if path.is_file() and path.suffix != ".pyc"):
        total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


@pytest.fixture(scope="session")
def environment() -> Path:
    """Build it as repo2docker does, in the repository's folder; kept until something changes."""
    folder, stamp = ROOT / ".venv-binder", content()
    python = folder / "bin" / "python"
    mark = folder / "mcpnb-stamp"
    if mark.exists() and mark.read_text("utf-8") == stamp:
        return python
    mark.unlink(missing_ok=True)
    made = ROOT / ".venv-demo"
    if not python.exists() and (made / "mcpnb-stamp").exists():
        # The same packages but mcpnb itself, which pip makes anew from this tree.
        shutil.copytree(made, folder, symlinks=True, ignore=shutil.ignore_patterns("mcpnb-stamp"))
    elif not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
    pip = [str(python), "-m", "pip", "install", "-q", "--no-compile"]
    command = [*pip, "-r", "binder/requirements.txt"]
    if subprocess.run(command, cwd=ROOT, check=False, timeout=500).returncode:
        missing("What binder/ asks for", "pip install -r binder/requirements.txt")
    path = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    subprocess.run(
        [BINDER / "postBuild"], cwd=ROOT, check=True, timeout=60, env={**os.environ, "PATH": path}
    )
    mark.write_text(stamp, "utf-8")
    return python


@contextlib.contextmanager
def proxied(server: Jupyter) -> Iterator[str]:
    """Put JupyterHub's proxy in front: the browser knows no other address. Return its own."""
    proxy = node_modules() / ".bin" / "configurable-http-proxy"
    if not proxy.exists():
        missing("JupyterHub's proxy", "run `npm ci` in tests/node")
    port, api = free_port(), free_port()
    target = server.url.removesuffix(PREFIX)
    command = [
        *(str(proxy), "--ip=127.0.0.1", f"--port={port}"),
        *("--api-ip=127.0.0.1", f"--api-port={api}", f"--default-target={target}"),
    ]
    environment = bare_environment(server.place / "home")
    environment["PATH"] = os.pathsep.join([str(proxy.parent), environment["PATH"]])
    with started(command, environment, server.place, server.place / "proxy.log") as saying:
        saying.says("Proxying")
        yield f"http://127.0.0.1:{port}{PREFIX}"


def test_the_environment_has_the_notebooks_and_no_editable_installation(environment: Path) -> None:
    """As a wheel has them: `mcpnb demo` needs no checkout."""
    code = "from mcpnb.demo.lab import notebooks; print(*notebooks(), sep='\\n')"
    run = subprocess.run(
        [environment, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=BINDER,
    )
    found = [Path(line) for line in run.stdout.splitlines()]
    assert [path.name for path in found] == [path.name for path in NOTEBOOKS]
    assert all(path.is_relative_to(environment.parents[1]) for path in found)


def test_the_first_notebook_is_ready_and_a_click_signs_in(
    window: Window,
    environment: Path,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> None:
    """Nothing but the proxy's port is reached by the browser, and no origin is configured."""
    place = with_notebook(tmp_path_factory.mktemp("binder"))
    pictures = pytestconfig.rootpath / ".pytest_cache" / "notebooks"
    with jupyter(place, python=environment, base_url=PREFIX) as server, proxied(server) as url:
        page = window.context.new_page()
        page.goto(f"{url}lab/tree/{FIRST}?token={server.token}")
        consent = walk_through(page, pictures, "binder")
        assert consent.startswith(f"{url}proxy/")

        top = psutil.Process(server.saying.process.pid)
        family = [top, *top.children(recursive=True)]
        assert sum(process.memory_info().rss for process in family) < MEMORY
