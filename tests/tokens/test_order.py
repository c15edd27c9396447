"""What one refresh and one rejected token do, step by step: requests, store and locks in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx2
import pytest

import mcpnb
from tests.fakes.diary import Diary
from tests.fakes.people import connect, sign_in, until
from tests.fakes.processes import age
from tests.fakes.server import FakeServer

CALL = {"jsonrpc": "2.0", "id": 1, "method": "ping"}

REFRESH = [
    "lock login",
    "read login",  # has a sibling refreshed it meanwhile?
    "write login",  # before the refresh token is given away: its response may get lost
    "POST /token",
    "lock commit",
    "read login",  # is it still the login that was marked, or has somebody signed out?
    "write login",
    "free commit",
    "free login",
]
NOTED = ["lock login", "write login", "free login"]


@pytest.fixture
def store(fake: FakeServer) -> Diary:
    """A store that notes what is done to it, and what is requested from the server."""
    store = Diary()
    store.note_requests(fake)
    return store


def expire(store: Diary) -> None:
    """Let the hour of the one login be over."""
    age(store, -100, of=3600)
    store.lines.clear()


@pytest.fixture
def session(fake: FakeServer, store: Diary) -> mcpnb.Session:
    """Somebody who is signed in, and whose token the server has accepted once."""
    session = connect(fake.url, store=store)
    sign_in(session)
    post(session)
    store.lines.clear()
    return session


def post(session: mcpnb.Session) -> int:
    with httpx2.Client(auth=session.auth, trust_env=False) as client:
        return client.post(session.server, json=CALL).status_code


def test_an_expired_token_is_refreshed_in_this_order(session: mcpnb.Session, store: Diary) -> None:
    expire(store)

    assert post(session) == 200

    assert store.lines == ["read login", *REFRESH, "POST /mcp"]


def test_a_rejected_token_is_refreshed_in_this_order(
    fake: FakeServer, session: mcpnb.Session, store: Diary
) -> None:
    """The login's own token is tried first; that the new one was accepted is stored afterwards."""
    fake.expire()

    assert post(session) == 200

    until(lambda: store.lines.count("free login") == 2)
    assert store.lines == ["POST /mcp 401", *REFRESH, "POST /mcp", *NOTED]


def test_a_token_that_stays_rejected_is_noted_for_siblings(
    fake: FakeServer, session: mcpnb.Session, store: Diary
) -> None:
    """One refresh, one retry; then the server's response stands."""
    fake.really_lives = 0
    fake.expire()

    assert post(session) == 401

    until(lambda: store.lines.count("free login") == 2)
    assert store.lines == ["POST /mcp 401", *REFRESH, "POST /mcp 401", *NOTED]
    assert post(session) == 401
    assert store.lines[-1] == "POST /mcp 401"


async def through_auth(session: mcpnb.Session) -> None:
    async with httpx2.AsyncClient(auth=session.auth, trust_env=False) as client:
        await client.post(session.server, json=CALL)


async def through_client(session: mcpnb.Session) -> None:
    async with session.client() as client:
        await client.list_tools()


async def through_acall(session: mcpnb.Session) -> None:
    await session.acall("echo", text="hello")


async def through_call(session: mcpnb.Session) -> None:
    await asyncio.to_thread(session.call, "echo", text="hello")


async def awaited(session: mcpnb.Session) -> None:
    await session


async def ready(session: mcpnb.Session) -> None:
    await session.ready(5)


USES = [through_auth, through_client, through_acall, through_call, awaited, ready]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("state", ["new", "expired", "rejected", "rejected again", "ended"])
def test_no_event_loop_waits_for_the_store(
    fake: FakeServer,
    store: Diary,
    state: str,
    use: Callable[[mcpnb.Session], Awaitable[None]],
) -> None:
    """A system keyring can take seconds: all other calls on that loop would wait for it, too."""
    sign_in(connect(fake.url, store=store))
    session = connect(fake.url, store=store)  # it has read nothing yet
    if state == "expired":
        expire(store)
    elif state != "new":
        fake.expire()
        fake.really_lives = 0 if state == "rejected again" else None
        if state == "ended":
            fake.end()

    async def used() -> None:
        with suppress(mcpnb.McpnbError):
            await asyncio.wait_for(use(session), 20)

    asyncio.run(used())

    assert store.lines
    assert store.on_a_loop == []
