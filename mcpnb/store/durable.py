"""Writing a file whole or not at all, for nobody else to read, and for a power cut to keep."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

__all__ = ["write_file"]


def write_file(path: Path, content: bytes) -> None:
    """Put a file of mode 0600 in the place of an earlier one.

    Temporary file, fsync, rename, fsync of the folder: who reads without a lock never sees half of
    it, and a full disk leaves the earlier one as it was.

    Raises:
        OSError: It could not be written.
    """
    # mkstemp makes it with mode 0600: readable to nobody else at any instant.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows has no handle on a folder to flush
        return
    # Some file systems cannot flush a folder; the file is in its place by now all the same.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
