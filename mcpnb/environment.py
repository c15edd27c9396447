"""Where this process runs: machine, browser, front end, and the folders of Jupyter."""

from __future__ import annotations

import ipaddress
import os
import shlex
import socket
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Browser = Literal["here", "forwarded", "elsewhere", "unknown"]
"""``forwarded``: on another machine, and the editor forwards ports of this one to it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """How one kind of place is recognised: any of its signs is enough."""

    name: str
    signs: tuple[str, ...] = ()
    """Environment variables, but none that only credentials of such a service need; submodules that
    are loaded, with their dots; absolute paths of files."""
    browser: Browser = "elsewhere"


_PLACES = {
    "binder": _Place(
        "Binder", ("BINDER_REPO_URL", "BINDER_REF_URL", "BINDER_LAUNCH_HOST", "BINDER_REQUEST")
    ),
    "codespaces": _Place("GitHub Codespaces", ("CODESPACES", "CODESPACE_NAME")),
    "colab": _Place(
        "Google Colab",
        (
            "COLAB_RELEASE_TAG",
            "COLAB_BACKEND_VERSION",
            "COLAB_GPU",
            "COLAB_JUPYTER_IP",
            "google.colab",
        ),
    ),
    "kaggle": _Place("Kaggle", ("KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_URL_BASE")),
    "databricks": _Place("Databricks", ("DATABRICKS_RUNTIME_VERSION",)),
    "vertex": _Place("Vertex AI Workbench", ("VERTEX_PRODUCT",)),
    "sagemaker": _Place("SageMaker", ("/opt/ml/metadata/resource-metadata.json",)),
    "workstation": _Place("Google Cloud Workstations"),
    "code-server": _Place("code-server", ("VSCODE_PROXY_URI",)),
    "jupyterhub": _Place(
        "JupyterHub", ("JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_BASE_URL", "JUPYTERHUB_API_URL")
    ),
    "devcontainer": _Place("a dev container of VS Code", ("REMOTE_CONTAINERS",), "forwarded"),
    "vscode-remote": _Place(
        "VS Code, connected to this machine", ("VSCODE_IPC_HOOK_CLI",), "forwarded"
    ),
    "vscode": _Place("VS Code", ("VSCODE_PID", "VSCODE_CWD"), "here"),
    "voila": _Place("Voilà", ("VOILA_REQUEST_URL", "VOILA_BASE_URL")),
    "jupyter": _Place(
        "a Jupyter kernel", ("JPY_SESSION_NAME", "JPY_PARENT_PID", "ipykernel.kernelapp"), "unknown"
    ),
    "ssh": _Place("an SSH session", ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT")),
    "container": _Place(
        "a container", ("container", "KUBERNETES_SERVICE_HOST", "/.dockerenv", "/run/.containerenv")
    ),
    # Windows forwards its own localhost to WSL.
    "wsl": _Place("WSL", ("WSL_DISTRO_NAME", "WSL_INTEROP"), "here"),
    "no-display": _Place("no display"),
    "terminal": _Place("a plain terminal", browser="here"),
}
"""The most specific first: this order decides where several apply."""
# Shells in a container that shares the host's network and display.
_AS_ON_THE_HOST = {"TOOLBOX_PATH", "DISTROBOX_ENTER_PATH", "FLATPAK_ID", "SNAP"}


@dataclass(frozen=True, slots=True)
class Environment:
    """Where this process runs. Made by `detect` or `current`."""

    signs: dict[str, str]
    """Each kind of place that it is, with the variable, file or module that told; never empty. The
    most specific first."""
    user: str = ""
    host: str = ""
    """This machine's own name."""
    ssh_host: str = ""
    """The address of this machine that an SSH client used; empty if there is none."""
    ssh_port: int = 22
    ports_at: str = ""
    """The address at which a port of this machine is reached from outside, with ``{port}``."""

    @property
    def kind(self) -> str:
        """The most specific kind."""
        return next(iter(self.signs))

    @property
    def name(self) -> str:
        """All names for a person, the most specific first."""
        return ", ".join(_PLACES[kind].name for kind in self.signs)

    @property
    def told_by(self) -> str:
        """All names, each with what told it."""
        return "; ".join(f"{_PLACES[k].name} ({by})" for k, by in self.signs.items() if by)

    def has(self, *kinds: str) -> bool:
        """Return whether it is one of these, perhaps among others."""
        return not self.signs.keys().isdisjoint(kinds)

    @property
    def in_notebook(self) -> bool:
        """Whether this process is a notebook's kernel, or was started by one."""
        return self.has("jupyter", "voila", "colab", "kaggle", "databricks")

    @property
    def browser(self) -> Browser:
        """Where the person's browser is, as far as the environment tells."""
        if self.kind == "jupyter" and self.has("ssh", "container", "no-display"):
            return "elsewhere"
        return _PLACES[self.kind].browser

    def ssh_line(self, port: int) -> str:
        """Return the command that forwards a port, to run on the machine with the browser.

        It names the address that an SSH client used; else this machine's own name, which may not be
        the one it is reached by; else ``HOST``.
        """
        words = ["ssh", "-N", "-L", f"{port}:127.0.0.1:{port}"]
        words += ["-p", str(self.ssh_port)] if self.ssh_port != 22 else []
        host = self.ssh_host or self.host or "HOST"
        return shlex.join([*words, f"{self.user}@{host}" if self.user else host])

    def callback_url(self, port: int) -> str:
        """Return a callback address that leads to a port of this machine; empty if unknown."""
        at = self.ports_at.replace("{port}", str(port))
        return f"{at}/callback" if at else ""


