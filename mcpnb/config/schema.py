"""The keys of a configuration file, and where each stands in its text."""

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

__all__ = [
    "CLAUDE",
    "CLAUDE_OAUTH",
    "OAUTH",
    "SERVER",
    "TOP",
    "Checker",
    "Known",
    "Lines",
    "header_can_be_set",
    "helper_words",
    "json_lines",
    "split_key",
    "toml_headers",
    "toml_lines",
]

Lines = dict[tuple[str, ...], int]
"""From a key's path to its line, counted from 1."""

_DEEPEST = 8
"""Parts of a path that is kept: no key of ours has more, and each costs as much as it has parts."""

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"^\s*\[\[?\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(rf"^\s*({_DOTTED})\s*=")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]')


def split_key(dotted: str) -> tuple[str, ...]:
    """Take a dotted TOML key apart."""
    return tuple(
        part[1:-1] if part[0] in "\"'" else part for part in re.findall(_PART, dotted.strip())
    )


def toml_headers(text: str) -> list[tuple[int, tuple[str, ...]]]:
    """Give line and path of each table header, in order."""
    return [(number, path) for number, path, is_header in _toml(text) if is_header]


def toml_lines(text: str) -> Lines:
    """Find the keys and tables of a TOML document."""
    found: Lines = {}
    for number, path, _ in _toml(text):
        # A dotted name makes the tables around it, too.
        for end in range(1, min(len(path), _DEEPEST) + 1):
            found.setdefault(path[:end], number)
    return found


def _toml(text: str) -> list[tuple[int, tuple[str, ...], bool]]:
    found: list[tuple[int, tuple[str, ...], bool]] = []
    table: tuple[str, ...] = ()
    closing = ""
    for number, line in enumerate(text.splitlines(), 1):
        if closing:  # within a text of several lines
            closing = "" if closing in line else closing
            continue
        if header := _HEADER.match(line):
            table = split_key(header[1])
            found.append((number, table, True))
        elif key := _KEY.match(line):
            found.append((number, table + split_key(key[1]), False))
        closing = next((mark for mark in ('"""', "'''") if line.count(mark) % 2), "")
    return found


def json_lines(text: str) -> Lines:
    """Find the keys of a JSON document."""
    found: Lines = {}
    path: list[str] = []
    last: tuple[str, int] | None = None
    line, seen = 1, 0
    for token in _TOKEN.finditer(text):
        line += text.count("\n", seen, token.start())
        seen = token.start()
        match token[0]:
            case "{" | "[":
                path.append("")
            case "}" | "]":
                del path[-1:]
            case ":" if last and path:
                path[-1] = last[0]
                if len(path) <= _DEEPEST:
                    found.setdefault(tuple(path), last[1])
            case said:
                last = (said[1:-1], line) if said[0] == '"' else None
    return found


