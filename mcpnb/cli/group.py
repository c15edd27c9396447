"""The command group, and the options that its commands share."""

from __future__ import annotations

import shlex
from collections.abc import MutableMapping
from typing import Any

import click

from mcpnb.errors import CallError, McpnbError, NoSignInNeeded, ServerError
from mcpnb.text import redact, sanitize
from mcpnb.version import __version__

__all__ = [
    "CANCELLED",
    "DONE",
    "FAILED",
    "SIGN_IN_REQUIRED",
    "USAGE",
    "Asked",
    "account_option",
    "asked_again",
    "asked_for",
    "cli",
    "common_options",
    "config_option",
    "is_of_server",
    "json_option",
    "say",
    "server_argument",
    "session_for",
    "store_option",
]

_LONGEST = 100_000
"""Characters of a line: an authorization URL is never cut."""
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
    """Tell the person; data goes to stdout instead.

    Whatever is in it, and whoever wrote that: no line of it moves the cursor or hides another.
    """
    click.echo("\n".join(sanitize(line, _LONGEST) for line in text.split("\n")), err=True)


Asked = MutableMapping[str, str | None]
"""The server as this command line names it, and the options that choose the login."""


def asked_for(asked: Asked, server: str) -> str:
    """Give the words that name a server's login to the next command, as this one named it.

    Args:
        asked: What `session_for` was asked for.
        server: Its address.
    """
    named = asked.get("server") or ""
    # By its name, where it has one: of several accounts at one address that says which.
    words = [named if named and "://" not in named else redact(server)]
    for option in ("account", "config", "store"):
        if value := asked.get(option):
            words += [f"--{option}", value]
    return shlex.join(words)


def is_of_server(error: McpnbError) -> bool:
    """Whether something is wrong with a server, or the way to it, so that a look at it helps."""
    if isinstance(error, CallError):
        return str(error).startswith("There is no MCP server at")
    return isinstance(error, ServerError) and not isinstance(error, NoSignInNeeded)


def asked_again(server: str) -> str:
    """Give those words for what the command that runs was asked for.

    Args:
        server: Its address.
    """
    context = click.get_current_context(silent=True)
    return asked_for((context.obj if context is not None else None) or {}, server)


def session_for(
    server: str, account: str | None, config: str | None, store: str = "auto", **given: Any
) -> Any:
    """Connect as a command line asks for."""
    from mcpnb.session.connect import connect

    if (context := click.get_current_context(silent=True)) and context.obj is not None:
        context.obj |= {"server": server, "account": account, "config": config}
        context.obj |= {"store": store if store != "auto" else None}
    return connect(server, account=account, config=config, store=store, **given)


_SECTIONS = {
    "Sign in": ("login", "logout", "list"),
    "Use a server": ("tools", "call", "token"),
    "Configure": ("add", "get", "remove", "trust"),
    "See what is wrong": ("discover", "doctor"),
    "Further": ("relay", "jupyter", "client-metadata", "demo"),
}
_COMPLETION = """\
Complete commands and options with Tab; in your shell's own file:

\b
bash   eval "$(_MCPNB_COMPLETE=bash_source mcpnb)"
zsh    eval "$(_MCPNB_COMPLETE=zsh_source mcpnb)"
fish   _MCPNB_COMPLETE=fish_source mcpnb | source
"""


class _Commands(click.Group):
    """Lists its commands as one needs them, and not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all of them; what has no section yet is last."""
        known = [name for names in _SECTIONS.values() for name in names if name in self.commands]
        return known + [name for name in super().list_commands(ctx) if name not in known]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write them, section by section."""
        names = self.list_commands(ctx)
        of_sections = {name for section in _SECTIONS.values() for name in section}
        others = tuple(name for name in names if name not in of_sections)
        width = max(map(len, names))
        # As click does it: what fits beside the widest name.
        limit = formatter.width - 6 - width
        for title, section in (*_SECTIONS.items(), ("Others", others)):
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(limit))
                for name in section
                if name in self.commands
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


@click.group(
    cls=_Commands, epilog=_COMPLETION, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="mcpnb")
def cli() -> None:
    """Sign in to MCP servers, and stay signed in.

    SERVER is the address of an MCP server or the name of a configured one.

    \b
    mcpnb login https://mcp.example.com/mcp     sign in, once
    mcpnb tools https://mcp.example.com/mcp     what it can do
    mcpnb call  https://mcp.example.com/mcp search query=report

    Each command explains itself: mcpnb COMMAND --help
    """
