"""`mcpnb add`, `remove`, `list`, `get` and `discover`."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mcpnb.cli import app
from mcpnb.cli.prompt import Prompt
from mcpnb.errors import ConfigError, DiscoveryError, McpnbError
from mcpnb.text import Grid, quote, redact, sanitize

if TYPE_CHECKING:
    from mcpnb.session.servers import Row

no_probe_option = app.flag("--no-probe", "Do not contact any server.")

# Adding

_NAME = re.compile(r"[A-Za-z0-9_.:@/-]{1,100}")  # as Codex has it
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Names of headers, and beginnings of values, that prove who somebody is.
_SECRET = re.compile(
    r"auth|cookie|credential|key|pass|secret|session|signature|token", re.IGNORECASE
)
_SCHEME = re.compile(r"\s*(bearer|basic|token|apikey|digest)\s", re.IGNORECASE)
# Errors that mean that something else answers at the address.
_NO_SERVER = re.compile(r"There is no MCP server at|is not an MCP server|redirects to")


@app.cli.command()
@click.argument("name")
@app.option("--url", "URL", "The server's address.", required=True)
@app.flag("--no-login", "Do not contact the server, and do not sign in.")
@app.flag("--force", "Replace an entry that has this name.")
@app.sign_in_options
@app.option("--client-secret-env-var", "VAR", "Environment variable with the client secret.")
@app.option("--oauth-resource", "URL", "Resource indicator to send instead of the server's own.")
@app.option(
    "--bearer-token-env-var",
    "VAR",
    "Environment variable with a token to send instead of signing in.",
)
@app.option(
    "--header headers",
    "K=V",
    "Header to send with each call. No secrets: other users can see your command line.",
    multiple=True,
)
@app.option(
    "--env-header env_headers",
    "K=VAR",
    "Header to send with each call, with its value in an environment variable.",
    multiple=True,
)
@app.account_option
@app.config_option
def add(
    name: str,
    url: str,
    no_login: bool,
    force: bool,
    no_browser: bool,
    callback_port: int | None,
    registration: str,
    config: str | None,
    **given: Any,
) -> int:
    """Give a server a name in your config.toml, and sign in.

    Signs in if the server requires it. With --config FILE, the entry is written to that file.
    Comments and order of the file stay.

    \b
    mcpnb add linear --url https://mcp.example.com/mcp
    mcpnb add ci --url https://mcp.example.com/mcp --bearer-token-env-var CI_TOKEN
    """
    _write(name, _entry(url, **given), config, force=force)
    if no_login or given["bearer_token_env_var"]:
        return app.DONE
    from mcpnb.cli.login import sign_in
    from mcpnb.session.connect import discover as discover_server

    session = app.session_for(
        name, None, config, callback_port=callback_port, registration=registration
    )
    if session.status == "bearer_token" or session.signed_in:
        return app.DONE
    try:
        found = discover_server(name, config=config)
    except McpnbError as error:
        app.explain(error, head="mcpnb could not find out how to sign in")
        if isinstance(error, DiscoveryError) and _NO_SERVER.search(str(error)):
            app.say(f"Correct the address: mcpnb add {app.named(name)} --url URL --force")
        else:
            app.say(f"Sign in later: mcpnb login {app.named(name)}")
        return app.DONE
    if found.authorization_server is None:
        app.say("The server needs no sign-in.")
        return app.DONE
    try:
        return sign_in(session, None, browser=not no_browser)
    except McpnbError as error:
        app.explain(error)
        app.say(
            f"{sanitize(name, 80)} stays configured. Sign in later: mcpnb login {app.named(name)}"
        )
        return app.FAILED


def _entry(
    url: str, *, headers: tuple[str, ...], env_headers: tuple[str, ...], **given: str | None
) -> dict[str, Any]:
    """Check the options, and return the entry as the file has it.

    Raises:
        ConfigError: An address or a scope is wrong.
        UsageError: An option is wrong, or would show a secret to everybody on this machine.
    """
    from mcpnb.oauth.scopes import scopes_from
    from mcpnb.oauth.urls import canonical_server

    oauth = {
        "client_id": given["client_id"],
        "issuer": given["issuer"],
        "client_secret_env_var": _variable(given["client_secret_env_var"]),
    }
    values = {
        "url": canonical_server(url),
        "account": given["account"],
        "scopes": list(scopes_from(given["scopes"]) or ()),
        "oauth_resource": given["oauth_resource"],
        "bearer_token_env_var": _variable(given["bearer_token_env_var"]),
        "http_headers": dict(map(_public_header, headers)),
        "env_http_headers": {k: _variable(v) for k, v in map(_header, env_headers)},
        "oauth": {key: value for key, value in oauth.items() if value},
    }
    return {key: value for key, value in values.items() if value}


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value or not _HEADER.fullmatch(name):
        # Not repeated: it may be a secret in the wrong place.
        raise click.UsageError("Give a header as NAME=VALUE.")
    return name, value


def _public_header(text: str) -> tuple[str, str]:
    name, value = _header(text)
    if _SECRET.search(name) or _SCHEME.match(value):
        raise click.UsageError(
            f"The header {name} looks like a secret, and other users can see your command line. "
            "Put the secret into an environment variable, and give the variable's name: "
            f"--env-header {name}=VARIABLE (or --bearer-token-env-var for a bearer token)."
        )
    return name, value


def _variable(name: str | None) -> str | None:
    if name is not None and not _VARIABLE.fullmatch(name):
        raise click.UsageError(
            "An option for the name of an environment variable got something else. Do not give "
            "the secret itself on a command line."
        )
    return name


def _write(name: str, values: dict[str, Any], config: str | None, *, force: bool) -> None:
    from mcpnb.config import add_server, read_configuration, user_file

    shown = quote(name, 80)
    if not _NAME.fullmatch(name) or "://" in name:
        raise ConfigError(f"{shown} cannot be a name. Use letters, digits and _ . - : @ /")
    path = user_file(config)
    before = read_configuration(config if path.exists() else None)  # it may be a new file
    if name in before.servers and not force:
        raise ConfigError(
            f"{shown} is already configured in {before.servers[name].source}. --force replaces "
            f"the entry. To sign in: mcpnb login {app.named(name)}"
        )
    if not add_server(path, name, values, replace=force):  # one for a command, or a moment old
        raise ConfigError(f"{path} already has an entry {shown}. --force replaces it.")
    app.say(f"Added {sanitize(name, 80)} to {path}.")
    used = read_configuration(config).servers.get(name)
    if used is not None and used.source != str(path):
        app.say(f"Note: {used.source} also has this name, and its entry is used here.")


@app.cli.command()
@click.argument("name")
@app.flag("--logout signs_out", "Also sign out of the server.")
@app.config_option
def remove(name: str, signs_out: bool, config: str | None) -> int:
    """Remove a server from your config.toml. A login stays without --logout.

    \b
    mcpnb remove linear
    mcpnb remove linear --logout
    """
    from mcpnb.config import read_configuration, remove_server, user_file

    path = user_file(config)
    known = read_configuration(config).servers.get(name)
    if not remove_server(path, name):
        elsewhere = f" It is in {known.source}." if known else ""
        raise ConfigError(f"{path} has no entry {quote(name, 80)}.{elsewhere}")
    app.say(f"Removed {sanitize(name, 80)} from {path}.")
    left = read_configuration(config).servers.get(name)
    if left is not None:
        app.say(f"Note: {left.source} also has this name, and its entry is used now.")
    if known is not None and known.source == str(path) and signs_out:
        from mcpnb.cli.login import sign_out

        return sign_out(app.session_for(known.url, known.account, config))
    if known is not None and left is None:
        words = [known.url, *(["--account", known.account] if known.account else [])]
        app.say(f"This does not sign you out. To sign out: mcpnb logout {shlex.join(words)}")
    return app.DONE


# Listing

_UNUSABLE = ("unreachable", "untrusted")
_WITHOUT_LOGIN = ("oauth_available", "reauth_required")
_WITH_RECORD = ("authenticated", "expired", "reauth_required")
_WIDEST = 1_000
"""Characters of a line of the table: addresses are not cut to the terminal's width."""


