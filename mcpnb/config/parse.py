"""One file's content to the servers it names."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mcpnb.config import claude
from mcpnb.config.files import File
from mcpnb.config.schema import (
    OAUTH,
    SERVER,
    TOP,
    Checker,
    header_can_be_set,
    json_lines,
    toml_lines,
)
from mcpnb.errors import ConfigError
from mcpnb.oauth.models import Header, Secret, ServerConfig
from mcpnb.text import sanitize

__all__ = ["Broken", "Parsed", "document_of", "parse"]

_MOST_PARTS = 64
_PART = r"""(?:[A-Za-z0-9_-]{1,200}+|"(?:[^"\\\n]|\\.){0,200}+"|'[^'\n]{0,200}+')"""
# Possessive, capped, and not from the midst of a part: so it takes no longer for any file.
_TOO_DEEP = re.compile(rf"(?<![A-Za-z0-9_.\-\"'\\])(?:{_PART}[ \t]{{0,80}}+\.[ \t]{{0,80}}+){{64}}")


@dataclass(frozen=True, slots=True)
class Broken:
    """An entry that cannot be used, and why."""

    name: str
    url: str
    source: str
    problem: str
    required: bool = False
    """Whether it says that nothing goes without it (and is not disabled)."""


@dataclass(slots=True)
class Parsed:
    """What one file says."""

    servers: dict[str, ServerConfig] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    broken: dict[str, Broken] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    """Servers of another transport."""


def document_of(file: File, content: bytes) -> tuple[dict[str, Any], str]:
    """Give a file's whole document, and its text.

    Raises:
        ConfigError: It is not valid TOML or JSON.
    """
    kind = "JSON" if file.path.suffix == ".json" else "TOML"
    try:
        text = content.decode("utf-8-sig")
        # threat: project-bomb
        deep = kind == "TOML" and _TOO_DEEP.search(text) is not None
        document = None if deep else json.loads(text) if kind == "JSON" else tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{file.path} is nested too deeply.") from None
    except ValueError as error:  # of both parsers, and of the encoding
        raise ConfigError(f"{file.path} is not valid {kind}: {sanitize(error)}.") from None
    if deep:
        # The parser's time grows with the square of a key's parts (measured: 24 s for 78 KiB).
        raise ConfigError(f"{file.path} has a key of more than {_MOST_PARTS} parts.")
    if not isinstance(document, dict):
        raise ConfigError(f"{file.path} has to be a JSON object.")
    return document, text


def parse(file: File, content: bytes, *, trusted: bool) -> Parsed:
    """Understand one file.

    Args:
        file: Where the content is from.
        content: Its bytes.
        trusted: Without it nothing is told of the file's mistakes, and no variable is looked at.

    Raises:
        ConfigError: The file as a whole cannot be understood; or an entry of one that was asked
            for.
    """
    document, text = document_of(file, content)
    is_json = file.path.suffix == ".json"
    lines = {} if not trusted else json_lines(text) if is_json else toml_lines(text)
    checker = Checker(file.path, lines, quiet=not trusted)
    return _Reading(file, checker, trusted=trusted).read(document, is_json=is_json)


