"""Files of this person, written whole or not at all, by one process at a time."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from mcpnb.errors import ConfigError, plain
from mcpnb.locks import file_lock

__all__ = ["changing", "write_whole"]

_PATIENCE = 10.0
"""Seconds; a change takes milliseconds."""


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Be the only one of mcpnb's processes who reads a file to write it again.

    Raises:
        ConfigError: Another one does and does not end, or there are no locks to be had.
    """
    try:
        lock = file_lock(_lock_of(path), _PATIENCE)
    except TimeoutError:
        raise ConfigError(
            f"{plain(path, 1_000)} is being changed by another mcpnb, for more than "
            f"{_PATIENCE:g} seconds by now. Nothing was changed: try again."
        ) from None
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"{plain(path, 1_000)} cannot be changed: no lock can be had for it ({error}), and "
            "without one two programs could lose an entry to each other."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _lock_of(path: Path) -> Path:
    """Name the lock's file: in a folder of ours, so that nobody's repository finds it."""
    real = path.resolve()
    folder = Path(platformdirs.user_state_path("mcpnb", appauthor=False)) / "locks"
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        # A container's home, say. Who can write the file can put a lock beside it.
        real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return real.parent / f".{real.name}.lock"
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:32]
    return folder / f"config-{digest}.lock"


def write_whole(path: Path, text: str) -> None:
    """Put a text in the place of an earlier one: same mode, or 0600 for a new file.

    Raises:
        ConfigError: It could not be written. An earlier file is as it was.
    """
    try:
        # Where it is a link, as those do who keep such files elsewhere, it stays one.
        real = path.resolve()
        real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=real.parent, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            if real.exists():
                Path(temporary).chmod(stat.S_IMODE(real.stat().st_mode))
            Path(temporary).replace(real)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{path} cannot be written: {error}.") from None
