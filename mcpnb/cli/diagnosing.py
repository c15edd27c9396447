"""``mcpnb doctor``."""

from __future__ import annotations

from typing import Any

import click

from mcpnb.cli.group import DONE, FAILED, cli, common_options, json_option, session_for

__all__ = ["doctor"]


@cli.command()
@click.argument("server", metavar="[SERVER]", required=False)
@click.option("--call", is_flag=True, help="Send the stored token, once: is it accepted?")
@json_option
@common_options
def doctor(
    server: str | None, call: bool, as_json: bool, account: str | None, config: str | None
) -> int:
    """Find out why signing in does not work, and what to do. Nothing is changed.

    Goes through discovery, the stored login and this machine; without SERVER through the machine
    alone. Exit code 1 if there is a problem.

    \b
    mcpnb doctor https://mcp.example.com/mcp
    mcpnb doctor https://mcp.example.com/mcp --call   and try the stored login
    """
    import json

    if server is None and (call or account):
        raise click.UsageError("--call and --account go with SERVER.")
    report = _report(server, account, config, call=call)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else repr(report))
    return FAILED if report.problems else DONE


def _report(server: str | None, account: str | None, config: str | None, *, call: bool) -> Any:
    from mcpnb.doctor import examine_address, examine_machine
    from mcpnb.errors import ConfigError
    from mcpnb.store import open_store

    if server is None:
        return examine_machine(open_store("auto"))
    try:
        session = session_for(server, account, config)
    except ConfigError:
        if (
            "://" not in server
            or not (report := examine_address(server, open_store("auto"))).problems
        ):
            raise  # no address, or one that is not what is wrong
        return report
    return session.doctor(call=call)
