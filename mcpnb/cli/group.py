"""The command group, and the options that its commands share."""

from __future__ import annotations

from typing import Any

import click

from mcpnb.version import __version__

__all__ = [
    "CANCELLED",
    "DONE",
    "FAILED",
    "SIGN_IN_REQUIRED",
    "USAGE",
    "account_option",
    "cli",
    "common_options",
    "config_option",
    "json_option",
    "say",
    "server_argument",
    "session_for",
    "store_option",
]

DONE, FAILED, USAGE, SIGN_IN_REQUIRED, CANCELLED = 0, 1, 2, 3, 130

server_argument = click.argument("server", metavar="SERVER")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
account_option = click.option(
    "--account", metavar="NAME", help="Which of several logins at one server."
)
config_option = click.option(
    "--config", metavar="FILE", type=click.Path(), help="Read this configuration file first."
)
store_option = click.option(
    "--store",
    type=click.Choice(["auto", "keyring", "file", "memory"]),
    default="auto",
    help="Where the key of stored logins rests. Default: auto, the system's keyring if there is "
    "one, else a file.",
)


def common_options(command: Any) -> Any:
    """Add the options that choose the login; they work everywhere."""
    return account_option(config_option(command))


def say(text: str) -> None:
    """Tell the person; data goes to stdout instead."""
    click.echo(text, err=True)


def session_for(
    server: str, account: str | None, config: str | None, store: str = "auto", **given: Any
) -> Any:
    """Connect as a command line asks for."""
    from mcpnb.connecting import connect

    return connect(server, account=account, config=config, store=store, **given)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mcpnb")
def cli() -> None:
    """Sign in to MCP servers, and stay signed in.

    SERVER is the address of an MCP server or the name of a configured one.

    \b
    mcpnb login https://mcp.example.com/mcp     sign in, once
    mcpnb tools https://mcp.example.com/mcp     what it can do
    mcpnb call  https://mcp.example.com/mcp search query=report
    """
