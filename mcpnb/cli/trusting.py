"""``mcpnb trust``: what a project's files would change, and whether that is agreed to."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mcpnb.cli.group import DONE, FAILED, USAGE, say
from mcpnb.config import project_files, review, withdraw
from mcpnb.text import sanitize

__all__ = ["trust_files", "withdraw_trust"]

_LONGEST = 16_384


def trust_files(folder: str | None, *, yes: bool) -> int:
    """Show what the files would change, and trust them if the person agrees."""
    where = Path(folder) if folder else None
    found = review(where)
    if not found:
        there = project_files(where)
        say("All of it is trusted already." if there else "There is no configuration of a project.")
        return DONE
    for each in found:
        click.echo(sanitize(each.path, 1_000))
        for line in (each.problem,) if each.problem else each.lines:
            # Cut where it is long, and said to be, by who made the line.
            click.echo(f"    {sanitize(line, _LONGEST)}")
    usable = [each for each in found if not each.problem]
    if not usable:
        return FAILED
    if not yes and not sys.stdin.isatty():
        say("Nothing is trusted yet: ask on a terminal, or use --yes once you know these files.")
        return USAGE
    if not yes and not click.confirm("Use these files from now on?", err=True):
        say("They stay unused.")
        return FAILED
    for each in usable:
        each.agree()
        say(f"Trusted as it is now: {sanitize(each.path, 1_000)}")
    return DONE if len(usable) == len(found) else FAILED


def withdraw_trust(folder: str | None) -> int:
    """Use a project's files no longer; say which they were."""
    withdrawn = withdraw(Path(folder) if folder else None)
    for path in withdrawn:
        say(f"Not used any more: {sanitize(path, 1_000)}")
    if not withdrawn:
        say("Nothing of this project is trusted: nothing to do.")
    return DONE
