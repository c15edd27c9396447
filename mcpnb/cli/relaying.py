"""``mcpnb relay``: the browser is here, the sign-in waits on another machine."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import IO, Any

import click

from mcpnb.cli.group import DONE, FAILED, cli, say

__all__ = ["relay"]

_TIMEOUT = 300.0
_COPYING_TAKES = 5.0
"""Seconds; a tool without a display to talk to may hang."""
# The text goes to stdin: a command line can be read by everybody on the machine.
_CLIPBOARDS = (
    ("pbcopy",),
    ("clip.exe",),
    ("wl-copy",),
    ("xclip", "-selection", "clipboard"),
    ("xsel", "--clipboard", "--input"),
)


@cli.command()
@click.argument("url", metavar="URL")
@click.option("--no-browser", is_flag=True, help="Open no browser: print the address.")
@click.option("--copy", is_flag=True, help="Copy the line to the clipboard without asking.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=_TIMEOUT,
    metavar="S",
    help="Seconds to wait for the browser. Default: 300.",
)
def relay(url: str, no_browser: bool, copy: bool, timeout: float) -> int:
    """Catch here the answer to a sign-in on another machine.

    URL is the long address that the other machine printed, in quotes; - reads it from stdin. The
    answer is caught here and printed as one line, to be pasted where the sign-in waits. Nothing is
    stored, and no configuration is read.

    \b
    mcpnb relay 'https://as.example.com/authorize?...'
    mcpnb relay -                    then paste it; no shell remembers it
    uvx mcpnb relay -                the same, with nothing installed
    """
    from mcpnb.login.relay import Relay

    waiting = Relay(_read() if url == "-" else url, _Ignored().told)
    with waiting:
        _show(waiting, browser=not no_browser)
        caught = waiting.wait(timeout)
    line = caught.line.reveal()
    if caught.error is None:
        say(
            "\nThe answer came. Paste this line where the sign-in waits; it is good for a minute "
            "or so:\n"
        )
    else:
        from mcpnb.text import quote

        say(
            f"\nThe sign-in was not approved: the server answered {quote(caught.error, 80)}. "
            "Paste this line where the sign-in waits all the same: it explains, and ends there:\n"
        )
    click.echo(line)
    _offer_copy(line, asked=copy)
    return DONE if caught.error is None else FAILED


def _read() -> str:
    from mcpnb.cli.pasting import Pasting, is_attended

    try:
        with Pasting() as pasting:
            while line := pasting.line("Paste the address that the other machine printed: "):
                # At a prompt an empty line is an answer, too.
                if line.strip() or is_attended():
                    return line
    except UnicodeDecodeError:
        raise click.UsageError("What came on stdin is no text.") from None
    return ""


def _is_terminal(stream: IO[str] | None) -> bool:
    return stream is not None and stream.isatty()  # None: closed before we were started


class _Ignored:
    """Says once why something was ignored: a page elsewhere may send it a thousand times."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def told(self, why: str) -> None:
        with self._lock:
            if why not in self._said:
                self._said.add(why)
                say(f"Note: An answer that was not the awaited one was ignored. {why}")


def _show(waiting: Any, *, browser: bool) -> None:
    from mcpnb.login.redirects import open_browser

    how = "Your browser opens. If it does not, open" if browser else "To sign in, open"
    say(f"{how} this address:\n")
    say(waiting.url)
    say(
        f"\nIt leads to {waiting.host}; the answer comes back to {waiting.redirect_uri}, where it "
        "is caught.\nGo on only if it was you who began this sign-in."
    )
    if browser and not open_browser(waiting.to_open()):
        say("There is no browser to open here: open the address yourself, on this machine.")


def _offer_copy(line: str, *, asked: bool) -> None:
    tools = _clipboards()
    if not asked:
        attended = all(map(_is_terminal, (sys.stdin, sys.stdout, sys.stderr)))
        if not (tools and attended and _agreed()):
            return
    if any(_copied(line, tool) for tool in tools):
        say("Copied.")
    else:
        names = ", ".join(tool[0] for tool in _CLIPBOARDS)
        trouble = "It could not be copied" if tools else f"Nothing to copy it with ({names})"
        say(f"{trouble}: select the line and copy it yourself.")


def _agreed() -> bool:
    # Not click.confirm(): to it the end of input is a cancelled command.
    click.echo("\nCopy it? [Y/n] ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer:
        say("")
    return bool(answer) and answer.strip().lower() in {"", "y", "yes"}


def _clipboards() -> list[tuple[str, ...]]:
    import shutil

    found = ((shutil.which(name), rest) for name, *rest in _CLIPBOARDS)
    # Absolute: what only lies in the working folder is somebody else's.
    return [(path, *rest) for path, rest in found if path and Path(path).is_absolute()]


def _copied(line: str, tool: tuple[str, ...]) -> bool:
    import subprocess

    try:
        # Some of them stay behind to serve the clipboard, so nothing of theirs may be waited for.
        done = subprocess.run(  # noqa: S603  one of ours, by its full path
            tool,
            input=line.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_COPYING_TAKES,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
