"""``mcpnb jupyter``: the panel's parts for a Jupyter that runs in another environment."""

from __future__ import annotations

import click

from mcpnb.cli.group import DONE, cli, say

__all__ = ["jupyter"]


@cli.command()
@click.option("--remove", is_flag=True, help="Take them out again.")
def jupyter(*, remove: bool) -> int:
    """Put the panel's parts into your own Jupyter folder.

    For a Jupyter that runs in another environment than your kernel: it then has neither what shows
    the panel nor the page that takes the answer of a sign-in. Reload the page afterwards; nothing
    has to be restarted.

    \b
    mcpnb jupyter
    mcpnb jupyter --remove
    """
    from mcpnb.panel import jupyter as parts

    placed = parts.remove() if remove else parts.install()
    for part in placed.parts:
        click.echo(placed.folder / part)
    if remove:
        say("Taken out." if placed.parts else "There was nothing to take out.")
    else:
        say("In place. Reload the page of JupyterLab or Notebook; nothing has to be restarted.")
    return DONE
