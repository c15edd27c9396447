"""What a project's files would change, for a person to agree to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mcpnb.config import claude
from mcpnb.config.files import File, project_files, read_project_bytes
from mcpnb.config.parse import document_of
from mcpnb.config.read import read_configuration
from mcpnb.config.schema import TOP
from mcpnb.config.trust import is_trusted, trust
from mcpnb.errors import ConfigError
from mcpnb.oauth.models import ServerConfig
from mcpnb.text import sanitize

__all__ = ["Review", "review"]

_MOST, _TAIL = 2_000, 600
"""Characters shown of one value; where it is longer, so many of them from its end."""
_MOST_VALUES = 50
_HEADERS = ("http_headers", "headers")
_SAID = (
    *("url", "type", "http_headers_helper", "headersHelper", "env_http_headers"),
    "bearer_token_env_var",
)
"""Keys that have a line of their own; every other one is shown as it is."""


@dataclass(frozen=True, slots=True)
class Review:
    """One file that is not trusted (yet, or as it is now)."""

    path: Path
    content: bytes
    lines: tuple[str, ...]
    """What it would change; no more than one line each, safe for a terminal."""
    problem: str = ""
    """Why it cannot be trusted at all."""

    def agree(self) -> None:
        """Trust just this content at just this place, whatever the file holds by now.

        Raises:
            ConfigError: It cannot be written down.
        """
        if self.problem:
            raise ConfigError(self.problem)
        # threat: project-swapped-during-review
        trust(self.path, self.content)


def review(folder: Path | None = None) -> list[Review]:
    """Look at the project files of a folder that are not trusted."""
    known = read_configuration().servers
    found = []
    for file in project_files(folder):
        try:
            content = read_project_bytes(file.path)
        except OSError as error:
            found.append(
                Review(file.path, b"", (), f"{sanitize(file.path, 1_000)} cannot be read: {error}.")
            )
            continue
        if not is_trusted(file.path, content):
            found.append(_reviewed(file, content, known))
    return found


def _reviewed(file: File, content: bytes, known: Mapping[str, ServerConfig]) -> Review:
    try:
        document, _ = document_of(file, content)
    except ConfigError as error:
        return Review(file.path, content, (), str(error))
    is_json = file.path.suffix == ".json"
    tables = document.get(claude.SERVERS if is_json else "mcp_servers", {})
    lines = [
        f"{key} = {_shown(document[key])}"
        for key in TOP.used
        if key in document and key != "mcp_servers" and not is_json
    ]
    for name, table in tables.items() if isinstance(tables, dict) else ():
        if isinstance(table, dict):
            lines += _entry(name, table, known, is_json=is_json)
    # Its folder has no links in it: this one is the file's own, or that of its .codex.
    real = file.path.resolve()
    links = [f"is a link to {_cut(real)}"] if real != file.path else []
    return Review(file.path, content, (*links, *(lines or ["names no server"])))


def _entry(
    name: str, table: dict[str, Any], known: Mapping[str, ServerConfig], *, is_json: bool
) -> list[str]:
    if "url" not in table or (is_json and not claude.is_http(table)):
        return [f"{sanitize(name, 80)}: a command or another transport; mcpnb does not use it"]
    url = table["url"]
    lines = [f"{sanitize(name, 80)}: {_shown(url)}"]
    for other, entry in known.items():
        # threat: project-shadows-a-name
        if other == name or _same(entry.url, url):
            lines.append(
                f"    takes the place of {sanitize(other, 80)} in {sanitize(entry.source)}"
                + ("" if other == name else ", where the address itself is given")
            )
            if entry.enabled_tools or entry.disabled_tools:
                lines.append("    and of the limits that you have set there on its tools")
    resource = table.get("oauth_resource")
    # threat: audience-theft
    if isinstance(resource, str) and _plainly(resource)[:3] != _plainly(str(url))[:3]:
        lines.append(
            f"    asks for tokens that are meant for {_shown(resource)}, and sends them to the "
            "address above"
        )
    lines += [f"    uses the environment variable {_cut(v)}" for v in _variables(table)]
    lines += [
        f"    runs the command {_shown(table[key])} (what that is then, nobody looks at)"
        for key in ("http_headers_helper", "headersHelper")
        if key in table
    ]
    for key, value in table.items():
        if key in _HEADERS:
            lines.append(f"    sends the headers {_cut(', '.join(_dict(table, key)))}")
        elif key == "oauth" and isinstance(value, dict):
            lines += [f"    oauth.{sanitize(k, 80)} = {_masked(k, v)}" for k, v in value.items()]
        elif key not in _SAID:
            lines.append(f"    {sanitize(key, 80)} = {_masked(key, value)}")
    return lines


def _same(known: str, url: object) -> bool:
    """Whether two addresses lead to one server, however they are spelled."""
    if not isinstance(url, str):
        return False
    # Where it depends on a variable, any address may come out of it: then the default counts.
    return _plainly(known) == _plainly(claude.with_defaults(url))


def _plainly(url: str) -> tuple[object, ...]:
    try:
        parts = urlsplit(url.strip())
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme.lower())
        return (
            parts.scheme.lower(),
            (parts.hostname or "").lower(),
            port,
            parts.path or "/",
            parts.query,
        )
    except ValueError:
        return (url,)


def _masked(key: str, value: object) -> str:
    return "*****" if "secret" in key.lower() and not key.endswith("_env_var") else _shown(value)


def _shown(value: object) -> str:
    """Show a value of somebody's file; never a table's content, which may be of any depth."""
    if isinstance(value, list):
        said = [_shown(v) for v in value[:_MOST_VALUES] if not isinstance(v, list | dict)]
        more = [f"and {len(value) - _MOST_VALUES} more"] if len(value) > _MOST_VALUES else []
        return f"[{_cut(', '.join([*said, *more]))}]"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, int) and abs(value) > 10**9:
        return "a number"
    return _cut(value)


def _cut(value: object) -> str:
    """Show a long text's beginning and end, and say what is left out: never just a beginning.

    What does harm would stand behind two thousand spaces.
    """
    text = str(value)
    if len(text) <= _MOST:
        return sanitize(text, _MOST)
    # threat: review-hides-text
    head, tail = text[: _MOST - _TAIL], text[-_TAIL:]
    left_out = len(text) - len(head) - len(tail)
    return (
        f"{sanitize(head, _MOST)} [{left_out} of {len(text)} characters are not shown here: "
        f"look into the file] {sanitize(tail, _MOST)}"
    )


def _variables(table: dict[str, Any]) -> list[str]:
    named = [table.get("bearer_token_env_var"), _dict(table, "oauth").get("client_secret_env_var")]
    named += [f"{value} (sent as {key})" for key, value in _dict(table, "env_http_headers").items()]
    texts = [table.get("url"), *_dict(table, "headers").values()]
    named += [v for text in texts if isinstance(text, str) for v in claude.variables_in(text)]
    return [str(name) for name in named if name]


def _dict(table: dict[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key)
    return value if isinstance(value, dict) else {}
