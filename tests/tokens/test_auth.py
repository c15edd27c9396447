"""`session.auth` in clients of one's own: httpx and httpx2, sync and async."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

import mcpnb
from tests.fakes.people import connect, refresh_tokens, sign_in, until
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply

CALL = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
CHUNKS = (b'{"jsonrpc": "2.0", ', b'"id": 1, "method": "ping"}')
LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda module: module.__name__)
Post = Callable[..., Any]


def post_sync(library: ModuleType, session: mcpnb.Session, url: str, **given: Any) -> Any:
    with library.Client(auth=session.auth, trust_env=False) as client:
        return client.post(url, **given)


def post_async(library: ModuleType, session: mcpnb.Session, url: str, **given: Any) -> Any:
    async def posted() -> Any:
        async with library.AsyncClient(auth=session.auth, trust_env=False) as client:
            return await client.post(url, **given)

    return asyncio.run(posted())


WAYS = pytest.mark.parametrize("post", [post_sync, post_async], ids=["sync", "async"])


@LIBRARIES
@WAYS
class TestEveryClient:
    """The same class serves all four kinds of client."""

    def test_a_request_carries_the_token(
        self, fake: FakeServer, session: mcpnb.Session, library: ModuleType, post: Post
    ) -> None:
        """In the header, and nowhere else."""
        answer = post(library, session, fake.url, json=CALL)

        assert answer.status_code == 200
        assert fake.asked("/mcp")[-1].bearer == session.access_token()
        assert session.access_token() not in str(answer.request.url)

    def test_without_a_login_nothing_is_sent(
        self, fake: FakeServer, library: ModuleType, post: Post
    ) -> None:
        """The error comes before the request."""
        session = connect(fake.url)

        with pytest.raises(mcpnb.LoginRequired, match="Not signed in"):
            post(library, session, fake.url, json=CALL)

        assert fake.asked("/mcp") == []

    @pytest.mark.parametrize("challenged", [True, False])
    def test_a_401_is_refreshed_and_the_request_sent_once_more(
        self,
        fake: FakeServer,
        session: mcpnb.Session,
        library: ModuleType,
        post: Post,
        *,
        challenged: bool,
    ) -> None:
        """Its body, too: bytes in memory can be sent twice. Some servers send no challenge."""
        fake.expire()
        if not challenged:
            fake.challenge = None

        answer = post(library, session, fake.url, json=CALL)

        assert answer.status_code == 200
        first, second = fake.asked("/mcp")[-2:]
        assert first.bearer != second.bearer
        assert first.json == second.json == CALL
        assert len(refresh_tokens(fake)) == 1

    def test_a_body_that_cannot_be_sent_twice_gives_the_401_and_a_note(
        self, fake: FakeServer, session: mcpnb.Session, library: ModuleType, post: Post
    ) -> None:
        """The login is refreshed all the same: sending it again works."""
        fake.expire()

        length = {"Content-Length": str(sum(map(len, CHUNKS)))}
        answer = post(library, session, fake.url, content=_stream(post), headers=length)

        assert answer.status_code == 401
        assert "cannot be sent twice" in answer.extensions["mcpnb"]
        assert post(library, session, fake.url, json=CALL).status_code == 200
        assert len(refresh_tokens(fake)) == 1

    def test_a_403_is_given_with_what_is_missing(
        self, fake: FakeServer, library: ModuleType, post: Post
    ) -> None:
        """The answer is the answer; the note says what to do."""
        fake.tool_scopes = {"publish": "write"}
        session = connect(fake.url, scopes=("read",))
        sign_in(session)
        call = {**CALL, "method": "tools/call", "params": {"name": "publish"}}

        answer = post(library, session, fake.url, json=call)

        assert answer.status_code == 403
        assert "write" in answer.extensions["mcpnb"]
        assert refresh_tokens(fake) == []

    @pytest.mark.threat("token-to-another-origin")
    @pytest.mark.parametrize("redirected", [False, True])
    def test_another_origin_never_sees_the_token(  # noqa: PLR0913  all that differs
        self,
        fake: FakeServer,
        session: mcpnb.Session,
        fakes: Callable[[], FakeServer],
        library: ModuleType,
        post: Post,
        *,
        redirected: bool,
    ) -> None:
        """Nor does its 401 lead to a refresh; also where the client follows a redirect to it."""
        other = fakes()
        if redirected:
            fake.script("/mcp", Reply(307, headers={"Location": other.url}))
        url = fake.url if redirected else other.url

        assert post(library, session, url, json=CALL, follow_redirects=True).status_code == 401

        assert other.asked("/mcp")[-1].bearer is None
        assert refresh_tokens(fake) == []


def _stream(post: Post) -> Iterator[bytes] | AsyncIterator[bytes]:
    async def achunks() -> AsyncIterator[bytes]:
        for chunk in CHUNKS:
            yield chunk

    return achunks() if post is post_async else iter(CHUNKS)


@pytest.mark.slow
def test_many_waiters_share_one_refresh(fake: FakeServer, session: mcpnb.Session) -> None:
    """And a cancelled one cancels nobody else's."""
    fake.expire()
    release = threading.Event()
    fake.script("/token", Reply(503, hold=release))

    async def all_at_once() -> list[Any]:
        async with httpx2.AsyncClient(auth=session.auth, trust_env=False) as client:
            tasks = [asyncio.create_task(client.post(fake.url, json=CALL)) for _ in range(50)]
            # The code's exchange was the first request there; now the refresh waits.
            await asyncio.to_thread(until, lambda: len(fake.asked("/token")) == 2)
            tasks[0].cancel()
            release.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = asyncio.run(asyncio.wait_for(all_at_once(), 20))

    assert isinstance(first, asyncio.CancelledError)
    assert {answer.status_code for answer in others} == {200}
    assert len(refresh_tokens(fake)) == 2  # the one that was turned away with 503, and its retry


def test_nothing_of_ours_is_raised_through_the_sdks_client(
    fake: FakeServer, session: mcpnb.Session
) -> None:
    """A login that ends under way is the call's own error there, and no `ExceptionGroup`."""

    async def used() -> None:
        async with (
            httpx2.AsyncClient(auth=session.auth, trust_env=False) as http,
            Client(streamable_http_client(fake.url, http_client=http)) as client,
        ):
            await client.list_tools()
            fake.expire()
            fake.end()
            with pytest.raises(MCPError):
                await client.list_tools(cache_mode="bypass")
            with pytest.raises(MCPError):
                await client.list_tools(cache_mode="bypass")

    asyncio.run(asyncio.wait_for(used(), 20))


def test_the_sessions_own_client_raises_our_errors(
    fake: FakeServer, session: mcpnb.Session
) -> None:
    """And the caller's own errors pass through it unwrapped."""

    async def used() -> None:
        async with session.client() as client:
            await client.list_tools()
            fake.expire()
            fake.end()
            with pytest.raises(mcpnb.LoginRequired):
                await client.list_tools(cache_mode="bypass")
            raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="own"):
        asyncio.run(asyncio.wait_for(used(), 20))
