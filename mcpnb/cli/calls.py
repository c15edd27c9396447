"""`mcpnb token`, `mcpnb tools` and `mcpnb call`."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from mcpnb.cli import app
from mcpnb.errors import LoginRequired, McpnbError
from mcpnb.text import sanitize

if TYPE_CHECKING:
    from mcpnb.session import Session

_LONGEST = 100_000
"""Characters of a line of a result, on a terminal."""


@app.cli.command()
@app.server_argument
@app.flag("--header", "Print the whole Authorization header.")
@app.json_option
@app.with_session
def token(session: Session, header: bool, as_json: bool) -> int:
    """Print a fresh access token. Whoever has it can act as you.

    \b
    curl -H "$(mcpnb token SERVER --header)" ...

    Other clients can run this command for each connection. Codex, in config.toml:

    \b
    http_headers_helper = "mcpnb token SERVER --header --json"

    Claude Code, in .mcp.json:

    \b
    "headersHelper": "mcpnb token SERVER --header --json"
    """
    if as_json and not header:
        raise click.UsageError("--json goes with --header.")
    if as_json:
        click.echo(json.dumps(session.headers()))
    elif header:
        click.echo(f"Authorization: {session.headers()['Authorization']}")
    else:
        click.echo(session.access_token())
    return app.DONE


@app.cli.command()
@app.server_argument
@app.json_option
@app.with_session
def tools(session: Session, as_json: bool) -> int:
    """List a server's tools.

    \b
    mcpnb tools https://mcp.example.com/mcp
    mcpnb tools linear --json
    """
    found = _fresh(session).tools()
    rows = [_plain(each.raw) for each in found] if as_json else []
    click.echo(json.dumps(rows, indent=2) if as_json else repr(found))
    return app.DONE


@app.cli.command()
@app.server_argument
@click.argument("tool")
@click.argument("pairs", metavar="[K=V]...", nargs=-1)
@app.option(
    "--args whole", "JSON", "Arguments as a JSON object, sent unchanged; - reads it from stdin."
)
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), metavar="S", help="Seconds to wait for the result."
)
@app.json_option
@app.with_session
def call(
    session: Session,
    tool: str,
    pairs: tuple[str, ...],
    whole: str | None,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Call a tool and print its result.

    A value that is JSON is sent as JSON (limit=5, tags='["a"]'), any other value as text.

    \b
    mcpnb call https://mcp.example.com/mcp search query=report limit=5
    """
    # The SDK checks results with jsonschema. Where Jupyter is installed, jsonschema loads a grammar
    # for a format that is not checked here, which takes 1.2 s (measured). This process needs none.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # no such module
    from mcpnb.calls.arguments import Verbatim

    sent, by_name = _whole(whole), dict(map(_pair, pairs))
    _fresh(session)
    # A schema may allow more arguments than it names: JSON is sent as it is.
    arguments = Verbatim(sent | _checked(session, tool, by_name))
    result = session.options(timeout=timeout).call(tool, arguments)
    if as_json:
        click.echo(json.dumps(_plain(result.raw), indent=2))
        return app.DONE
    out = result.text or ("" if result.data is None else json.dumps(result.data, indent=2))
    if sys.stdout.isatty():  # a pipe gets it unchanged, a terminal without escape sequences
        out = "\n".join(sanitize(line, _LONGEST) for line in out.splitlines())
    click.echo(out)
    for image in result.images:
        click.echo(f"({image!r}: save it in Python, or use --json)", err=True)
    return app.DONE


def _plain(model: Any) -> Any:
    """Return a model of the SDK as JSON has it, with the names of the protocol."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


def _fresh(session: Session) -> Session:
    """Refresh a stale token first: this process ends too soon to do so during the call."""
    with contextlib.suppress(McpnbError):  # the call itself reports it better
        session.headers()
    return session


def _checked(session: Session, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Refuse names that the tool does not have: servers drop a misspelt name without an error."""
    if not arguments:
        return arguments
    try:
        known = {tool.name: tool for tool in session.tools()}
    except LoginRequired:
        raise
    except McpnbError:  # the call itself reports it better
        return arguments
    if name not in known:
        return arguments
    try:
        return known[name].named(arguments)
    except TypeError as error:
        raise click.UsageError(f"{error} --args sends any arguments unchanged.") from None


def _whole(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        arguments = json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise click.UsageError(f"--args is not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise click.UsageError('--args has to be a JSON object, such as \'{"query": "report"}\'.')
    return arguments


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{text!r} is not of the form name=value.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
