"""Where the program of a configured command is: as a whole path, before anything is started.

Windows itself looks into the working folder before it looks at the PATH, and so does Python's
`shutil.which` there: a folder that somebody else wrote could put its own program in the place of
the one that is meant.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["first_word", "program_path"]

_WINDOWS = os.name == "nt"
_ENDINGS = ".COM;.EXE;.BAT;.CMD"


def first_word(command_line: str) -> str:
    """Give the program of a Windows command line, as Windows takes it apart.

    In quotation marks up to the next one, else up to the first space.
    """
    text = command_line.lstrip()
    if text.startswith('"'):
        return text[1:].partition('"')[0]
    return (text.split(maxsplit=1) or [""])[0]


def program_path(
    word: str, folder: Path, environ: Mapping[str, str] = os.environ, *, windows: bool = _WINDOWS
) -> Path | None:
    """Find a program: a path as it is or beneath `folder`, a bare name in the PATH's own folders.

    Args:
        word: What the command begins with.
        folder: What a relative path is relative to; the working folder has no say.
        environ: Has ``PATH``, on Windows ``PATHEXT`` and ``USERPROFILE``, too.
        windows: Whose rules hold.

    Returns:
        Its path, or `None` for a bare name that no absolute folder of the PATH has.
    """
    program = os.path.expanduser(word)  # noqa: PTH111  a bare name stays one
    marks = "/\\:" if windows else "/"
    if any(mark in program for mark in marks):
        return folder / program
    separator = ";" if windows else ":"
    path = environ.get("PATH", os.defpath)
    for place in path.split(separator):
        # An empty or relative one is the working folder, or lies beneath it.
        # threat: helper-of-the-working-folder
        if not os.path.isabs(place):  # noqa: PTH117  as it stands, a drive's letter included
            continue
        for ending in _endings(program, environ) if windows else ("",):
            found = Path(place, program + ending)
            if found.is_file() and os.access(found, os.X_OK):
                return found
    return None


def _endings(program: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    known = tuple(e for e in (environ.get("PATHEXT") or _ENDINGS).split(";") if e)
    has_one = program.lower().endswith(tuple(ending.lower() for ending in known))
    return ("",) if has_one else known
