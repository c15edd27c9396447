"""From what the MCP SDK raises to our own errors, never an ``ExceptionGroup``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
from mcp.shared.exceptions import MCPError
from mcp_types import REQUEST_TIMEOUT

from mcpnb.errors import CallError, CallTimeout, McpnbError, ServerUnreachable, quoted

if TYPE_CHECKING:
    from mcpnb.auth import Outcome

__all__ = ["leaf", "translated"]


def leaf(error: Exception) -> Exception:
    """Give the error that a group of one was made of; of several, ours first."""
    while isinstance(error, ExceptionGroup):
        ours = error.subgroup(McpnbError)
        error = (ours or error).exceptions[0]
    return error


def translated(raised: Exception, outcome: Outcome, server: str) -> Exception:
    """Give the error to raise for a failed call.

    Args:
        raised: What the SDK raised.
        outcome: What the requests of this call met with: a refused sign-in explains the rest.
        server: Its address, for the message.
    """
    error = leaf(raised)
    if isinstance(error, McpnbError):
        return error
    if outcome.error is not None:
        return outcome.error
    if isinstance(error, MCPError):
        return _rpc(error, outcome, server)
    return _broken(error, server) or error


def _broken(error: Exception, server: str) -> McpnbError | None:
    said = quoted(str(error) or type(error).__name__, 160)
    if isinstance(error, httpx2.HTTPStatusError):
        return CallError(f"{server} answered HTTP {error.response.status_code}.")
    if isinstance(error, httpx2.SSEError):
        return CallError(f"{server} does not answer like an MCP server: {said}.")
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return CallTimeout(f"{server} did not answer in time. The call may still be running there.")
    if isinstance(error, httpx2.HTTPError | OSError):
        return ServerUnreachable(f"{server} cannot be reached: {said}.", sent=True)
    if type(error).__module__.startswith(("anyio", "mcp", "pydantic")):
        return CallError(f"The conversation with {server} broke: {said}.")
    return None  # not of the conversation: a progress callback's, say


def _rpc(error: MCPError, outcome: Outcome, server: str) -> CallError:
    if error.code == REQUEST_TIMEOUT:
        return CallTimeout(f"{server} did not answer in time. The call may still be running there.")
    if outcome.status >= 400:
        said = f"HTTP {outcome.status}"
        if error.message != "Server returned an error response":
            said += f", {quoted(error.message)}"
        return CallError(f"{server} refused the call: {said}.", code=error.code)
    return CallError(f"{server} reports an error: {quoted(error.message)}.", code=error.code)
