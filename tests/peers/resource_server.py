"""The MCP SDK's server as a resource server: it trusts the tokens of another server."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import httpx2
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from pydantic import AnyHttpUrl

from mcpnb.demo.servers import Listening, bind

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# What the tool with a scope of its own needs beyond the scope every call needs.
TOOL_SCOPES = {"publish": "mcp:write"}


class Verifier:
    """Checks the signature, issuer and expiry of a JWT; audience and scope are the SDK's part."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._keys: KeySet | None = None

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return the token's claims, or `None` where it is not a good one."""
        if self._keys is None:
            async with httpx2.AsyncClient(trust_env=False) as client:
                self._keys = KeySet.import_key_set(
                    (await client.get(f"{self._issuer}/jwks")).json()
                )
        try:
            claims = jwt.decode(token, self._keys, algorithms=["RS256"]).claims
            jwt.JWTClaimsRegistry(iss={"essential": True, "value": self._issuer}).validate(claims)
        except (JoseError, ValueError):
            return None
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=claims.get("scope", "").split(),
            expires_at=claims["exp"],
            resource=claims["aud"],
            subject=claims["sub"],
            claims=claims,
        )


@dataclass
class Gate:
    """Stands before the server: asks scope per tool, and counts sessions."""

    app: App
    verifier: Verifier
    metadata_url: str
    lacking: Literal["403", "401"] = "403"
    sessions: set[str] = field(default_factory=set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {k.lower().decode(): v.decode() for k, v in scope["headers"]}
        token = headers.get("authorization", "").removeprefix("Bearer ") or None
        if "mcp-session-id" in headers:
            self.sessions.add(headers["mcp-session-id"])
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        body = await _whole(receive)
        needed = TOOL_SCOPES.get(_tool(body) or "")
        held = await self.verifier.verify_token(token) if token and needed else None
        if needed and held and needed not in held.scopes:
            await self._refuse(send, needed)
            return
        await self.app(scope, _again(body, receive), send)

    async def _refuse(self, send: Send, needed: str) -> None:
        error = "invalid_token" if self.lacking == "401" else "insufficient_scope"
        named = f'error="{error}", resource_metadata="{self.metadata_url}", scope="{needed}"'
        head = [(b"www-authenticate", f"Bearer {named}".encode())]
        await send({"type": "http.response.start", "status": int(self.lacking), "headers": head})
        await send({"type": "http.response.body", "body": b""})


async def _whole(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def first_the_body() -> Any:
        return waiting.pop() if waiting else await receive()

    return first_the_body


def _tool(body: bytes) -> str | None:
    try:
        message = json.loads(body)
        return str(message["params"]["name"]) if message["method"] == "tools/call" else None
    except (ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class ResourceServer:
    """A running resource server."""

    url: str
    gate: Gate
    hold: threading.Event
    """`slow` answers once this is set."""
    started: threading.Event
    """`slow` has begun."""


def tools(server: MCPServer[Any], hold: threading.Event, started: threading.Event) -> None:
    """Return a server the tools that the tests call."""

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    def publish(text: str) -> str:
        """Publish a text; this takes a scope of its own."""
        return f"published {text}"

    @server.tool()
    async def slow(ctx: Context[Any, Any]) -> str:
        """Answer only once the test allows it."""
        await ctx.report_progress(1, 2)
        started.set()
        await anyio.to_thread.run_sync(hold.wait, 20)
        return "at last"


@contextlib.contextmanager
def resource_server(
    issuer: str,
    *,
    transport: Literal["http", "sse"] = "http",
    required: tuple[str, ...] = ("mcp:read",),
    slash: bool = False,
) -> Iterator[ResourceServer]:
    """Run a resource server that trusts tokens of `issuer`.

    `slash` lets its metadata name the issuer with a slash too many, as the SDK writes it for a
    server whose author made a URL object of it (measured, mcp 2.3.0).
    """
    bound = bind()
    base = f"http://127.0.0.1:{bound.getsockname()[1]}"
    path = "/mcp" if transport == "http" else "/sse"
    verifier = Verifier(issuer)
    hold, started = threading.Event(), threading.Event()
    server: MCPServer[Any] = MCPServer(
        "resource server of the tests",
        log_level="ERROR",
        token_verifier=verifier,
        auth=AuthSettings.model_validate(
            {
                "issuer_url": AnyHttpUrl(issuer) if slash else issuer,
                "resource_server_url": base + path,
                "required_scopes": list(required),
                "validate_token_resource": True,
            }
        ),
    )
    tools(server, hold, started)
    app = server.streamable_http_app() if transport == "http" else server.sse_app()
    gate = Gate(app, verifier, f"{base}/.well-known/oauth-protected-resource{path}")
    with Listening(gate, bound, "resource server"):
        try:
            yield ResourceServer(base + path, gate, hold, started)
        finally:
            hold.set()
