"""However many meet a token that is over, at one moment, in however many processes: one refresh."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import mcpnb
from mcpnb.stores import FileStore
from tests.bench.crowd import ANSWERED, CROWDS, SIDE_BY_SIDE, Crowd, Kind
from tests.fakes.people import connect, refresh_tokens, sign_in, until
from tests.fakes.processes import EXPIRED, age
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request

pytestmark = pytest.mark.timeout(120)

HEADERS = Kind("8 threads that ask for headers", threads=8, through="headers")
CALLS = Kind("3 processes that call tools", processes=3, threads=2, coroutines=3, through="call")


def crowds(*kinds: Kind) -> pytest.MarkDecorator:
    """Run a test with each of these; the large ones take seconds."""

    def marks(kind: Kind) -> list[pytest.MarkDecorator]:
        return [pytest.mark.slow] if kind.processes > 1 or kind.calls > 8 else []

    each = [pytest.param(kind, id=kind.name, marks=marks(kind)) for kind in kinds]
    return pytest.mark.parametrize("kind", each)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """A folder that all processes share."""
    return FileStore(tmp_path / "store")


@pytest.fixture
def session(fake: FakeServer, store: FileStore) -> mcpnb.Session:
    """Somebody signed in, kept there; requests count from here on."""
    made = connect(fake.url, store=store)
    sign_in(made)
    fake.requests.clear()
    return made


def refreshing_waits_for(fake: FakeServer, condition: Callable[[], bool]) -> None:
    """Hold every refresh back until `condition`: so long nobody can profit from another's."""
    answer = fake.routes["/token"]

    def late(request: Request) -> Reply:
        until(condition, timeout=30)
        return answer(request)

    fake.routes["/token"] = late


def shown(fake: FakeServer) -> Counter[str | None]:
    """Count the requests by the token they carried."""
    return Counter(request.bearer for request in fake.asked("/mcp"))


@pytest.mark.slow
@crowds(*CROWDS, HEADERS, CALLS)
def test_an_expired_token_is_refreshed_once(
    kind: Kind, fake: FakeServer, session: mcpnb.Session, store: FileStore
) -> None:
    """Nobody sends the old token, and everybody is answered.

    The refresh is answered only after everybody was under way, so that each had to find out that
    somebody else is at it.
    """
    age(store, EXPIRED)
    fake.expire()
    under_way = threading.Event()
    refreshing_waits_for(fake, under_way.is_set)

    with Crowd(kind, fake.url, store.folder) as crowd:
        crowd.go()
        under_way.set()
        outcomes = crowd.outcomes()

    assert Counter(outcomes) == {ANSWERED: kind.calls}
    assert len(refresh_tokens(fake)) == 1
    assert set(shown(fake)) == {session.access_token()}


@pytest.mark.threat("refresh-token-theft-by-a-sibling")
@crowds(*CROWDS, CALLS)
def test_a_rejected_token_is_refreshed_once(
    kind: Kind, fake: FakeServer, session: mcpnb.Session, store: FileStore
) -> None:
    """Everybody's 401 comes before the refresh is answered: all but one adopt what it gave."""
    old = session.access_token()
    fake.expire()
    in_each = 1 if kind.through == "call" else min(kind.threads + kind.coroutines, SIDE_BY_SIDE)
    refreshing_waits_for(fake, lambda: shown(fake)[old] >= kind.processes * in_each)

    with Crowd(kind, fake.url, store.folder) as crowd:
        outcomes = crowd.all()

    assert Counter(outcomes) == {ANSWERED: kind.calls}
    assert len(refresh_tokens(fake)) == 1
    new = session.access_token()
    if kind.through == "call":  # there, one request is the handshake of many calls
        assert set(shown(fake)) == {old, new}
    else:
        assert shown(fake) == {old: kind.calls, new: kind.calls}
