"""Where Jupyter looks for its data, by its own library.

Jupyter may run in another environment than the kernel. The person's own folder is one that every
Jupyter of theirs looks into; what stands in the prefix of another Python cannot be seen from here.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "ANYWIDGET",
    "CALLBACK",
    "WIDGET_MANAGER",
    "data_folders",
    "installed",
    "user_data_folder",
]

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
