"""What configuration says of calls: headers for the server, and which tools may be used."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from mcpnb.errors import CallError, ConfigError, quoted
from mcpnb.models import Secret, ServerConfig
from mcpnb.protocol.urls import origin_of

if TYPE_CHECKING:
    from mcp_types import ListToolsResult

    from mcpnb.headers_helper import HeadersHelper

__all__ = ["may_use", "only_usable", "own_headers", "require_usable"]


def own_headers(config: ServerConfig) -> list[Callable[[Any], Awaitable[None]]]:
    """Give the request hooks that put the configured headers on what goes to the server's origin.

    A hook sees each request, redirected ones included: those to another origin lose the headers
    again that the HTTP library has copied from the first. What a helper gives takes the place of
    what is written down.
    """
    headers, helper = _written(config), _helper(config)
    if not headers and helper is None:
        return []
    own = origin_of(config.url)
    put_before: set[str] = set()

    async def put_on(request: Any) -> None:
        # threat: header-forwarding
        is_own = origin_of(str(request.url)) == own
        given = headers | (await _helped(helper) if helper is not None else {})
        for name in put_before - set(given):
            request.headers.pop(name, None)  # given no more, by a helper that ran once more
        put_before.update(given)
        for name, value in given.items():
            if is_own:
                request.headers[name] = value.reveal()
            else:
                request.headers.pop(name, None)

    return [put_on]


def _written(config: ServerConfig) -> dict[str, Secret]:
    headers = {}
    for header in config.headers:
        if header.name.lower() == "authorization":
            continue  # takes the place of a token, and goes where that goes
        value = header.value or _set(header.variable or "")
        if value is None:
            warnings.warn(
                f"The header {header.name} is not sent to {config.shown}: the environment variable "
                f"{header.variable} is not set ({config.source}).",
                stacklevel=3,
            )
        elif not (value.reveal().isascii() and value.reveal().isprintable()):
            raise ConfigError(
                f"The environment variable {header.variable} has characters that no header has "
                f"({config.source})."
            )
        else:
            headers[header.name] = value
    return headers


async def _helped(helper: HeadersHelper) -> dict[str, Secret]:
    # It ran before the connection was made; where it did not, it must not run on the loop.
    given = helper.known
    if given is None:
        given = await asyncio.to_thread(helper.headers)
    return {name: value for name, value in given.items() if name.lower() != "authorization"}


def _helper(config: ServerConfig) -> HeadersHelper | None:
    if config.headers_helper is None:
        return None
    from mcpnb.headers_helper import helper_of

    return helper_of(config)


def _set(variable: str) -> Secret | None:
    value = os.environ.get(variable)
    return Secret(value) if value else None


def may_use(config: ServerConfig, tool: str) -> bool:
    """Whether a tool is allowed; what is denied is denied, also where it is allowed, too."""
    allowed = config.enabled_tools is None or tool in config.enabled_tools
    return allowed and tool not in config.disabled_tools


def require_usable(config: ServerConfig, tool: str) -> None:
    """Refuse a tool that configuration does not allow.

    Raises:
        CallError: It does not. Nothing was sent.
    """
    if not may_use(config, tool):
        key = "disabled_tools" if tool in config.disabled_tools else "enabled_tools"
        said = "names it in" if key == "disabled_tools" else "does not name it in"
        raise CallError(
            f"The tool {quoted(tool, 100)} of {config.url} may not be used: the configuration "
            f"{said} {key} ({config.source})."
        )


def only_usable(config: ServerConfig, page: ListToolsResult) -> ListToolsResult:
    """Leave out of a list what may not be used."""
    kept = [tool for tool in page.tools if may_use(config, str(tool.name))]
    return page if len(kept) == len(page.tools) else page.model_copy(update={"tools": kept})
