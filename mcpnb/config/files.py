"""Where configuration files are, and how one is read and written."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from mcpnb.errors import ConfigError
from mcpnb.storage.atomic import write_file
from mcpnb.text import sanitize

_MOST = 1024 * 1024
"""Bytes of a configuration file. Real ones have a few kilobytes."""
# threat: project-bomb
_MOST_OF_A_PROJECT = 64 * 1024
"""Bytes of a project's file, which is read and parsed before anybody has agreed to it."""
_PROJECT = ("mcpnb.toml", ".codex/config.toml", ".mcp.json")


class TooLarge(OSError):
    """A file is larger than a configuration can be."""


@dataclass(frozen=True, slots=True)
class File:
    """One place that may hold a configuration file."""

    path: Path
    """Of a project's file, the folder has no symbolic links. Trust is recorded for this path."""
    kind: Literal["asked for", "project", "own", "codex"]

    @property
    def shown(self) -> str:
        """The path, safe in a message: a folder's name may hold anything."""
        return sanitize(self.path, 1_000)

    @property
    def is_json(self) -> bool:
        """Whether it has the format of ``.mcp.json``, and not that of ``config.toml``."""
        return self.path.suffix == ".json"

    @property
    def top(self) -> str:
        """The key that its servers are under."""
        return "mcpServers" if self.is_json else "mcp_servers"

    @property
    def is_needed(self) -> bool:
        """Whether nothing works if it is wrong: what it limits would be without limits."""
        return self.kind in ("asked for", "own")

    def read(self) -> bytes:
        """Return the content. Raises as `read_bytes`."""
        return read_bytes(self.path, most=_MOST_OF_A_PROJECT if self.kind == "project" else _MOST)


def config_folder() -> Path:
    """Return mcpnb's folder in this user's configuration. ``MCPNB_HOME`` does not move it."""
    return Path(platformdirs.user_config_path("mcpnb", appauthor=False))


def folder_of(path: Path) -> Path:
    """Return the folder that a configuration file belongs to: a project's, or the person's."""
    return path.parent.parent if path.parent.name == ".codex" else path.parent


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with its ``~`` expanded, if that user exists."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  pathlib raises if there is no such user


def all_files(explicit: str | os.PathLike[str] | None) -> list[File]:
    """Return the files to read, nearest first, whether or not they exist.

    Raises:
        ConfigError: ``MCPNB_CONFIG`` is a relative path.
    """
    given = explicit or os.environ.get("MCPNB_CONFIG")
    asked_for = [File(expanded(given), "asked for")] if given else []
    # A relative path is another file in each project, and nobody has agreed to that one.
    # threat: relative-codex-home
    if asked_for and not explicit and not asked_for[0].path.is_absolute():
        raise ConfigError("MCPNB_CONFIG is a relative path. Set it to the whole path of a file.")
    persons = [File(config_folder() / "config.toml", "own")]
    if (codex := _codex_folder()) is not None:
        persons.append(File(codex / "config.toml", "codex"))
    # The person's own file is no project's, whatever the working folder is.
    known = {_real(file.path) for file in asked_for + persons}
    projects = [file for file in project_files() if _real(file.path) not in known]
    return asked_for + projects + persons


def project_files(start: Path | None = None) -> list[File]:
    """Return the files of the project that a folder belongs to, nearest first."""
    return [
        File(folder / name, "project")
        for folder in project_folders(start)
        for name in _PROJECT
        if os.path.isfile(folder / name)  # noqa: PTH113  False where it may not be looked into
    ]


def project_folders(start: Path | None = None) -> list[Path]:
    """Return the folders of a project, without links: up to the one with ``.git``.

    Without ``.git`` this is only the folder itself. The home folder is no project, and no folder
    above it is searched.
    """
    try:
        first = (start or Path.cwd()).resolve()
    except OSError:  # the working folder is gone
        return []
    home = _home()
    stop = _real(home) if home is not None else None
    folders: list[Path] = []
    for folder in (first, *first.parents):
        # threat: project-above-home
        if folder == stop:
            break
        folders.append(folder)
        if os.path.exists(folder / ".git"):  # noqa: PTH110  as above
            return folders
    return folders[:1]


def _home() -> Path | None:
    home = expanded("~")
    return home if home.is_absolute() else None  # some users have none


def _codex_folder() -> Path | None:
    """Return Codex's folder: ``CODEX_HOME`` where it is set, as Codex does."""
    if given := os.environ.get("CODEX_HOME"):
        folder = expanded(given)
        # A relative path is another folder in each project, and its files need trust.
        # threat: relative-codex-home
        return folder if folder.is_absolute() else None
    home = _home()
    return None if home is None else home / ".codex"


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # pathlib raises for links that lead to each other


def read_bytes(path: Path, *, most: int = _MOST) -> bytes:
    """Read a file of at most so many bytes.

    Raises:
        TooLarge: It has more.
        OSError: It cannot be read, or is not a regular file.
    """
    # A pipe would wait for ever and a device never end, and anybody may have made the file.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no file")
        data = file.read(most + 1)
    if len(data) > most:
        raise TooLarge(f"it has more than {most // 1024} KiB")
    return data


def write_whole(path: Path, text: str) -> None:
    """Replace a file's text. The mode stays as it was; a new file gets 0600.

    Raises:
        ConfigError: It could not be written. An earlier file is unchanged.
    """
    try:
        real = path.resolve()  # a link stays a link: some people keep these files elsewhere
        real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(real.stat().st_mode) if real.exists() else 0o600
        write_file(real, text.encode(), mode=mode)
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{sanitize(path, 1_000)} cannot be written: {error}.") from None