@app.cli.command("list")
@app.json_option
@no_probe_option
@app.config_option
def list_(as_json: bool, no_probe: bool, config: str | None) -> int:
    """List configured servers and stored logins.

    Asks servers without a login whether they require one: all at once, for five seconds. Fails if a
    server with required = true cannot be used.

    \b
    mcpnb list --json
    """
    from mcpnb.session.servers import overview
    from mcpnb.storage import open_store

    with Prompt() as prompt:
        rows = overview(
            config,
            probe=not no_probe,
            told=lambda done, all_: prompt.status(f"Asking the servers: {done} of {all_} ..."),
        )
    for row in rows:
        if problem := row.get("error"):
            app.say(f"{sanitize(row['name'] or row['url'])}: {problem}")
    for problem in open_store("auto").damaged("login"):
        app.say(problem)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        head = ("Name", "Server", "Account", "Status", "Scopes", "Source", "Kept")
        click.echo(Grid(head, [_cells(row) for row in rows], cell=80).text(width=_WIDEST))
    else:
        app.say("No server is configured and no login is stored. Begin with: mcpnb login URL")
    return _judged(rows)


def _cells(row: Row) -> list[str]:
    status = row["auth_status"]
    cells = (
        row["name"],
        row["url"],
        row["account"],
        status if row["enabled"] or status in _UNUSABLE else f"disabled ({status})",
        " ".join(row["scopes"]),
        row["source"],
        # The folder is the same for all; what protects a login is not.
        row["store"].rpartition(", ")[2] if status in _WITH_RECORD else None,
    )
    return [cell or "-" for cell in cells]  # no column is ever empty, for awk and cut


