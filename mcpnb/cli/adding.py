"""What ``mcpnb add`` and ``mcpnb remove`` do."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Any

import click

from mcpnb.cli.group import DONE, FAILED, is_of_server, say, session_for
from mcpnb.config import add_server, has_server, read_configuration, remove_server, user_file
from mcpnb.errors import ConfigError, DiscoveryError, McpnbError
from mcpnb.oauth.models import ServerConfig
from mcpnb.text import quote, sanitize

__all__ = ["entry_values", "remove_entry", "sign_in_if_wanted", "write_entry"]

_NAME = re.compile(r"[A-Za-z0-9_.:@/-]{1,100}")  # what Codex takes as a name
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Names of headers, and beginnings of values, that are there to prove who somebody is.
_SECRET = re.compile(
    r"auth|cookie|credential|key|pass|secret|session|signature|token", re.IGNORECASE
)
_SCHEME = re.compile(r"\s*(bearer|basic|token|apikey|digest)\s", re.IGNORECASE)
# How it is said that what answered at an address is something else.
_NO_SERVER = re.compile(r"There is no MCP server at|is not an MCP server|redirects to")
_TIMEOUT = 300.0


def entry_values(
    url: str,
    *,
    scopes: str | None,
    account: str | None,
    oauth_resource: str | None,
    client_id: str | None,
    issuer: str | None,
    client_secret_env_var: str | None,
    bearer_token_env_var: str | None,
    headers: tuple[str, ...],
    env_headers: tuple[str, ...],
) -> dict[str, Any]:
    """Check what the command line gives, and put it as the file has it.

    Raises:
        ConfigError: An address or scope is wrong.
        UsageError: An option is, or would show a secret to everybody on this machine.
    """
    from mcpnb.oauth.scopes import scopes_from
    from mcpnb.oauth.urls import canonical_server

    asked_for = scopes_from(scopes)
    oauth = {
        "client_id": client_id,
        "issuer": issuer,
        "client_secret_env_var": _variable(client_secret_env_var),
    }
    values: dict[str, Any] = {
        "url": canonical_server(url),
        "account": account,
        "scopes": list(asked_for) if asked_for else None,
        "oauth_resource": oauth_resource,
        "bearer_token_env_var": _variable(bearer_token_env_var),
        "http_headers": dict(_header(text) for text in headers),
        "env_http_headers": {
            name: _variable(variable) for name, variable in map(_pair, env_headers)
        },
        "oauth": {key: value for key, value in oauth.items() if value},
    }
    return {key: value for key, value in values.items() if value}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value or not _HEADER.fullmatch(name):
        # Not said again: it may be a secret that somebody put into the wrong place.
        raise click.UsageError("A header is given as NAME=VALUE.")
    return name, value


def _header(text: str) -> tuple[str, str]:
    name, value = _pair(text)
    if _SECRET.search(name) or _SCHEME.match(value):
        raise click.UsageError(
            f"The header {name} looks like a secret, and a command line is seen by others: put it "
            f"into an environment variable and give its name, --env-header {name}=VARIABLE (or "
            "--bearer-token-env-var for a bearer token)."
        )
    return name, value


def _variable(name: str | None) -> str | None:
    if name is not None and not _VARIABLE.fullmatch(name):
        raise click.UsageError(
            "The name of an environment variable is expected where something else is given. A "
            "secret itself is never given on a command line."
        )
    return name


def write_entry(name: str, values: dict[str, Any], config: str | None, *, force: bool) -> None:
    """Write the entry, and say where.

    Raises:
        ConfigError: The name cannot be used or is taken, or the file cannot be written.
    """
    if not _NAME.fullmatch(name) or "://" in name:
        raise ConfigError(
            f"{quote(name, 80)} cannot be a name: use letters, digits and _ . - : @ /"
        )
    path = user_file(config)
    # A file that is not there yet is about to be made.
    before = read_configuration(config if path.exists() else None)
    if name in before.servers and not force:
        raise ConfigError(
            f"{quote(name, 80)} is configured in {before.servers[name].source} already. "
            f"--force takes its place. To sign in: mcpnb login {_named(name, config)}"
        )
    if not force and has_server(path, name):
        raise ConfigError(
            f"{path} has an entry {quote(name, 80)} already, which mcpnb cannot use. --force "
            "takes its place."
        )
    add_server(path, name, values, force=force)
    say(f"Added {sanitize(name, 80)} to {path}.")
    holds = read_configuration(config).servers.get(name)
    if holds is not None and holds.source != str(path):
        say(f"Note: {holds.source} has that name, too, and comes first here.")


def sign_in_if_wanted(
    name: str, config: str | None, *, browser: bool, port: int | None, registration: str
) -> int:
    """Ask the server whether it wants a sign-in, and sign in if so."""
    from mcpnb.cli.signing_in import sign_in
    from mcpnb.session.connect import discover

    named = _named(name, config)
    session = session_for(name, None, config, callback_port=port, registration=registration)
    if session.status == "bearer_token" or session.signed_in:
        return DONE
    try:
        found = discover(name, config=config)
    except McpnbError as error:
        say(f"How one signs in could not be found out: {error}")
        _say_why(error, named)
        if isinstance(error, DiscoveryError) and _NO_SERVER.search(str(error)):
            say(f"Correct the address with: mcpnb add {named} --url URL --force")
        else:
            say(f"Sign in later: mcpnb login {named}")
        return DONE
    if found.authorization_server is None:
        say("It needs no sign-in.")
        return DONE
    try:
        return sign_in(session, scopes=None, browser=browser, qr=False, timeout=_TIMEOUT)
    except McpnbError as error:
        say(f"Error: {error}")
        _say_why(error, named)
        say(f"{sanitize(name, 80)} stays configured. Sign in later: mcpnb login {named}")
        return FAILED


def _named(name: str, config: str | None) -> str:
    """Name the entry to another command."""
    return shlex.join([name, *(["--config", config] if config else [])])


def _say_why(error: McpnbError, named: str) -> None:
    if is_of_server(error):
        say(f"Why: mcpnb doctor {named}")


def remove_entry(name: str, config: str | None, *, sign_out: bool) -> int:
    """Take an entry out, and sign out of it or say what is left."""
    path = user_file(config)
    known = read_configuration(config).servers.get(name)
    if not remove_server(path, name):
        elsewhere = f" It is in {known.source}." if known else ""
        raise ConfigError(f"{path} has no entry {quote(name, 80)}.{elsewhere}")
    say(f"Removed {sanitize(name, 80)} from {path}.")
    left = read_configuration(config).servers.get(name)
    if left is not None:
        say(f"Note: {left.source} has an entry of that name, too, which is used now.")
    if known is not None and known.source == str(path) and sign_out:
        from mcpnb.cli.signing_out import sign_out as end

        return end(session_for(known.url, known.account, config))
    if known is not None and left is None and _has_login(known):
        words = [known.url, *(["--account", known.account] if known.account else [])]
        say(f"A login at it stays. To sign out: mcpnb logout {shlex.join(words)}")
    return DONE


def _has_login(known: ServerConfig) -> bool:
    """Whether a login is stored, readable or not. No command is run for it, and no key needed."""
    from mcpnb.oauth.urls import canonical_server
    from mcpnb.storage import open_store
    from mcpnb.tokens.record import login_key

    try:
        config = replace(known, url=canonical_server(known.url))
        return login_key(config.name_in_store, config.account) in open_store("auto").keys("login")
    except McpnbError:
        return True  # it may be
