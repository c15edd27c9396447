"""`mcpnb trust`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mcpnb.cli import app
from mcpnb.text import sanitize

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
