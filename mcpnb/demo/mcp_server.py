"""The demo's MCP server: the SDK's, as an OAuth resource server with a few tools worth calling.

The SDK checks that there is a token, that it is for this server, that it has not expired and that
it has the base scope. Added here: what a valid token is, and HTTP 403 where a tool needs more.
"""

from __future__ import annotations

import json
import logging
import math
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final

import anyio
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import DEFAULT_MAX_REQUEST_BODY_SIZE, RequestBodyLimitMiddleware
from pydantic import Field
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcpnb.demo.authorization import READ, WRITE, AuthorizationServer

README = """\
# The harbour office

A demonstration server: a year of traffic in four harbours that do not exist.

* `harbour_traffic` returns the numbers, `chart` draws them.
* `slow` takes its time and reports its progress.
* `publish` needs the scope `data:write`, so it asks you to sign in for more.
* `fail` fails, to show what that looks like.
"""
TOOL_SCOPES = {"publish": WRITE}
"""What a tool needs beyond the scope that every call needs."""


# No slots: the SDK would take their descriptors for default values, and send no structured content.
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


YEAR: Final = 2025


@dataclass(frozen=True, slots=True)
class HarbourMonth:
    """One month of one harbour."""

    month: str
    harbour: str
    ships: int
    cargo_tonnes: int
    mean_wait_hours: float


# Name: ships in a mean month, month of the peak, strength of the season, tonnes per ship.
HARBOURS: Final[dict[str, tuple[int, int, float, int]]] = {
    "Elmhaven": (412, 7, 0.28, 9_300),
    "Grauvik": (188, 9, 0.41, 21_700),
    "Port Soleil": (296, 6, 0.52, 4_150),
    "Sandmouth": (97, 3, 0.19, 12_800),
}

_BACKGROUND: Final = (250, 251, 251)
_GRID: Final = (226, 231, 230)
_COLOURS: Final = ((11, 110, 99), (63, 165, 140), (240, 171, 84), (210, 92, 78))


