"""Which project files a person has looked at and agreed to, by path and content.

The path is the folder that the file was found in, without links, and the file's name there. If that
name is a link (or ``.codex`` is), the link is not followed: nobody has looked at a hostile folder
that points at a trusted file, and a helper's relative path would mean a program of the hostile
folder. A link that somebody did agree to counts as long as its content stays the same.

The notes are next to ``config.toml`` and not in ``MCPNB_HOME``: they are about files, not about
logins. Each agreement has a file of its own, so that two programs never overwrite each other's.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mcpnb.config import variables
from mcpnb.config.files import (
    File,
    config_folder,
    folder_of,
    project_folders,
    read_bytes,
    write_whole,
)
from mcpnb.config.parse import TOP, document_of, is_ours
from mcpnb.errors import ConfigError
from mcpnb.oauth.models import ServerConfig
from mcpnb.oauth.urls import origin_of
from mcpnb.text import MASK, sanitize

_MOST, _TAIL = 2_000, 600
"""Characters shown of one value, and how many of them are from the end of a longer one."""
_MOST_VALUES = 50
_HEADERS = ("http_headers", "headers")
_HELPERS = ("http_headers_helper", "headersHelper")
_OWN_LINE = ("url", "type", "env_http_headers", "bearer_token_env_var")
"""Keys that have a line of their own. Every other key is shown as it is."""


def counts(file: File, content: bytes) -> bool:
    """Return whether the entries of a file count.

    A project's only if the person agreed to exactly this content at exactly this place.
    """
    # threat: project-untrusted, project-shadows-a-name, audience-theft
    # threat: project-runs-a-helper, repository-root-planted
    return file.kind != "project" or _is_agreed_to(file.path, content)


def _is_agreed_to(path: Path, content: bytes) -> bool:
    note = _note(path)
    try:
        # Another user's agreement is not this person's.
        if os.name == "posix" and note.stat().st_uid != os.geteuid():
            return False
        found = json.loads(read_bytes(note))
    except (OSError, ValueError):
        return False
    # threat: project-changed-after-trust
    return isinstance(found, dict) and found.get("sha256") == _digest(content)


def withdraw(folder: Path | None = None) -> list[Path]:
    """Withdraw all agreements to a folder's project, also for files that no longer exist.

    Returns:
        The files that were trusted.

    Raises:
        ConfigError: An agreement cannot be removed.
    """
    folders = set(project_folders(folder))
    withdrawn = []
    for note in sorted(_notes().glob("*.json")):
        place: Path | None = None
        with suppress(OSError, ValueError, KeyError, TypeError):  # such a note trusts nothing
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


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _note(path: Path) -> Path:
    # The name alone says for which place it is. The path in it is for `withdraw`.
    # threat: project-trusted-elsewhere, trust-by-symlink
    name = _digest(os.fsencode(path))[:32]
    return _notes() / f"{name}.json"


def _notes() -> Path:
    return config_folder() / "trusted"


@dataclass(frozen=True, slots=True)
class Review:
    """One file that is not trusted, or not as it is now."""

    path: Path
    content: bytes
    lines: tuple[str, ...]
    """What it would change. Each is one line, and safe for a terminal."""
    problem: str = ""
    """Why it cannot be trusted at all."""

    def agree(self) -> None:
        """Trust exactly this content at exactly this place, whatever the file holds by now.

        Raises:
            ConfigError: It cannot be trusted, or the agreement cannot be written.
        """
        if self.problem:
            raise ConfigError(self.problem)
        # threat: project-swapped-during-review
        agreement = {"path": str(self.path), "sha256": _digest(self.content)}
        write_whole(_note(self.path), json.dumps(agreement, indent=2) + "\n")


def reviewed(file: File, content: bytes, known: Mapping[str, ServerConfig]) -> Review:
    """Return what a file would change. It may take the place of the servers known until now."""
    try:
        document = document_of(file, content)
    except ConfigError as error:
        return Review(file.path, content, (), str(error))
    tables = document.get(file.top)
    lines: list[str] = []
    if not file.is_json:
        lines += [f"{key} = {_shown(document[key])}" for key in TOP.used if key in document]
    for name, table in tables.items() if isinstance(tables, dict) else ():
        if isinstance(table, dict) and "url" in table and is_ours(file, table):
            lines += _entry(name, table, known)
        elif isinstance(table, dict):
            lines.append(f"{sanitize(name, 80)}: a command or another transport, not used by mcpnb")
    lines = lines or ["names no server"]
    # Its folder has no links in it, so a link is the file itself, or its .codex folder.
    if (real := file.path.resolve()) != file.path:
        lines.insert(0, f"is a link to {_cut(real)}")
    return Review(file.path, content, tuple(lines))


def _entry(name: str, table: dict[str, Any], known: Mapping[str, ServerConfig]) -> list[str]:
    url, resource = table["url"], table.get("oauth_resource")
    lines = [f"{sanitize(name, 80)}: {_shown(url)}"]
    for other, entry in known.items():
        # threat: project-shadows-a-name
        if other == name or _same(entry.url, url):
            by_address = "" if other == name else ", where the address itself is given"
            replaced = f"{sanitize(other, 80)} in {sanitize(entry.source)}{by_address}"
            lines.append(f"    takes the place of {replaced}")
            if entry.enabled_tools or entry.disabled_tools:
                lines.append("    and of the limits that you have set there on its tools")
    # threat: audience-theft
    if isinstance(resource, str) and _parts(resource)[:3] != _parts(str(url))[:3]:
        lines.append(
            f"    asks for tokens that are meant for {_shown(resource)}, and sends them to the "
            "address above"
        )
    lines += [f"    uses the environment variable {_cut(v)}" for v in _variables(table)]
    for key, value in table.items():
        if key in _HELPERS:
            lines.append(
                f"    runs the command {_shown(value)} (mcpnb does not check what the program does)"
            )
        elif key in _HEADERS:
            lines.append(f"    sends the headers {_cut(', '.join(_dict(table, key)))}")
        elif key == "oauth" and isinstance(value, dict):
            lines += [f"    oauth.{sanitize(k, 80)} = {_masked(k, v)}" for k, v in value.items()]
        elif key not in _OWN_LINE:
            lines.append(f"    {sanitize(key, 80)} = {_masked(key, value)}")
    return lines


def _same(known: str, url: object) -> bool:
    """Return whether two addresses lead to one server, however they are spelled."""
    # A variable can make any address of it. The default is what can be compared.
    return isinstance(url, str) and _parts(known) == _parts(variables.with_defaults(url))


def _parts(url: str) -> tuple[object, ...]:
    """Return scheme, host, port, path and query, in one spelling."""
    try:
        parts = urlsplit(url.strip())
        return *origin_of(url.strip()), parts.path or "/", parts.query
    except ValueError:
        return (url,)


def _variables(table: dict[str, Any]) -> list[str]:
    named = [table.get("bearer_token_env_var"), _dict(table, "oauth").get("client_secret_env_var")]
    named += [f"{value} (sent as {key})" for key, value in _dict(table, "env_http_headers").items()]
    texts = [table["url"], *_dict(table, "headers").values()]
    named += [v for text in texts if isinstance(text, str) for v in variables.names_in(text)]
    return [str(name) for name in named if name]


def _dict(table: dict[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key)
    return value if isinstance(value, dict) else {}


def _masked(key: str, value: object) -> str:
    return MASK if "secret" in key.lower() and not key.endswith("_env_var") else _shown(value)


def _shown(value: object) -> str:
    """Return a value to show; never a table's content, which may be nested to any depth."""
    if isinstance(value, list):
        texts = [_shown(v) for v in value[:_MOST_VALUES] if not isinstance(v, list | dict)]
        if len(value) > _MOST_VALUES:
            texts.append(f"and {len(value) - _MOST_VALUES} more")
        return f"[{_cut(', '.join(texts))}]"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, int) and abs(value) > 10**9:
        return "a number"
    return _cut(value)


def _cut(value: object) -> str:
    """Return a long text's beginning and end, and how much is left out between them.

    What does harm could stand behind two thousand spaces.
    """
    text = str(value)
    if len(text) <= _MOST:
        return sanitize(text, _MOST)
    # threat: review-hides-text
    head, tail = text[: _MOST - _TAIL], text[-_TAIL:]
    return (
        f"{sanitize(head, _MOST)} [{len(text) - _MOST} of {len(text)} characters are not shown "
        f"here: look into the file] {sanitize(tail, _MOST)}"
    )
