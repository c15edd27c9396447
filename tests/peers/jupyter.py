"""Jupyter servers as processes of their own, each with folders that nobody else looks into."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Page

from tests.fakes.people import free_port, listened_on, until
from tests.peers.said import Saying, bare_environment, started

TOKEN = "token-of-the-jupyter-server"
EXPOSED = (
    *("--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"),
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--JupyterNotebookApp.expose_app_in_browser=True",
)
"""The application is there for the tests to drive, and nothing asks PyPI for news."""
_NEWS = "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
_WORLD = ("APPDATA", "HOME", "LOCALAPPDATA", "PYTHON_KEYRING_BACKEND", "USERPROFILE")
"""With MCPNB_*, XDG_* and COVERAGE*: what makes a kernel one of the test's own world."""


@dataclass
class Jupyter:
    """A running server."""

    url: str
    place: Path
    saying: Saying
    token: str = TOKEN

    def enter(self, page: Page, place: str) -> None:
        """Open a place with the link that `jupyter lab` prints; from then on there is a cookie."""
        sign = "&" if "?" in place else "?"
        page.goto(f"{self.url}{place}{sign}token={self.token}")

    @property
    def notebooks(self) -> Path:
        """Where the notebooks are."""
        return self.place / "notebooks"

    @property
    def data(self) -> Path:
        """The user's Jupyter data folder, as `jupyter --data-dir` names it."""
        return self.place / "data"

    @property
    def log(self) -> Path:
        """What the server, and the kernels that write to their terminal, said; at DEBUG."""
        return self.saying.log

    def ask(self, method: str, path: str, **given: Any) -> Any:
        """Use the server's REST interface."""
        headers = {"Authorization": f"token {self.token}"}
        with httpx2.Client(trust_env=False, timeout=20, headers=headers) as client:
            answer = client.request(method, self.url + path, **given)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def kernelspec(
        self, *before: str | Path, python: str | Path = sys.executable, **environment: str
    ) -> str:
        """Write a kernelspec whose kernels live in the world of this test; give its name.

        `before` is what goes before `python`, as `nsenter` does.
        """
        made = Path(tempfile.mkdtemp(prefix="test-", dir=_made(self.data / "kernels")))
        # The server knows names in lower case only, and mkdtemp also takes capitals.
        folder = made.rename(made.with_name(made.name.lower()))
        command = [*before, python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {
            "argv": [str(part) for part in command],
            "display_name": "Python 3",
            "language": "python",
            "env": _of_this_test() | environment,
        }
        (folder / "kernel.json").write_text(json.dumps(spec), "utf-8")
        return folder.name

    def write(self, name: str, cells: Sequence[str], kernel: str) -> Path:
        """Write a notebook without outputs."""
        path = self.notebooks / name
        path.write_text(json.dumps(_notebook(cells, kernel)), "utf-8")
        return path

    def tidy(self) -> None:
        """End all kernels, and forget what a person set or had open."""
        for session in self.ask("GET", "api/sessions"):
            self.ask("DELETE", f"api/sessions/{session['id']}")
        for kernel in self.ask("GET", "api/kernels"):
            self.ask("DELETE", f"api/kernels/{kernel['id']}")
        self.forget()

    def forget(self) -> None:
        """Empty all folders that a test may have left something in."""
        for folder in (self.data, self.place / "config" / "lab" / "workspaces", self.notebooks):
            for path in _made(folder).iterdir():
                # With what it trusts notebooks by, the server would lose its trust in all that it
                # saves from then on, and show no widget of theirs (measured).
                if path.name not in ("nbsignatures.db", "notebook_secret"):
                    if path.is_dir():
                        shutil.rmtree(path, ignore_errors=True)  # kernels may still write
                    else:
                        path.unlink(missing_ok=True)
        settings(self.place)


def _of_this_test() -> dict[str, str]:
    ours = {
        name: value
        for name, value in os.environ.items()
        if name in _WORLD or name.startswith(("MCPNB_", "XDG_", "COVERAGE"))
    }
    # IPython would make its folders in the server's.
    return ours | {"IPYTHONDIR": str(Path(ours["HOME"]) / ".ipython")}


def _notebook(cells: Sequence[str], kernel: str) -> dict[str, Any]:
    return {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"cell-{number}",
                "metadata": {},
                "outputs": [],
                "source": source,
            }
            for number, source in enumerate(cells)
        ],
        "metadata": {
            "kernelspec": {"display_name": kernel, "language": "python", "name": kernel},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def settings(place: Path, **theme: Any) -> None:
    """Set what a person would: no news, which come from the network, and perhaps a theme."""
    folder = place / "config" / "lab" / "user-settings"
    shutil.rmtree(folder, ignore_errors=True)
    chosen = {_NEWS: {"fetchNews": "false"}}
    if theme:
        chosen["@jupyterlab/apputils-extension/themes.jupyterlab-settings"] = theme
    for name, values in chosen.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(values), "utf-8")


