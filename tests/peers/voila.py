"""Voila as a process of its own. Below a Jupyter server it is at `voila/render/` as well."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.fakes.people import free_port, listened_on, until
from tests.peers.jupyter import TOKEN, Jupyter, folders
from tests.peers.said import bare_environment, started

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
