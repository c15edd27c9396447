"""Everything configured or stored, as one table."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
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
from mcpnb.text import MASK, Grid, count, page, paragraph, redact, sanitize

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
    waiting: queue.SimpleQueue[tuple[ServerConfig, Row]] = queue.SimpleQueue()
    answers: queue.SimpleQueue[tuple[Row, Row]] = queue.SimpleQueue()
    for each in unsigned:
        waiting.put(each)

    def work() -> None:
        with suppress(queue.Empty):
            while True:
                config, row = waiting.get_nowait()
                answers.put((row, _asked(config)))

    for _ in range(min(len(unsigned), _AT_A_TIME)):
        threading.Thread(target=work, name="mcpnb-probe", daemon=True).start()
    late = {id(row): row for _, row in unsigned}
    deadline = time.monotonic() + _PATIENCE
    while late:
        if told is not None:
            told(len(unsigned) - len(late), len(unsigned))
        try:
            row, answer = answers.get(timeout=max(deadline - time.monotonic(), 0.001))
        except queue.Empty:
            break
        row.update(answer)
        del late[id(row)]
    with suppress(queue.Empty):
        while True:  # nor are they asked when nobody waits for it any more
            _, row = waiting.get_nowait()
            said = f"{row['url']} was not asked: too many others did not answer in time."
            row |= {"auth_status": "unreachable", "error": said}
            late.pop(id(row), None)
    for row in late.values():
        said = f"{row['url']} did not answer within {_PATIENCE:g} seconds."
        row |= {"auth_status": "unreachable", "error": said}


def _asked(config: ServerConfig) -> Row:
    from mcpnb.oauth.discovery import discover
    from mcpnb.oauth.http import Http

    try:
        if config.headers_helper is not None and _helped(config):
            return {"auth_status": "bearer_token", "store": None}
        with closing(Http(config.url, allow_private=config.allow_private_network)) as http:
            found = discover(config, http)
    except McpnbError as error:
        return {"auth_status": "unreachable", "error": str(error)}
    except Exception as error:  # noqa: BLE001  in a thread nobody would hear of it
        return {"auth_status": "unreachable", "error": f"Unexpected {type(error).__name__}."}
    return {"auth_status": "oauth_available" if found.authorization_server else "none"}


def _helped(config: ServerConfig) -> bool:
    from mcpnb.tokens.static import helper_of

    helper = helper_of(config)
    return helper is not None and helper.printed().authorization is not None


def overview(
    config: str | os.PathLike[str] | None = None,
    *,
    probe: bool = True,
    told: Callable[[int, int], object] | None = None,
) -> list[Row]:
    """List configured servers and stored logins.

    Args:
        config: A configuration file to read first.
        probe: Ask configured servers without a login whether they require a sign-in: all at once,
            for five seconds. No other server is contacted.
        told: Called with the number of responses and the number of servers.

    Returns:
        A row each, as Codex has them (``name``, ``enabled``, ``disabled_reason``, ``transport``,
        ``startup_timeout_sec``, ``tool_timeout_sec``, ``auth_status``), and ``url``, ``account``,
        ``scopes``, ``expires_at``, ``store``, ``source``, ``required``; ``error`` if there is a
        problem. Header values are masked.

    Raises:
        ConfigError: A configuration file is wrong.
    """
    configuration = read_configuration(config)
    listed = _Listing(configuration)
    rows, unsigned = [], []
    for found in configuration.servers.values():
        known, row = listed.configured(found)
        rows.append(row)
        if known is not None and row["enabled"] and row["auth_status"] == "none":
            unsigned.append((known, row))
    rows += [_unusable(broken) for broken in configuration.broken.values()]
    rows += [_untrusted(found) for found in configuration.untrusted]
    rows += listed.stored()
    if probe:
        ask(unsigned, told)
    return rows


def entry(name: str, config: str | os.PathLike[str] | None = None, *, probe: bool = True) -> Row:
    """Return the row of one configured server, with its allowed tools.

    Raises:
        ConfigError: There is no usable server of that name.
    """
    configuration = read_configuration(config)
    found = configuration.server(name)
    known, row = _Listing(configuration).configured(found)
    if probe and known is not None and row["enabled"] and row["auth_status"] == "none":
        ask([(known, row)], None)
    return row | {
        "enabled_tools": None if found.enabled_tools is None else list(found.enabled_tools),
        "disabled_tools": list(found.disabled_tools) or None,
        "oauth_resource": found.resource,
    }


class _Listing:
    def __init__(self, configuration: Configuration) -> None:
        self._by_name: dict[str, ServerConfig] = {}
        self._seen: set[tuple[str, str | None]] = set()
        self._configuration = configuration
        self._store = open_store(configuration.bare("").store or "auto")
        # Whether there is a keyring is found out once: it can take seconds.
        self._new = _kept(self._store, RecordName("login", ""))

    def configured(self, found: ServerConfig) -> tuple[ServerConfig | None, Row]:
        try:
            config = replace(found, url=canonical_server(found.url))
        except ConfigError as error:
            row = _described(found) | {"auth_status": "unreachable", "error": str(error)}
            return None, row
        if config.authorization is None:
            # With a token of its own, a login from before would be hidden behind this row.
            self._seen.add((config.name_in_store, config.account))
        self._by_name.setdefault(config.name_in_store, config)
        return config, self._row(config)

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
        if not info.readable:
            locked = isinstance(info.problem, StoreLocked)
            status = "unreachable" if locked else "reauth_required"
            row |= {"auth_status": status, "error": str(info.problem)}
        elif info.status == "none":
            return row
        else:
            row |= {"auth_status": info.status, "expires_at": info.expires_at}
            row["scopes"] = list(info.scopes)
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
    row = _described(
        ServerConfig(
            url=broken.url,
            name=broken.name,
            source=broken.source,
            enabled=False,
            required=broken.required,
        )
    )
    said = broken.problem
    return row | {"disabled_reason": said, "auth_status": "unreachable", "error": said}


def _untrusted(config: ServerConfig) -> Row:
    row = _described(replace(config, enabled=False))
    reason = f"{config.source} is not trusted: look at it, then run mcpnb trust"
    return row | {"disabled_reason": reason, "auth_status": "untrusted"}


class Servers(list[Row]):
    """The rows of `overview`, shown as a table."""

    _COLUMNS = ("name", "url", "account", "auth_status", "scopes", "source")

    def __repr__(self) -> str:
        head = f"<Servers: {count(len(self), 'server')}>"
        return f"{head}\n{self._grid().text()}" if self else head

    def _repr_html_(self) -> str:
        parts = [paragraph(count(len(self), "server"))]
        return page([*parts, self._grid().html()] if self else parts)

    def _grid(self) -> Grid:
        def cell(value: Any) -> str:
            texts: Iterable[Any] = value if isinstance(value, list) else [value or ""]
            return sanitize(" ".join(map(str, texts)), 200)

        rows = [[cell(row.get(column)) for column in self._COLUMNS] for row in self]
        for shown, row in zip(rows, self, strict=True):
            if not row["enabled"] and row["auth_status"] != "untrusted":
                shown[3] = f"disabled ({shown[3]})"
        columns = ["name", "server", "account", "status", "scopes", "source"]
        return Grid(columns, rows)


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
