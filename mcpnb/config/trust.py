"""Which project files a person has looked at and agreed to: by path and content.

The path is that of the folder that the file was found in, without links, and the file's name there.
Where the name is a link (or ``.codex`` is), it is not followed: a hostile folder that points at
somebody's trusted file has not been looked at, and a helper's relative path would mean a program of
the hostile folder. A link that somebody did agree to counts as long as its content stays the same.

Kept in mcpnb's configuration folder, beside ``config.toml`` and not in ``MCPNB_HOME``: it is about
files, not about logins. A file for each agreement, so that two of them never lose one another.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from mcpnb.config.files import config_folder, folder_of, project_folders, read_bytes, write_whole
from mcpnb.errors import ConfigError
from mcpnb.text import sanitize

__all__ = ["is_trusted", "trust", "withdraw"]


def is_trusted(path: Path, content: bytes) -> bool:
    """Whether just this content was agreed to at just this place."""
    place = _place(path)
    note = _note(place)
    try:
        # Another user's word is not this one's.
        if os.name == "posix" and note.stat().st_uid != os.geteuid():
            return False
        said = json.loads(read_bytes(note))
    except (OSError, ValueError):
        return False
    # threat: project-changed-after-trust
    return bool(said == _agreement(place, content))


def trust(path: Path, content: bytes) -> None:
    """Keep that the person agrees to this content at this place.

    Raises:
        ConfigError: It cannot be written.
    """
    place = _place(path)
    write_whole(_note(place), json.dumps(_agreement(place, content), indent=2) + "\n")


def withdraw(folder: Path | None = None) -> list[Path]:
    """Take back what was agreed to of a folder's project, also for files that are no more.

    Returns:
        The files that counted, or would if they were there as they were.

    Raises:
        ConfigError: An agreement cannot be removed.
    """
    folders = set(project_folders(folder))
    withdrawn = []
    for note in sorted(_notes().glob("*.json")):
        place: Path | None = None
        with suppress(OSError, ValueError, KeyError, TypeError):  # of no use to anybody as it is
            place = Path(json.loads(read_bytes(note))["path"])
        if place is None or folder_of(place) not in folders:
            continue
        try:
            note.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{sanitize(place, 1_000)} is still trusted: {note} cannot be removed: "
                f"{error.strerror}."
            ) from None
        withdrawn.append(place)
    return withdrawn


def _agreement(place: Path, content: bytes) -> dict[str, str]:
    return {"path": str(place), "sha256": hashlib.sha256(content).hexdigest()}


def _place(path: Path) -> Path:
    folder = folder_of(path)
    # threat: project-trusted-elsewhere, trust-by-symlink
    return folder.resolve() / path.relative_to(folder)


def _note(place: Path) -> Path:
    name = hashlib.sha256(os.fsencode(place)).hexdigest()[:32]
    return _notes() / f"{name}.json"


def _notes() -> Path:
    return config_folder() / "trusted"
