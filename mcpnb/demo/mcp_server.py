"""The demo's MCP server: the SDK's, as an OAuth resource server with a few tools worth calling.

The SDK checks that there is a token, that it is for this server, that it has not expired and that
it has the base scope. Added here: what a valid token is, and HTTP 403 where a tool needs more.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
from joserfc.errors import JoseError
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field
from starlette.middleware import Middleware

from mcpnb.demo import harbour
from mcpnb.demo.authorization_server import AuthorizationServer
from mcpnb.demo.listening import Record
from mcpnb.demo.scopes import READ, WRITE
from mcpnb.demo.step_up import ScopeRequired

__all__ = ["ResourceServer"]

README = """\
# The harbour office

A demonstration server: a year of traffic in four harbours that do not exist.

* `harbour_traffic` gives the numbers, `chart` draws them.
* `slow` takes its time and says how far it is.
* `publish` needs the scope `data:write`, so it asks you to sign in for more.
* `fail` fails, to show what that looks like.
"""


# No slots: the SDK would take their descriptors for default values, and give no structured content.
@dataclass(frozen=True)
class WhoAmI:
    """What the server knows about the caller."""

    client_id: str
    subject: str | None
    scopes: list[str]
    seconds_left: float


@dataclass(frozen=True)
class Report:
    """A published report."""

    number: int
    title: str
    published_by: str | None


class Verifier:
    """Decides what a valid access token is: signed by our server, live, not revoked.

    The audience is left to the SDK, which compares `AccessToken.resource` with its own URL.
    """

    def __init__(self, server: AuthorizationServer) -> None:
        self._server = server

    async def verify_token(self, token: str) -> AccessToken | None:
        """Give what the token says, or `None` for one that opens nothing."""
        try:
            claims = self._server.decode(token)
        except JoseError:
            return None
        if not self._server.is_live(claims["jti"]):
            return None
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=claims["scope"].split(),
            # Whole seconds only; the exact end was checked above.
            expires_at=math.ceil(claims["exp"]),
            resource=claims["aud"],
            subject=claims["sub"],
            claims=claims,
        )


@contextmanager
def _own_logging() -> Iterator[None]:
    """Undo what the SDK does to the root logger: `MCPServer()` calls `logging.basicConfig`.

    A handler of its own on stderr, at INFO, would write into the person's terminal and notebook.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


class ResourceServer:
    """The harbour office, at one URL.

    Attributes:
        url: Its address, which is also its resource identifier.
        app: The ASGI application.
        calls: How often each tool ran.
        published: What was published, oldest first.
    """

    def __init__(self, url: str, authorization_server: AuthorizationServer) -> None:
        self.url = url
        self.calls: Counter[str] = Counter()
        self.published: list[Report] = []
        with _own_logging():
            server = MCPServer(
                "harbour-office",
                title="Harbour office",
                description="A demonstration: traffic in four harbours that do not exist.",
                version="1.0",
                token_verifier=Verifier(authorization_server),
                # From strings: pydantic's URL type would add a slash to the issuer, and issuers are
                # compared byte for byte (RFC 8414 section 3.3).
                auth=AuthSettings.model_validate(
                    {
                        "issuer_url": authorization_server.issuer,
                        "resource_server_url": url,
                        "required_scopes": [READ],
                        "validate_token_resource": True,
                    }
                ),
            )
        for tool in (self.whoami, self.harbour_traffic, self.slow, self.publish, self.fail):
            server.add_tool(tool)
        server.add_tool(self.chart, structured_output=False)
        server.resource(
            "demo://readme", name="readme", title="About this server", mime_type="text/markdown"
        )(lambda: README)
        server.resource(
            "demo://chart.png", name="chart", title="A year as a picture", mime_type="image/png"
        )(harbour.picture)
        app = server.streamable_http_app()
        # The last one is the innermost: after the SDK's, which say who is calling.
        app.user_middleware.append(Middleware(ScopeRequired, scopes={"publish": WRITE}, url=url))
        self._record = Record(app)
        self.app = self._record

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Method and path of each request, oldest first."""
        return self._record.requests

    @property
    def answers(self) -> list[tuple[str, str, int]]:
        """Method, path and status of each answer, oldest first."""
        return self._record.answers

    async def whoami(self) -> WhoAmI:
        """Say who is calling: the client, the person, the scopes, and how long the token lives."""
        token = self._caller("whoami")
        return WhoAmI(
            client_id=token.client_id,
            subject=token.subject,
            scopes=token.scopes,
            seconds_left=round((token.claims or {})["exp"] - time.time(), 1),
        )

    async def harbour_traffic(
        self,
        harbour_name: Annotated[
            str | None, Field(description="One of Elmhaven, Grauvik, Port Soleil, Sandmouth")
        ] = None,
        limit: Annotated[int, Field(ge=1, le=1000, description="How many rows at most")] = 20,
    ) -> list[harbour.HarbourMonth]:
        """Give ships, cargo and waiting times by month and harbour."""
        self._caller("harbour_traffic")
        return harbour.traffic(harbour_name)[:limit]

    async def chart(self) -> list[str | Image]:
        """Draw the ships of each month as a picture."""
        self._caller("chart")
        text = f"Ships per month in {harbour.YEAR}: {', '.join(harbour.HARBOURS)}, stacked."
        return [text, Image(data=harbour.picture(), format="png")]

    async def slow(
        self,
        context: Context[Any, Any],
        seconds: Annotated[float, Field(ge=0, le=120, description="How long to take")] = 3,
    ) -> str:
        """Take some time, and report progress ten times."""
        self._caller("slow")
        for step in range(10):
            await context.report_progress(step, 10, f"step {step + 1} of 10")
            await anyio.sleep(seconds / 10)
        await context.report_progress(10, 10, "done")
        return f"That took {seconds:g} seconds."

    async def publish(
        self, title: Annotated[str, Field(max_length=200, description="What the report is called")]
    ) -> Report:
        """Publish a report in your name. Needs the scope data:write."""
        token = self._caller("publish")
        if WRITE not in token.scopes:
            # `ScopeRequired` answered before; this is for the day when somebody mounts this tool
            # elsewhere.
            raise ToolError(f"This needs the scope {WRITE}.")
        report = Report(number=len(self.published) + 1, title=title, published_by=token.subject)
        self.published.append(report)
        return report

    async def fail(self) -> str:
        """Fail, as tools do."""
        self._caller("fail")
        raise ToolError("The harbour is closed: fog.")

    def _caller(self, tool: str) -> AccessToken:
        token = get_access_token()
        if token is None:  # The SDK lets nobody in without.
            raise ToolError("Nobody is signed in.")
        self.calls[tool] += 1
        return token
