"""JupyterLab as a process of the demo's own, and the servers as an extension of it.

The servers live as long as Jupyter, so that a kernel may restart. Kernels find them by name,
through a configuration file that their environment names. Binder uses the extension alone.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from mcpnb.demo.authorization import is_callback
from mcpnb.demo.servers import DemoServers

FOLDER: Final = "MCPNB_DEMO_FOLDER"
"""Names the folder that `mcpnb demo` made; it ends Jupyter by closing its standard input."""
LIFETIME: Final = 15
"""Seconds that an access token lives: short enough to see it expire and be refreshed."""
FIRST: Final = "01-sign-in.ipynb"
NEEDED: Final = ("jupyterlab", "jupyter_server_proxy", "ipykernel", "pandas", "matplotlib")
# Ten seconds on two busy cores. A computer that scans each file for viruses takes longer.
STARTUP_SECONDS = 120.0
STOP_SECONDS = 10.0
LAST_LINES = 12

# Variables by which Jupyter would find the person's own folders, or the Jupyter in a terminal of
# which this runs.
NOT_INHERITED = ("JUPYTER_", "JUPYTERHUB_", "JUPYTERLAB_", "JPY_", "IPYTHON", "MCPNB_")

CONFIGURATION = """\
# This file belongs to the demo, and goes when the demo ends.
mcp_oauth_credentials_store = "file"  # your keyring is not used

[mcp_servers.harbour]
url = "{}"

# Its operator allows no redirect but to a port of the person's own computer.
[mcp_servers.lighthouse]
url = "{}"
"""


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
        """Write all files that JupyterLab needs to an empty folder.

        The servers get the next two ports; any free ones if it is left out.
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
            "jpserver_extensions": {__name__: True, "jupyter_lsp": False},
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
        """Start it, and return when it accepts connections.

        Raises:
            LabError: It does not start.
        """
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
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

    def __exit__(self, *_: object) -> None:
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


# The servers inside a Jupyter server.


def demo_servers(configuration: Path, *, port: int = 0) -> tuple[DemoServers, DemoServers]:
    """Return the servers of the notebooks, harbour and lighthouse, and write their names down."""
    harbour = DemoServers(port=port, access_token_lifetime=LIFETIME, device_grant=True)
    lighthouse = DemoServers(access_token_lifetime=LIFETIME, redirects=is_callback)
    configuration.write_text(CONFIGURATION.format(harbour.mcp_url, lighthouse.mcp_url), "utf-8")
    return harbour, lighthouse


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(app: Any) -> None:
    """Start the servers, and tell all kernels where they are."""
    given = os.environ.get(FOLDER)
    folder = Path(given or tempfile.mkdtemp(prefix="mcpnb-demo-"))
    config = folder / "config.toml"
    servers = demo_servers(config, port=int(os.environ.get("MCPNB_DEMO_PORT", "0")))
    for server in servers:
        atexit.register(server.__enter__().stop)
    if find_spec("jupyter_server_proxy") is not None:
        note_origins(app, servers)
    os.environ.update(
        MCPNB_CONFIG=str(config),
        MCPNB_HOME=str(folder / "mcpnb"),
        # For `!mcpnb` in a cell, also where nobody activated this environment.
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    )
    if given is None:
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    else:
        threading.Thread(target=_end_with, args=(app,), name="mcpnb demo", daemon=True).start()


def _end_with(app: Any) -> None:
    """End Jupyter when the process that started it closes our standard input, or dies."""
    while sys.stdin.buffer.read(1):
        pass
    app.stop(from_signal=True)


def note_origins(app: Any, servers: tuple[DemoServers, ...]) -> None:
    """Put the consent pages at the address where the browser reaches them.

    A real authorization server has one address for everybody. Behind Jupyter's proxy, a browser
    reaches this one at another address than the kernel does. Neither Jupyter nor a kernel knows
    that address: not behind JupyterHub, on Binder or through ``ssh -L``. The browser sends it in
    the ``Origin`` of every POST (Fetch standard, section 3.1), and a page sends a POST for a kernel
    before it can run a cell.
    """
    settings = app.web_app.settings
    log = settings["log_function"]

    def noting(handler: Any, *arguments: Any, **options: Any) -> None:
        origin = _origin(handler)
        if origin is not None:
            for server in servers:
                port = urlsplit(server.issuer).port
                server.authorization_server.pages = f"{origin}{app.base_url}proxy/{port}"
        log(handler, *arguments, **options)

    settings["log_function"] = noting


def _origin(handler: Any) -> str | None:
    """Return the origin that the page of a signed-in person names."""
    request = handler.request
    origin = request.headers.get("Origin", "")
    if request.method not in {"POST", "PUT", "PATCH"} or handler.get_status() >= 400:
        return None
    # Not the consent page's own form, which has an opaque origin.
    if urlsplit(origin).scheme not in {"http", "https"} or not handler.current_user:
        return None
    return str(origin)
