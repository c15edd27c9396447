"""What broke, or leaked, when one request met with one fault."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from mcpnb.errors import ServerUnreachable
from mcpnb.oauth.http import Http
from mcpnb.stores import MemoryStore
from tests.fakes.faults import FAULTS
from tests.fakes.faulty import FaultyProxy
from tests.fakes.server import AS_METADATA, PRM, FakeServer
from tests.fakes.unsteady import Behind, bounded, fake_behind, signed_in
from tests.fakes.wire import Reply

SECRET = "access-never-to-be-shown"


@pytest.fixture
def proxy() -> Iterator[FaultyProxy]:
    with FaultyProxy() as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: FaultyProxy, fake: FakeServer) -> Iterator[Behind]:
    with fake_behind(proxy, fake) as behind:
        yield behind


@pytest.fixture
def store(behind: Behind) -> MemoryStore:
    """Sign in and say where that rests."""
    store = MemoryStore()
    assert bounded(lambda: signed_in(behind.session(store))) is None
    return store


def test_what_comes_beyond_an_answer_is_not_the_answer_to_the_next_request(
    proxy: FaultyProxy, fake: FakeServer
) -> None:
    """RFC 9112 section 6.3: a registration was read from a second copy of the metadata."""
    door = proxy.door(fake.port)
    http = Http(door.base)
    proxy.begin(FAULTS["answered twice"].fault, 1)

    first, second = http.get(door.base + AS_METADATA), http.get(door.base + PRM)

    http.close()
    assert "token_endpoint" in first.json()
    assert "authorization_servers" in second.json()


def test_no_call_gets_the_answer_to_another_one(behind: Behind, store: MemoryStore) -> None:
    """It waited for ever, for the result with its own id."""
    session, texts = behind.session(store), []

    def echo(text: str) -> None:
        texts.append(session.call("echo", text=text).text)

    behind.call(session)
    for first, second in (("one", "two"), ("three", "four")):
        behind.proxy.begin(FAULTS["answered twice"].fault, 1)
        assert bounded(functools.partial(echo, first)) is None
        assert bounded(functools.partial(echo, second)) is None
    assert texts == ["one", "two", "three", "four"]


def test_an_answer_that_is_not_http_is_not_repeated(proxy: FaultyProxy, fake: FakeServer) -> None:
    """The library's message has the line that it did not understand: there, it was the body."""
    door = proxy.door(fake.port)
    http = Http(door.base)
    proxy.begin(FAULTS["head and body run together"].fault, 1)
    fake.always(AS_METADATA, Reply(200, {"access_token": SECRET}))

    with pytest.raises(ServerUnreachable, match="is garbled") as caught:
        http.get(door.base + AS_METADATA)

    http.close()
    assert SECRET not in str(caught.value)
