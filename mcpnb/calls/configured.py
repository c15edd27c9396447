"""What configuration says of calls: headers for the server, and which tools may be used."""

from __future__ import annotations

import os
import warnings
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from mcpnb.errors import CallError, ConfigError, quoted
from mcpnb.models import Secret, ServerConfig
from mcpnb.protocol.urls import origin_of

if TYPE_CHECKING:
    from mcp_types import ListToolsResult

__all__ = ["may_use", "only_usable", "own_headers", "require_usable"]


def own_headers(config: ServerConfig) -> list[Callable[[Any], Awaitable[None]]]:
    """Give the request hooks that put the configured headers on what goes to the server's origin.

    A hook sees each request, redirected ones included: those to another origin lose the headers
    again that the HTTP library has copied from the first.
    """
    headers = {}
    for header in config.headers:
        if header.name.lower() == "authorization":
            continue  # takes the place of a token, and goes where that goes
        value = header.value or _set(header.variable or "")
        if value is None:
            warnings.warn(
                f"The header {header.name} is not sent to {config.url}: the environment variable "
                f"{header.variable} is not set ({config.source}).",
                stacklevel=2,
            )
        elif not (value.reveal().isascii() and value.reveal().isprintable()):
            raise ConfigError(
                f"The environment variable {header.variable} has characters that no header has "
                f"({config.source})."
            )
        else:
            headers[header.name] = value
    if not headers:
        return []
    own = origin_of(config.url)

    async def put_on(request: Any) -> None:
        is_own = origin_of(str(request.url)) == own
        for name, value in headers.items():
            if is_own:
                request.headers[name] = value.reveal()
            else:
                request.headers.pop(name, None)

    return [put_on]


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