def folders(place: Path) -> dict[str, str]:
    """Give each Jupyter setting that names a folder one below `place`."""
    for name in ("config", "data", "ipython", "notebooks", "home", "path"):
        _made(place / name)
    settings(place)
    return {
        "JUPYTER_CONFIG_DIR": str(place / "config"),
        "JUPYTER_CONFIG_PATH": str(place / "path"),
        "JUPYTER_DATA_DIR": str(place / "data"),
        "JUPYTER_PATH": str(place / "path"),
        "IPYTHONDIR": str(place / "ipython"),
    }


@contextlib.contextmanager
def jupyter(
    place: Path,
    *arguments: str,
    application: str = "jupyterlab",
    python: str | Path = sys.executable,
    base_url: str = "/",
) -> Iterator[Jupyter]:
    """Run `python -m APPLICATION` (jupyterlab or notebook) with everything below `place`."""
    port = free_port()
    # Sockets of kernels (`transport=ipc`) are in there, and a path of more than 107 bytes is
    # refused: pytest's folders are too deep.
    with tempfile.TemporaryDirectory(prefix="jupyter", ignore_cleanup_errors=True) as runtime:
        command = [
            *(str(python), "-m", application, "--no-browser", "--allow-root", "--debug"),
            *("--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
            *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.base_url={base_url}"),
            f"--ServerApp.root_dir={place / 'notebooks'}",
            *EXPOSED,
            *arguments,
        ]
        environment = {
            **bare_environment(place / "home", python),
            **folders(place),
            "JUPYTER_RUNTIME_DIR": runtime,
        }
        log = place / "server.log"
        with started(command, environment, place, log) as saying:
            saying.says("is running at:")
            until(lambda: listened_on(port))  # a moment later
            yield Jupyter(f"http://127.0.0.1:{port}{base_url}", place, saying)


render = "voila/render/{}".format
"""Where a notebook is shown: `server.enter(page, render("a.ipynb"))`."""


class Voila(Jupyter):
    """It has no REST interface, and ends a kernel some time after its page."""

    def tidy(self) -> None:
        """Forget notebooks and kernelspecs."""
        self.forget()


@contextlib.contextmanager
def voila(place: Path) -> Iterator[Voila]:
    """Run `voila FOLDER`."""
    port = free_port()
    environment = bare_environment(place / "home") | folders(place)
    environment["JUPYTER_RUNTIME_DIR"] = str(place / "runtime")
    command = [
        *(sys.executable, "-m", "voila", "--no-browser", "--debug", "--Voila.ip=127.0.0.1"),
        *(f"--port={port}", "--Voila.port_retries=0", f"--Voila.token={TOKEN}"),
        str(place / "notebooks"),
    ]
    with started(command, environment, place, place / "server.log") as saying:
        saying.says("is running at")
        until(lambda: listened_on(port))  # a moment later
        yield Voila(f"http://127.0.0.1:{port}/", place, saying)
