"""The content of one file, read into the servers that it names."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mcpnb.config import claude
from mcpnb.config.files import File
from mcpnb.config.schema import FIELDS, OAUTH, SERVER, TOP, Checker, header_can_be_set
from mcpnb.errors import ConfigError
from mcpnb.oauth.models import Header, Secret, ServerConfig
from mcpnb.text import sanitize

_OTHERWISE = ("oauth", "http_headers", "env_http_headers", "client_secret", "client_secret_env_var")
"""Keys that no field of `ServerConfig` takes as they are."""
_MOST_PARTS = 64
_PART = r"""(?:[A-Za-z0-9_-]{1,200}+|"(?:[^"\\\n]|\\.){0,200}+"|'[^'\n]{0,200}+')"""
# Possessive, bounded, and never from inside a part: so its time grows with the text's length only.
_TOO_DEEP = re.compile(rf"(?<![A-Za-z0-9_.\-\"'\\])(?:{_PART}[ \t]{{0,80}}+\.[ \t]{{0,80}}+){{64}}")


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
        raise ConfigError(f"{file.path} is nested too deeply.") from None
    except ValueError as error:  # of both parsers, and of the encoding
        raise ConfigError(f"{file.path} is not valid {kind}: {sanitize(error)}.") from None
    if deep:
        # The parser's time grows with the square of a key's parts (measured: 24 s for 78 KiB).
        raise ConfigError(f"{file.path} has a key of more than {_MOST_PARTS} parts.")
    if not isinstance(document, dict):
        raise ConfigError(f"{file.path} has to be a JSON object.")
    return document


def tables_of(file: File, document: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the key that the servers of a file are under, and its value."""
    top = claude.SERVERS if file.is_json else "mcp_servers"
    return top, document.get(top, {})


def is_ours(file: File, table: Mapping[str, Any]) -> bool:
    """Return whether an entry is for a server with an address, rather than for a command."""
    return claude.is_http(table) if file.is_json else "url" in table or "command" not in table


def parse(file: File, content: bytes, *, trusted: bool) -> Parsed:
    """Read the content of one file.

    Args:
        file: Where the content is from.
        content: Its bytes.
        trusted: Without it there are no warnings, and no variable is read.

    Raises:
        ConfigError: The file as a whole cannot be read, or an entry of a file that was asked for.
    """
    return _Reading(file, trusted=trusted).read(document_of(file, content))


class _Reading:
    def __init__(self, file: File, *, trusted: bool) -> None:
        self._file = file
        self._source = str(file.path)
        self._check = Checker(file.path, quiet=not trusted)
        self._trusted = trusted
        self._found = Parsed()

    def read(self, document: Mapping[str, Any]) -> Parsed:
        top, tables = tables_of(self._file, document)
        if not isinstance(tables, dict):
            raise self._check.error("has to be a table.", top)
        if not self._file.is_json:
            self._check.top(document)
            self._read_settings(document)
        for name, table in tables.items():
            try:
                if not isinstance(table, dict):
                    raise self._check.error("has to be a table.", top, name)
                if is_ours(self._file, table):
                    self._found.servers[name] = self._server(name, table, top)
                else:
                    self._found.others.append(name)
            except ConfigError as error:
                self._leave_out(name, table, error)
        return self._found

    def _leave_out(self, name: str, table: Any, error: ConfigError) -> None:
        # An unset variable concerns only a person who asks for that server.
        unset = isinstance(error, claude.UnsetVariable)
        if self._file.kind == "asked for" and not unset:
            raise error
        entry = table if isinstance(table, dict) else {}
        url = entry.get("url")
        required = entry.get("required") is True and entry.get("enabled") is not False
        self._found.broken[name] = Broken(
            name,
            url if isinstance(url, str) else "",
            self._source,
            str(error),
            required=required and self._trusted,
        )
        # Nobody asked for this file: one wrong entry must not disable the others.
        if not unset:
            self._check.warn(f"{error} The entry is left out.")

    def _read_settings(self, document: Mapping[str, Any]) -> None:
        for key, kind in TOP.used.items():
            if key == "mcp_servers" or key not in document:
                continue
            try:
                value = self._check.value(document[key], kind, key)
            except ConfigError as error:
                if self._file.kind == "asked for":
                    raise
                self._check.warn(f"{error} It is not used.")
                continue
            if key != "mcp_oauth_callback_url" or self._may_listen(value, key):
                self._found.settings[key] = value

    def _server(self, name: str, table: dict[str, Any], top: str) -> ServerConfig:
        where = (top, name)
        if self._file.is_json:
            # threat: project-named-by-a-variable
            values, oauth = claude.converted(table, self._check, *where, expand=self._trusted)
        else:
            values = self._check.table(table, SERVER, *where)
            oauth = self._check.table(values.get("oauth", {}), OAUTH, *where, "oauth")
        if "url" not in values:
            raise self._check.error("has no url.", *where)
        if not self._trusted:
            return ServerConfig(url=values["url"], name=name, source=self._source)
        headers, secret = self._headers(values, *where), self._client_secret(oauth, *where)
        if "startup_timeout_ms" in values:
            values.setdefault("startup_timeout_sec", values.pop("startup_timeout_ms") / 1000)
        if not values.get("scopes"):
            values.pop("scopes", None)
        callback_url = oauth.get("callback_url")
        if callback_url and not self._may_listen(callback_url, *where, "oauth", "callback_url"):
            del oauth["callback_url"]
        fields: dict[str, Any] = {
            FIELDS.get(key, key): tuple(value) if isinstance(value, list) else value
            for key, value in (values | oauth).items()
            if key not in _OTHERWISE
        }
        return ServerConfig(
            **fields, name=name, source=self._source, headers=headers, client_secret=secret
        )

    def _client_secret(self, oauth: dict[str, Any], *where: str) -> Secret | None:
        variable = oauth.get("client_secret_env_var")
        value = os.environ.get(variable) if variable else oauth.get("client_secret")
        if variable and not value:
            unset = f"names the environment variable {sanitize(variable, 80)}, which is not set."
            place = (*where, "oauth", "client_secret_env_var")
            self._check.warn(self._check.text(unset, *place))
        return Secret(value) if value else None

    def _headers(self, values: dict[str, Any], *where: str) -> tuple[Header, ...]:
        found: dict[str, Header] = {}
        for key in ("http_headers", "env_http_headers"):
            for name, text in values.get(key, {}).items():
                # The value may be a secret, and is in no message.
                if not header_can_be_set(name):
                    raise self._check.error("is no header that can be set.", *where, key, name)
                if key == "env_http_headers":
                    found[name.lower()] = Header(name, variable=text)
                    continue
                if not (text.isascii() and text.isprintable()):
                    raise self._check.error("has characters no header has.", *where, key, name)
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
        self._check.warn(self._check.text(refused, *where))
        return False


def _is_loopback(url: str) -> bool:
    # To a browser a backslash is a slash, and what stands before an @ is no host.
    if "\\" in url or "@" in url:
        return False
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