def current() -> Environment:
    """Return the place of this process."""
    return detect(
        os.environ,
        modules=sys.modules,
        exists=os.path.exists,
        platform=sys.platform,
        host=socket.gethostname(),
    )


def detect(
    environ: Mapping[str, str],
    *,
    modules: Collection[str] = (),
    exists: Callable[[str], bool] = lambda _: False,
    platform: str = "linux",
    host: str = "",
) -> Environment:
    """Return the place that these facts tell of, and no others.

    Args:
        environ: Environment variables; an empty one counts as not set.
        modules: Names of modules that are loaded.
        exists: Whether there is a file; Docker, for example, sets no variable.
        platform: As `sys.platform`.
        host: The name of this machine.
    """
    known = {name: value for name, value in environ.items() if value}
    combined = _combined(known, platform)
    signs = {}
    for kind, place in _PLACES.items():
        there = (
            sign
            for sign in place.signs
            if sign in known
            or ("." in sign and sign in modules)
            or (sign.startswith("/") and exists(sign))
        )
        if sign := combined.get(kind, next(there, "")):
            signs[kind] = sign
    ssh_host, ssh_port = _ssh_address(known)
    return Environment(
        signs=signs or {"terminal": ""},
        user=known.get("USER") or known.get("LOGNAME") or "",
        host=host,
        ssh_host=ssh_host,
        ssh_port=ssh_port,
        ports_at=_ports_at(known),
    )


def _combined(known: Mapping[str, str], platform: str) -> dict[str, str]:
    """Return what takes more than the presence of one name; empty for a kind that it excludes."""
    found: dict[str, str] = {}
    if known.get("VERTEX_PRODUCT") == "COLAB_ENTERPRISE":
        found |= {"colab": "VERTEX_PRODUCT", "vertex": ""}
    if _is_workstation(known):
        found["workstation"] = "WEB_HOST"
    if known.get("TERM_PROGRAM") == "vscode":
        found["vscode"] = "TERM_PROGRAM"
        if not known.keys().isdisjoint(_PLACES["ssh"].signs):
            found["vscode-remote"] = "TERM_PROGRAM and SSH_CONNECTION"
    if is_voila(known):
        found["voila"] = "SERVER_SOFTWARE"
    if not known.keys().isdisjoint(_AS_ON_THE_HOST):
        found["container"] = ""
    own_display = platform in ("darwin", "win32", "cygwin") or "WSL_DISTRO_NAME" in known
    if not own_display and known.keys().isdisjoint(("DISPLAY", "WAYLAND_DISPLAY")):
        found["no-display"] = "neither DISPLAY nor WAYLAND_DISPLAY"
    return found


