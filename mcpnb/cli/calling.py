"""``mcpnb tools`` and ``mcpnb call``."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

import click

from mcpnb.errors import LoginRequired, McpnbError
from mcpnb.text import sanitize

__all__ = ["call_tool", "show_tools"]


def show_tools(session: Any, *, as_json: bool) -> None:
    """Print a server's tools as a table, or whole as JSON."""
    _freshen(session)
    tools = session.tools()
    if as_json:
        rows = [t.raw.model_dump(by_alias=True, mode="json", exclude_none=True) for t in tools]
        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo(repr(tools))


def call_tool(
    session: Any,
    tool: str,
    pairs: tuple[str, ...],
    text: str | None,
    *,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Call a tool and print the text of its result, or the whole result as JSON."""
    # The SDK checks results with jsonschema. Where Jupyter is installed, that loads a grammar for a
    # format that is not checked then, for 1.2 s (measured); this process is ours, and needs none.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # no such module
    from mcpnb.calls.schema import Verbatim

    whole, named = _whole(text), _pairs(pairs)
    _freshen(session)
    # A schema may leave open that there are more arguments than it names: JSON is sent as it is.
    arguments = Verbatim(whole | _known(session, tool, named))
    result = session.options(timeout=timeout).call(tool, arguments)
    if as_json:
        click.echo(
            json.dumps(
                result.raw.model_dump(by_alias=True, mode="json", exclude_none=True), indent=2
            )
        )
        return
    out = result.text or ("" if result.data is None else json.dumps(result.data, indent=2))
    # To a pipe as it is; a terminal is spared its escape sequences.
    click.echo(
        "\n".join(sanitize(line, 100_000) for line in out.splitlines())
        if sys.stdout.isatty()
        else out
    )
    for image in result.images:
        click.echo(f"({image!r}: save it from Python, or use --json)", err=True)


def _freshen(session: Any) -> None:
    """Renew a stale token first: this process ends too soon to do so beside the call."""
    with contextlib.suppress(McpnbError):  # the call itself says it better
        session.headers()


def _known(session: Any, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Refuse what the tool does not name: servers drop a misspelt name without a word."""
    if not arguments:
        return arguments
    try:
        tools = session.tools()
    except LoginRequired:
        raise
    except McpnbError:  # the call itself says it better
        return arguments
    if tool not in tools:
        return arguments
    try:
        named: dict[str, Any] = tools[tool].named(arguments)
    except TypeError as error:
        raise click.UsageError(f"{error} --args sends whatever you give it.") from None
    return named


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


def _pairs(pairs: tuple[str, ...]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{pair!r} is not of the form name=value.")
        arguments[name] = _value(value)
    return arguments


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
