"""Which project files a person has looked at and agreed to: by path and content.

Kept in mcpnb's configuration folder, beside ``config.toml`` and not in ``MCPNB_HOME``: it is about
files, not about logins. A file for each agreement, so that two of them never lose one another.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from mcpnb.config.places import config_folder, read_bytes
from mcpnb.config.writing import write_whole

__all__ = ["is_trusted", "trust"]


def is_trusted(path: Path, content: bytes) -> bool:
    """Whether just this content was agreed to at just this place."""
    real = path.resolve()
    note = _note(real)
    try:
        # Another user's word is not this one's.
        if os.name == "posix" and note.stat().st_uid != os.geteuid():
            return False
        said = json.loads(read_bytes(note))
    except (OSError, ValueError):
        return False
    return bool(said == _agreement(real, content))


def trust(path: Path, content: bytes) -> None:
    """Keep that the person agrees to this content at this place.

    Raises:
        ConfigError: It cannot be written.
    """
    real = path.resolve()
    write_whole(_note(real), json.dumps(_agreement(real, content), indent=2) + "\n")


def _agreement(real: Path, content: bytes) -> dict[str, str]:
    return {"path": str(real), "sha256": hashlib.sha256(content).hexdigest()}


def _note(real: Path) -> Path:
    name = hashlib.sha256(os.fsencode(real)).hexdigest()[:32]
    return config_folder() / "trusted" / f"{name}.json"
