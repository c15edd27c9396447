"""A hundred calls side by side: what goes wrong for one of them stays its own affair."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

import mcpnb
from mcpnb.errors import LoginRequired
from tests.bench.server import BenchServer, serving
from tests.fakes.people import sign_in

pytestmark = pytest.mark.timeout(60)

CALLS = 100
SIDE_BY_SIDE = 50
"""No call is answered before so many are at the server."""

Call = Callable[[str, str], Awaitable[str]]
Through = Callable[[mcpnb.Session], AbstractAsyncContextManager[Call]]


@pytest.fixture
def server() -> Iterator[BenchServer]:
    """An MCP server of the SDK that agrees to every sign-in."""
    with serving() as running:
        yield running


@pytest.fixture
def session(server: BenchServer) -> mcpnb.Session:
    """Somebody signed in there, with the scope `read`."""
    made = mcpnb.connect(server.url, store="memory", callback_port=0)
    sign_in(made)
    return made


@asynccontextmanager
async def through_acall(session: mcpnb.Session) -> AsyncIterator[Call]:
    """Call on the session's own kept-alive client."""

    async def call(tool: str, text: str) -> str:
        given = {} if tool == "administer" else {"text": text}
        return (await session.acall(tool, given)).text

    yield call


@asynccontextmanager
async def through_client(session: mcpnb.Session) -> AsyncIterator[Call]:
    """Call on one `mcp.Client` of the SDK."""
    async with session.client() as client:

        async def call(tool: str, text: str) -> str:
            given = {} if tool == "administer" else {"text": text}
            result = await client.call_tool(tool, given)
            return "".join(getattr(part, "text", "") for part in result.content)

        yield call


ways = pytest.mark.parametrize("through", [through_acall, through_client])


@pytest.mark.slow
@ways
def test_one_refused_and_one_expired_of_a_hundred_leave_98_alone(
    server: BenchServer,
    session: mcpnb.Session,
    through: Through,
) -> None:
    """98 answers as if nothing had been, one after one refresh, one `LoginRequired`."""
    server.hold = SIDE_BY_SIDE
    server.expired_for = {"late"}
    tools = ["echo"] * (CALLS - 2) + ["late", "administer"]

    async def everything() -> list[str | BaseException]:
        async with through(session) as call:
            calls = [call(tool, f"{number}") for number, tool in enumerate(tools)]
            return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(everything())

    assert results[:-1] == [f"{number}" for number in range(CALLS - 1)]
    refused = results[-1]
    assert isinstance(refused, LoginRequired)
    assert refused.scopes == ("admin",)
    assert server.authorization.granted["refresh_token"] == 1
    calls = [seen for seen in server.seen if seen.rpc == "tools/call"]
    assert Counter(seen.status for seen in calls) == {200: CALLS - 1, 401: 1, 403: 1}
    assert session.signed_in


@pytest.mark.slow
@ways
def test_a_hundred_calls_that_all_meet_an_expired_token_refresh_once(
    server: BenchServer,
    session: mcpnb.Session,
    through: Through,
) -> None:
    """Everybody waits for the one refresh, then every call is answered."""
    server.hold = SIDE_BY_SIDE
    server.expired_for = {"*"}

    async def everything() -> list[str]:
        async with through(session) as call:
            return await asyncio.gather(*[call("echo", f"{number}") for number in range(CALLS)])

    assert asyncio.run(everything()) == [f"{number}" for number in range(CALLS)]
    assert server.authorization.granted["refresh_token"] == 1
