"""The command group: what all commands share, from their options to their exit codes."""

from __future__ import annotations

import functools
import io
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from mcpnb import errors
from mcpnb.concurrency import interrupt_in
from mcpnb.text import redact, sanitize
from mcpnb.version import __version__

if TYPE_CHECKING:
    from mcpnb.session import Session

DONE, FAILED, USAGE, SIGN_IN_REQUIRED, CANCELLED = 0, 1, 2, 3, 130
PATIENCE = 300.0
"""Seconds that a command waits for a person, unless it is told otherwise."""
_LONGEST_LINE = 100_000
"""Characters; an authorization URL is never cut."""
_LONGEST_MESSAGE = 16_384
"""Characters of an error message. It may contain names from somebody else's file."""


def say(text: str) -> None:
    """Write a message to stderr; stdout is for data.

    Whoever wrote the text, no line of it moves the cursor or hides another one.
    """
    click.echo("\n".join(sanitize(line, _LONGEST_LINE) for line in text.split("\n")), err=True)


# Options

Decorator = Callable[[Any], Any]


def _together(*options: Decorator) -> Decorator:
    """Combine options into one decorator; help lists them in this order."""

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def flag(names: str, text: str) -> Decorator:
    """Return an option that is given or not. The names are separated by spaces."""
    return click.option(*names.split(), is_flag=True, help=text)


def option(names: str, metavar: str, text: str, **more: Any) -> Decorator:
    """Return an option that takes a value."""
    return click.option(*names.split(), metavar=metavar, help=text, **more)


server_argument = click.argument("server", metavar="SERVER")
json_option = flag("--json as_json", "Print JSON.")
account_option = option("--account", "NAME", "Choose one of several logins at the same server.")
config_option = option("--config", "FILE", "Read this configuration file first.")
common_options = _together(account_option, config_option)
no_browser_option = flag(
    "--no-browser", "Do not open a browser. Print the address, and read the address that you paste."
)
port_option = option(
    "--port callback_port",
    "N",
    "Loopback port of the callback. Default: 27182.",
    type=click.IntRange(0, 65_535),
)


def timeout_option(text: str) -> Decorator:
    """Return `--timeout`, a number of seconds, with this help."""
    return option("--timeout", "S", text, type=click.FloatRange(min=1))


scopes_option = option("--scopes", "A,B", "Request these scopes instead of the announced ones.")
sign_in_options = _together(
    scopes_option,
    no_browser_option,
    port_option,
    option("--client-id --oauth-client-id", "ID", "Your client ID at the authorization server."),
    option("--issuer", "URL", "Authorization server that the client ID belongs to."),
    click.option(
        "--registration",
        "--oauth-client-registration",
        type=click.Choice(["auto", "preregistered", "cimd", "dcr"]),
        default="auto",
        help="How to get a client ID for this sign-in.",
    ),
)


def with_session(command: Callable[..., int]) -> Callable[..., int]:
    """Hand a command the session of SERVER, with the options `--account` and `--config`."""

    @functools.wraps(command)
    def run(server: str, account: str | None, config: str | None, **given: Any) -> int:
        return command(session_for(server, account, config), **given)

    added: Callable[..., int] = common_options(run)
    return added


def session_for(server: str, account: str | None, config: str | None, **given: Any) -> Session:
    """Return the session of the server that a command line names; `given` goes to `connect()`."""
    from mcpnb.session.connect import connect

    return connect(server, account=account, config=config, **given)


# What to run next


def named(server: str, params: dict[str, Any] | None = None, *, store: bool = True) -> str:
    """Return the words that name a server's login to another command, as this command named it.

    Args:
        server: The server's address.
        params: The parameters of this command, if it has ended.
        store: Whether the other command has the option `--store`.
    """
    if params is None:
        params = click.get_current_context().params
    given = _given(params)
    # By its configured name: of several accounts at one address, only that says which.
    words = [given if given and "://" not in given else redact(server)]
    # `add` writes the account into the entry, so that the name is enough.
    options = ("config",) if "name" in params else ("account", "config", "store")
    for option in options:
        value = params.get(option)
        if value and not (option == "store" and (value == "auto" or not store)):
            words += [f"--{option}", value]
    return shlex.join(words)


