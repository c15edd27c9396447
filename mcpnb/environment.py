"""Where this runs: the machine, the browser, the front end, and the folders of Jupyter."""

from __future__ import annotations

import ipaddress
import os
import shlex
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = [
    "ANYWIDGET",
    "CALLBACK",
    "WIDGET_MANAGER",
    "Browser",
    "Environment",
    "Kind",
    "Signal",
    "comms_while_awaiting",
    "current",
    "data_folders",
    "detect",
    "frontend",
    "installed",
    "is_voila",
    "kernel",
    "stdin_allowed",
    "user_data_folder",
]

Kind = Literal[
    "binder",
    "codespaces",
    "colab",
    "kaggle",
    "databricks",
    "vertex",
    "sagemaker",
    "workstation",
    "code-server",
    "jupyterhub",
    "devcontainer",
    "vscode-remote",
    "vscode",
    "voila",
    "jupyter",
    "ssh",
    "container",
    "wsl",
    "no-display",
    "terminal",
]
"""The most telling first: this order decides where several are true."""
Browser = Literal["here", "forwarded", "elsewhere", "unknown"]
"""``forwarded``: on another machine, and its editor brings ports of this one there by itself."""

_NAMES: dict[Kind, str] = {
    "binder": "Binder",
    "codespaces": "GitHub Codespaces",
    "colab": "Google Colab",
    "kaggle": "Kaggle",
    "databricks": "Databricks",
    "vertex": "Vertex AI Workbench",
    "sagemaker": "SageMaker",
    "workstation": "Google Cloud Workstations",
    "code-server": "code-server",
    "jupyterhub": "JupyterHub",
    "devcontainer": "a dev container of VS Code",
    "vscode-remote": "VS Code, connected to this machine",
    "vscode": "VS Code",
    "voila": "Voilà",
    "jupyter": "a Jupyter kernel",
    "ssh": "an SSH session",
    "container": "a container",
    "wsl": "WSL",
    "no-display": "no display",
    "terminal": "a plain terminal",
}
# Enough to tell the place; the variables that only credentials of such a service need don't count.
_VARIABLES: dict[Kind, tuple[str, ...]] = {
    "binder": ("BINDER_REPO_URL", "BINDER_REF_URL", "BINDER_LAUNCH_HOST", "BINDER_REQUEST"),
    "codespaces": ("CODESPACES", "CODESPACE_NAME"),
    "colab": ("COLAB_RELEASE_TAG", "COLAB_BACKEND_VERSION", "COLAB_GPU", "COLAB_JUPYTER_IP"),
    "kaggle": ("KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_URL_BASE"),
    "databricks": ("DATABRICKS_RUNTIME_VERSION",),
    "vertex": ("VERTEX_PRODUCT",),
    "code-server": ("VSCODE_PROXY_URI",),
    "jupyterhub": ("JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_BASE_URL", "JUPYTERHUB_API_URL"),
    "devcontainer": ("REMOTE_CONTAINERS",),
    "vscode-remote": ("VSCODE_IPC_HOOK_CLI",),
    "vscode": ("VSCODE_PID", "VSCODE_CWD"),
    "voila": ("VOILA_REQUEST_URL", "VOILA_BASE_URL"),
    "jupyter": ("JPY_SESSION_NAME", "JPY_PARENT_PID"),
    "ssh": ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"),
    "wsl": ("WSL_DISTRO_NAME", "WSL_INTEROP"),
}
_FILES: dict[Kind, tuple[str, ...]] = {
    "sagemaker": ("/opt/ml/metadata/resource-metadata.json",),
    "container": ("/.dockerenv", "/run/.containerenv"),
}
_MODULES: dict[Kind, str] = {"colab": "google.colab", "jupyter": "ipykernel.kernelapp"}
_BROWSERS: dict[Kind, Browser] = {
    "devcontainer": "forwarded",
    "vscode-remote": "forwarded",
    "vscode": "here",
    "jupyter": "unknown",
    "wsl": "here",  # Windows leads its own localhost there
    "terminal": "here",
}
# Shells of a container with the host's network and display.
_AS_ON_THE_HOST = ("TOOLBOX_PATH", "DISTROBOX_ENTER_PATH", "FLATPAK_ID", "SNAP")
_WORKSTATIONS = ".cloudworkstations.dev"


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that is known of the place, and what told it."""

    kind: Kind
    said_by: str
    """A variable, a file or a module; empty where nothing said anything."""

    @property
    def name(self) -> str:
        """For a person."""
        return _NAMES[self.kind]


@dataclass(frozen=True, slots=True)
class Environment:
    """Where this process runs. Made by `recognised` or `here`."""

    signs: tuple[Signal, ...]
    """The most telling first; never empty."""
    user: str = ""
    host: str = ""
    """This machine's own name."""
    ssh_host: str = ""
    """The address of this machine that an SSH client used; empty where none did."""
    ssh_port: int = 22
    ports_at: str = ""
    """The address by which a port of this machine is reached from outside, with ``{port}``."""

    @property
    def kind(self) -> Kind:
        """What decides."""
        return self.signs[0].kind

    @property
    def name(self) -> str:
        """All of it for a person, what decides first."""
        return ", ".join(sign.name for sign in self.signs)

    def has(self, *kinds: Kind) -> bool:
        """Whether it is one of these, beside others perhaps."""
        return any(sign.kind in kinds for sign in self.signs)

    @property
    def in_notebook(self) -> bool:
        """Whether this process is a notebook's kernel, or was started by one."""
        return self.has("jupyter", "voila", "colab", "kaggle", "databricks")

    @property
    def browser(self) -> Browser:
        """Where the person's browser is, as far as the environment tells."""
        if self.kind == "jupyter" and self.has("ssh", "container", "no-display"):
            return "elsewhere"
        return _BROWSERS.get(self.kind, "elsewhere")

    def ssh_line(self, port: int) -> str:
        """Give the command that forwards a port, for the machine with the browser.

        It has the address that an SSH client used, else the name that this machine has for itself,
        which need not be the one it is reached by; else ``HOST``.
        """
        words = ["ssh", "-N", "-L", f"{port}:127.0.0.1:{port}"]
        words += ["-p", str(self.ssh_port)] if self.ssh_port != 22 else []
        host = self.ssh_host or self.host or "HOST"
        return shlex.join([*words, f"{self.user}@{host}" if self.user else host])

    def callback_url(self, port: int) -> str:
        """Give a callback address that leads to a port of this machine; empty: none is known."""
        at = self.ports_at.replace("{port}", str(port))
        return f"{at}/callback" if at else ""


