"""The MCP side of the fake: just enough of the 2025 handshake for a client to list and call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.fakes.wire import Reply, Request

if TYPE_CHECKING:
    from tests.fakes.server import FakeServer


TEXT = {"type": "object", "properties": {"text": {"type": "string"}}}
TOOLS = [
    {"name": "echo", "description": "Return the text.", "inputSchema": TEXT},
    {"name": "publish", "description": "Publish the text.", "inputSchema": TEXT},
]


def tool_of(message: Any) -> str | None:
    """Return the name of the tool that a message calls."""
    if isinstance(message, dict) and message.get("method") == "tools/call":
        return str(message["params"]["name"])
    return None


def answer_method(
    fake: FakeServer, method: str, answer: dict[str, Any] | Callable[[dict[str, Any]], Reply]
) -> None:
    """Have a fake answer one method, to whoever has a token, in another way.

    Args:
        fake: The fake.
        method: The JSON-RPC method.
        answer: Its ``result`` or ``error``, or what makes the reply of a message.
    """
    usual = fake.routes["/mcp"]

    def reply(request: Request) -> Reply:
        message = request.json if request.body else None
        if not (isinstance(message, dict) and message.get("method") == method and request.bearer):
            return usual(request)
        if callable(answer):
            return answer(message)
        return Reply(200, {"jsonrpc": "2.0", "id": message["id"], **answer})

    fake.routes["/mcp"] = reply


def answer_to(message: Any) -> Reply:
    """Answer one JSON-RPC message."""
    if not isinstance(message, dict) or "method" not in message:
        return _error(None, -32600, "not a request")
    if "id" not in message:
        return Reply(202)
    parameters = message.get("params") or {}
    match message["method"]:
        case "initialize":
            result: dict[str, Any] = {
                "protocolVersion": parameters.get("protocolVersion", "2025-06-18"),
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "fake", "version": "1"},
            }
        case "tools/list":
            result = {"tools": TOOLS}
        case "tools/call":
            text = str(parameters.get("arguments", {}).get("text", ""))
            result = {"content": [{"type": "text", "text": text}]}
        case _:
            # Also `server/discover`: a client of 2026-07-28 falls back to the handshake.
            return _error(message["id"], -32601, "no such method")
    return Reply(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})


def _error(identifier: Any, code: int, message: str) -> Reply:
    error = {"code": code, "message": message}
    return Reply(200, {"jsonrpc": "2.0", "id": identifier, "error": error})
