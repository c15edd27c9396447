"""JupyterLab as a process of the demo's own, with folders that are gone when it ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

from mcpnb.demo.in_jupyter import FOLDER

FIRST: Final = "01-sign-in.ipynb"
NEEDED: Final = ("jupyterlab", "jupyter_server_proxy", "ipykernel", "pandas", "matplotlib")
# Ten seconds on two busy cores. A computer that scans each file for viruses takes longer.
STARTUP_SECONDS = 120.0
STOP_SECONDS = 10.0
LAST_LINES = 12

# Variables by which Jupyter would find the person's own folders, or the Jupyter in a terminal of
# which this runs.
NOT_INHERITED = ("JUPYTER_", "JUPYTERHUB_", "JUPYTERLAB_", "JPY_", "IPYTHON", "MCPNB_")


class LabError(Exception):
    """JupyterLab did not start; the message has its last output."""


def missing() -> str | None:
    """Name a library that the notebooks need and that is not installed, if any."""
    return next((name for name in NEEDED if find_spec(name) is None), None)


def notebooks() -> list[Path]:
    """List the demo's notebooks: next to this file in a wheel, at the top of a checkout."""
    here = Path(__file__).parent
    for folder in (here / "notebooks", here.parent.parent / "notebooks"):
        if found := sorted(folder.glob("*.ipynb")):
            return found
    raise LabError("The demo's notebooks are missing: mcpnb is not installed completely.")


class Lab:
    """A running JupyterLab with copies of the notebooks; a context manager that ends it.

    It reads and writes nothing of the person's Jupyter, and nothing of their mcpnb.
    """

    def __init__(self, folder: Path, *, port: int | None, open_browser: bool) -> None:
        """Write all files that JupyterLab needs.

        Args:
            folder: Where everything is; empty.
            port: JupyterLab's port; the servers get the next two. Any free ones if left out.
            open_browser: Whether JupyterLab opens a browser.
        """
        self.notebooks = folder / "notebooks"
        self.configuration = folder / "config.toml"
        """The file that names the servers."""
        self._runtime = folder / "runtime"
        self._log = folder / "jupyter.log"
        self._command = [sys.executable, "-m", "jupyterlab"]
        if not open_browser:
            self._command.append("--no-browser")
        self._environment = self._prepared(folder, port)
        self._process: subprocess.Popen[bytes] | None = None
        self._about: dict[str, Any] = {}

    def _prepared(self, folder: Path, port: int | None) -> dict[str, str]:
        for name in ("config", "data", "ipython", "notebooks", "runtime"):
            (folder / name).mkdir()
        for notebook in notebooks():
            shutil.copyfile(notebook, self.notebooks / notebook.name)
        server: dict[str, Any] = {
            "allow_root": True,  # as in containers; it listens on the loopback and wants a token
            "ip": "127.0.0.1",
            # The language servers' part starts `npm`, which writes into the home folder (measured).
            "jpserver_extensions": {"mcpnb.demo.in_jupyter": True, "jupyter_lsp": False},
            "root_dir": str(self.notebooks),
        }
        if port is not None:
            server |= {"port": port, "port_retries": 0}
        lab = {
            "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
            "default_url": f"/lab/tree/{FIRST}",
            "extension_manager": "readonly",
        }
        news = "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
        for name, content in {
            "jupyter_server_config.json": {"ServerApp": server},
            "jupyter_lab_config.json": {"LabApp": lab},
            f"lab/user-settings/{news}": {"fetchNews": "false"},
        }.items():
            path = folder / "config" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content), "utf-8")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(NOT_INHERITED)}
        environment |= {
            FOLDER: str(folder),
            "IPYTHONDIR": str(folder / "ipython"),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(self._runtime),
        }
        return environment | ({"MCPNB_DEMO_PORT": str(port + 1)} if port else {})

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it, and return when it accepts connections.

        Raises:
            LabError: It does not start.
        """
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                self._command,
                stdin=subprocess.PIPE,  # once closed, it ends: also if this process is killed
                stdout=log,
                stderr=log,
                cwd=self.notebooks,
                env=self._environment,
                # Ctrl-C is for this process, which ends that one in good order.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        deadline = time.monotonic() + STARTUP_SECONDS
        while not self.is_up():
            if self.ended(within=0.1) is not None or time.monotonic() > deadline:
                raise LabError(f"JupyterLab did not start. Its last output:\n\n{self.last_words()}")
        if not self.configuration.exists():
            raise LabError(f"The demo's servers did not start.\n\n{self.last_words()}")
        return self

    def is_up(self) -> bool:
        """Return whether it accepts connections. It writes its port to a file before (measured)."""
        for file in self._runtime.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):  # half written
                self._about = json.loads(file.read_text("utf-8"))
        if self._about:
            address = ("127.0.0.1", self._about["port"])
            with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
                return True
        return False

    @property
    def address(self) -> str:
        """The first notebook, with the token that lets a browser in."""
        return f"{self._about['url']}lab/tree/{FIRST}?token={self._about['token']}"

    def ended(self, within: float) -> int | None:
        """Return the exit code if it ends within some seconds."""
        assert self._process is not None  # noqa: S101 - for the type checker
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            return None

    def last_words(self) -> str:
        """Return the end of its output."""
        lines = self._log.read_text("utf-8", "replace").splitlines() if self._log.exists() else []
        return "\n".join(f"   {line}" for line in lines[-LAST_LINES:])

    def stop(self) -> None:
        """End it and its kernels: in good order within seconds, else by force."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(OSError):
            assert process.stdin is not None  # noqa: S101 - for the type checker
            process.stdin.close()
        try:
            if self.ended(STOP_SECONDS) is None:
                process.terminate()
                self.ended(STOP_SECONDS / 2)
        finally:
            # Also at a second Ctrl-C. Kernels, in sessions of their own, notice that it is gone.
            with contextlib.suppress(OSError):
                if os.name == "posix":
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
            self.ended(STOP_SECONDS)
