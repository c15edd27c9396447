"""Where configuration files are, and how they are read and written."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from mcpnb.concurrency import file_lock
from mcpnb.errors import ConfigError
from mcpnb.text import sanitize

__all__ = [
    "File",
    "TooLarge",
    "all_files",
    "changing",
    "config_folder",
    "expanded",
    "folder_of",
    "project_files",
    "project_folders",
    "read_bytes",
    "read_project_bytes",
    "write_whole",
]

_MOST = 1024 * 1024
"""Bytes of a configuration file; real ones have a few kilobytes."""
# threat: project-bomb
_MOST_OF_A_PROJECT = 64 * 1024
"""Bytes of a project's: it is read, and understood, before anybody has agreed to it."""
_PROJECT = ("mcpnb.toml", ".codex/config.toml", ".mcp.json")


@dataclass(frozen=True, slots=True)
class File:
    """One place that may hold a configuration file."""

    path: Path
    kind: Literal["asked for", "project", "own", "codex"]


def config_folder() -> Path:
    """Give mcpnb's own folder among the configuration of this user (``MCPNB_HOME`` or not)."""
    return Path(platformdirs.user_config_path("mcpnb", appauthor=False))


def folder_of(path: Path) -> Path:
    """Give the folder that a configuration file belongs to: the project's, or the person's."""
    return path.parent.parent if path.parent.name == ".codex" else path.parent


def all_files(explicit: str | os.PathLike[str] | None) -> list[File]:
    """List the files to read, nearest first, whether or not they exist."""
    files: list[File] = []
    given = explicit or os.environ.get("MCPNB_CONFIG")
    if given:
        files.append(File(expanded(given), "asked for"))
    persons = [File(config_folder() / "config.toml", "own")]
    if (codex := _codex_home()) is not None:
        persons.append(File(codex / "config.toml", "codex"))
    known = {_real(file.path) for file in [*files, *persons]}
    # The person's own file is theirs from wherever it is looked at.
    files += [file for file in project_files() if _real(file.path) not in known]
    return files + persons


def expanded(path: str | os.PathLike[str]) -> Path:
    """Give a path with its ``~`` expanded; one of a user that does not exist stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def project_files(start: Path | None = None) -> list[File]:
    """List the files of the project that a folder belongs to, nearest first.

    The home folder's own files are the person's and no project's, and nothing above it is looked
    at.
    """
    return [
        File(folder / name, "project")
        for folder in project_folders(start)
        for name in _PROJECT
        if _is_file(folder / name)
    ]


def project_folders(start: Path | None = None) -> list[Path]:
    """List the folders of a project, without links: up to the one with ``.git``.

    Without such a one, the folder itself only.
    """
    try:
        first = (start or Path.cwd()).resolve()
    except OSError:  # the working folder is gone
        return []
    home = _home()
    stop = _real(home) if home is not None else None
    folders = [first]
    for folder in (first, *first.parents):
        # threat: project-above-home
        if folder == stop:
            break
        if _exists(folder / ".git"):
            folders = [f for f in (first, *first.parents) if f.is_relative_to(folder)]
            break
    return [] if first == stop else folders


class TooLarge(OSError):
    """A file has more than a configuration can have."""


def read_project_bytes(path: Path) -> bytes:
    """Read a project's file; less of it than of a person's own.

    Raises:
        TooLarge: It has more than a project's configuration can have.
        OSError: It cannot be read, or is no file.
    """
    return read_bytes(path, most=_MOST_OF_A_PROJECT)


def read_bytes(path: Path, *, most: int = _MOST) -> bytes:
    """Read a file of a size that a configuration can have.

    Args:
        path: The file.
        most: Bytes that it may have.

    Raises:
        TooLarge: It has more.
        OSError: It cannot be read, or is no file.
    """
    # A pipe would wait for ever, a device never end: a project's files are anybody's.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no file")
        data = file.read(most + 1)
    if len(data) > most:
        raise TooLarge(f"it has more than {most // 1024} KiB")
    return data


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder on the way up that may not be looked into
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # none at all
        return None


def _codex_home() -> Path | None:
    """Give Codex's folder: ``CODEX_HOME``, where that says something, as Codex itself has it."""
    if given := os.environ.get("CODEX_HOME"):
        folder = expanded(given)
        # A relative one is another folder in each project: what lies there has to be trusted.
        # threat: relative-codex-home
        return folder if folder.is_absolute() else None
    home = _home()
    return None if home is None else home / ".codex"


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path


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
            f"{sanitize(path, 1_000)} is being changed by another mcpnb, for more than "
            f"{_PATIENCE:g} seconds by now. Nothing was changed: try again."
        ) from None
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"{sanitize(path, 1_000)} cannot be changed: no lock can be had for it ({error}), and "
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
