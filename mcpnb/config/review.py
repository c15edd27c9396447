"""What a project's files would change, for a person to agree to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcpnb.config import claude
from mcpnb.config.entries import document_of
from mcpnb.config.keys import TOP
from mcpnb.config.places import File, project_files, read_bytes
from mcpnb.config.reading import read_configuration
from mcpnb.config.trust import is_trusted, trust
from mcpnb.errors import ConfigError, plain
from mcpnb.models import ServerConfig

__all__ = ["Review", "review"]

_MOST = 2_000
# Said of an entry beside its address and variables, where the file has it.
_TOLD = ("oauth_resource", "scopes", "account", "client_metadata_url")
_TOLD_OAUTH = ("client_id", "clientId", "issuer", "callback_port", "callbackPort", "callback_url")
_SWITCHES = ("allow_missing_pkce", "allow_private_network", "required")


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
        trust(self.path, self.content)


def review(folder: Path | None = None) -> list[Review]:
    """Look at the project files of a folder that are not trusted."""
    known = read_configuration().servers
    found = []
    for file in project_files(folder):
        try:
            content = read_bytes(file.path)
        except OSError as error:
            found.append(Review(file.path, b"", (), f"{file.path} cannot be read: {error}."))
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
        f"{key} = {plain(document[key])}"
        for key in TOP.used
        if key in document and key != "mcp_servers" and not is_json
    ]
    for name, table in tables.items() if isinstance(tables, dict) else ():
        if isinstance(table, dict):
            lines += _entry(name, table, known, is_json=is_json)
    return Review(file.path, content, tuple(lines) or ("names no server",))


def _entry(
    name: str, table: dict[str, Any], known: Mapping[str, ServerConfig], *, is_json: bool
) -> list[str]:
    if "url" not in table or (is_json and not claude.is_http(table)):
        return [f"{plain(name, 80)}: a command or another transport; mcpnb does not use it"]
    lines = [f"{plain(name, 80)}: {plain(table['url'], _MOST)}"]
    lines += [
        f"    takes the place of {plain(other, 80)} in {plain(entry.source)}"
        + ("" if other == name else ", where the address itself is given")
        for other, entry in known.items()
        if other == name or entry.url == table["url"]
    ]
    lines += [f"    uses the environment variable {plain(v)}" for v in _variables(table)]
    headers = [*_dict(table, "http_headers"), *_dict(table, "headers")]
    if headers:
        lines.append(f"    sends the headers {plain(', '.join(headers), _MOST)}")
    lines += [f"    {key} = {plain(table[key])}" for key in _TOLD if key in table]
    lines += [f"    {key} = true" for key in _SWITCHES if table.get(key) is True]
    oauth = _dict(table, "oauth")
    lines += [f"    oauth.{key} = {plain(oauth[key])}" for key in _TOLD_OAUTH if key in oauth]
    return lines


def _variables(table: dict[str, Any]) -> list[str]:
    named = [table.get("bearer_token_env_var"), _dict(table, "oauth").get("client_secret_env_var")]
    named += [f"{value} (sent as {key})" for key, value in _dict(table, "env_http_headers").items()]
    texts = [table.get("url"), *_dict(table, "headers").values()]
    named += [v for text in texts if isinstance(text, str) for v in claude.variables_in(text)]
    return [str(name) for name in named if name]


def _dict(table: dict[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key)
    return value if isinstance(value, dict) else {}