_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Of the connection, and not of what is said over it.
_NOT_OURS = frozenset(["host", "content-length", "transfer-encoding", "connection"])


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of value."""

    name: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def header_can_be_set(name: str) -> bool:
    """Whether configuration may set a header of this name."""
    return _NAME.fullmatch(name) is not None and name.lower() not in _NOT_OURS


def helper_words(command: str) -> list[str] | str:
    """Take a command apart, as a shell would; there is none. On Windows the system does that.

    Raises:
        ValueError: It cannot be: a quotation that does not end, say.
    """
    return command if os.name == "nt" else shlex.split(command)


def _is_command(value: Any) -> bool:
    try:
        return isinstance(value, str) and "\0" not in value and bool(helper_words(value))
    except ValueError:
        return False


_LAST_PORT = 65_535
_TEXT = Kind("text", lambda v: isinstance(v, str) and bool(v))
# TOML's whole numbers have no end here; what waits reckons in floats, and for no such time.
_SECONDS = Kind("a number of seconds above 0", lambda v: _is_number(v) and 0 < v < 1e9)
_PORT = Kind(
    f"a number from 0 to {_LAST_PORT}",
    lambda v: isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= _LAST_PORT,
)
_SWITCH = Kind("true or false", lambda v: isinstance(v, bool))
_TEXTS = Kind("a list of texts", lambda v: isinstance(v, list) and _texts(v))
_COMMAND = Kind("a command, its quotation marks in pairs", _is_command)
_TABLE = Kind("a table", lambda v: isinstance(v, dict))
_PAIRS = Kind("a table of texts", lambda v: isinstance(v, dict) and _texts(v.values()))
_PLACE = Kind("auto, keyring or file", lambda v: v in ("auto", "keyring", "file"))
_SCOPES = Kind("text, or a list of texts", lambda v: _TEXT.fits(v) or _TEXTS.fits(v))


@dataclass(frozen=True, slots=True)
class Known:
    """The keys of one table."""

    used: Mapping[str, Kind]
    unused: frozenset[str] = frozenset()
    """Those of other transports and other programs: no mistake, and nothing to us."""


TOP = Known(
    {
        "mcp_servers": _TABLE,
        "mcp_oauth_credentials_store": _PLACE,
        "mcp_oauth_callback_port": _PORT,
        "mcp_oauth_callback_url": _TEXT,
    },
    frozenset(["mcp_optional_startup_grace_ms", "mcp_enterprise_managed_auth"]),
)
# Codex's keys and ours (the last four). With `required = true` Codex does not start without the
# server; a session here raises in any case where its server fails, so that what it changes is what
# looks at several: `mcpnb list`, and `get`, fail if a required one cannot be used as it is.
SERVER = Known(
    {
        "url": _TEXT,
        "scopes": _TEXTS,
        "oauth_resource": _TEXT,
        "oauth": _TABLE,
        "bearer_token_env_var": _TEXT,
        "http_headers": _PAIRS,
        "env_http_headers": _PAIRS,
        "http_headers_helper": _COMMAND,
        "enabled": _SWITCH,
        "required": _SWITCH,
        "startup_timeout_sec": _SECONDS,
        "startup_timeout_ms": _SECONDS,
        "tool_timeout_sec": _SECONDS,
        "enabled_tools": _TEXTS,
        "disabled_tools": _TEXTS,
        "client_metadata_url": _TEXT,
        "allow_missing_pkce": _SWITCH,
        "allow_private_network": _SWITCH,
        "account": _TEXT,
    },
    frozenset(
        [
            *("command", "args", "env", "env_vars", "cwd", "environment_id", "name", "auth"),
            *("startup_readiness", "default_tools_approval_mode", "tools"),
            *("supports_parallel_tool_calls", "omit_tools_from", "tool_input_schema_max_bytes"),
        ]
    ),
)
OAUTH = Known(
    {
        "client_id": _TEXT,
        "client_secret": _TEXT,
        "client_secret_env_var": _TEXT,
        "issuer": _TEXT,
        "callback_port": _PORT,
        "callback_url": _TEXT,
    },
    frozenset(["token_endpoint_auth_method", "authorization_server_issuer"]),
)
CLAUDE = Known(
    {
        "type": _TEXT,
        "url": _TEXT,
        "headers": _PAIRS,
        "headersHelper": _COMMAND,
        "oauth": _TABLE,
    },
    frozenset(["command", "args", "env", "cwd", "timeout", "alwaysLoad", "disabled"]),
)
CLAUDE_OAUTH = Known(
    {"clientId": _TEXT, "callbackPort": _PORT, "scopes": _SCOPES},
    frozenset(["authServerMetadataUrl", "xaa"]),
)

# What Codex refuses, too: a secret in clear in a file that is often shared.
_INSTEAD = {"bearer_token": "bearer_token_env_var, which names an environment variable"}


class Checker:
    """Checks the tables of one file."""

    def __init__(self, path: Path, lines: Lines, *, quiet: bool = False) -> None:
        """Begin.

        Args:
            path: The file.
            lines: Where its keys stand.
            quiet: Tell nothing: the file is not used anyway.
        """
        self.path = path
        self._lines = lines
        self._quiet = quiet

    def place(self, *keys: str) -> str:
        """Give file and line of a key, or of the nearest table around it that has a line."""
        for end in range(len(keys), 0, -1):
            if line := self._lines.get(keys[:end]):
                return f"{sanitize(self.path, 1_000)}:{line}"
        return sanitize(self.path, 1_000)

    def table(self, found: Mapping[str, Any], known: Known, *where: str) -> dict[str, Any]:
        """Give the keys of a table that are used.

        Raises:
            ConfigError: One of them has a wrong type.
        """
        values = {}
        for key, value in found.items():
            if key in known.used:
                values[key] = self.typed(value, known.used[key], *where, key)
            elif key not in known.unused:
                self.unknown(key, known, *where)
        return values

    def typed(self, value: Any, kind: Kind, *where: str) -> Any:
        """Check one value."""
        if not kind.fits(value):
            raise self.wrong(f"has to be {kind.name}.", *where)
        return value

    def wrong(self, said: str, *where: str) -> ConfigError:
        """Make the error that names file, line and key."""
        return ConfigError(f"{self.place(*where)}: {sanitize('.'.join(where))} {said}")

    def unknown(self, key: str, known: Known, *where: str, most_alike: float = 0.6) -> None:
        """Warn of a key that nobody knows, if it is enough like one that is known."""
        # threat: project-bomb
        if self._quiet:
            return  # looking for a name like it takes a while, and the file is anybody's
        names = [*known.used, *sorted(known.unused)]
        near = difflib.get_close_matches(key, names, n=1, cutoff=most_alike)
        hint = f" Did you mean {near[0]}?" if near else ""
        if key in _INSTEAD:
            hint = f" Use {_INSTEAD[key]}."
        table = f" in {sanitize('.'.join(where))}" if where else ""
        self.warn(f"{self.place(*where, key)}: unknown key {sanitize(key)!r}{table}.{hint}")

    def top(self, document: Mapping[str, Any]) -> None:
        """Warn of top-level keys that look like misspelt ones; the others are other programs'."""
        if self._quiet:
            return
        for key in document:
            if key in TOP.used or key in TOP.unused:
                continue
            if key == "mcpServers" or difflib.get_close_matches(key, TOP.used, n=1, cutoff=0.8):
                self.unknown(key, TOP)

    def warn(self, message: str) -> None:
        """Tell the person."""
        if not self._quiet:
            warnings.warn(message, stacklevel=2)
