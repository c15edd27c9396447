"""From what the MCP SDK raises to mcpnb's own errors, never an ``ExceptionGroup``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST, PARSE_ERROR, REQUEST_TIMEOUT

from mcpnb.errors import CallError, CallTimeout, McpnbError, ServerUnreachable
from mcpnb.oauth.http import reason
from mcpnb.text import quote

if TYPE_CHECKING:
    from mcpnb.tokens.auth import Outcome

__all__ = ["leaf", "translate"]

# The SDK answers in the server's place where no response came, or one that it cannot read.
_OF_THE_SDK = (
    (CONNECTION_CLOSED, "Connection"),
    (CONNECTION_CLOSED, "SSE"),
    (INVALID_REQUEST, "Unexpected"),
    (PARSE_ERROR, "Failed"),
)


def leaf(error: Exception) -> Exception:
    """Return the error that a group was made of; of several, one of mcpnb's first."""
    while isinstance(error, ExceptionGroup):
        ours = error.subgroup(McpnbError)
        error = (ours or error).exceptions[0]
    return error


def translate(raised: Exception, outcome: Outcome, server: str) -> Exception:
    """Return the error to raise for a failed call.

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


def _rpc(error: MCPError, outcome: Outcome, server: str) -> McpnbError:
    if error.code == REQUEST_TIMEOUT:
        return _too_late(server)
    if outcome.status >= 400:
        why = f"HTTP {outcome.status}"
        if error.message != "Server returned an error response":
            why += f", {quote(error.message)}"
        advice = " Try again later." if outcome.status >= 500 else ""
        return CallError(f"{server} refused the call: {why}.{advice}", code=error.code)
    if (error.code, error.message.partition(" ")[0]) in _OF_THE_SDK:
        outcome.over = outcome.over or error.message == "Connection closed"
        return _cut_off(server) if error.code == CONNECTION_CLOSED else _not_mcp(server)
    return CallError(f"{server} reports an error: {quote(error.message)}.", code=error.code)


def _broken(error: Exception, server: str) -> McpnbError | None:
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return _too_late(server)
    if isinstance(error, httpx2.SSEError | httpx2.DecodingError):
        return _not_mcp(server)
    if isinstance(error, httpx2.ReadError | httpx2.WriteError | httpx2.ProtocolError):
        return _cut_off(server)
    if isinstance(error, httpx2.HTTPError | OSError):
        return _unreachable(error, server)
    if type(error).__module__.startswith(("anyio", "mcp", "pydantic")):
        why = quote(str(error) or type(error).__name__, 160)
        return CallError(f"The connection to {server} failed: {why}.")
    return None  # not of the connection: a sampling callback's, for example


def _unreachable(error: Exception, server: str) -> McpnbError:
    if not isinstance(error, httpx2.HTTPStatusError):
        return ServerUnreachable(f"{server} cannot be reached: {reason(error)}.", sent=True)
    status = error.response.status_code
    if status in (404, 405, 410):
        return CallError(f"There is no MCP server at {quote(server)} (HTTP {status}).")
    return CallError(f"{server} answered HTTP {status}.")


def _too_late(server: str) -> CallTimeout:
    return CallTimeout(f"{server} did not answer in time. The call may still be running there.")


def _cut_off(server: str) -> ServerUnreachable:
    return ServerUnreachable(
        f"The connection to {server} broke before the response arrived. The server may have made "
        "the call all the same. Try again.",
        sent=True,
    )


def _not_mcp(server: str) -> CallError:
    return CallError(
        f"The response of {server} is not valid MCP. Try again. If it happens again, the server or "
        "a proxy in front of it is at fault."
    )