def _given(params: dict[str, Any]) -> str:
    return params.get("server") or params.get("name") or ""


def explain(
    error: errors.McpnbError, params: dict[str, Any] | None = None, *, head: str = "Error"
) -> None:
    """Write an error; suggest the doctor if it is about a server or the way to it."""
    if params is None:
        params = click.get_current_context().params
    say(f"{head}: {sanitize(error, _LONGEST_MESSAGE)}")
    helps = isinstance(error, errors.ServerError)
    if isinstance(error, errors.CallError):
        helps = str(error).startswith("There is no MCP server at")
    if helps and not isinstance(error, errors.NoSignInNeeded) and (given := _given(params)):
        say(f"Why: mcpnb doctor {named(given, params, store=False)}")


class _Command(click.Command):
    """A command that turns errors into a message, a next step and an exit code."""

    def invoke(self, ctx: click.Context) -> int:
        try:
            code: int = super().invoke(ctx)
        except errors.McpnbError as error:
            return _failed(error, ctx.params)
        return code


def _failed(error: errors.McpnbError, params: dict[str, Any]) -> int:
    if isinstance(error, errors.LoginCancelled):
        return _cancelled()
    if isinstance(error, errors.LoginRequired):
        error.advise("")  # the next step is a line of its own here
        say(f"Sign-in required: {sanitize(error, _LONGEST_MESSAGE).strip()}")
        from mcpnb.oauth.scopes import as_option

        scopes = f" {as_option(error.scopes)}" if error.scopes else ""
        say(f"Run: mcpnb login {named(error.server, params)}{scopes}")
        return SIGN_IN_REQUIRED
    explain(error, params)
    return USAGE if isinstance(error, errors.ConfigError) else FAILED


def _cancelled() -> int:
    say("Cancelled.")
    return CANCELLED


# The group

_SECTIONS = {
    "Sign in": ("login", "logout", "list"),
    "Use a server": ("tools", "call", "token"),
    "Configure": ("add", "get", "remove", "trust"),
    "Find problems": ("discover", "doctor"),
    "More": ("relay", "jupyter", "client-metadata", "demo"),
}
_COMPLETION = """\
To complete commands and options with Tab, add a line to your shell's startup file:

\b
bash   eval "$(_MCPNB_COMPLETE=bash_source mcpnb)"
zsh    eval "$(_MCPNB_COMPLETE=zsh_source mcpnb)"
fish   _MCPNB_COMPLETE=fish_source mcpnb | source
"""


class _Commands(click.Group):
    """A group whose help lists the commands by section instead of by name."""

    command_class = _Command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, section by section."""
        width = max(map(len, self.commands))
        limit = formatter.width - 6 - width  # as click computes it
        for title, section in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (name.ljust(width), self.commands[name].get_short_help_str(limit))
                        for name in section
                    ]
                )


@click.group(
    cls=_Commands, epilog=_COMPLETION, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="mcpnb")
def cli() -> None:
    """Sign in to MCP servers, and stay signed in.

    SERVER is the address of an MCP server or the name of a configured one.

    \b
    mcpnb login https://mcp.example.com/mcp     sign in once
    mcpnb tools https://mcp.example.com/mcp     see what the server can do
    mcpnb call  https://mcp.example.com/mcp search query=report

    For help on a command: mcpnb COMMAND --help
    """


def with_commands() -> click.Group:
    """Return the group with all commands registered."""
    from mcpnb.cli import calls, doctor, login, misc, servers  # noqa: F401

    return cli


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. No error of a user shows a traceback."""
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks is shown escaped instead of failing.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = with_commands().main(list(arguments), prog_name="mcpnb", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _cancelled()
    except click.ClickException as error:
        error.show()
        return USAGE if isinstance(error, click.UsageError) else FAILED
    except RuntimeError as error:
        if interrupt_in(error) is None:
            raise
        return _cancelled()
    except BrokenPipeError:
        sys.stderr.close()  # the reader of stdout has gone, as in `mcpnb tools ... | head -1`
        return FAILED
    return code if isinstance(code, int) else DONE


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    say(f"Warning: {sanitize(message, _LONGEST_MESSAGE)}")
