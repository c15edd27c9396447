"""`mcpnb jupyter`, `client-metadata` and `demo`."""

from __future__ import annotations

import json

import click

from mcpnb.cli import app


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
    for part in done.parts:
        click.echo(done.folder / part)
    if remove:
        app.say("Removed." if done.parts else "There was nothing to remove.")
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
