"""``mcpnb add``, ``remove``, ``get`` and ``trust``: a team's configuration."""

from __future__ import annotations

from pathlib import Path

import click

from mcpnb.cli.group import DONE, account_option, cli, config_option, json_option

__all__: list[str] = []


@cli.command()
@click.argument("name")
@click.option("--url", metavar="URL", required=True, help="The server's address.")
@click.option("--no-login", is_flag=True, help="Ask the server nothing, and do not sign in.")
@click.option("--scopes", metavar="A,B", help="Ask for these scopes instead of the announced ones.")
@click.option(
    "--oauth-resource",
    metavar="URL",
    help="Resource indicator to send instead of the server's own.",
)
@click.option(
    "--client-id",
    "--oauth-client-id",
    metavar="ID",
    help="Client id registered at the authorization server.",
)
@click.option(
    "--registration",
    "--oauth-client-registration",
    type=click.Choice(["auto", "preregistered", "cimd", "dcr"]),
    default="auto",
    help="Which way to a client id to take, in this sign-in.",
)
@click.option("--issuer", metavar="URL", help="The authorization server the client id belongs to.")
@click.option(
    "--client-secret-env-var", metavar="VAR", help="Environment variable with the client's secret."
)
@click.option(
    "--bearer-token-env-var",
    metavar="VAR",
    help="Environment variable with a token to send instead of signing in.",
)
@click.option(
    "--header",
    "headers",
    metavar="K=V",
    multiple=True,
    help="A header to send with each call. No secrets: whoever lists processes can read them.",
)
@click.option(
    "--env-header",
    "env_headers",
    metavar="K=VAR",
    multiple=True,
    help="A header whose value is in an environment variable.",
)
@click.option("--force", is_flag=True, help="Take the place of an entry of that name.")
@click.option(
    "--no-browser", is_flag=True, help="Open no browser: print the address, read a pasted answer."
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Loopback port for the answer. Default: 27182."
)
@account_option
@config_option
def add(
    name: str,
    url: str,
    no_login: bool,
    scopes: str | None,
    oauth_resource: str | None,
    client_id: str | None,
    registration: str,
    issuer: str | None,
    client_secret_env_var: str | None,
    bearer_token_env_var: str | None,
    headers: tuple[str, ...],
    env_headers: tuple[str, ...],
    force: bool,
    no_browser: bool,
    port: int | None,
    account: str | None,
    config: str | None,
) -> int:
    """Give a server a name in your config.toml, and sign in.

    Signs in where the server wants that. With --config FILE it is written there. Comments and order
    of the file stay.

    \b
    mcpnb add linear --url https://mcp.example.com/mcp
    mcpnb add ci --url https://mcp.example.com/mcp --bearer-token-env-var CI_TOKEN
    """
    from mcpnb.cli import adding

    values = adding.entry_values(
        url,
        scopes=scopes,
        account=account,
        oauth_resource=oauth_resource,
        client_id=client_id,
        issuer=issuer,
        client_secret_env_var=client_secret_env_var,
        bearer_token_env_var=bearer_token_env_var,
        headers=headers,
        env_headers=env_headers,
    )
    adding.write_entry(name, values, config, force=force)
    if no_login or bearer_token_env_var:
        return DONE
    return adding.sign_in_if_wanted(
        name, config, browser=not no_browser, port=port, registration=registration
    )


@cli.command()
@click.argument("name")
@click.option("--logout", "sign_out", is_flag=True, help="Sign out of it, too.")
@config_option
def remove(name: str, sign_out: bool, config: str | None) -> int:
    """Take a server out of your config.toml. A login at it stays, unless you say --logout.

    \b
    mcpnb remove linear
    mcpnb remove linear --logout
    """
    from mcpnb.cli.adding import remove_entry

    return remove_entry(name, config, sign_out=sign_out)


@cli.command()
@click.argument("name")
@json_option
@click.option("--no-probe", is_flag=True, help="Contact nobody.")
@config_option
def get(name: str, as_json: bool, no_probe: bool, config: str | None) -> int:
    """Show one configured server, and how its login stands.

    If it has required = true and cannot be used, that is an error.

    \b
    mcpnb get linear --json
    """
    from mcpnb.cli.listing import show_entry

    return show_entry(name, config, as_json=as_json, probe=not no_probe)


@cli.command()
@click.argument(
    "folder",
    metavar="[DIR]",
    required=False,
    type=click.Path(file_okay=False),
)
@click.option("--yes", is_flag=True, help="Do not ask: for scripts that know the files.")
@click.option("--withdraw", is_flag=True, help="Use the project's files no longer.")
def trust(folder: str | None, yes: bool, withdraw: bool) -> int:
    """Use a project's files, after a look at what they change.

    Its configuration files are mcpnb.toml, .codex/config.toml and .mcp.json, from DIR (default:
    here) up to the repository's root. A file that changes has to be trusted again.

    \b
    mcpnb trust
    mcpnb trust ~/projects/report --yes
    mcpnb trust --withdraw
    """
    from mcpnb.cli.trusting import trust_files, withdraw_trust

    if withdraw and yes:
        raise click.UsageError("--withdraw asks nothing: not with --yes.")
    if withdraw:
        return withdraw_trust(folder)  # of a folder that is no more, too
    if folder is not None and not Path(folder).is_dir():
        raise click.UsageError(f"There is no folder {folder}.")
    return trust_files(folder, yes=yes)
