"""An MCP server of the SDK behind a small authorization server, with a log of every request.

`serving()` runs it in a thread, `python -m tests.bench.server` as a process of its own (so that a
measured client shares nothing with it), steered through `/-/...`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl

import httpx2
from mcp.server import MCPServer

from mcpnb.demo.servers import bind
from tests.bench import ROOT
from tests.bench.authorization import Answer, Authorization
from tests.peers.served import App, Receive, Scope, Send, served

PATIENCE = 20
"""Seconds that a held call waits for its siblings, and a client for this server."""


@dataclass
class Seen:
    """One request as the server saw it; the status comes when it is answered."""

    method: str
    path: str
    rpc: str = ""
    grant: str = ""
    state: str = ""
    """Of an authorization request: tells one sign-in, looked at twice, from two."""
    status: int = 0


class BenchServer:
    """The ASGI application, and switches for what it does to calls."""

    def __init__(self, base: str) -> None:
        self.authorization = Authorization(base)
        self.url = self.authorization.resource
        self.seen: list[Seen] = []
        self.hold = 0
        """Answer no tool call before so many have come: proves that they ran side by side."""
        self.expired_for: set[str] = set()
        """Tools whose calls are told that a first-generation token has expired; ``*`` for all."""
        self._held = 0
        self._all_here = asyncio.Event()
        self._mcp: App = _mcp_application()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._mcp(scope, receive, send)
            return
        path: str = scope["path"]
        if path == "/work":
            await self._work(scope, send)
            return
        body = await _body(receive)
        if path.startswith("/-/"):
            await _send(send, self._control(path.removeprefix("/-/"), body))
            return
        rpc = _rpc(body) if path == "/mcp" else {}
        seen = Seen(scope["method"], path, str(rpc.get("method", "")))
        self.seen.append(seen)

        async def noting(message: Any) -> None:
            seen.status = seen.status or message.get("status", 0)
            await send(message)

        if path == "/mcp":
            await self._call(rpc, scope, _replay(body, receive), noting)
            return
        seen.grant = dict(parse_qsl(body.decode())).get("grant_type", "")
        seen.state = dict(parse_qsl(scope["query_string"].decode())).get("state", "")
        await _send(noting, self._oauth(scope["method"], path, scope, body))

    async def _work(self, scope: Scope, send: Send) -> None:
        if self.authorization.grant_of(_header(scope, b"authorization")) is None:
            await _send(send, self._challenge("invalid_token"))
            return
        if delay := int(scope["query_string"] or b"0"):
            await asyncio.sleep(delay / 1000)
        await _send(send, Answer(200))

    async def _call(self, rpc: dict[str, Any], scope: Scope, receive: Receive, send: Send) -> None:
        header = _header(scope, b"authorization")
        grant = self.authorization.grant_of(header)
        tool = str((rpc.get("params") or {}).get("name", ""))
        if grant is not None and rpc.get("method") == "tools/call" and self.hold:
            self._held += 1
            if self._held >= self.hold:
                self._all_here.set()
            async with asyncio.timeout(PATIENCE):
                await self._all_here.wait()
            if grant.generation == 1 and self.expired_for & {tool, "*"}:
                grant = None
        if grant is None:
            await _send(send, self._challenge("invalid_token" if header else ""))
        elif tool == "administer" and "admin" not in grant.scope.split():
            await _send(send, self._challenge("insufficient_scope", "admin"))
        else:
            await self._mcp(scope, receive, send)

    def _challenge(self, error: str, scope: str = "read") -> Answer:
        base = self.authorization.base
        where = f'resource_metadata="{base}/.well-known/oauth-protected-resource/mcp"'
        parts = [f'error="{error}"'] * bool(error) + [f'scope="{scope}"', where]
        status = 403 if error == "insufficient_scope" else 401
        return Answer(status, headers={"www-authenticate": "Bearer " + ", ".join(parts)})

    def _oauth(self, method: str, path: str, scope: Scope, body: bytes) -> Answer:
        server = self.authorization
        match method, path:
            case "GET", "/.well-known/oauth-protected-resource/mcp":
                return server.protected_resource()
            case "GET", "/.well-known/oauth-authorization-server/as":
                return server.metadata()
            case "POST", "/as/register":
                return server.register(json.loads(body))
            case "GET", "/as/authorize":
                return server.authorize(dict(parse_qsl(scope["query_string"].decode())))
            case "POST", "/as/token":
                return server.token(dict(parse_qsl(body.decode())))
        return Answer(404)

    def _control(self, name: str, body: bytes) -> Answer:
        if name == "expire":
            self.authorization.expire()
        elif name == "reject":
            self.authorization.rejects_all = True
        elif name == "expires_in":
            self.authorization.expires_in = int(body)
        elif name == "forget":
            self.seen.clear()
        return Answer(200, {"seen": [asdict(seen) for seen in self.seen]})


def _mcp_application() -> App:
    server = MCPServer("bench", log_level="ERROR")

    @server.tool()
    def echo(text: str = "") -> str:
        """Say it again."""
        return text

    @server.tool()
    def late(text: str = "") -> str:
        """Say it again; its first token may have expired."""
        return text

    @server.tool()
    def administer() -> str:
        """Need the scope `admin`."""
        return "done"

    return server.streamable_http_app()


async def _body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    parts: list[dict[str, object]] = [{"type": "http.request", "body": body}]

    async def again() -> Any:
        return parts.pop() if parts else await receive()

    return again


def _rpc(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(body)
        if isinstance(found, dict):
            return found
    return {}


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode() for key, value in scope["headers"] if key == name), "")


async def _send(send: Send, answer: Answer) -> None:
    body = json.dumps(answer.body).encode()
    given = {"content-type": "application/json", "content-length": str(len(body))} | answer.headers
    headers = [(key.encode(), value.encode()) for key, value in given.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def serving() -> Iterator[BenchServer]:
    """Run the server in a thread of this process."""
    bound = bind()
    # Inherited by each connection: asyncio sets it only where a socket was made with the protocol's
    # number. Without it an answer in two pieces waits 40 ms for the client's ACK (measured).
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = BenchServer(f"http://127.0.0.1:{bound.getsockname()[1]}")
    with served(server, bound):
        yield server


class Remote:
    """The server in its own process."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.url = f"{base}/mcp"
        self._http = httpx2.Client(base_url=f"{base}/-/", trust_env=False, timeout=PATIENCE)

    def seen(self) -> list[Seen]:
        """Every request since `forget`, in the order they were answered."""
        return [Seen(**entry) for entry in self._http.post("log").json()["seen"]]

    def forget(self) -> None:
        """Empty the log."""
        self._http.post("forget")

    def expire(self) -> None:
        """Make every access token that is out there worthless."""
        self._http.post("expire")

    def reject(self) -> None:
        """Accept no access token any more, those to come included."""
        self._http.post("reject")

    def grant_for(self, seconds: int) -> None:
        """Let access tokens from now on live so long."""
        self._http.post("expires_in", content=str(seconds))

    def close(self) -> None:
        """Give the control connection back."""
        self._http.close()


@contextlib.contextmanager
def remote() -> Iterator[Remote]:
    """Run the server in a process of its own, which ends with its standard input."""
    command = [sys.executable, "-m", "tests.bench.server"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            server = Remote(process.stdout.readline().strip())
            try:
                yield server
            finally:
                server.close()
        finally:
            process.stdin.close()
            process.wait(PATIENCE)


if __name__ == "__main__":
    with serving() as here:
        print(here.authorization.base, flush=True)
        sys.stdin.read()
