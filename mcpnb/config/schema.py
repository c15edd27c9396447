"""The known keys of a configuration file and what fits each, as data, and their check."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcpnb.errors import ConfigError
from mcpnb.text import sanitize

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# These belong to the connection, not to what is sent over it.
_NOT_OURS = frozenset(["host", "content-length", "transfer-encoding", "connection"])


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of value."""

    name: str
    fits: Callable[[Any], bool]


def header_can_be_set(name: str) -> bool:
    """Return whether configuration may set a header of this name (RFC 9110 section 5.1)."""
    return _HEADER.fullmatch(name) is not None and name.lower() not in _NOT_OURS


def helper_words(command: str) -> list[str] | str:
    """Split a command as a shell would, without running one. On Windows the system splits it.

    Raises:
        ValueError: It cannot be split: a quotation mark is missing, for example.
    """
    return command if os.name == "nt" else shlex.split(command)


def _is_command(value: Any) -> bool:
    try:
        return isinstance(value, str) and "\0" not in value and bool(helper_words(value))
    except ValueError:
        return False


def _is_number(value: Any, *types: type) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)


def _all_text(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


_LAST_PORT = 65_535
_TEXT = Kind("text", lambda v: isinstance(v, str) and bool(v))
# TOML's integers have no limit here. Waiting uses floats, which cannot hold such a time.
_SECONDS = Kind("a number of seconds above 0", lambda v: _is_number(v, int, float) and 0 < v < 1e9)
_PORT = Kind(
    f"a number from 0 to {_LAST_PORT}", lambda v: _is_number(v, int) and 0 <= v <= _LAST_PORT
)
_SWITCH = Kind("true or false", lambda v: isinstance(v, bool))
_TEXTS = Kind("a list of texts", lambda v: isinstance(v, list) and _all_text(v))
_COMMAND = Kind("a command, its quotation marks in pairs", _is_command)
_TABLE = Kind("a table", lambda v: isinstance(v, dict))
_PAIRS = Kind("a table of texts", lambda v: isinstance(v, dict) and _all_text(v.values()))
_PLACE = Kind("auto, keyring or file", lambda v: v in ("auto", "keyring", "file"))
_SCOPES = Kind("text, or a list of texts", lambda v: _TEXT.fits(v) or _TEXTS.fits(v))


@dataclass(frozen=True, slots=True)
class Keys:
    """The known keys of one table."""

    used: Mapping[str, Kind]
    unused: frozenset[str] = frozenset()
    """Keys of other transports and other programs: no mistake, and mcpnb ignores them."""


def _each(kind: Kind, names: str) -> dict[str, Kind]:
    return dict.fromkeys(names.split(), kind)


TOP = Keys(
    {
        "mcp_servers": _TABLE,
        "mcp_oauth_credentials_store": _PLACE,
        "mcp_oauth_callback_port": _PORT,
        "mcp_oauth_callback_url": _TEXT,
    },
    frozenset(["mcp_optional_startup_grace_ms", "mcp_enterprise_managed_auth"]),
)
# Codex's keys, and four of ours: client_metadata_url, account and the two that begin with "allow".
# With `required = true` Codex does not start without the server. A session here raises whenever its
# server fails, so the key matters only to what looks at several servers: `mcpnb list` and `get`
# fail if a required server cannot be used as it is.
SERVER = Keys(
    {
        **_each(_TEXT, "url oauth_resource bearer_token_env_var client_metadata_url account"),
        **_each(_TEXTS, "scopes enabled_tools disabled_tools"),
        **_each(_SWITCH, "enabled required allow_missing_pkce allow_private_network"),
        **_each(_SECONDS, "startup_timeout_sec startup_timeout_ms tool_timeout_sec"),
        **_each(_PAIRS, "http_headers env_http_headers"),
        "http_headers_helper": _COMMAND,
        "oauth": _TABLE,
    },
    frozenset(
        [
            *("command", "args", "env", "env_vars", "cwd", "environment_id", "name", "auth"),
            *("startup_readiness", "default_tools_approval_mode", "tools"),
            *("supports_parallel_tool_calls", "omit_tools_from", "tool_input_schema_max_bytes"),
        ]
    ),
)
OAUTH = Keys(
    {
        **_each(_TEXT, "client_id client_secret client_secret_env_var issuer callback_url"),
        "callback_port": _PORT,
    },
    frozenset(["token_endpoint_auth_method", "authorization_server_issuer"]),
)
CLAUDE = Keys(
    {**_each(_TEXT, "type url"), "headers": _PAIRS, "headersHelper": _COMMAND, "oauth": _TABLE},
    frozenset(["command", "args", "env", "cwd", "timeout", "alwaysLoad", "disabled"]),
)
CLAUDE_OAUTH = Keys(
    {"clientId": _TEXT, "callbackPort": _PORT, "scopes": _SCOPES},
    frozenset(["authServerMetadataUrl", "xaa"]),
)
FIELDS = {
    "oauth_resource": "resource",
    "http_headers_helper": "headers_helper",
    "startup_timeout_sec": "startup_timeout",
    "tool_timeout_sec": "tool_timeout",
}
"""The fields of `ServerConfig` that have another name than their key."""

# Codex refuses it, too: a secret in clear, in a file that is often shared.
_INSTEAD = {"bearer_token": "bearer_token_env_var, which names an environment variable"}


class Checker:
    """Checks the tables of one file."""

    def __init__(self, path: Path, *, quiet: bool = False) -> None:
        """Begin.

        Args:
            path: The file.
            quiet: Warn of nothing, because the file is not used anyway.
        """
        self._path = sanitize(path, 1_000)
        self._quiet = quiet

    def error(self, problem: str, *where: str) -> ConfigError:
        """Return an error that names the file and the key."""
        return ConfigError(self.text(problem, *where))

    def text(self, problem: str, *where: str) -> str:
        """Return a message that names the file and the key."""
        return f"{self._path}: {sanitize('.'.join(where))} {problem}"

    def warn(self, message: str) -> None:
        """Warn the person, if the file is used."""
        if not self._quiet:
            warnings.warn(message, stacklevel=2)

    def table(self, found: Mapping[str, Any], keys: Keys, *where: str) -> dict[str, Any]:
        """Return the values of a table that are used.

        Raises:
            ConfigError: A value has a wrong type.
        """
        values = {}
        for key, value in found.items():
            if key in keys.used:
                values[key] = self.value(value, keys.used[key], *where, key)
            elif key not in keys.unused:
                self._unknown(key, keys, *where)
        return values

    def value(self, value: Any, kind: Kind, *where: str) -> Any:
        """Return a value that has the right type.

        Raises:
            ConfigError: It has a wrong one.
        """
        if not kind.fits(value):
            raise self.error(f"has to be {kind.name}.", *where)
        return value

    def top(self, document: Mapping[str, Any]) -> None:
        """Warn of top-level keys that look misspelt. All others belong to other programs."""
        # threat: project-bomb
        if self._quiet:
            return  # finding a similar name takes a while, and anybody may have written the file
        for key in document:
            if key in TOP.used or key in TOP.unused:
                continue
            if key == "mcpServers" or difflib.get_close_matches(key, TOP.used, n=1, cutoff=0.8):
                self._unknown(key, TOP)

    def _unknown(self, key: str, keys: Keys, *where: str) -> None:
        # threat: project-bomb
        if self._quiet:
            return  # as above
        near = difflib.get_close_matches(key, [*keys.used, *sorted(keys.unused)], n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        if key in _INSTEAD:
            hint = f" Use {_INSTEAD[key]}."
        table = f" in {sanitize('.'.join(where))}" if where else ""
        self.warn(f"{self._path}: unknown key {sanitize(key)!r}{table}.{hint}")
