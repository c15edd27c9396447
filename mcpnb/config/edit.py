"""Adding and removing entries of a configuration file. All else stays as it was written."""

from __future__ import annotations

import os
import tomllib
from itertools import dropwhile, pairwise
from pathlib import Path
from typing import Any

from mcpnb.config.files import changing, config_folder, expanded, read_bytes, write_whole
from mcpnb.errors import ConfigError
from mcpnb.text import quote

_SERVERS = "mcp_servers"


def user_file(explicit: str | os.PathLike[str] | None = None) -> Path:
    """Return the file that `add_server` writes to: the one asked for, else the person's own.

    Raises:
        ConfigError: It is not a TOML file.
    """
    path = expanded(explicit) if explicit else config_folder() / "config.toml"
    if path.suffix == ".json":
        raise ConfigError(f"{path}: mcpnb writes only to TOML files.")
    return path


def has_server(path: Path, name: str) -> bool:
    """Return whether the file itself has an entry of that name, of any kind.

    Raises:
        ConfigError: The file cannot be read.
    """
    return name in _read(path)[1][_SERVERS]


def add_server(path: Path, name: str, values: dict[str, Any], *, force: bool = True) -> None:
    """Write an entry, in the place of one of that name if there is one.

    The file is read and written under a lock, so that several programs that add at once lose
    nothing.

    Args:
        path: The file; made with mode 0600 if it does not exist.
        name: The server's name.
        values: Its keys; tables as dicts.
        force: Whether it may replace another entry.

    Raises:
        ConfigError: The file cannot be read, understood or written; or it has such an entry.
    """
    with changing(path):
        text, document = _read(path)
        end = "\r\n" if "\r\n" in text else "\n"
        block = _block(name, values).replace("\n", end)
        if name not in document[_SERVERS]:
            between = "" if not text else end if text.endswith("\n") else end * 2
            changed = text + between + block
        elif not force:
            raise ConfigError(
                f"{path} has an entry {quote(name, 80)} already. --force takes its place."
            )
        else:
            before, comments, behind = _around(text, name)
            # Nothing else of it stays: a header or a client id is not for the new address.
            changed = before + comments + block + (end + behind if behind else "")
        document[_SERVERS][name] = values
        _write(path, text, changed, document, f"write its entry yourself:\n\n{block}")


def remove_server(path: Path, name: str) -> bool:
    """Remove an entry. Comments and everything else stay.

    Returns:
        Whether there was one.

    Raises:
        ConfigError: The file cannot be read, understood or written.
    """
    with changing(path):
        text, document = _read(path)
        if document[_SERVERS].pop(name, None) is None:
            return False
        before, comments, behind = _around(text, name)
        if not comments + behind and before.endswith(("\n\n", "\r\n\r\n")):
            before = before[: -2 if before.endswith("\r\n") else -1]  # each entry brings its own
        _write(path, text, before + comments + behind, document, f"remove {_SERVERS}.{name} there.")
        return True


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the text of a file, and its document with a table of servers."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
        document = {_SERVERS: {}, **tomllib.loads(text)}
    except FileNotFoundError:
        return "", {_SERVERS: {}}
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None
    if not isinstance(document[_SERVERS], dict):
        raise ConfigError(f"{path}: {_SERVERS} has to be a table.")
    return text, document


def _write(path: Path, before: str, text: str, wanted: dict[str, Any], instead: str) -> None:
    """Write a text, if it means what is wanted and nothing else."""
    try:
        # An emptied table may stay or go.
        right = {_SERVERS: {}, **tomllib.loads(text)} == wanted
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise ConfigError(
            f"{path} is written in a way that mcpnb does not change. Nothing was changed: {instead}"
        )
    if text != before:
        write_whole(path, text)


def _block(name: str, values: dict[str, Any]) -> str:
    import tomlkit

    document = tomlkit.document()
    servers = tomlkit.table(is_super_table=True)
    servers[name] = values
    document[_SERVERS] = servers
    return tomlkit.dumps(document)


def _around(text: str, name: str) -> tuple[str, str, str]:
    """Return the text before an entry, the comments within it, and the text behind it.

    The comment above the next table is that table's. `_write` notices where a line only looks like
    a table's header: in a text of several lines, for example.
    """
    lines = text.splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if _header(line)]
    before, comments, behind = list[str](), list[str](), list[str]()
    outside: list[str] = before
    for start, end in pairwise([0, *starts, len(lines)]):
        section, size = lines[start:end], end - start
        if not section or _header(section[0])[:2] != [_SERVERS, name]:
            outside += section
            continue
        outside = behind
        while section[size - 1].strip() == "" or _is_comment(section[size - 1]):
            size -= 1
        comments += filter(_is_comment, section[:size])
        behind += dropwhile(lambda line: not line.strip(), section[size:])
    return "".join(before), "".join(comments), "".join(behind)


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _header(line: str) -> list[str]:
    """Return the path of the table that a line begins; empty if it begins none."""
    path: list[str] = []
    if line.lstrip().startswith("["):
        try:
            table: Any = tomllib.loads(line)
        except tomllib.TOMLDecodeError:
            return []
        while table:
            table = table[0] if isinstance(table, list) else table
            ((key, table),) = table.items() if table else (("", None),)
            path.append(key)
    return path
