"""Adding and removing entries of a configuration file. All else stays as it was written."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import dropwhile, pairwise
from pathlib import Path
from typing import Any

import platformdirs

from mcpnb.concurrency import file_lock
from mcpnb.config.files import File, config_folder, expanded, write_whole
from mcpnb.config.parse import document_of
from mcpnb.errors import ConfigError
from mcpnb.text import sanitize

_SERVERS = "mcp_servers"
_PATIENCE = 10.0
"""Seconds to wait for a lock. A change takes milliseconds."""


def user_file(explicit: str | os.PathLike[str] | None = None) -> Path:
    """Return the file that `add_server` writes to: the one asked for, else the person's own.

    Raises:
        ConfigError: It is not a TOML file.
    """
    path = expanded(explicit) if explicit else config_folder() / "config.toml"
    if path.suffix == ".json":
        raise ConfigError(f"{sanitize(path, 1_000)}: mcpnb writes only to TOML files.")
    return path


def add_server(path: Path, name: str, values: dict[str, Any], *, replace: bool = True) -> bool:
    """Write an entry, unless there is one of that name that it may not replace.

    The file is read and written under a lock, so that several programs that add at once lose
    nothing. It is made with mode 0600 if it does not exist.

    Returns:
        Whether it was written.

    Raises:
        ConfigError: The file cannot be read, understood or written.
    """
    with changing(path):
        text, document = _read(path)
        end = "\r\n" if "\r\n" in text else "\n"
        block = _block(name, values).replace("\n", end)
        if name not in document[_SERVERS]:
            between = "" if not text else end if text.endswith("\n") else end * 2
            changed = text + between + block
        elif not replace:
            return False
        else:
            before, behind = _around(text, name)
            # Nothing else of it stays: a header or a client id is not for the new address.
            changed = before + block + (end + behind if behind else "")
        document[_SERVERS][name] = values
        _write(path, text, changed, document, f"write its entry yourself:\n\n{block}")
    return True


def remove_server(path: Path, name: str) -> bool:
    """Remove an entry; return whether there was one. Comments and everything else stay.

    Raises:
        ConfigError: The file cannot be read, understood or written.
    """
    with changing(path):
        text, document = _read(path)
        if document[_SERVERS].pop(name, None) is None:
            return False
        before, behind = _around(text, name)
        if not behind and before.endswith(("\n\n", "\r\n\r\n")):
            before = before[: -2 if before.endswith("\r\n") else -1]  # each entry brings its own
        _write(path, text, before + behind, document, f"remove {_SERVERS}.{name} there.")
    return True


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Hold the lock of a file, to read it and write it again.

    Raises:
        ConfigError: Another process holds the lock for too long, or there can be no lock.
    """
    shown = sanitize(path, 1_000)
    try:
        lock = file_lock(_lock_of(path), _PATIENCE)
    except TimeoutError:
        raise ConfigError(
            f"{shown} is being changed by another mcpnb, for {_PATIENCE:g} seconds already. "
            "Nothing was changed: try again."
        ) from None
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"{shown} cannot be changed: it cannot be locked ({error}), and without a lock two "
            "programs could overwrite each other's entries."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _lock_of(path: Path) -> Path:
    """Return the lock's file. It is in a folder of ours, so that no repository gets a new file."""
    real = path.resolve()
    folder = Path(platformdirs.user_state_path("mcpnb", appauthor=False)) / "locks"
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        # A container's home, for example. Whoever can write the file can put a lock next to it.
        real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return real.parent / f".{real.name}.lock"
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:32]
    return folder / f"config-{digest}.lock"


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the text of a file, and its document with a table of servers."""
    file = File(path, "own")
    try:
        content = file.read()
    except FileNotFoundError:
        return "", {_SERVERS: {}}
    except OSError as error:
        raise ConfigError(f"{file.shown} cannot be read: {error}.") from None
    document = {_SERVERS: {}, **document_of(file, content)}
    if not isinstance(document[_SERVERS], dict):
        raise ConfigError(f"{file.shown}: {_SERVERS} has to be a table.")
    return content.decode("utf-8-sig"), document


def _write(path: Path, before: str, text: str, wanted: dict[str, Any], instead: str) -> None:
    """Write a text, if it means what is wanted and nothing else."""
    try:
        # An emptied table may stay or go.
        right = {_SERVERS: {}, **tomllib.loads(text)} == wanted
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise ConfigError(
            f"{sanitize(path, 1_000)} is written in a way that mcpnb does not change. Nothing was "
            f"changed: {instead}"
        )
    if text != before:
        write_whole(path, text)


def _block(name: str, values: dict[str, Any]) -> str:
    import tomlkit

    servers = tomlkit.table(is_super_table=True)
    servers[name] = values
    return tomlkit.dumps({_SERVERS: servers})


def _around(text: str, name: str) -> tuple[str, str]:
    """Return the text before and behind an entry, with the comments within it.

    The comment above the next table is that table's. `_write` notices where a line only looks like
    a table's header: in a text of several lines, for example.
    """
    lines = text.splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if _header(line)]
    kept: list[str] = []
    place = len(lines)
    for start, end in pairwise([0, *starts, len(lines)]):
        section, size = lines[start:end], end - start
        if not section or _header(section[0])[:2] != [_SERVERS, name]:
            kept += section
            continue
        while section[size - 1].strip() == "" or _is_comment(section[size - 1]):
            size -= 1
        kept += filter(_is_comment, section[:size])
        place = len(kept)
        kept += dropwhile(lambda line: not line.strip(), section[size:])
    return "".join(kept[:place]), "".join(kept[place:])


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _header(line: str) -> list[str]:
    """Return the path of the table that a line begins; empty if it begins none."""
    if not line.lstrip().startswith("["):
        return []
    try:
        table: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return []
    path: list[str] = []
    while table:
        ((key, table),) = table.items()
        table = table[0] if isinstance(table, list) else table
        path.append(key)
    return path
