"""A hundred calls side by side: what goes wrong for one of them stays its own affair."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

import mcpnb
from mcpnb.errors import LoginRequired
from tests.fakes.mcp import tool_of
from tests.fakes.people import connect, sign_in
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request

pytestmark = pytest.mark.timeout(60)

CALLS = 100
SIDE_BY_SIDE = 50
"""No call is answered before so many are at the server."""

Call = Callable[[str, str], Awaitable[str]]
Through = Callable[[mcpnb.Session], AbstractAsyncContextManager[Call]]


@pytest.fixture
def session(fake: FakeServer) -> mcpnb.Session:
    """Somebody signed in there, with the scope `read`."""
    made = connect(fake.url)
    sign_in(made, scopes=("read",))
    return made


def held(fake: FakeServer, expired: Callable[[str], bool]) -> list[int]:
    """Answer no call before 50 have come; the first token has expired for calls with some texts.

    Returns:
        The status of each call, as they are answered.
    """
    honest, first, statuses = fake.routes["/mcp"], set(fake.access), list[int]()
    numbers, all_here = itertools.count(1), threading.Event()

    def answer(request: Request) -> Reply:
        if tool_of(request.json) is None:
            return honest(request)
        if next(numbers) >= SIDE_BY_SIDE:
            all_here.set()
        assert all_here.wait(20)
        if request.bearer in first and expired(request.json["params"]["arguments"]["text"]):
            reply = Reply(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        else:
            reply = honest(request)
        statuses.append(reply.status)
        return reply

    fake.routes["/mcp"] = answer
    return statuses


@asynccontextmanager
async def through_acall(session: mcpnb.Session) -> AsyncIterator[Call]:
    """Call on the session's own kept-alive client."""

    async def call(tool: str, text: str) -> str:
        return (await session.acall(tool, text=text)).text

    yield call


@asynccontextmanager
async def through_client(session: mcpnb.Session) -> AsyncIterator[Call]:
    """Call on one `mcp.Client` of the SDK."""
    async with session.client() as client:

        async def call(tool: str, text: str) -> str:
            result = await client.call_tool(tool, {"text": text})
            return "".join(getattr(part, "text", "") for part in result.content)

        yield call


ways = pytest.mark.parametrize("through", [through_acall, through_client])


@pytest.mark.slow
@ways
def test_one_refused_and_one_expired_of_a_hundred_leave_98_alone(
    fake: FakeServer, session: mcpnb.Session, through: Through
) -> None:
    """98 answers as if nothing had been, one after one refresh, one `LoginRequired`."""
    fake.tool_scopes = {"publish": "admin"}
    statuses = held(fake, lambda text: text == f"{CALLS - 2}")
    tools = ["echo"] * (CALLS - 1) + ["publish"]

    async def everything() -> list[str | BaseException]:
        async with through(session) as call:
            calls = [call(tool, f"{number}") for number, tool in enumerate(tools)]
            return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(everything())

    assert results[:-1] == [f"{number}" for number in range(CALLS - 1)]
    refused = results[-1]
    assert isinstance(refused, LoginRequired)
    assert refused.scopes == ("admin",)
    assert fake.refreshes == 1
    assert Counter(statuses) == {200: CALLS - 1, 401: 1, 403: 1}
    assert session.signed_in
