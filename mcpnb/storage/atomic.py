"""Files that are written whole or not at all, readable only to this user, safe in a power cut."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

TEMPORARY = ".new-"
"""Prefix of a file that is being written. A killed writer leaves it behind."""
_MOST = 4 * 1024 * 1024


def read_file(path: Path) -> tuple[bytes, int]:
    """Return the content and the mode of a file of this user.

    Raises:
        OSError: It cannot be read.
        PermissionError: It is another user's. Whoever put it there may have chosen its content.
    """
    # A link would let whoever made it choose the file; opening a pipe would block for ever.
    # threat: symlink-in-the-store
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        # threat: file-of-another-user
        _check_owner(found)
        return file.read(_MOST), found.st_mode


def check_folder(folder: Path) -> None:
    """Check that a folder is this user's, and that nobody else may add or remove files there.

    Whoever can, could take a login away, wait for the sign-out, and put it back.

    Raises:
        OSError: It cannot be looked at.
        PermissionError: It is not, or somebody can: in a sticky folder, too, anybody may add files.
    """
    found = folder.stat()
    _check_owner(found)
    # threat: shared-store-folder
    if os.name == "posix" and found.st_mode & 0o022:
        raise PermissionError(
            errno.EPERM,
            f"others may write to it (mode {stat.S_IMODE(found.st_mode):o}); run chmod 700 on it",
        )


def _check_owner(found: os.stat_result) -> None:
    if os.name == "posix" and found.st_uid != os.geteuid():
        raise PermissionError(
            errno.EPERM, f"it belongs to user {found.st_uid}, and this is user {os.geteuid()}"
        )


def remove_file(path: Path) -> None:
    """Remove a file, if it exists, so that it stays removed after a power cut. Raises `OSError`."""
    path.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file with a mode, replacing an earlier one.

    Temporary file, fsync, rename, fsync of the folder: a reader without a lock never sees half of
    it, and a full disk leaves the earlier file unchanged.

    Raises:
        OSError: It could not be written.
    """
    # mkstemp creates it with mode 0600: at no instant can others read it.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode != 0o600:
            Path(temporary).chmod(mode)
        # threat: temporary-file-left
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows has no handle on a folder to flush
        return
    # Some file systems cannot flush a folder. The file is in its place nevertheless.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
