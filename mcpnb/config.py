"""Configuration files, as Codex has them, to values (design section 4)."""

from __future__ import annotations

import contextlib
import difflib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
import tomlkit
from tomlkit.exceptions import TOMLKitError

from mcpnb.errors import ConfigError, quoted
from mcpnb.models import Secret, ServerConfig

__all__ = ["Configuration", "read_configuration"]

_STRING, _NUMBER, _SWITCH, _STRINGS, _TABLE = (
    "text",
    "a number",
    "true or false",
    "a list of texts",
    "a table",
)
# Codex's keys and ours (the last three); those of other transports are known, and not used.
_SERVER_KEYS = {
    "url": _STRING,
    "scopes": _STRINGS,
    "oauth_resource": _STRING,
    "oauth": _TABLE,
    "tool_timeout_sec": _NUMBER,
    "client_metadata_url": _STRING,
    "allow_missing_pkce": _SWITCH,
    "allow_private_network": _SWITCH,
}
_OAUTH_KEYS = {
    "client_id": _STRING,
    "client_secret_env_var": _STRING,
    "issuer": _STRING,
    "callback_port": _NUMBER,
    "callback_url": _STRING,
}
_KNOWN_UNUSED = frozenset(
    [
        "startup_timeout_sec",
        "command",
        "args",
        "env",
        "env_vars",
        "cwd",
        "bearer_token_env_var",
        "http_headers",
        "env_http_headers",
        "enabled",
        "required",
        "enabled_tools",
        "disabled_tools",
        "http_headers_helper",
        "auth",
        "name",
    ]
)
_TOP = {"mcp_oauth_callback_port": _NUMBER, "mcp_oauth_callback_url": _STRING}


@dataclass(frozen=True, slots=True)
class Configuration:
    """The servers that configuration files name, nearest file first."""

    servers: Mapping[str, ServerConfig]

    def server(self, name: str) -> ServerConfig:
        """Give a configured server.

        Raises:
            ConfigError: There is none of that name; the message names the nearest.
        """
        if name in self.servers:
            return self.servers[name]
        near = difflib.get_close_matches(name, self.servers, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"No server is configured as {quoted(name, 80)}.{hint} Give its address "
            "(https://...), or add "
            '[mcp_servers.NAME] with url = "..." to mcpnb\'s config.toml.'
        )


def read_configuration(explicit: str | os.PathLike[str] | None = None) -> Configuration:
    """Read the configuration files of this person.

    An explicit file (or ``MCPNB_CONFIG``) stands first, then ``config.toml`` in mcpnb's
    configuration folder, then Codex's own in the home folder. Files of a project are not read:
    anybody may have written them.

    Raises:
        ConfigError: A file that was asked for is missing, or one cannot be understood.
    """
    servers: dict[str, ServerConfig] = {}
    for path, required in _files(explicit):
        for name, server in _read(path, required=required).items():
            servers.setdefault(name, server)
    return Configuration(servers)


def _files(explicit: str | os.PathLike[str] | None) -> list[tuple[Path, bool]]:
    given = explicit or os.environ.get("MCPNB_CONFIG")
    files = [(Path(given).expanduser(), True)] if given else []
    own = Path(platformdirs.user_config_path("mcpnb", appauthor=False)) / "config.toml"
    files.append((own, False))
    with contextlib.suppress(RuntimeError):  # no home folder at all
        files.append((Path.home() / ".codex" / "config.toml", False))
    return files


def _document(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        document: dict[str, Any] = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
    except (FileNotFoundError, NotADirectoryError):
        if required:
            raise ConfigError(f"There is no configuration file {path}.") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        if required:
            raise ConfigError(f"{path} cannot be read: {error}.") from None
        return {}
    except TOMLKitError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None
    return document


def _read(path: Path, *, required: bool) -> dict[str, ServerConfig]:
    document = _document(path, required=required)
    tables = document.get("mcp_servers", {})
    if not isinstance(tables, dict):
        raise ConfigError(f"{path}: mcp_servers has to be a table.")
    defaults = {k: _typed(path, k, document[k], kind) for k, kind in _TOP.items() if k in document}
    found = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or "url" not in table:
            continue
        try:
            found[name] = _server(path, name, table, defaults)
        except ConfigError as error:
            if required:
                raise
            # Nobody asked for this file: one wrong entry must not stand in the way of the others.
            warnings.warn(f"{error} The entry is left out.", stacklevel=2)
    return found


def _server(path: Path, name: str, table: dict[str, Any], defaults: dict[str, Any]) -> ServerConfig:
    where = f"mcp_servers.{name}"
    values = _checked(path, where, table, _SERVER_KEYS)
    oauth = _checked(path, f"{where}.oauth", values.get("oauth", {}), _OAUTH_KEYS)
    variable = oauth.get("client_secret_env_var")
    secret = os.environ.get(variable) if variable else None
    if variable and not secret:
        warnings.warn(
            f"{path}: {where}: the environment variable {variable} is not set.", stacklevel=2
        )
    scopes = values.get("scopes")
    return ServerConfig(
        url=values["url"],
        name=name,
        scopes=tuple(scopes) if scopes else None,
        client_id=oauth.get("client_id"),
        client_secret=Secret(secret) if secret else None,
        issuer=oauth.get("issuer"),
        client_metadata_url=values.get("client_metadata_url"),
        resource=values.get("oauth_resource"),
        callback_port=oauth.get("callback_port", defaults.get("mcp_oauth_callback_port")),
        callback_url=oauth.get("callback_url", defaults.get("mcp_oauth_callback_url")),
        allow_missing_pkce=values.get("allow_missing_pkce", False),
        allow_private_network=values.get("allow_private_network", False),
        tool_timeout=values.get("tool_timeout_sec"),
        source=str(path),
    )


def _checked(
    path: Path, where: str, table: dict[str, Any], known: dict[str, str]
) -> dict[str, Any]:
    values = {}
    for key, value in table.items():
        if key in known:
            values[key] = _typed(path, f"{where}.{key}", value, known[key])
        elif key not in _KNOWN_UNUSED:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            warnings.warn(f"{path}: {where}: unknown key {key!r}.{hint}", stacklevel=2)
    return values


def _typed(path: Path, where: str, value: Any, kind: str) -> Any:
    right = {
        _STRING: isinstance(value, str) and bool(value),
        _NUMBER: isinstance(value, int | float) and not isinstance(value, bool) and value >= 0,
        _SWITCH: isinstance(value, bool),
        _STRINGS: isinstance(value, list) and all(isinstance(v, str) for v in value),
        _TABLE: isinstance(value, dict),
    }[kind]
    if not right:
        raise ConfigError(f"{path}: {where} has to be {kind}.")
    return value
