"""The demo's servers in a process of their own, so that a measured client shares nothing with them.

`python -m tests.bench.server` prints the MCP server's URL and ends with its standard input. Beside
what the demo has: `/work`, which takes as many milliseconds as its query says, and `/-/...`, which
changes and counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import httpx2
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mcpnb.demo.servers import DemoServers
from tests.bench import ROOT

PATIENCE = 20


@dataclass(frozen=True)
class Counted:
    """What was asked of the servers since `Remote.forget`."""

    refreshes: int
    sign_ins: int
    refused: list[str]
    """Token requests that were not granted: where they went, and the status."""


class _Control:
    """The routes beside the demo's own."""

    def __init__(self, demo: DemoServers) -> None:
        self._demo = demo
        self.routes = [
            Route("/work", self._work),
            Route("/-/{name}", self._steer, methods=["POST"]),
        ]

    async def _work(self, http: Request) -> Response:
        if not isinstance(http.user, AuthenticatedUser):
            base = self._demo.mcp_url.removesuffix("/mcp")
            metadata = f"{base}/.well-known/oauth-protected-resource/mcp"
            challenge = f'Bearer error="invalid_token", resource_metadata="{metadata}"'
            return Response(status_code=401, headers={"WWW-Authenticate": challenge})
        await asyncio.sleep(int(http.url.query or 0) / 1000)
        return Response()

    async def _steer(self, http: Request) -> Response:
        demo, server = self._demo, self._demo.authorization_server
        name = http.path_params["name"]
        if name == "expire":
            server.expire_access_tokens()
        elif name == "lifetime":
            server.access_token_lifetime = int(await http.body())
        elif name == "forget":
            server.grants.clear()
            demo.answers.clear()
            demo.mcp_answers.clear()
        refused = {
            f"{path}: {status}"
            for _, path, status in [*demo.answers, *demo.mcp_answers]
            if path.endswith("/token") and status != 200
        }
        grants = server.grants
        counted = Counted(grants["refresh_token"], grants["authorization_code"], sorted(refused))
        return JSONResponse(asdict(counted))


class Remote:
    """The servers in their own process."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.base = url.removesuffix("/mcp")
        self.http = httpx2.Client(base_url=f"{self.base}/-/", trust_env=False, timeout=PATIENCE)

    def counted(self) -> Counted:
        """Return what was asked since `forget`."""
        return Counted(**self.http.post("counted").json())

    def forget(self) -> None:
        """Start counting anew."""
        self.http.post("forget")

    def expire(self) -> None:
        """End every access token that is out there."""
        self.http.post("expire")

    def grant_for(self, seconds: int) -> None:
        """Let access tokens from now on live so long."""
        self.http.post("lifetime", content=str(seconds))


@contextlib.contextmanager
def remote() -> Iterator[Remote]:
    """Run the servers in a process of their own."""
    command = [sys.executable, "-m", "tests.bench.server"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            server = Remote(process.stdout.readline().strip())
            with server.http:
                yield server
        finally:
            process.stdin.close()
            process.wait(PATIENCE)


if __name__ == "__main__":
    with DemoServers(auto_consent=True) as here:
        here.mcp_server.app.router.routes[:0] = _Control(here).routes
        print(here.mcp_url, flush=True)
        sys.stdin.read()
