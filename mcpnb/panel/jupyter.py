"""Putting the panel's parts where every Jupyter of a person looks: into their own data folder.

Kernel and Jupyter in different environments is the normal case on workstations: Jupyter then has
neither the page that hands answers over nor what shows an anywidget. Both are read from the folder
at each request, so a reload of the page is enough (measured).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from mcpnb.environment import user_data_folder
from mcpnb.errors import ConfigError

_PAGE = Path("labextensions/mcpnb/callback.html")
_PARTS = {
    "anywidget": Path("labextensions/anywidget"),
    "jupyterlab_widgets": Path("labextensions/@jupyter-widgets/jupyterlab-manager"),
}
"""What shows the panel, and the installed package that brings it."""
_MARK = "placed-by-mcpnb"
"""Marks a folder as copied by mcpnb. A folder without it is another's: pip's with ``--user``."""


def install() -> list[Path]:
    """Put the page and what shows the panel into the person's own Jupyter data folder.

    What is there already from elsewhere stays: it shows the panel as well.

    Returns:
        What is in place now.

    Raises:
        ConfigError: It cannot be written, or this environment does not have the parts itself.
    """
    folder = user_data_folder()
    try:
        page = folder / _PAGE
        page.parent.mkdir(parents=True, exist_ok=True)
        ours = not page.exists() or (page.parent / _MARK).exists()
        _write(page, files("mcpnb.panel").joinpath("callback.html").read_bytes())
        if ours:
            (page.parent / _MARK).touch()
        for package, part in _PARTS.items():
            if not (folder / part).exists() or (folder / part / _MARK).exists():
                _copy(_own(package, part), folder / part)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written ({error.strerror}). It is your own Jupyter folder; "
            "JUPYTER_DATA_DIR names another one."
        ) from None
    return [folder / part for part in (_PAGE, *_PARTS.values())]


def remove() -> list[Path]:
    """Take out what `install` put there, and nothing else. Return that.

    Raises:
        ConfigError: It cannot be taken out.
    """
    folder = user_data_folder()
    parts = [folder / part for part in (_PAGE.parent, *_PARTS.values())]
    found = [part for part in parts if (part / _MARK).exists()]
    try:
        for part in found:
            shutil.rmtree(part)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be changed ({error.strerror}).") from None
    return found


def _own(package: str, part: Path) -> Path:
    """Find a part in this environment: where its package was installed to."""
    beneath = Path("share/jupyter") / part
    for prefix in (sys.prefix, sys.base_prefix):
        if (Path(prefix) / beneath / "package.json").is_file():
            return Path(prefix) / beneath
    for file in distribution(package).files or []:
        if file.as_posix().endswith(f"{beneath.as_posix()}/package.json"):
            return Path(str(file.locate())).parent
    raise ConfigError(
        f"{package} is installed here without the part that Jupyter shows it with. Install it "
        f"anew: {sys.executable} -m pip install --force-reinstall --no-deps {package}"
    )


def _copy(source: Path, target: Path) -> None:
    """Put a folder in the place of an earlier one; who reads meanwhile finds one of the two."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".mcpnb-") as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        shutil.copytree(source, new)
        (new / _MARK).touch()
        if target.exists():
            target.rename(old)
        new.rename(target)


def _write(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".mcpnb-", delete=False) as temporary:
        temporary.write(content)
    Path(temporary.name).chmod(0o644)  # Jupyter may run as another user
    Path(temporary.name).replace(path)