class ResourceServer:
    """The harbour office, at one URL.

    Attributes:
        app: The ASGI application.
        calls: How often each tool ran.
        published: What was published, oldest first.
    """

    def __init__(self, url: str, authorization_server: AuthorizationServer) -> None:
        self._authorization = authorization_server
        self.calls: Counter[str] = Counter()
        self.published: list[Report] = []
        with _own_logging():
            server = MCPServer(
                "harbour-office",
                title="Harbour office",
                description="A demonstration: traffic in four harbours that do not exist.",
                version="1.0",
                token_verifier=self,
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
        )(_picture)
        self.app = server.streamable_http_app()
        metadata = f"{url.removesuffix('/mcp')}/.well-known/oauth-protected-resource/mcp"
        # The last ones are the innermost: after the SDK's, which say who is calling.
        self.app.user_middleware += [
            Middleware(RequestBodyLimitMiddleware, max_body_size=DEFAULT_MAX_REQUEST_BODY_SIZE),
            Middleware(_ScopeRequired, metadata=metadata),
        ]

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return what a live token says, for the SDK, which compares `resource` with its own."""
        found = self._authorization.access_token(token)
        if found is None or not found.live:
            return None
        return AccessToken(
            token=token,
            client_id=found.grant.client_id,
            scopes=list(found.scopes),
            # Whole seconds only; the exact end was checked above.
            expires_at=math.ceil(found.expires_at),
            resource=found.grant.resource,
            subject=self._authorization.subject,
            claims={"exp": found.expires_at},
        )

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
    ) -> list[HarbourMonth]:
        """Return ships, cargo and waiting times by month and harbour."""
        self._caller("harbour_traffic")
        return _traffic(harbour_name)[:limit]

    async def chart(self) -> list[str | Image]:
        """Draw the ships of each month as a picture."""
        self._caller("chart")
        text = f"Ships per month in {YEAR}: {', '.join(HARBOURS)}, stacked."
        return [text, Image(data=_picture(), format="png")]

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
            # `_ScopeRequired` answered before; this is for the day when somebody mounts this tool
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


class _ScopeRequired:
    """Middleware that asks for a tool's scope before the tool runs.

    The MCP SDK cannot: by the time a tool runs, only a JSON-RPC response is left to send, and
    clients step up from HTTP 403 (specification 2026-07-28, authorization, "scope challenge
    handling"). The body is read in both protocol eras. Newer clients name the tool in the
    ``Mcp-Name`` header too, but a header alone would be the client's word for what it may not do.
    """

    def __init__(self, app: ASGIApp, metadata: str) -> None:
        self._app = app
        self._metadata = metadata

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        user = scope.get("user")
        if scope.get("method") != "POST" or not isinstance(user, AuthenticatedUser):
            await self._app(scope, receive, send)
            return
        # All of it: a long body is refused before. Passed on unread, it would be a way around this.
        body = await Request(scope, receive).body()
        if missing := " ".join(_needed(body) - set(user.scopes)):
            challenge = (
                f'Bearer error="insufficient_scope", scope="{missing}", '
                f'resource_metadata="{self._metadata}", '
                f'error_description="This tool needs the scope {missing}"'
            )
            refusal = JSONResponse(
                {"error": "insufficient_scope"}, 403, {"WWW-Authenticate": challenge}
            )
            await refusal(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, again, send)


def _needed(body: bytes) -> set[str]:
    """Return the scopes that the tool calls of a body need. 2025-03-26 has batches."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return set()  # The SDK says what is wrong with it.
    needed = set()
    for message in parsed if isinstance(parsed, list) else [parsed]:
        match message:
            case {"method": "tools/call", "params": {"name": str(name)}} if name in TOOL_SCOPES:
                needed.add(TOOL_SCOPES[name])
    return needed


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


# The numbers, and their picture.


def _traffic(harbour: str | None = None) -> list[HarbourMonth]:
    """Return the months of one harbour, or of all: the same numbers every time."""
    wanted = [name for name in HARBOURS if harbour in {None, name}]
    return [_month(name, month) for month in range(1, 13) for name in wanted]


def _month(name: str, month: int) -> HarbourMonth:
    mean, peak, season, tonnes = HARBOURS[name]
    # A season, and a ripple that keeps the rows from looking like a cosine.
    swing = season * math.cos((month - peak) * math.tau / 12)
    ripple = 0.06 * math.sin(month * len(name) * 1.7)
    ships = round(mean * (1 + swing + ripple))
    return HarbourMonth(
        month=f"{YEAR}-{month:02}",
        harbour=name,
        ships=ships,
        cargo_tonnes=round(ships * tonnes * (1 + ripple) / 100) * 100,
        mean_wait_hours=round(2.5 + 9 * (ships / mean) ** 3 / 4 + 20 * abs(ripple), 1),
    )


def _picture() -> bytes:
    """Draw the ships of each month, the harbours stacked, as a PNG."""
    width, height, margin = 640, 320, 28
    rows = [bytearray(bytes(_BACKGROUND) * width) for _ in range(height)]

    def fill(left: int, right: int, top: int, bottom: int, colour: tuple[int, int, int]) -> None:
        for row in rows[top:bottom]:
            row[left * 3 : right * 3] = bytes(colour) * (right - left)

    by_month = [[_month(name, month) for name in HARBOURS] for month in range(1, 13)]
    most = max(sum(row.ships for row in month) for month in by_month)
    scale = (height - 2 * margin) / most
    for step in range(0, most, 250):
        y = height - margin - round(step * scale)
        fill(margin, width - margin, y, y + 1, _GRID)
    slot = (width - 2 * margin) / 12
    for index, month in enumerate(by_month):
        left, bottom = margin + round((index + 0.18) * slot), height - margin
        for row, colour in zip(month, _COLOURS, strict=True):
            top = bottom - round(row.ships * scale)
            fill(left, left + round(slot * 0.64), top, bottom, colour)
            bottom = top
    return _png(width, height, rows)


def _png(width: int, height: int, rows: list[bytearray]) -> bytes:
    """Encode as PNG: 8 bits, RGB, no filter (ISO/IEC 15948)."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = b"".join(b"\0" + bytes(row) for row in rows)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
