"""HTTP 403 for a tool call whose token lacks a scope, in the form that MCP clients step up from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.routes import build_resource_metadata_url
from mcp.server.transport_security import DEFAULT_MAX_REQUEST_BODY_SIZE
from pydantic import AnyHttpUrl
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ScopeRequired"]


class ScopeRequired:
    """Middleware that asks for a tool's scope before the tool runs.

    The MCP SDK cannot: by the time a tool runs, only a JSON-RPC answer is left to give, and clients
    step up from HTTP 403 (specification 2026-07-28, authorization, "scope challenge handling"). The
    body is read in both protocol eras. Newer clients name the tool in the ``Mcp-Name`` header too,
    but a header alone would be the client's word for what it is not allowed to do.
    """

    def __init__(self, app: ASGIApp, scopes: Mapping[str, str], url: str) -> None:
        self._app = app
        self._scopes = scopes
        self._metadata_url = build_resource_metadata_url(AnyHttpUrl(url))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        user = scope.get("user")
        if (
            scope["type"] != "http"
            or scope["method"] != "POST"
            or not isinstance(user, AuthenticatedUser)
        ):
            await self._app(scope, receive, send)
            return
        messages, body = await _read(receive)
        if len(body) > DEFAULT_MAX_REQUEST_BODY_SIZE:
            # Passing it on unread would make a long body a way around the check.
            await Response(status_code=413)(scope, receive, send)
            return
        missing = [name for name in self._wanted(body) if name not in user.scopes]
        if missing:
            await self._refusal(missing)(scope, receive, send)
            return

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        await self._app(scope, again, send)

    def _wanted(self, body: bytes) -> list[str]:
        """Find the scopes that the tool calls of a body need. 2025-03-26 knows batches."""
        try:
            parsed = json.loads(body)
        except ValueError:
            return []  # The SDK says what is wrong with it.
        wanted: dict[str, None] = {}
        for message in parsed if isinstance(parsed, list) else [parsed]:
            scope = self._scopes.get(_tool(message))
            if scope is not None:
                wanted[scope] = None
        return list(wanted)

    def _refusal(self, missing: list[str]) -> Response:
        scope = " ".join(missing)
        challenge = (
            f'Bearer error="insufficient_scope", scope="{scope}", '
            f'resource_metadata="{self._metadata_url}", '
            f'error_description="This tool needs the scope {scope}"'
        )
        body = {"error": "insufficient_scope", "error_description": f"This tool needs {scope}."}
        return JSONResponse(body, 403, {"WWW-Authenticate": challenge})


def _tool(message: Any) -> str:
    """Give the name of the tool that a message calls; empty if it calls none."""
    if not isinstance(message, dict) or message.get("method") != "tools/call":
        return ""
    params = message.get("params")
    name = params.get("name") if isinstance(params, dict) else None
    return name if isinstance(name, str) else ""


async def _read(receive: Receive) -> tuple[list[Message], bytes]:
    """Read a body, and keep its messages for who comes next."""
    messages: list[Message] = []
    body = b""
    while True:
        message = await receive()
        messages.append(message)
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body"):
            return messages, body
        if len(body) > DEFAULT_MAX_REQUEST_BODY_SIZE:
            return messages, body
