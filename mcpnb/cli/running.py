"""One command line, from its arguments to its exit code."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Sequence

import click

import mcpnb.cli.diagnosing  # registers its command
import mcpnb.cli.jupyter  # registers its command
import mcpnb.cli.relaying  # registers its command
import mcpnb.cli.team  # noqa: F401  registers its commands
from mcpnb import errors
from mcpnb.cli import commands
from mcpnb.cli.group import (
    CANCELLED,
    DONE,
    FAILED,
    SIGN_IN_REQUIRED,
    USAGE,
    Asked,
    asked_for,
    is_of_server,
    say,
)
from mcpnb.concurrency import interrupt_in
from mcpnb.text import sanitize

__all__ = ["run"]

_LONGEST = 16_384
"""Characters of a message; names from somebody's file in it show no escapes on a terminal."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit code. No error a user can cause shows a traceback."""
    warnings.showwarning = _warned
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding does not have is shown escaped, not as a crash.
            stream.reconfigure(errors="backslashreplace")
    asked: Asked = {}
    try:
        code = commands.cli.main(
            args=list(arguments), prog_name="mcpnb", standalone_mode=False, obj=asked
        )
    except (click.exceptions.Abort, KeyboardInterrupt, errors.LoginCancelled):
        return _cancelled()
    except click.ClickException as error:
        error.show()
        return USAGE if isinstance(error, click.UsageError) else FAILED
    except errors.McpnbError as error:
        return _explained(error, asked)
    except RuntimeError as error:
        if interrupt_in(error) is None:
            raise
        return _cancelled()
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; nothing is left to be said to it
        return FAILED
    return code if isinstance(code, int) else DONE


def _warned(message: Warning | str, *_: object, **__: object) -> None:
    say(f"Warning: {sanitize(message, _LONGEST)}")


def _explained(error: errors.McpnbError, asked: Asked) -> int:
    if isinstance(error, errors.LoginRequired):
        error.advise("")  # what to do is a line of its own here
        say(f"Sign-in required: {sanitize(error, _LONGEST).strip()}")
        from mcpnb.oauth.scopes import as_option

        scopes = f" {as_option(error.scopes)}" if error.scopes else ""
        say(f"Run: mcpnb login {asked_for(asked, error.server)}{scopes}")
        return SIGN_IN_REQUIRED
    say(f"Error: {sanitize(error, _LONGEST)}")
    if is_of_server(error) and (server := asked.get("server")):
        say(f"Why: mcpnb doctor {asked_for({**asked, 'store': None}, server)}")
    return USAGE if isinstance(error, errors.ConfigError) else FAILED


def _cancelled() -> int:
    say("Cancelled.")
    return CANCELLED
