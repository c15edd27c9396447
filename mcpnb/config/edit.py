"""Adding and removing entries of a configuration file; all else stays as it was written."""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcpnb.config.files import changing, config_folder, expanded, read_bytes, write_whole
from mcpnb.config.schema import toml_headers
from mcpnb.errors import ConfigError
from mcpnb.text import quote

__all__ = ["add_server", "has_server", "remove_server", "user_file"]

_SERVERS = "mcp_servers"


def user_file(explicit: str | os.PathLike[str] | None = None) -> Path:
    """Give the file that `add_server` writes to: the one asked for, else the person's own.

    Raises:
        ConfigError: It is not a TOML file.
    """
    path = expanded(explicit) if explicit else config_folder() / "config.toml"
    if path.suffix == ".json":
        raise ConfigError(f"{path}: only TOML files are written to.")
    return path


def add_server(path: Path, name: str, values: dict[str, Any], *, force: bool = True) -> None:
    """Write an entry, in the place of one of that name if there is one.

    The file is read and written under a lock: of several programs that add at once, none loses what
    another one wrote.

    Args:
        path: The file; made with mode 0600 where there is none.
        name: The server's name.
        values: Its keys; tables as dicts.
        force: Whether it may take the place of another one.

    Raises:
        ConfigError: The file cannot be read, understood or written; or has such an entry.
    """
    with changing(path):
        _add(path, name, values, force=force)


def _add(path: Path, name: str, values: dict[str, Any], *, force: bool) -> None:
    text = _text(path)
    before = _parsed(path, text)
    servers = _servers(path, before)
    if name in servers and not force:
        raise ConfigError(
            f"{path} has an entry {quote(name, 80)} already. --force takes its place."
        )
    wanted = {**before, _SERVERS: {**servers, name: values}}
    ways = [lambda: _appended(text, name, values), lambda: _set(text, name, values)]
    if name in servers:
        ways = [lambda: _kept(_replaced(text, name, values), text)]
        ways += [lambda: _exchanged(text, name, values), lambda: _replaced(text, name, values)]
    _write(path, text, wanted, ways)


def has_server(path: Path, name: str) -> bool:
    """Whether the file itself has an entry of that name, of whatever kind.

    Raises:
        ConfigError: The file cannot be read or understood.
    """
    return name in _servers(path, _parsed(path, _text(path)))


def remove_server(path: Path, name: str) -> bool:
    """Take an entry out; comments and everything else stay.

    Returns:
        Whether there was one.

    Raises:
        ConfigError: The file cannot be read, understood or written.
    """
    with changing(path):
        return _remove(path, name)


def _remove(path: Path, name: str) -> bool:
    text = _text(path)
    before = _parsed(path, text)
    servers = _servers(path, before)
    if name not in servers:
        return False
    rest = {key: value for key, value in servers.items() if key != name}
    wanted = {**before, _SERVERS: rest}
    _write(path, text, wanted, [lambda: _taken_out(text, name), lambda: _dropped(text, name)])
    return True


def _text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None


def _servers(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    servers = document.get(_SERVERS, {})
    if not isinstance(servers, dict):
        raise ConfigError(f"{path}: {_SERVERS} has to be a table.")
    return servers


def _write(path: Path, before: str, wanted: dict[str, Any], ways: list[Callable[[], str]]) -> None:
    """Write the first text that says what is wanted, and nothing else."""
    for way in ways:
        try:
            text = way()
            if _same(tomllib.loads(text), wanted):
                break
        except Exception:  # noqa: BLE001, S112  tomlkit's own, for spellings it cannot change
            continue
    else:
        raise ConfigError(f"{path} is written in a way that cannot be changed here: edit it.")
    if text != before:
        write_whole(path, text)


def _same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    # An emptied table may stay or go.
    return {_SERVERS: {}, **found} == wanted


def _ends(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _appended(text: str, name: str, values: dict[str, Any]) -> str:
    """Put a new entry at the end: nothing that stands there is touched."""
    end = _ends(text)
    between = "" if not text else end if text.endswith("\n") else end * 2
    return text + between + _block(name, values).replace("\n", end)


def _block(name: str, values: dict[str, Any]) -> str:
    import tomlkit

    document = tomlkit.document()
    servers = tomlkit.table(is_super_table=True)
    servers[name] = values
    document[_SERVERS] = servers
    return tomlkit.dumps(document)


def _set(text: str, name: str, values: dict[str, Any]) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    document[_SERVERS][name] = values
    return tomlkit.dumps(document)


def _replaced(text: str, name: str, values: dict[str, Any]) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    table: Any = document[_SERVERS][name]
    for key in [key for key in table if key not in values]:
        # What was for the other address, a header or a client id, does not go to the new one.
        del table[key]
    for key, value in values.items():
        if table.get(key) != value:
            table[key] = value
    return tomlkit.dumps(document)


def _kept(changed: str, before: str) -> str:
    """Give the changed text, if no line of comment went with what was changed."""
    lost = _comments(before) - _comments(changed)
    if lost:
        raise ValueError(lost)
    return changed


def _comments(text: str) -> Counter[str]:
    return Counter(line.strip() for line in text.splitlines() if line.lstrip().startswith("#"))


def _exchanged(text: str, name: str, values: dict[str, Any]) -> str:
    """Put the new entry where the old one began."""
    first = next(line for line, path in toml_headers(text) if path[:2] == (_SERVERS, name))
    lines = _cut(text, name).splitlines(keepends=True)
    end = _ends(text)
    lines.insert(first - 1, (_block(name, values) + "\n").replace("\n", end))
    return "".join(lines)


def _dropped(text: str, name: str) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    del document[_SERVERS][name]
    return tomlkit.dumps(document)


def _taken_out(text: str, name: str) -> str:
    left, end = _cut(text, name), _ends(text)
    # At the end of the file the blank line above it goes, too: each new entry brings its own.
    return left.removesuffix(end) if text.startswith(left) and left.endswith(end * 2) else left


def _cut(text: str, name: str) -> str:
    """Cut the entry's tables out, up to the comment that stands above the next one.

    To tomlkit that comment is part of the table before it, and would go with it.
    """
    lines = text.splitlines(keepends=True)
    headers = toml_headers(text)
    starts = [number for number, _ in headers] + [len(lines) + 1]
    for (start, path), end in reversed(list(zip(headers, starts[1:], strict=True))):
        if path[:2] != (_SERVERS, name):
            continue
        last = end - 1
        while last > start and _is_blank_or_comment(lines[last - 1]):
            last -= 1
        # Blank lines go with the entry, the comments after them stay.
        while last < end - 1 and not lines[last].strip():
            last += 1
        del lines[start - 1 : last]
    return "".join(lines)


def _is_blank_or_comment(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")
