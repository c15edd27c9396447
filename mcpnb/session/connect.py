"""The functions a person starts with."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from dataclasses import replace
from typing import Literal

from mcpnb.config import Configuration, read_configuration
from mcpnb.environment import is_voila
from mcpnb.errors import ConfigError, McpnbError, StoreError
from mcpnb.oauth.models import Discovery, Secret, ServerConfig, Via, callback_from
from mcpnb.oauth.scopes import scopes_from
from mcpnb.oauth.urls import canonical_server, is_loopback_host, require_callback
from mcpnb.scrub import scrub_traceback
from mcpnb.session import Session
from mcpnb.storage import TokenStore, open_store
from mcpnb.text import sanitize

_LAST_PORT = 65_535


@scrub_traceback
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
    via: Via = "auto",
) -> Session:
    """Return the session of one MCP server. Never blocks, contacts nobody.

    Args:
        server: The server's address, or the name of a configured one.
        account: A label, to keep several logins at one server apart.
        scopes: Scopes to request instead of those that the server announces.
        client_id: The id of a client that you registered at the authorization server.
        client_secret: Its secret, sent to `issuer` only, or to the first issuer it was used at.
        issuer: The authorization server that the client id belongs to.
        registration: How to get a client id; ``auto`` takes the first mechanism that works.
        client_metadata_url: Where you host your client ID metadata document.
        resource: The resource indicator (RFC 8707) to send instead of the discovered one.
        callback_port: The loopback port for the response; 0 for any free one. Usually 27182.
        callback_url: The full callback address, where a proxy or an ingress leads to this machine.
        store: Where the login is stored. ``auto``: encrypted files; their key is in the system's
            keyring, or if that cannot be used, in ``MCPNB_STORE_KEY`` or a file. ``keyring``: only
            with the keyring. ``file``: never with the keyring. ``memory``: in this process only.
            Or a `mcpnb.stores.TokenStore`. The configuration's ``mcp_oauth_credentials_store``
            replaces ``auto``. In Voilà, where all visitors are one system user, ``auto`` is memory.
        config: A configuration file to read first.
        via: How the authorization response comes back, if mcpnb should not choose: see
            `Session.login`.

    Raises:
        ConfigError: An argument or a configuration file is wrong.
    """
    if registration not in ("auto", "preregistered", "cimd", "dcr"):
        raise ConfigError(
            f"registration has to be auto, preregistered, cimd or dcr, not {registration!r:.80}."
        )
    is_port = isinstance(callback_port, int) and 0 <= callback_port <= _LAST_PORT
    if callback_port is not None and not is_port:
        raise ConfigError(
            f"callback_port has to be a port number (0 to {_LAST_PORT}), not {callback_port!r:.80}."
        )
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
        "callback": callback_from(via),
    }
    known = {name: value for name, value in given.items() if value is not None}
    configured = resolve(server, config)
    if client_id not in (None, configured.client_id):
        # Configured credentials belong together: another id takes neither secret nor issuer along.
        configured = replace(configured, client_secret=None, issuer=None)
    elif configured.issuer is not None and issuer not in (None, configured.issuer):
        configured = replace(configured, client_secret=None)
    resolved = replace(configured, registration=registration, **known)  # type: ignore[arg-type]
    if callback_url is not None:
        require_callback(callback_url)
    if store == "auto":
        # Each visitor of a Voilà page has a kernel, and all kernels belong to one system user: on
        # its disk, the first visitor's login would be everybody's.
        chosen = resolved.store or "auto"
        store = "memory" if chosen == "auto" and is_voila() else chosen
    return Session(resolved, open_store(store))


@scrub_traceback
def resolve(server: str, config: str | os.PathLike[str] | None = None) -> ServerConfig:
    """Return the configuration of a server, from its address or its configured name.

    Raises:
        ConfigError: It is neither.
    """
    if not isinstance(server, str) or not server.strip():  # type: ignore[redundant-expr]
        raise ConfigError("Give the address of an MCP server (https://...), or a configured name.")
    configuration = read_configuration(config)
    if "://" not in server:
        found = _named(server.strip(), configuration)
        found = replace(found, url=canonical_server(found.url))
    else:
        found = _at(canonical_server(server), configuration)
    if found.callback_url is not None:
        require_callback(found.callback_url)
    return found


def _named(name: str, configuration: Configuration) -> ServerConfig:
    if not configuration.knows(name) and ("." in name or "/" in name or ":" in name):
        host = name.partition("/")[0]
        host = host.rpartition(":")[0] or host
        scheme = "http" if is_loopback_host(host) else "https"
        raise ConfigError(
            f"“{sanitize(name, 100)}” is not a configured name. Did you mean {scheme}://…?"
        )
    return configuration.server(name)


def _at(url: str, configuration: Configuration) -> ServerConfig:
    # What is configured for an address holds for it under its own name, too. Of several entries,
    # one that is not disabled; and with several accounts the address alone is none of them.
    found = [known for known in configuration.servers.values() if _same(known.url, url)]
    if not found:
        for broken in configuration.broken.values():
            # What it limits would be without limits: it stands in the way.
            if _same(broken.url, url):
                raise ConfigError(broken.problem)
        return configuration.bare(url)
    found.sort(key=lambda known: not known.enabled)
    one_account = len({known.account for known in found}) == 1
    return replace(found[0], url=url, account=found[0].account if one_account else None)


def _same(configured: str, url: str) -> bool:
    try:
        return canonical_server(configured) == url
    except ConfigError:
        return False


@scrub_traceback
def discover(server: str, *, config: str | os.PathLike[str] | None = None) -> Discovery:
    """Return how to sign in to a server, without signing in or registering.

    Raises:
        ServerError: It cannot be reached, understood or trusted.
    """
    from mcpnb.oauth.discovery import discover as look
    from mcpnb.oauth.http import Http

    resolved = resolve(server, config)
    with closing(Http(resolved.url, allow_private=resolved.allow_private_network)) as http:
        return look(resolved, http)


@scrub_traceback
def sign_out_everywhere(store: str | TokenStore = "auto") -> list[tuple[str, str | None, str]]:
    """Sign out of every stored login, including those that cannot be read.

    Returns:
        A tuple for each login: server, account, and the outcome of `sign_out`, or an error message.
    """
    opened = open_store(store)
    names = {key.name for kind in ("login", "pending") for key in opened.keys(kind)}
    damaged = opened.damaged("login")
    done: list[tuple[str, str | None, str]] = []
    for name in sorted(names):
        server, _, account = name.partition("\n")
        # Whatever a headers helper gives, or fails to: it is the stored login that is to end.
        config = replace(_of_login(server), account=account or None, headers_helper=None)
        try:
            outcome = sign_out(Session(config, opened))
        except McpnbError as error:
            outcome = str(error)
        done.append((server, account or None, outcome))
    if damaged:
        opened.clear("login")
    return done + [("a login that could not be named", None, "unread") for _ in damaged]


def _of_login(name: str) -> ServerConfig:
    """Return the configuration of a stored login's server; the name is not always its address."""
    with suppress(ConfigError):  # no reason to stay signed in
        if "#" not in name:  # no canonical address has one
            return resolve(name)
        for known in read_configuration().servers.values():
            with suppress(ConfigError):
                config = replace(known, url=canonical_server(known.url))
                if config.name_in_store == name:
                    return config
    return ServerConfig(url=name)


def sign_out(session: Session) -> str:
    """Sign out of one server, also where its login cannot be read.

    Returns:
        ``revoked``, ``forgotten`` (the server did not confirm), ``unread`` (nothing could be
        revoked), ``begun`` (nobody was signed in, and a sign-in was begun), or ``none``.
    """
    stored, unread = True, False
    try:
        stored = session.status != "none"
    except StoreError:
        unread = True
    except ConfigError:
        pass  # of a headers helper: no reason to stay signed in
    begun = set(session.store.keys("pending"))
    if session.logout():  # a sign-in that waits ends, too
        return "revoked"
    if stored:
        return "unread" if unread else "forgotten"
    return "begun" if begun != set(session.store.keys("pending")) else "none"


def allow_nested_asyncio() -> None:
    """Let ``asyncio.run(...)`` work in a cell, for copied examples. mcpnb itself never needs it.

    It patches asyncio for the whole process, with nest-asyncio2, which ipykernel itself uses; the
    archived nest-asyncio makes newer kernels drop queued cells (measured).
    """
    import nest_asyncio2

    nest_asyncio2.apply()
