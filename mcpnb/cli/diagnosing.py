"""``mcpnb doctor``."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import click

from mcpnb.cli.group import DONE, FAILED, asked_again, cli, common_options, json_option, session_for

__all__ = ["doctor"]

_TIMEOUT = 300.0


@cli.command()
@click.argument("server", metavar="[SERVER]", required=False)
@click.option("--call", is_flag=True, help="Send the stored token, once: is it accepted?")
@click.option("--sign-in", is_flag=True, help="Really sign in, and explain every step of it.")
@click.option("--scopes", metavar="A,B", help="With --sign-in: ask for these scopes.")
@click.option(
    "--no-browser",
    is_flag=True,
    help="With --sign-in: open no browser, print the address, read a pasted answer.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    metavar="S",
    help="With --sign-in: seconds to wait. Default: 300.",
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Loopback port for the answer. Default: 27182."
)
@json_option
@common_options
def doctor(
    server: str | None,
    call: bool,
    sign_in: bool,
    scopes: str | None,
    no_browser: bool,
    timeout: float | None,
    port: int | None,
    as_json: bool,
    account: str | None,
    config: str | None,
) -> int:
    """Find out why signing in does not work, and what to do.

    Goes through discovery, the stored login and this machine; without SERVER through the machine
    alone. Nothing is changed, but for the sign-in that --sign-in asks for. Exit code 1 if there is
    a problem.

    \b
    mcpnb doctor https://mcp.example.com/mcp
    mcpnb doctor https://mcp.example.com/mcp --call      and try the stored login
    mcpnb doctor https://mcp.example.com/mcp --sign-in   and really sign in
    """
    import json

    if server is None and (call or sign_in or account or port is not None):
        raise click.UsageError("--call, --sign-in, --port and --account go with SERVER.")
    if not sign_in and (scopes or no_browser or timeout):
        raise click.UsageError("--scopes, --no-browser and --timeout go with --sign-in.")
    begin = None
    if sign_in:
        options = {"scopes": scopes, "browser": not no_browser, "timeout": timeout or _TIMEOUT}
        begin = functools.partial(_begin, options)
    report = _report(server, account, config, call=call, begin=begin, port=port)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else repr(report))
    return FAILED if report.problems else DONE


def _begin(options: dict[str, Any], session: Any, observer: Any) -> Any:
    from mcpnb.cli.signing_in import sign_in_observed

    return sign_in_observed(session, observer, **options)


def _report(
    server: str | None,
    account: str | None,
    config: str | None,
    *,
    call: bool,
    begin: Any,
    port: int | None,
) -> Any:
    from mcpnb.doctor import examine_address, examine_machine
    from mcpnb.errors import ConfigError
    from mcpnb.storage import open_store

    if server is None:
        return examine_machine(open_store("auto"))
    try:
        session = session_for(server, account, config, callback_port=port)
    except ConfigError:
        if (
            "://" not in server
            or not (report := examine_address(server, open_store("auto"))).problems
        ):
            raise  # no address, or one that is not what is wrong
        return report
    report = session.doctor(
        call=call, sign_in=functools.partial(begin, session) if begin else False
    )
    return _as_asked(report, session)


def _as_asked(report: Any, session: Any) -> Any:
    """Have the commands that a report names name the server as this command line did."""
    usual, here = session.login_command.removeprefix("mcpnb login "), asked_again(session.server)

    def said(text: str | None) -> str | None:
        for command in ("login", "doctor"):
            text = text and text.replace(f"mcpnb {command} {usual}", f"mcpnb {command} {here}")
        return text

    checks = [replace(c, answer=said(c.answer), fix=said(c.fix)) for c in report]
    return type(report)(report.server, checks)
