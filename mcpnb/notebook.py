"""What the notebook kernel that runs this can do; read without importing anything of Jupyter's."""

from __future__ import annotations

import os
import sys
from typing import Any, Literal

__all__ = ["asks", "hears_while_awaiting", "is_voila", "kernel", "place"]


def kernel() -> Any | None:
    """Give the kernel that runs this, if one does."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None)


def place() -> Literal["notebook", "headless", "terminal"]:
    """Tell whether there is somebody who can click: ``headless`` is papermill, nbconvert and such.

    Who executes a notebook with nobody there says so with each cell: no input is allowed. Voilà
    does, too, and shows its pages to people all the same.
    """
    running = kernel()
    if running is None:
        return "terminal"
    return "notebook" if _allows_input(running) or is_voila() else "headless"


def asks() -> bool:
    """Whether the person at the notebook can be asked for a line of text now."""
    running = kernel()
    return running is not None and _allows_input(running)


def hears_while_awaiting() -> bool:
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
