"""`mcpnb doctor`."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING

import click

from mcpnb.cli import app
from mcpnb.errors import McpnbError

if TYPE_CHECKING:
    from mcpnb.login import Login, Observer
    from mcpnb.session import Session


@app.cli.command()
@click.argument("server", metavar="[SERVER]", required=False)
@app.flag("--call", "Send the stored token once, to see if it is accepted.")
@app.flag("--sign-in", "Really sign in, and explain each step.")
@app.scopes_option
@app.no_browser_option
@app.timeout_option("Seconds to wait for the sign-in. Default: 300.")
@app.port_option
@app.json_option
@app.common_options
def doctor(
    server: str | None,
    call: bool,
    sign_in: bool,
    scopes: str | None,
    no_browser: bool,
    timeout: float | None,
    callback_port: int | None,
    as_json: bool,
    account: str | None,
    config: str | None,
) -> int:
    """Find out why signing in does not work, and what to do.

    Checks discovery, the stored login and this machine. Without SERVER, checks this machine only.
    Changes nothing, except that --sign-in signs in; --scopes, --no-browser and --timeout go with
    it. Exits with 1 if there is a problem, and with 2 if the address cannot be used.

    \b
    mcpnb doctor https://mcp.example.com/mcp
    mcpnb doctor https://mcp.example.com/mcp --call      and try the stored login
    mcpnb doctor https://mcp.example.com/mcp --sign-in   and really sign in
    """
    if server is None and (call or sign_in or account or callback_port is not None):
        raise click.UsageError("--call, --sign-in, --port and --account go with SERVER.")
    if not sign_in and (scopes or no_browser or timeout):
        raise click.UsageError("--scopes, --no-browser and --timeout go with --sign-in.")

    from mcpnb.cli.login import show
    from mcpnb.doctor import examine_machine
    from mcpnb.login import SignInRequest
    from mcpnb.oauth.scopes import scopes_from
    from mcpnb.storage import open_store

    if server is None:
        report = examine_machine(open_store("auto"))
    else:
        session = app.session_for(server, account, config, callback_port=callback_port)

        def begin(observer: Observer) -> Login[Session]:
            request = SignInRequest(
                scopes=scopes_from(scopes),
                open_browser=not no_browser,
                timeout=timeout or app.PATIENCE,
                anew=True,
            )
            login = session.sign_in(request, observer=observer)
            with contextlib.suppress(McpnbError):  # the report explains it
                show(login, browser=not no_browser)
            return login

        report = session.doctor(call=call, sign_in=begin if sign_in else False)
        # Its commands name the server as this command line did.
        usual = re.escape(session.login_command.removeprefix("mcpnb login "))
        here = app.named(session.server)
        report = report.edited(
            lambda text: re.sub(
                f"mcpnb (login|doctor) {usual}", lambda m: f"mcpnb {m[1]} {here}", text
            )
        )
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else repr(report))
    return app.FAILED if report.problems else app.DONE
