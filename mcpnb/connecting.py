"""The functions a person begins with."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import urlsplit

from mcpnb.config import read_configuration
from mcpnb.errors import ConfigError, McpnbError, StoreError, StoreLocked, plain
from mcpnb.models import Discovery, Secret, ServerConfig
from mcpnb.protocol.scopes import scopes_from
from mcpnb.protocol.urls import canonical_server, is_loopback_host
from mcpnb.session import Session
from mcpnb.store import Key, TokenStore, open_store
from mcpnb.tokens import TokenSource

_LAST_PORT = 65_535

__all__ = ["allow_nested_asyncio", "connect", "discover", "overview", "resolve"]


def connect(  # noqa: PLR0913  each an option of its own
    server: str,
    *,
    account: str | None = None,
    scopes: str | list[str] | tuple[str, ...] | None = None,
    client_id: str | None = None,
    client_secret: str | None = None,
    issuer: str | None = None,
    registration: Literal["auto", "preregistered", "cimd", "dcr"] = "auto",
    client_metadata_url: str | None = None,
    resource: str | None = None,
    callback_port: int | None = None,
    callback_url: str | None = None,
    store: str | TokenStore = "auto",
    config: str | os.PathLike[str] | None = None,
) -> Session:
    """Give the session of one MCP server. Never blocks, contacts nobody.

    Args:
        server: The server's address, or the name of a configured one.
        account: A label, to keep several logins at one server apart.
        scopes: Scopes to ask for, instead of those the server announces.
        client_id: The id of a client that you registered at the authorization server.
        client_secret: Its secret, sent to `issuer` only, or to the first issuer it was used at.
        issuer: The authorization server that the client id belongs to.
        registration: Which way to a client id to take; ``auto`` takes the first that works.
        client_metadata_url: Where you host your client ID metadata document.
        resource: The resource indicator (RFC 8707) to send instead of the discovered one.
        callback_port: The loopback port for the answer; 0 for any free one. Usually 27182.
        callback_url: The full callback address, where a proxy or an ingress leads to this machine.
        store: Where the login rests. Encrypted files with their key in the system's keyring, or
            where that cannot be used, in ``MCPNB_STORE_KEY`` or a file (``auto``); in the keyring
            or not at all (``keyring``); never in the keyring (``file``); in ``memory``; or in a
            `mcpnb.stores.TokenStore`.
        config: A configuration file to read first.

    Raises:
        ConfigError: An argument or a configuration file is wrong.
    """
    if registration not in ("auto", "preregistered", "cimd", "dcr"):
        raise ConfigError(
            f"registration has to be auto, preregistered, cimd or dcr, not {registration!r}."
        )
    _check_callback(callback_port, callback_url)
    given = {
        "account": account,
        "scopes": scopes_from(scopes),
        "client_id": client_id,
        "client_secret": Secret(client_secret) if client_secret else None,
        "issuer": issuer,
        "client_metadata_url": client_metadata_url,
        "resource": resource,
        "callback_port": callback_port,
        "callback_url": callback_url,
    }
    known = {name: value for name, value in given.items() if value is not None}
    configured = resolve(server, config)
    if client_id not in (None, configured.client_id):
        # Configured credentials belong together: another id takes neither secret nor issuer along.
        configured = replace(configured, client_secret=None, issuer=None)
    elif configured.issuer is not None and issuer not in (None, configured.issuer):
        configured = replace(configured, client_secret=None)
    resolved = replace(configured, registration=registration, **known)  # type: ignore[arg-type]
    return Session(resolved, open_store(store))


def _check_callback(port: object, url: object) -> None:
    if port is not None and (not isinstance(port, int) or not 0 <= port <= _LAST_PORT):
        raise ConfigError(
            f"callback_port has to be a port number (0 to {_LAST_PORT}), not {port!r}."
        )
    if url is None:
        return
    parts = urlsplit(url) if isinstance(url, str) else None
    local = parts is not None and parts.scheme == "http" and is_loopback_host(parts.hostname)
    if parts is None or not parts.hostname or (parts.scheme != "https" and not local):
        raise ConfigError(
            f"callback_url has to be an https address (http for this machine only), not {url!r}."
        )


def resolve(server: str, config: str | os.PathLike[str] | None = None) -> ServerConfig:
    """Give what is known of a server: an address, or the name of a configured one.

    Raises:
        ConfigError: Neither.
    """
    if not isinstance(server, str) or not server.strip():  # type: ignore[redundant-expr]
        raise ConfigError("Give the address of an MCP server (https://...), or a configured name.")
    if "://" not in server:
        named = _named(server.strip(), config)
        return replace(named, url=canonical_server(named.url))
    url = canonical_server(server)
    for known in read_configuration(config).servers.values():
        # What is configured for an address holds for it under its own name, too.
        if _same(known.url, url):
            return replace(known, url=url)
    return ServerConfig(url=url)


def _named(name: str, config: str | os.PathLike[str] | None) -> ServerConfig:
    configuration = read_configuration(config)
    if name not in configuration.servers and ("." in name or "/" in name or ":" in name):
        raise ConfigError(f"“{plain(name, 100)}” is not a configured name. Did you mean https://…?")
    return configuration.server(name)


def _same(configured: str, url: str) -> bool:
    try:
        return canonical_server(configured) == url
    except ConfigError:
        return False


def discover(server: str, *, config: str | os.PathLike[str] | None = None) -> Discovery:
    """Look how one would sign in to a server, without signing in or registering.

    Raises:
        ServerError: It cannot be reached, understood or trusted.
    """
    from mcpnb.discovery import discover as look
    from mcpnb.http import Http

    resolved = resolve(server, config)
    with closing(Http(resolved.url, allow_private=resolved.allow_private_network)) as http:
        return look(resolved, http)


def overview(config: str | os.PathLike[str] | None = None) -> list[dict[str, Any]]:
    """List configured servers and stored logins, as far as this machine knows: nobody is contacted.

    Returns:
        A row each: ``name``, ``url``, ``account``, ``auth_status``, ``scopes``, ``expires_at``,
        ``store``, ``source``. A login that cannot be read is listed with what is wrong.
    """
    store = open_store("auto")
    # Whether there is a keyring is found out once: it can take seconds.
    new = _kept(store, Key("login", ""))
    configured = read_configuration(config).servers
    rows = [_row(replace(c, url=canonical_server(c.url)), store, new) for c in configured.values()]
    seen = {(row["url"], row["account"]) for row in rows}
    for key in store.keys("login"):
        url, _, account = key.name.partition("\n")
        if (url, account or None) not in seen:
            rows.append(_row(ServerConfig(url=url, account=account or None), store, new))
    return rows


def _kept(store: TokenStore, key: Key) -> str:
    try:
        return store.kept(key)
    except McpnbError as error:
        return str(error)


def _row(config: ServerConfig, store: TokenStore, new: str) -> dict[str, Any]:
    source = TokenSource(config, store)
    row: dict[str, Any] = {
        "name": config.name,
        "url": config.url,
        "account": config.account,
        "auth_status": "none",
        "scopes": [],
        "expires_at": None,
        "store": new,
        "source": config.source,
    }
    try:
        record = source.record()
        if record is None:
            return row
        row["auth_status"] = Session(config, store).status
        row |= {"scopes": list(record.tokens.scopes), "expires_at": record.tokens.expires_at}
    except StoreLocked as error:
        row |= {"auth_status": "unreachable", "error": str(error)}
    except StoreError as error:
        row |= {"auth_status": "reauth_required", "error": str(error)}
    return row | {"store": _kept(store, source.key)}


def sign_out_everywhere(store: str | TokenStore = "auto") -> list[tuple[str, str | None, str]]:
    """Sign out of every stored login, also of those that cannot be read.

    Returns:
        Server, account, and what became of it: ``revoked``, ``forgotten`` (the server did not
        confirm), ``unread`` (so that nothing could be revoked), or what went wrong.
    """
    opened, done = open_store(store), []
    for kind in ("pending", "login"):
        for key in opened.keys(kind):
            server, _, account = key.name.partition("\n")
            try:
                config = replace(resolve(server), account=account or None)
                session = Session(config, opened)
                outcome = _signed_out(session)
            except McpnbError as error:
                outcome = str(error)
            if kind == "login":
                done.append((server, account or None, outcome))
    return done


def _signed_out(session: Session) -> str:
    try:
        readable = session.status is not None
    except StoreError:
        readable = False
    revoked = session.logout()
    return "revoked" if revoked else ("forgotten" if readable else "unread")


def allow_nested_asyncio() -> None:
    """Let ``asyncio.run(...)`` work in a cell, for copied examples. mcpnb itself never needs it.

    It patches asyncio for the whole process, with nest-asyncio2, which ipykernel itself uses; the
    archived nest-asyncio makes newer kernels drop queued cells (measured).
    """
    import nest_asyncio2

    nest_asyncio2.apply()
