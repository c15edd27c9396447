"""`mcpnb trust`, `relay`, `jupyter`, `client-metadata` and `demo`."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import click

from mcpnb.cli import app
from mcpnb.cli.prompt import Prompt, is_attended
from mcpnb.text import quote, sanitize

_LONGEST = 16_384
_LONGEST_PATH = 1_000


@app.cli.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(file_okay=False))
@app.flag("--yes", "Do not ask. For scripts that know the files.")
@app.flag("--withdraw", "Stop using the project's files.")
def trust(folder: str | None, yes: bool, withdraw: bool) -> int:
    """Use a project's files, after a look at what they change.

    Its configuration files are mcpnb.toml, .codex/config.toml and .mcp.json, from DIR (default: the
    current folder) up to the root of the repository. Trust a file again after each change.

    \b
    mcpnb trust
    mcpnb trust ~/projects/report --yes
    mcpnb trust --withdraw
    """
    where = Path(folder) if folder else None
    if withdraw and yes:
        raise click.UsageError("--withdraw does not ask. Do not combine it with --yes.")
    if withdraw:
        return _withdraw(where)  # the folder may be gone
    if where is not None and not where.is_dir():
        raise click.UsageError(f"There is no folder {folder}.")
    return _trust(where, yes=yes)


def _trust(where: Path | None, *, yes: bool) -> int:
    from mcpnb.config import project_files, review

    found = review(where)
    if not found:
        there = project_files(where)
        app.say("All files are already trusted." if there else "This project has no configuration.")
        return app.DONE
    for each in found:
        click.echo(sanitize(each.path, _LONGEST_PATH))
        for line in (each.problem,) if each.problem else each.lines:
            # `review` shortens long lines, and says so.
            click.echo(f"    {sanitize(line, _LONGEST)}")
    usable = [each for each in found if not each.problem]
    if not usable:
        return app.FAILED
    if not yes and not sys.stdin.isatty():
        app.say(
            "Nothing is trusted yet. Run this on a terminal, or use --yes if you know these files."
        )
        return app.USAGE
    if not yes and not click.confirm("Use these files from now on?", err=True):
        app.say("The files are not used.")
        return app.FAILED
    for each in usable:
        each.agree()
        app.say(f"Trusted as it is now: {sanitize(each.path, _LONGEST_PATH)}")
    return app.DONE if len(usable) == len(found) else app.FAILED


def _withdraw(where: Path | None) -> int:
    from mcpnb.config import withdraw

    withdrawn = withdraw(where)
    for path in withdrawn:
        app.say(f"Not used any more: {sanitize(path, _LONGEST_PATH)}")
    if not withdrawn:
        app.say("No file of this project is trusted: nothing to do.")
    return app.DONE


@app.cli.command()
@click.argument("url", metavar="URL")
@app.flag("--no-browser", "Do not open a browser. Print the address.")
@app.timeout_option("Seconds to wait for the browser. Default: 300.")
def relay(url: str, no_browser: bool, timeout: float | None) -> int:
    """Receive the callback of a sign-in on another machine.

    URL is the long address that the other machine printed, in quotes; - reads it from stdin. This
    command receives the browser's callback and prints one line. Paste that line where the sign-in
    waits. It stores nothing and reads no configuration.

    \b
    mcpnb relay 'https://as.example.com/authorize?...'
    mcpnb relay -                    then paste it; no shell stores it
    uvx mcpnb relay -                the same, without installing mcpnb
    """
    from mcpnb.login.redirects import open_browser
    from mcpnb.login.relay import Relay

    told, lock = set[str](), threading.Lock()

    def tell(why: str) -> None:
        """Print each reason once: a web page can send a thousand wrong answers in parallel."""
        with lock:
            if why not in told:
                told.add(why)
                app.say(f"Note: An unexpected answer was ignored. {why}")

    with Relay(_read() if url == "-" else url, tell) as waiting:
        how = "To sign in, open" if no_browser else "Your browser opens. If it does not, open"
        app.say(f"{how} this address:\n\n{waiting.url}\n")
        app.say(
            f"It leads to {waiting.host}. After you approve, the browser goes to "
            f"{waiting.redirect_uri}, where this command waits.\n"
            "Continue only if you began this sign-in yourself."
        )
        if not no_browser and not open_browser(waiting.to_open()):
            app.say("No browser could be opened. Open the address yourself, on this machine.")
        captured = waiting.wait(timeout or app.PATIENCE)
    if captured.error is None:
        app.say("\nPaste this line where the sign-in waits. It is valid for about a minute:\n")
    else:
        app.say(
            f"\nThe sign-in was not approved: the server answered {quote(captured.error, 80)}. "
            "Paste this line where the sign-in waits anyway. It ends the sign-in and says why:\n"
        )
    click.echo(captured.line.reveal())
    return app.DONE if captured.error is None else app.FAILED


def _read() -> str:
    try:
        with Prompt() as prompt:
            while line := prompt.line("Paste the address that the other machine printed: "):
                # At a prompt, an empty line is an answer, too.
                if line.strip() or is_attended():
                    return line
    except UnicodeDecodeError:
        raise click.UsageError("The input is not text.") from None
    return ""


@app.cli.command()
@app.flag("--remove", "Remove the files again.")
def jupyter(*, remove: bool) -> int:
    """Install the panel's files for Jupyter, for your user.

    Needed if Jupyter runs in another environment than your kernel. Jupyter then has neither the
    code that shows the panel nor the page that receives the answer of a sign-in. Reload the page
    afterwards. You do not need to restart anything.

    \b
    mcpnb jupyter
    mcpnb jupyter --remove
    """
    from mcpnb.panel import jupyter as files

    done = files.remove() if remove else files.install()
    for part in done:
        click.echo(part)
    if remove:
        app.say("Removed." if done else "There was nothing to remove.")
    else:
        app.say(
            "Installed. Reload the page of JupyterLab or Notebook. You need not restart anything."
        )
    return app.DONE


@app.cli.command("client-metadata")
@app.option("--url", "URL", "Where you will host the document.", required=True)
@app.option("--callback-url", "URL", "Also allow this callback address.", multiple=True)
def client_metadata(url: str, callback_url: tuple[str, ...]) -> int:
    """Print a client metadata document to host yourself.

    Servers that support such documents use its address as the client ID, without registration.

    \b
    mcpnb client-metadata --url https://example.com/mcpnb.json > mcpnb.json

    Then set client_metadata_url to that address, in the configuration or in connect().
    """
    from mcpnb.oauth.registration import metadata_document

    click.echo(json.dumps(metadata_document(url, callback_url), indent=2))
    return app.DONE


@app.cli.command()
@app.flag("--terminal", "Show everything here, without a browser.")
@app.flag("--no-browser", "Do not open a browser.")
@app.option(
    "--port",
    "N",
    "Port of JupyterLab. The servers get the next two. Default: free ports.",
    type=click.IntRange(0, 65_533),
)
def demo(terminal: bool, no_browser: bool, port: int | None) -> int:
    """Try everything with servers on this machine.

    Starts an MCP server, an authorization server, and JupyterLab with notebooks. Removes everything
    at the end.

    \b
    mcpnb demo
    mcpnb demo --terminal     as a transcript in the terminal
    """
    from mcpnb.demo import main as run_demo

    return run_demo(terminal=terminal, open_browser=not no_browser, port=port)