def current() -> Environment:
    """Look at this process's own environment."""
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
    """Tell the place by what is given, and by nothing else.

    Args:
        environ: Environment variables; an empty one counts as not set.
        modules: Names of modules that are loaded.
        exists: Whether there is a file; Docker, for one, sets no variable.
        platform: As `sys.platform`.
        host: The name of this machine.
    """
    known = {name: value for name, value in environ.items() if value}
    signs = list(_signs(known, modules, exists, platform))
    if not signs:
        signs.append(Signal("terminal", ""))
    ssh_host, ssh_port = _ssh_place(known)
    return Environment(
        signs=tuple(signs),
        user=known.get("USER") or known.get("LOGNAME") or "",
        host=host,
        ssh_host=ssh_host,
        ssh_port=ssh_port,
        ports_at=_ports_at(known),
    )


def _signs(
    known: Mapping[str, str],
    modules: Collection[str],
    exists: Callable[[str], bool],
    platform: str,
) -> Iterator[Signal]:
    more: dict[Kind, Callable[[str], str]] = {
        "colab": lambda said: said or ("VERTEX_PRODUCT" if _is_enterprise(known) else ""),
        "vertex": lambda said: "" if _is_enterprise(known) else said,
        "workstation": lambda _: "WEB_HOST" if _is_workstation(known) else "",
        "vscode-remote": lambda said: said or _vscode_over_ssh(known),
        "vscode": lambda said: said or ("TERM_PROGRAM" if _in_vscode(known) else ""),
        "voila": lambda said: said or _voila(known),
        "container": lambda said: _container(said, known),
        "no-display": lambda _: _no_display(known, platform),
    }
    for kind in _NAMES:
        said = next((v for v in _VARIABLES.get(kind, ()) if v in known), "")
        said = said or next((f for f in _FILES.get(kind, ()) if exists(f)), "")
        said = said or next((m for m in [_MODULES.get(kind)] if m and m in modules), "")
        said = more[kind](said) if kind in more else said
        if said:
            yield Signal(kind, said)


# What is not told by one name alone


def _is_enterprise(known: Mapping[str, str]) -> bool:
    return known.get("VERTEX_PRODUCT") == "COLAB_ENTERPRISE"


def _is_workstation(known: Mapping[str, str]) -> bool:
    return known.get("WEB_HOST", "").endswith(_WORKSTATIONS)