@app.cli.command()
@click.argument("name")
@app.json_option
@no_probe_option
@app.config_option
def get(name: str, as_json: bool, no_probe: bool, config: str | None) -> int:
    """Show one configured server and the state of its login.

    Fails if the server has required = true and cannot be used.

    \b
    mcpnb get linear --json
    """
    from mcpnb.session.servers import entry

    row = entry(name, config, probe=not no_probe)
    if as_json:
        click.echo(json.dumps(row, indent=2))
        return _judged([row])
    facts = {key: value for key, value in row.items() if key != "transport"}
    for key, value in (row["transport"] | facts).items():
        text = value
        if isinstance(value, dict):
            text = ", ".join(f"{k}: {v}" for k, v in value.items())
        elif isinstance(value, list):
            text = " ".join(map(str, value))
        if text not in (None, "") and key != "type":
            click.echo(f"{key + ':':<22}{sanitize(text)}")
    return _judged([row])


def _judged(rows: list[Row]) -> int:
    """Return the exit code: what is required has to work."""
    code = app.DONE
    for row in rows:
        # A broken entry has been left out, which nobody wanted. A disabled one is not in use.
        in_use = row["enabled"] or row["disabled_reason"] == row.get("error", "")
        if not (row["required"] and in_use):
            continue
        status = row["auth_status"]
        if status in (*_UNUSABLE, *_WITHOUT_LOGIN):
            app.say(f"{sanitize(row['name'])} is required: {status}.")
        if status in _UNUSABLE or (status == "bearer_token" and "error" in row):
            code = app.FAILED
        elif status in _WITHOUT_LOGIN:
            code = code or app.SIGN_IN_REQUIRED
    return code


@app.cli.command()
@click.argument("url", metavar="URL")
@app.json_option
@app.config_option
def discover(url: str, as_json: bool, config: str | None) -> int:
    """Show how to sign in to a server. Registers nothing.

    \b
    mcpnb discover https://mcp.example.com/mcp
    """
    from mcpnb.session.connect import discover as discover_server

    found = discover_server(url, config=config)
    if as_json:
        click.echo(redact(json.dumps(asdict(found), indent=2)))
        return app.DONE
    for step in found.steps:
        app.say(f"{sanitize(step.request)}\n    {sanitize(step.answer)}    [{step.rule}]")
    click.echo(repr(found))
    return app.DONE
