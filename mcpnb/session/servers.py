"""Everything configured or stored, as one table."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

from mcpnb.config import Broken, Configuration, read_configuration
from mcpnb.errors import ConfigError, McpnbError, StoreLocked
from mcpnb.oauth.models import ServerConfig
from mcpnb.oauth.urls import canonical_server
from mcpnb.scrub import scrub_traceback
from mcpnb.session import Session
from mcpnb.storage import RecordName, TokenStore, open_store
from mcpnb.text import MASK, Grid, count, page, paragraph, redact
from mcpnb.tokens.static import helper_of

_PATIENCE = 5.0
"""Seconds for all servers together."""
_AT_A_TIME = 64

Row = dict[str, Any]


def ask(
    unsigned: list[tuple[ServerConfig, Row]], told: Callable[[int, int], object] | None
) -> None:
    """Ask all these servers at the same time, and give up on those that take too long.

    The threads belong to no pool: at exit the interpreter would wait for the slowest server.
    """
    waiting, answers = deque(unsigned), queue.SimpleQueue[tuple[Row, Row]]()

    def work() -> None:
        with suppress(IndexError):
            while True:
                config, row = waiting.popleft()
                answers.put((row, _asked(config)))

    for _ in range(min(len(unsigned), _AT_A_TIME)):
        threading.Thread(target=work, name="mcpnb-probe", daemon=True).start()
    late = {id(row): row for _, row in unsigned}
    deadline = time.monotonic() + _PATIENCE
    with suppress(queue.Empty):
        while late:
            if told is not None:
                told(len(unsigned) - len(late), len(unsigned))
            row, answer = answers.get(timeout=max(deadline - time.monotonic(), 0.001))
            row.update(answer)
            del late[id(row)]
    unasked: set[int] = set()
    with suppress(IndexError):
        while True:  # nor are they asked when nobody waits for it any more
            _, row = waiting.popleft()
            unasked.add(id(row))
    for number, row in late.items():
        said = f"did not answer within {_PATIENCE:g} seconds."
        if number in unasked:
            said = "was not asked: too many others did not answer in time."
        row |= {"auth_status": "unreachable", "error": f"{row['url']} {said}"}


def _asked(config: ServerConfig) -> Row:
    from mcpnb.oauth.discovery import discover
    from mcpnb.oauth.http import Http

    try:
        helper = helper_of(config)
        if helper is not None and helper.printed().authorization is not None:
            return {"auth_status": "bearer_token", "store": None}
        with closing(Http(config.url, allow_private=config.allow_private_network)) as http:
            found = discover(config, http)
    except McpnbError as error:
        return {"auth_status": "unreachable", "error": str(error)}
    except Exception as error:  # noqa: BLE001  in a thread nobody would hear of it
        return {"auth_status": "unreachable", "error": f"Unexpected {type(error).__name__}."}
    return {"auth_status": "oauth_available" if found.authorization_server else "none"}


def overview(
    config: str | os.PathLike[str] | None = None,
    *,
    probe: bool = True,
    told: Callable[[int, int], object] | None = None,
) -> list[Row]:
    """List configured servers and stored logins; see `servers`.

    Args:
        config: A configuration file to read first.
        probe: Ask servers without a login whether they require a sign-in.
        told: Called with the number of responses and the number of servers.

    Returns:
        A row each, as Codex has them (`_described`); ``error`` if there is a problem.
    """
    configuration = read_configuration(config)
    listed = _Listing(configuration)
    rows = [listed.configured(found) for found in configuration.servers.values()]
    rows += [_unusable(broken) for broken in configuration.broken.values()]
    rows += [_untrusted(found) for found in configuration.untrusted]
    rows += listed.stored()
    if probe:
        ask(listed.unsigned, told)
    return rows


def entry(name: str, config: str | os.PathLike[str] | None = None, *, probe: bool = True) -> Row:
    """Return the row of one configured server, with its allowed tools.

    Raises:
        ConfigError: There is no usable server of that name.
    """
    configuration = read_configuration(config)
    found = configuration.server(name)
    listed = _Listing(configuration)
    row = listed.configured(found)
    if probe:
        ask(listed.unsigned, None)
    return row | {
        "enabled_tools": None if found.enabled_tools is None else list(found.enabled_tools),
        "disabled_tools": list(found.disabled_tools) or None,
        "oauth_resource": found.resource,
    }


class _Listing:
    """The rows of configured servers and stored logins."""

    def __init__(self, configuration: Configuration) -> None:
        self.unsigned: list[tuple[ServerConfig, Row]] = []
        """Enabled servers without a login, with their rows."""
        self._by_name: dict[str, ServerConfig] = {}
        self._seen: set[tuple[str, str | None]] = set()
        self._configuration = configuration
        self._store = open_store(configuration.bare("").store or "auto")
        # Whether there is a keyring is found out once: it can take seconds.
        self._new = _kept(self._store, RecordName("login", ""))

    def configured(self, found: ServerConfig) -> Row:
        try:
            config = replace(found, url=canonical_server(found.url))
        except ConfigError as error:
            return _described(found) | {"auth_status": "unreachable", "error": str(error)}
        if config.authorization is None:
            # With a token of its own, a login from before would be hidden behind this row.
            self._seen.add((config.name_in_store, config.account))
        self._by_name.setdefault(config.name_in_store, config)
        row = self._row(config)
        if row["enabled"] and row["auth_status"] == "none":
            self.unsigned.append((config, row))
        return row

    def stored(self) -> list[Row]:
        """Return the rows of logins that no entry has, under the name of their server."""
        rows = []
        for key in self._store.keys("login"):
            name, _, account = key.name.partition("\n")
            if (name, account or None) not in self._seen:
                known = self._by_name.get(name) or self._configuration.bare(name)
                config = replace(known.without_authorization(), account=account or None)
                rows.append(self._row(config))
        return rows

    def _row(self, config: ServerConfig) -> Row:
        row = _described(config) | {"store": self._new}
        if (header := config.authorization) is not None:
            row |= {"auth_status": "bearer_token", "store": None}
            if header.value is None and not os.environ.get(header.variable or ""):
                row["error"] = f"The environment variable {header.variable} is not set."
            return row
        # Of the login: whether a headers helper gives a token is asked of those without one.
        login = replace(config, headers_helper=None, enabled=True)
        info = Session(login, self._store).info()
        if isinstance(info.problem, ConfigError):
            raise info.problem  # MCPNB_STORE_KEY is no key: no row would be true
        if info.readable and info.status == "none":
            return row
        if info.readable:
            row |= {"auth_status": info.status, "expires_at": info.expires_at}
            row["scopes"] = list(info.scopes)
        else:
            locked = isinstance(info.problem, StoreLocked)
            status = "unreachable" if locked else "reauth_required"
            row |= {"auth_status": status, "error": str(info.problem)}
        return row | {"store": info.location or _kept(self._store, info.record_name)}


def _kept(store: TokenStore, key: RecordName) -> str:
    try:
        return store.location(key)
    except McpnbError as error:
        return str(error)


def _described(config: ServerConfig) -> Row:
    given = {h.name: MASK for h in config.headers if h.variable is None}
    named = {h.name: h.variable for h in config.headers if h.variable is not None}
    return {
        "name": config.name,
        "enabled": config.enabled,
        "disabled_reason": None if config.enabled else f"enabled = false in {config.source}",
        "transport": {
            "type": "streamable_http",
            "url": redact(config.shown),
            "bearer_token_env_var": config.bearer_token_env_var,
            "http_headers": given or None,
            "env_http_headers": named or None,
            "http_headers_helper": config.headers_helper,
        },
        "startup_timeout_sec": config.startup_timeout,
        "tool_timeout_sec": config.tool_timeout,
        "auth_status": "none",
        "url": redact(config.shown),
        "account": config.account,
        "scopes": list(config.scopes or ()),
        "expires_at": None,
        "store": None,
        "source": config.source,
        "required": config.required,
    }


def _unusable(broken: Broken) -> Row:
    config = ServerConfig(url=broken.url, name=broken.name, source=broken.source, enabled=False)
    said = {"disabled_reason": broken.problem, "error": broken.problem}
    status = {"auth_status": "unreachable", "required": broken.required}
    return _described(config) | status | said


def _untrusted(config: ServerConfig) -> Row:
    row = _described(replace(config, enabled=False))
    reason = f"{config.source} is not trusted: look at it, then run mcpnb trust"
    return row | {"disabled_reason": reason, "auth_status": "untrusted"}


class Servers(list[Row]):
    """The rows of `overview`, shown as a table."""

    def __repr__(self) -> str:
        head = f"<Servers: {count(len(self), 'server')}>"
        return f"{head}\n{self._grid().text()}" if self else head

    def _repr_html_(self) -> str:
        return page([paragraph(count(len(self), "server")), self._grid().html() if self else ""])

    def _grid(self) -> Grid:
        rows = []
        for row in self:
            status = row["auth_status"]
            if not row["enabled"] and status != "untrusted":
                status = f"disabled ({status})"
            scopes = " ".join(row["scopes"])
            rows.append([row["name"], row["url"], row["account"], status, scopes, row["source"]])
        return Grid(["name", "server", "account", "status", "scopes", "source"], rows)


@scrub_traceback
def servers(*, config: str | os.PathLike[str] | None = None, probe: bool = True) -> Servers:
    """List everything that is configured or stored: a table in a notebook, a list of dicts in code.

    Args:
        config: A configuration file to read first.
        probe: Ask servers without a login whether they require a sign-in, for five seconds at most.
            Servers with a login are not contacted.

    Raises:
        ConfigError: A configuration file is wrong.
    """
    return Servers(overview(config, probe=probe))