class _Reading:
    def __init__(self, file: File, checker: Checker, *, trusted: bool) -> None:
        self._file = file
        self._check = checker
        self._trusted = trusted
        self._found = Parsed()

    def read(self, document: Mapping[str, Any], *, is_json: bool) -> Parsed:
        top = claude.SERVERS if is_json else "mcp_servers"
        tables = document.get(top, {})
        if not isinstance(tables, dict):
            raise self._check.wrong("has to be a table.", top)
        if not is_json:
            self._check.top(document)
            self._read_settings(document)
        for name, table in tables.items():
            if not isinstance(table, dict):
                self._leave_out(name, "", self._check.wrong("has to be a table.", top, name))
                continue
            try:
                self._read_entry(name, table, top, is_json=is_json)
            except ConfigError as error:
                url = table.get("url")
                required = table.get("required") is True and table.get("enabled") is not False
                url = url if isinstance(url, str) else ""
                self._leave_out(name, url, error, required=required)
        return self._found

    def _leave_out(
        self, name: str, url: str, error: ConfigError, *, required: bool = False
    ) -> None:
        unset = isinstance(error, claude.UnsetVariable)
        if self._file.kind == "asked for" and not unset:
            raise error
        self._found.broken[name] = Broken(
            name, url, str(self._file.path), str(error), required and self._trusted
        )
        # Nobody asked for this file: one wrong entry must not stand in the way of the others. A
        # variable that is not set is told to who asks for the server.
        if not unset:
            self._check.warn(f"{error} The entry is left out.")

    def _read_settings(self, document: Mapping[str, Any]) -> None:
        for key, kind in TOP.used.items():
            if key == "mcp_servers" or key not in document:
                continue
            try:
                value = self._check.typed(document[key], kind, key)
            except ConfigError as error:
                if self._file.kind == "asked for":
                    raise
                self._check.warn(f"{error} It is not used.")
                continue
            if key != "mcp_oauth_callback_url" or self._may_listen(value, key):
                self._found.settings[key] = value

    def _read_entry(self, name: str, table: dict[str, Any], top: str, *, is_json: bool) -> None:
        where = (top, name)
        stdio = not claude.is_http(table) if is_json else "command" in table and "url" not in table
        if stdio:
            self._found.others.append(name)
            return
        if is_json:
            # threat: project-named-by-a-variable
            values, oauth = claude.converted(table, self._check, *where, expand=self._trusted)
        else:
            values = self._check.table(table, SERVER, *where)
            oauth = self._check.table(values.get("oauth", {}), OAUTH, *where, "oauth")
        if "url" not in values:
            raise self._check.wrong("has no url.", *where)
        self._found.servers[name] = self._server(name, values, oauth, where)

    def _server(
        self, name: str, values: dict[str, Any], oauth: dict[str, Any], where: tuple[str, ...]
    ) -> ServerConfig:
        if not self._trusted:
            return ServerConfig(url=values["url"], name=name, source=str(self._file.path))
        own_url = oauth.get("callback_url")
        if own_url is not None and not self._may_listen(own_url, *where, "oauth", "callback_url"):
            own_url = None
        scopes, allowed = values.get("scopes"), values.get("enabled_tools")
        milliseconds = values.get("startup_timeout_ms")
        return ServerConfig(
            url=values["url"],
            name=name,
            account=values.get("account"),
            scopes=tuple(scopes) if scopes else None,
            client_id=oauth.get("client_id"),
            client_secret=self._secret(oauth, where),
            issuer=oauth.get("issuer"),
            client_metadata_url=values.get("client_metadata_url"),
            resource=values.get("oauth_resource"),
            callback_port=oauth.get("callback_port"),
            callback_url=own_url,
            allow_missing_pkce=values.get("allow_missing_pkce", False),
            allow_private_network=values.get("allow_private_network", False),
            tool_timeout=values.get("tool_timeout_sec"),
            startup_timeout=values.get(
                "startup_timeout_sec", milliseconds / 1000 if milliseconds else None
            ),
            bearer_token_env_var=values.get("bearer_token_env_var"),
            headers=self._headers(values, where),
            headers_helper=values.get("http_headers_helper"),
            enabled=values.get("enabled", True),
            required=values.get("required", False),
            enabled_tools=None if allowed is None else tuple(allowed),
            disabled_tools=tuple(values.get("disabled_tools", ())),
            source=str(self._file.path),
            hidden=values.get("hidden", ()),
        )

    def _secret(self, oauth: dict[str, Any], where: tuple[str, ...]) -> Secret | None:
        variable = oauth.get("client_secret_env_var")
        value = os.environ.get(variable) if variable else oauth.get("client_secret")
        if variable and not value:
            place = self._check.place(*where, "oauth", "client_secret_env_var")
            said = f"the environment variable {sanitize(variable, 80)} is not set."
            warnings.warn(f"{place}: {said}", stacklevel=2)
        return Secret(value) if value else None

    def _headers(self, values: dict[str, Any], where: tuple[str, ...]) -> tuple[Header, ...]:
        found: dict[str, Header] = {}
        for key in ("http_headers", "env_http_headers"):
            for name, said in values.get(key, {}).items():
                # The value may be a secret, and is in no message.
                if not header_can_be_set(name):
                    raise self._check.wrong("is no header that can be set.", *where, key, name)
                if key == "env_http_headers":
                    found[name.lower()] = Header(name, variable=said)
                    continue
                if not (said.isascii() and said.isprintable()):
                    raise self._check.wrong("has characters no header has.", *where, key, name)
                found[name.lower()] = Header(name, Secret(said))
        return tuple(found.values())

    def _may_listen(self, url: str, *where: str) -> bool:
        """Whether a callback address may decide where is listened.

        One with a public host opens a port to the network: only the person may say so, in a file of
        their own.
        """
        # threat: project-sends-the-answer-elsewhere
        if self._file.kind != "project" or _is_loopback(url):
            return True
        self._check.warn(
            f"{self._check.place(*where)}: a project's file cannot have the answer come to another "
            f"machine; {where[-1]} is not used. Put it into your own config.toml."
        )
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
