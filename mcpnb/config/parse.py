"""The content of one file, read into the servers that it names."""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import tomllib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mcpnb.config import variables
from mcpnb.config.files import File
from mcpnb.errors import ConfigError
from mcpnb.oauth.models import Header, Secret, ServerConfig
from mcpnb.oauth.urls import is_loopback_host
from mcpnb.text import LONE_SURROGATE, sanitize

# The known keys, and what fits each


class Kind(NamedTuple):
    """A type of value."""

    name: str
    fits: Callable[[Any], bool]


class Keys(NamedTuple):
    """The known keys of one table."""

    used: Mapping[str, Kind]
    others: frozenset[str]
    """Keys that are read elsewhere, or are for other transports and programs: no mistake."""


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


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not LONE_SURROGATE.search(value)


def _all_text(values: Any) -> bool:
    return all(map(_is_text, values))


def _each(kind: Kind, names: str) -> dict[str, Kind]:
    return dict.fromkeys(names.split(), kind)


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


_LAST_PORT = 65_535
_TEXT = Kind("text", lambda v: bool(v) and _is_text(v))
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

TOP = Keys(
    {
        "mcp_oauth_credentials_store": _PLACE,
        "mcp_oauth_callback_port": _PORT,
        "mcp_oauth_callback_url": _TEXT,
    },
    _names("mcp_servers mcp_optional_startup_grace_ms mcp_enterprise_managed_auth"),
)
# Codex's keys, and four of ours: client_metadata_url, account and the two that begin with "allow".
# With `required = true` Codex does not start without the server. A session here raises whenever its
# server fails, so the key matters only to what looks at several servers: `mcpnb list` and `get`
# fail if a required server cannot be used as it is.
_SERVER = Keys(
    {
        **_each(_TEXT, "url oauth_resource bearer_token_env_var client_metadata_url account"),
        **_each(_TEXTS, "scopes enabled_tools disabled_tools"),
        **_each(_SWITCH, "enabled required allow_missing_pkce allow_private_network"),
        **_each(_SECONDS, "startup_timeout_sec startup_timeout_ms tool_timeout_sec"),
        **_each(_PAIRS, "http_headers env_http_headers"),
        "http_headers_helper": _COMMAND,
        "oauth": _TABLE,
    },
    _names(
        "command args env env_vars cwd environment_id name auth startup_readiness tools "
        "default_tools_approval_mode supports_parallel_tool_calls omit_tools_from "
        "tool_input_schema_max_bytes"
    ),
)
_OAUTH = Keys(
    {
        **_each(_TEXT, "client_id client_secret client_secret_env_var issuer callback_url"),
        "callback_port": _PORT,
    },
    _names("token_endpoint_auth_method authorization_server_issuer"),
)
_CLAUDE = Keys(
    {**_each(_TEXT, "type url"), "headers": _PAIRS, "headersHelper": _COMMAND, "oauth": _TABLE},
    _names("command args env cwd timeout alwaysLoad disabled"),
)
_CLAUDE_OAUTH = Keys(
    {"clientId": _TEXT, "callbackPort": _PORT, "scopes": _SCOPES},
    _names("authServerMetadataUrl xaa"),
)
_CLAUDE_TYPES = ("http", "sse", "streamable-http", "streamable_http", "streamableHttp")
_FIELDS: dict[str, str | None] = {
    "oauth_resource": "resource",
    "http_headers_helper": "headers_helper",
    "startup_timeout_sec": "startup_timeout",
    "tool_timeout_sec": "tool_timeout",
    # Claude's
    "headersHelper": "headers_helper",
    "clientId": "client_id",
    "callbackPort": "callback_port",
    # What no field takes as it is
    **dict.fromkeys(("type", "oauth", "client_secret", "client_secret_env_var", "headers")),
    **dict.fromkeys(("http_headers", "env_http_headers", "startup_timeout_ms")),
}
"""The field of `ServerConfig` for a key, where it has another name, or none."""
# Codex refuses it, too: a secret in clear, in a file that is often shared.
_INSTEAD = {"bearer_token": "bearer_token_env_var, which names an environment variable"}

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# These belong to the connection, not to what is sent over it.
_NOT_OURS = frozenset(["host", "content-length", "transfer-encoding", "connection"])


def header_can_be_set(name: str) -> bool:
    """Return whether configuration may set a header of this name (RFC 9110 section 5.1)."""
    return _HEADER.fullmatch(name) is not None and name.lower() not in _NOT_OURS


# The document

_MOST_PARTS = 64
_PART = r"""(?:[A-Za-z0-9_-]{1,200}+|"(?:[^"\\\n]|\\.){0,200}+"|'[^'\n]{0,200}+')"""
# Possessive, bounded, and never from inside a part: so its time grows with the text's length only.
_TOO_DEEP = re.compile(rf"(?<![A-Za-z0-9_.\-\"'\\])(?:{_PART}[ \t]{{0,80}}+\.[ \t]{{0,80}}+){{64}}")


