"""The commands and their arguments. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import click

from mcpnb.cli.group import (
    DONE,
    cli,
    common_options,
    config_option,
    json_option,
    server_argument,
    session_for,
    store_option,
)

__all__ = ["cli"]

_TIMEOUT = 300.0


@cli.command()
@server_argument
@click.option("--scopes", metavar="A,B", help="Ask for these scopes instead of the announced ones.")
@click.option(
    "--no-browser", is_flag=True, help="Open no browser: print the address, read a pasted answer."
)
@click.option(
    "--device", is_flag=True, help="Sign in on another device, where the server offers that."
)
@click.option("--qr", is_flag=True, help="Show the address as a QR code, too.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Loopback port for the answer. Default: 27182."
)
@click.option("--callback-url", metavar="URL", help="Callback address that leads to this machine.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    metavar="S",
    help="Seconds to wait. Default: 300; with --begin 900, with --device what the code lasts.",
)
@click.option("--client-id", metavar="ID", help="Client id registered at the authorization server.")
@click.option("--issuer", metavar="URL", help="The authorization server the client id belongs to.")
@click.option(
    "--registration",
    "--oauth-client-registration",
    type=click.Choice(["auto", "preregistered", "cimd", "dcr"]),
    default="auto",
    help="Which way to a client id to take.",
)
@click.option(
    "--begin", is_flag=True, help="Print the address and end; --finish completes the sign-in later."
)
@click.option(
    "--finish",
    metavar="URL",
    help="Complete a sign-in with the address that the browser ended at; - reads it from stdin.",
)
@json_option
@store_option
@common_options
def login(
    server: str,
    scopes: str | None,
    no_browser: bool,
    device: bool,
    qr: bool,
    port: int | None,
    callback_url: str | None,
    timeout: float | None,
    client_id: str | None,
    issuer: str | None,
    registration: str,
    begin: bool,
    finish: str | None,
    as_json: bool,
    store: str,
    account: str | None,
    config: str | None,
) -> int:
    """Sign in to a server.

    \b
    mcpnb login https://mcp.example.com/mcp
    mcpnb login https://mcp.example.com/mcp --no-browser   over SSH: paste
    mcpnb login https://mcp.example.com/mcp --device       on your phone
    mcpnb login https://mcp.example.com/mcp --begin        in two steps:
    mcpnb login https://mcp.example.com/mcp --finish -     paste the answer
    """
    from mcpnb.cli import signing_in

    if begin and finish is not None:
        raise click.UsageError("--begin and --finish are two steps: one at a time.")
    if as_json and not begin:
        raise click.UsageError("--json goes with --begin.")
    if device and (begin or finish is not None):
        raise click.UsageError("--device waits for the other device: not with --begin or --finish.")
    if begin and store == "memory":
        raise click.UsageError("--begin has to leave something behind: not with --store memory.")
    session = session_for(
        server,
        account,
        config,
        store,
        callback_port=port,
        callback_url=callback_url,
        client_id=client_id,
        issuer=issuer,
        registration=registration,
    )
    if begin:
        return signing_in.begin(session, scopes=scopes, timeout=timeout, qr=qr, as_json=as_json)
    if finish is not None:
        return signing_in.finish(session, finish)
    if device:
        return signing_in.sign_in_on_device(session, scopes=scopes, qr=qr, timeout=timeout)
    return signing_in.sign_in(
        session, scopes=scopes, browser=not no_browser, qr=qr, timeout=timeout or _TIMEOUT
    )


@cli.command()
@click.argument("server", metavar="SERVER", required=False)
@click.option("--all", "everywhere", is_flag=True, help="Sign out of every stored login.")
@common_options
def logout(server: str | None, everywhere: bool, account: str | None, config: str | None) -> int:
    """Sign out: revoke the login at the server, and forget it.

    \b
    mcpnb logout https://mcp.example.com/mcp
    mcpnb logout --all
    """
    from mcpnb.cli.signing_out import sign_out, sign_out_everywhere

    if everywhere == (server is not None) or (everywhere and account):
        raise click.UsageError("Give either SERVER, or --all.")
    if everywhere:
        return sign_out_everywhere()
    return sign_out(session_for(str(server), account, config))


@cli.command("list")
@json_option
@click.option("--no-probe", is_flag=True, help="Contact nobody.")
@config_option
def list_(as_json: bool, no_probe: bool, config: str | None) -> int:
    """List configured servers and stored logins.

    Servers that nobody is signed in to are asked whether they want a sign-in, all at once, for five
    seconds. If one with required = true cannot be used, that is an error.

    \b
    mcpnb list --json
    """
    from mcpnb.cli.listing import show_list

    return show_list(config, as_json=as_json, probe=not no_probe)


@cli.command()
@click.argument("url", metavar="URL")
@json_option
@config_option
def discover(url: str, as_json: bool, config: str | None) -> int:
    """Look how one would sign in to a server. Nothing is registered.

    \b
    mcpnb discover https://mcp.example.com/mcp
    """
    from mcpnb.cli.listing import show_discovery

    show_discovery(url, config, as_json=as_json)
    return DONE


@cli.command()
@server_argument
@click.option("--header", is_flag=True, help="Print the whole Authorization header.")
@json_option
@common_options
def token(server: str, header: bool, as_json: bool, account: str | None, config: str | None) -> int:
    """Print a fresh access token, alone on stdout. Whoever has it can act as you.

    \b
    curl -H "$(mcpnb token SERVER --header)" ...

    Other clients can ask for it with each connection. Codex, in config.toml:

    \b
    http_headers_helper = "mcpnb token SERVER --header --json"

    Claude Code, in .mcp.json:

    \b
    "headersHelper": "mcpnb token SERVER --header --json"
    """
    import json

    if as_json and not header:
        raise click.UsageError("--json goes with --header.")
    session = session_for(server, account, config)
    if as_json:
        click.echo(json.dumps(session.headers()))
    elif header:
        click.echo(f"Authorization: {session.headers()['Authorization']}")
    else:
        click.echo(session.access_token())
    return DONE


@cli.command("client-metadata")
@click.option("--url", required=True, metavar="URL", help="Where you will host the document.")
@click.option(
    "--callback-url", metavar="URL", multiple=True, help="A callback address of your own, too."
)
def client_metadata(url: str, callback_url: tuple[str, ...]) -> int:
    """Print a client metadata document, to host it yourself.

    Servers that know such documents take its address for a client id, and let nobody register.

    \b
    mcpnb client-metadata --url https://example.com/mcpnb.json > mcpnb.json

    Then give that address as client_metadata_url, in the configuration or to connect().
    """
    import json

    from mcpnb.oauth.registration import metadata_document

    click.echo(json.dumps(metadata_document(url, callback_url), indent=2))
    return DONE


@cli.command()
@server_argument
@json_option
@common_options
def tools(server: str, as_json: bool, account: str | None, config: str | None) -> int:
    """List a server's tools.

    \b
    mcpnb tools https://mcp.example.com/mcp
    mcpnb tools linear --json
    """
    from mcpnb.cli.calling import show_tools

    show_tools(session_for(server, account, config), as_json=as_json)
    return DONE


@cli.command()
@server_argument
@click.argument("tool")
@click.argument("pairs", metavar="[K=V]...", nargs=-1)
@click.option(
    "--args",
    "arguments",
    metavar="JSON",
    help="Arguments as a JSON object, sent as it is; - reads stdin.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), metavar="S", help="Seconds to wait for the result."
)
@json_option
@common_options
def call(
    server: str,
    tool: str,
    pairs: tuple[str, ...],
    arguments: str | None,
    timeout: float | None,
    as_json: bool,
    account: str | None,
    config: str | None,
) -> int:
    """Call a tool and print its result.

    A value that is JSON counts as such (limit=5, tags='["a"]'), anything else as text.

    \b
    mcpnb call https://mcp.example.com/mcp search query=report limit=5
    """
    from mcpnb.cli.calling import call_tool

    session = session_for(server, account, config)
    call_tool(session, tool, pairs, arguments, timeout=timeout, as_json=as_json)
    return DONE


@cli.command()
@click.option("--terminal", is_flag=True, help="Play the whole story here, with no browser.")
@click.option("--no-browser", is_flag=True, help="Open no browser.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_533),
    help="JupyterLab's port; the servers get the next two. Default: free ones.",
)
def demo(terminal: bool, no_browser: bool, port: int | None) -> int:
    """Try everything with servers on this machine.

    Opens JupyterLab with notebooks, and with an MCP server and an authorization server of its own.
    Everything is taken away again at the end.

    \b
    mcpnb demo
    mcpnb demo --terminal     the whole story as a transcript
    """
    from mcpnb.demo import main as run_demo

    return run_demo(terminal=terminal, open_browser=not no_browser, port=port)