def _in_vscode(known: Mapping[str, str]) -> bool:
    return known.get("TERM_PROGRAM") == "vscode"


def _vscode_over_ssh(known: Mapping[str, str]) -> str:
    remote = any(name in known for name in _VARIABLES["ssh"])
    return "TERM_PROGRAM and SSH_CONNECTION" if remote and _in_vscode(known) else ""


def _voila(known: Mapping[str, str]) -> str:
    return "SERVER_SOFTWARE" if known.get("SERVER_SOFTWARE", "").startswith("voila/") else ""


def _container(said: str, known: Mapping[str, str]) -> str:
    if any(name in known for name in _AS_ON_THE_HOST):
        return ""
    return said or next((n for n in ("container", "KUBERNETES_SERVICE_HOST") if n in known), "")


def _no_display(known: Mapping[str, str], platform: str) -> str:
    own = platform in ("darwin", "win32", "cygwin") or "WSL_DISTRO_NAME" in known
    shown = "DISPLAY" in known or "WAYLAND_DISPLAY" in known
    return "" if own or shown else "neither DISPLAY nor WAYLAND_DISPLAY"


def _ssh_place(known: Mapping[str, str]) -> tuple[str, int]:
    """Read ``SSH_CONNECTION``: the client's address and port, and this machine's."""
    try:
        _, _, host, port = known.get("SSH_CONNECTION", "").split()
        return str(ipaddress.ip_address(host)), int(port)
    except ValueError:
        return "", 22


def _ports_at(known: Mapping[str, str]) -> str:
    # Only where a port has a host name of its own: a proxy that takes a part of the path away
    # sends the browser to another path than the one that is listened on.
    name, domain = (
        known.get("CODESPACE_NAME"),
        known.get("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN"),
    )
    if name and domain:
        return f"https://{name}-{{port}}.{domain}"
    return f"https://{{port}}-{known['WEB_HOST']}" if _is_workstation(known) else ""


def kernel() -> Any | None:
    """Give the kernel that runs this, if one does."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None)


def frontend() -> Literal["notebook", "headless", "terminal"]:
    """Tell whether there is somebody who can click: ``headless`` is papermill, nbconvert and such.

    Who executes a notebook with nobody there says so with each cell: no input is allowed. Voilà
    does, too, and shows its pages to people all the same.
    """
    running = kernel()
    if running is None:
        return "terminal"
    return "notebook" if _allows_input(running) or is_voila() else "headless"


def stdin_allowed() -> bool:
    """Whether the person at the notebook can be asked for a line of text now."""
    running = kernel()
    return running is not None and _allows_input(running)


def comms_while_awaiting() -> bool:
    """Whether what a panel sends can arrive while a cell awaits something.

    ipykernel 6 handles nothing before the cell has ended; 7.0 and later do (measured).
    """
    ipykernel = sys.modules.get("ipykernel")
    version = getattr(ipykernel, "version_info", (7,))
    return bool(version[0] >= 7)


def _allows_input(running: Any) -> bool:
    return bool(getattr(running, "_allow_stdin", True))


def is_voila() -> bool:
    """Whether a person of this page is a visitor: each has a kernel, and all one system user."""
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila/")


CALLBACK = "labextensions/mcpnb/callback.html"
"""The page that a browser is sent back to, where Jupyter's page is the redirect."""
ANYWIDGET = "labextensions/anywidget/package.json"
"""The front-end part of anywidget."""
WIDGET_MANAGER = "labextensions/@jupyter-widgets/jupyterlab-manager/package.json"
"""Shows widgets at all; ipywidgets brings it by jupyterlab_widgets."""


def user_data_folder() -> Path:
    """Give the person's own Jupyter data folder, whether or not it exists."""
    from jupyter_core.paths import jupyter_data_dir

    return Path(jupyter_data_dir())


def data_folders() -> tuple[Path, ...]:
    """List the folders in which Jupyter looks, the first that has a file wins, existing or not."""
    from jupyter_core.paths import jupyter_path

    return tuple(map(Path, jupyter_path()))


def installed(part: str, folders: tuple[Path, ...] | None = None) -> Path | None:
    """Find a part, such as `CALLBACK`, where Jupyter would; `None`: it is in no folder.

    Args:
        part: Its path beneath a data folder.
        folders: Where to look; left out: `data_folders`.
    """
    looked_in = data_folders() if folders is None else folders
    return next((path for path in (folder / part for folder in looked_in) if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be looked into
        return False