def document_of(file: File, content: bytes) -> dict[str, Any]:
    """Return the whole document of a file.

    Raises:
        ConfigError: It is not valid TOML or JSON.
    """
    kind = "JSON" if file.is_json else "TOML"
    try:
        text = content.decode("utf-8-sig")
        # threat: project-bomb
        deep = not file.is_json and _TOO_DEEP.search(text) is not None
        document = {} if deep else json.loads(text) if file.is_json else tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{file.shown} is nested too deeply.") from None
    except ValueError as error:  # of both parsers, and of the encoding
        raise ConfigError(f"{file.shown} is not valid {kind}: {sanitize(error)}.") from None
    if deep:
        # The parser's time grows with the square of a key's parts (measured: 24 s for 78 KiB).
        raise ConfigError(f"{file.shown} has a key of more than {_MOST_PARTS} parts.")
    if not isinstance(document, dict):
        raise ConfigError(f"{file.shown} has to be a JSON object.")
    return document


def is_ours(file: File, table: Mapping[str, Any]) -> bool:
    """Return whether an entry is for a server with an address, rather than for a command."""
    has_address = "url" in table or "command" not in table
    return has_address and not (file.is_json and table.get("type", "http") not in _CLAUDE_TYPES)


# Its servers


@dataclass(frozen=True, slots=True)
class Broken:
    """An entry that cannot be used, and why."""

    name: str
    url: str
    source: str
    problem: str
    required: bool = False
    """Whether it is enabled and says ``required = true``."""


@dataclass(slots=True)
class Parsed:
    """The content of one file."""

    servers: dict[str, ServerConfig] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    broken: dict[str, Broken] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    """Servers of another transport."""


class _UnsetVariable(ConfigError):
    """A value needs an environment variable that is not set."""


def parse(file: File, content: bytes, *, trusted: bool) -> Parsed:
    """Read the content of one file; if it is not trusted, without warnings and variables.

    Raises:
        ConfigError: The file as a whole cannot be read, or an entry of a file that was asked for.
    """
    reading = _Reading(file, trusted=trusted)
    reading.read(document_of(file, content))
    return reading.found