def _is_workstation(known: Mapping[str, str]) -> bool:
    return known.get("WEB_HOST", "").endswith(".cloudworkstations.dev")


def _ssh_address(known: Mapping[str, str]) -> tuple[str, int]:
    """Return this machine's address and port from ``SSH_CONNECTION``, behind the client's."""
    try:
        _, _, host, port = known.get("SSH_CONNECTION", "").split()
        return str(ipaddress.ip_address(host)), int(port)
    except ValueError:
        return "", 22


def _ports_at(known: Mapping[str, str]) -> str:
    # Only where a port has a host name of its own. A proxy that removes a part of the path would
    # send the browser to another path than the one that is listened on.
    name = known.get("CODESPACE_NAME")
    domain = known.get("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN")
    if name and domain:
        return f"https://{name}-{{port}}.{domain}"
    return f"https://{{port}}-{known['WEB_HOST']}" if _is_workstation(known) else ""


def kernel() -> Any | None:
    """Return the kernel that runs this, if there is one."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None)


def frontend() -> Literal["notebook", "headless", "terminal"]:
    """Return whether somebody can click: ``headless`` is papermill, nbconvert and the like.

    Programs that execute a notebook unattended allow no input, in each cell's request. Voilà allows
    none either, and shows its pages to people all the same.
    """
    running = kernel()
    if running is None:
        return "terminal"
    return "notebook" if _allows_input(running) or is_voila() else "headless"


def stdin_allowed() -> bool:
    """Return whether the person at the notebook can be asked for a line of text now."""
    running = kernel()
    return running is not None and _allows_input(running)


def comms_while_awaiting() -> bool:
    """Return whether a panel's messages can arrive while a cell awaits something.

    ipykernel 6 handles none before the cell has ended; 7.0 and later do (measured).
    """
    ipykernel = sys.modules.get("ipykernel")
    version = getattr(ipykernel, "version_info", (7,))
    return bool(version[0] >= 7)


def _allows_input(running: Any) -> bool:
    return bool(getattr(running, "_allow_stdin", True))


def is_voila(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this is Voilà: each visitor has a kernel, and all are one system user."""
    return environ.get("SERVER_SOFTWARE", "").startswith("voila/")


CALLBACK = "labextensions/mcpnb/callback.html"
"""The page that a browser is sent back to, if Jupyter serves the redirect."""
ANYWIDGET = "labextensions/anywidget/package.json"
"""The front-end part of anywidget."""
WIDGET_MANAGER = "labextensions/@jupyter-widgets/jupyterlab-manager/package.json"
"""The part that shows widgets at all. ipywidgets installs it with jupyterlab_widgets."""


def user_data_folder() -> Path:
    """Return the person's own Jupyter data folder, whether or not it exists."""
    from jupyter_core.paths import jupyter_data_dir

    return Path(jupyter_data_dir())


def data_folders() -> tuple[Path, ...]:
    """Return the folders that Jupyter searches, in its order, whether or not they exist."""
    from jupyter_core.paths import jupyter_path

    return tuple(map(Path, jupyter_path()))


def installed(part: str, folders: tuple[Path, ...] | None = None) -> Path | None:
    """Return where Jupyter would find a part such as `CALLBACK`; `None` if no folder has it.

    Args:
        part: Its path within a data folder.
        folders: Where to look; `data_folders` if left out.
    """
    searched = data_folders() if folders is None else folders
    # os.path: it returns False for a folder that may not be looked into.
    found = (folder / part for folder in searched if os.path.isfile(folder / part))  # noqa: PTH113
    return next(found, None)