class _Reading:
    def __init__(self, file: File, *, trusted: bool) -> None:
        self._file = file
        self._trusted = trusted
        self.found = Parsed()

    def read(self, document: Mapping[str, Any]) -> None:
        top = self._file.top
        tables = document.get(top, {})
        if not isinstance(tables, dict):
            raise self._error("has to be a table.", top)
        if not self._file.is_json:
            self._read_settings(document)
        for name, table in tables.items():
            try:
                if not isinstance(table, dict):
                    raise self._error("has to be a table.", top, name)
                if is_ours(self._file, table):
                    self.found.servers[name] = self._server(table, top, name)
                else:
                    self.found.others.append(name)
            except ConfigError as error:
                self._leave_out(name, table if isinstance(table, dict) else {}, error)

    def _leave_out(self, name: str, entry: dict[str, Any], error: ConfigError) -> None:
        # An unset variable concerns only a person who asks for that server.
        unset = isinstance(error, _UnsetVariable)
        if self._file.kind == "asked for" and not unset:
            raise error
        url = entry.get("url")
        required = entry.get("required") is True and entry.get("enabled") is not False
        self.found.broken[name] = Broken(
            name,
            url if isinstance(url, str) else "",
            str(self._file.path),
            str(error),
            required=required and self._trusted,
        )
        # Nobody asked for this file: one wrong entry must not disable the others.
        if not unset:
            self._warn(f"{error} The entry is left out.")

    def _read_settings(self, document: Mapping[str, Any]) -> None:
        for key, value in document.items():
            if key not in TOP.used:
                # Other keys are other programs', unless they look misspelt.
                self._tell_unknown(key, TOP, only_misspelt=True)
                continue
            try:
                self._check(value, TOP.used[key], key)
            except ConfigError as error:
                if self._file.kind == "asked for":
                    raise
                self._warn(f"{error} It is not used.")
                continue
            if key != "mcp_oauth_callback_url" or self._may_listen(value, key):
                self.found.settings[key] = value

    def _server(self, table: dict[str, Any], *where: str) -> ServerConfig:
        of_table, of_oauth = (_CLAUDE, _CLAUDE_OAUTH) if self._file.is_json else (_SERVER, _OAUTH)
        values = self._table(table, of_table, *where)
        oauth = self._table(values.get("oauth", {}), of_oauth, *where, "oauth")
        source, name = str(self._file.path), where[-1]
        if "url" not in values:
            raise self._error("has no url.", *where)
        # threat: project-named-by-a-variable
        if not self._trusted:
            return ServerConfig(url=values["url"], name=name, source=source)
        if self._file.is_json:
            self._expand(values, *where)
        headers, secret = self._headers(values, *where), self._client_secret(oauth, *where)
        if "startup_timeout_ms" in values:
            values.setdefault("startup_timeout_sec", values["startup_timeout_ms"] / 1000)
        values |= oauth
        scopes = values.pop("scopes", None)
        if scopes:
            values["scopes"] = scopes.split() if isinstance(scopes, str) else scopes
        callback_url = oauth.get("callback_url")
        if callback_url and not self._may_listen(callback_url, *where, "oauth", "callback_url"):
            del values["callback_url"]
        fields: dict[str, Any] = {
            known_as: tuple(value) if isinstance(value, list) else value
            for key, value in values.items()
            if (known_as := _FIELDS.get(key, key)) is not None
        }
        return ServerConfig(
            **fields, name=name, source=source, headers=headers, client_secret=secret
        )

    def _expand(self, values: dict[str, Any], *where: str) -> None:
        """Put the environment's values into an entry of Claude's."""
        try:
            values["url"], values["http_headers"], values["hidden"] = variables.put_in(
                values["url"], values.get("headers", {})
            )
        except variables.Unset as unset:
            needs = f"needs the environment variable {unset.variable}, which is not set."
            raise _UnsetVariable(self._text(needs, *where, *unset.place)) from None

    def _client_secret(self, oauth: dict[str, Any], *where: str) -> Secret | None:
        variable = oauth.get("client_secret_env_var")
        value = os.environ.get(variable) if variable else oauth.get("client_secret")
        if variable and not value:
            unset = f"names the environment variable {sanitize(variable, 80)}, which is not set."
            self._warn(self._text(unset, *where, "oauth", "client_secret_env_var"))
        return Secret(value) if value else None

    def _headers(self, values: dict[str, Any], *where: str) -> tuple[Header, ...]:
        found: dict[str, Header] = {}
        for key in ("http_headers", "env_http_headers"):
            for name, text in values.get(key, {}).items():
                # The value may be a secret, and is in no message.
                if not header_can_be_set(name):
                    raise self._error("is no header that can be set.", *where, key, name)
                if key == "env_http_headers":
                    found[name.lower()] = Header(name, variable=text)
                    continue
                if not (text.isascii() and text.isprintable()):
                    raise self._error("has characters no header has.", *where, key, name)
                found[name.lower()] = Header(name, Secret(text))
        return tuple(found.values())

    def _may_listen(self, url: str, *where: str) -> bool:
        """Return whether the file may set this callback address.

        An address with a public host opens a port to the network. Only a file of the person's own
        may do so.
        """
        # threat: project-sends-the-answer-elsewhere
        if self._file.kind != "project" or _is_loopback(url):
            return True
        refused = (
            "is not used: a project's file cannot send the authorization response to another "
            "machine. Put it into your own config.toml."
        )
        self._warn(self._text(refused, *where))
        return False

    def _table(self, found: Mapping[str, Any], keys: Keys, *where: str) -> dict[str, Any]:
        """Return the values of a table that are used, once each has the right type."""
        values = {}
        for key, value in found.items():
            if key in keys.used:
                self._check(value, keys.used[key], *where, key)
                values[key] = value
            else:
                self._tell_unknown(key, keys, *where)
        return values

    def _check(self, value: Any, kind: Kind, *where: str) -> None:
        if not kind.fits(value):
            raise self._error(f"has to be {kind.name}.", *where)

    def _tell_unknown(self, key: str, keys: Keys, *where: str, only_misspelt: bool = False) -> None:
        """Warn of an unknown key, or only of one that looks like a known one."""
        # threat: project-bomb
        if not self._trusted:
            return  # finding a similar name takes a while, and anybody may have written the file
        if key in keys.others:
            return
        cutoff = 0.8 if only_misspelt else 0.6
        near = difflib.get_close_matches(
            key, [*keys.used, *sorted(keys.others)], n=1, cutoff=cutoff
        )
        if only_misspelt and not near:
            return
        hint = f" Did you mean {near[0]}?" if near else ""
        if key in _INSTEAD:
            hint = f" Use {_INSTEAD[key]}."
        table = f" in {sanitize('.'.join(where))}" if where else ""
        self._warn(f"{self._file.shown}: unknown key {sanitize(key)!r}{table}.{hint}")

    def _error(self, problem: str, *where: str) -> ConfigError:
        return ConfigError(self._text(problem, *where))

    def _text(self, problem: str, *where: str) -> str:
        """Return a message that names the file and the key."""
        return f"{self._file.shown}: {sanitize('.'.join(where))} {problem}"

    def _warn(self, message: str) -> None:
        """Warn the person, if the file is used."""
        if self._trusted:
            warnings.warn(message, stacklevel=2)


def _is_loopback(url: str) -> bool:
    # To a browser a backslash is a slash, and what stands before an @ is no host.
    if "\\" in url or "@" in url:
        return False
    try:
        return is_loopback_host(urlsplit(url).hostname)
    except ValueError:
        return False
