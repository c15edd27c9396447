"""What one refresh and one rejected token do, step by step: requests, store and locks in order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

import mcpnb
from mcpnb.stores import MemoryStore, RecordName
from tests.fakes.people import connect, sign_in, until
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request

CALL = {"jsonrpc": "2.0", "id": 1, "method": "ping"}

REFRESH = [
    "lock login",
    "read login",  # has a sibling refreshed it meanwhile?
    "write login",  # before the refresh token is given away: its response may get lost
    "POST /token",
    "lock commit",
    "read login",  # is it still the login that was marked, or has somebody signed out?
    "write login",
    "unlock commit",
    "unlock login",
]
NOTED = ["lock login", "write login", "unlock login"]


class LoggedStore(MemoryStore):
    """Notes what is done to the login."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def read(self, key: RecordName) -> dict[str, object] | None:
        self.log.append(f"read {key.kind}")
        return super().read(key)

    def write(self, key: RecordName, record: dict[str, object]) -> None:
        self.log.append(f"write {key.kind}")
        super().write(key, record)

    @contextmanager
    def lock(self, key: RecordName, timeout: float) -> Iterator[None]:
        with super().lock(key, timeout):
            self.log.append(f"lock {key.kind}")
            yield
            self.log.append(f"unlock {key.kind}")


@pytest.fixture
def store(fake: FakeServer) -> LoggedStore:
    """A store that notes what is done to it, and what is requested from the server."""
    store = LoggedStore()

    def log_requests(path: str) -> None:
        route = fake.routes[path]

        def logged(request: Request) -> Reply:
            reply = route(request)
            store.log.append(f"{request.method} {path}" + (" 401" if reply.status == 401 else ""))
            return reply

        fake.routes[path] = logged

    log_requests("/mcp")
    log_requests("/token")
    return store


@pytest.fixture
def session(fake: FakeServer, store: LoggedStore) -> mcpnb.Session:
    """Somebody who is signed in, and whose token the server has accepted once."""
    session = connect(fake.url, store=store)
    sign_in(session)
    post(session)
    store.log.clear()
    return session


def post(session: mcpnb.Session) -> int:
    with httpx2.Client(auth=session.auth, trust_env=False) as client:
        return client.post(session.server, json=CALL).status_code


def test_an_expired_token_is_refreshed_in_this_order(
    session: mcpnb.Session, store: LoggedStore
) -> None:
    [key] = store.keys("login")
    record = store.read(key)
    assert record is not None
    now = time.time()
    record["tokens"] |= {"obtained_at": now - 3700, "expires_at": now - 100}
    store.write(key, record)
    store.log.clear()

    assert post(session) == 200

    assert store.log == ["read login", *REFRESH, "POST /mcp"]


def test_a_rejected_token_is_refreshed_in_this_order(
    fake: FakeServer, session: mcpnb.Session, store: LoggedStore
) -> None:
    """The login's own token is tried first; that the new one was accepted is stored afterwards."""
    fake.expire()

    assert post(session) == 200

    until(lambda: store.log.count("unlock login") == 2)
    assert store.log == ["POST /mcp 401", *REFRESH, "POST /mcp", *NOTED]


def test_a_token_that_stays_rejected_is_noted_for_siblings(
    fake: FakeServer, session: mcpnb.Session, store: LoggedStore
) -> None:
    """One refresh, one retry; then the server's response stands."""
    fake.really_lives = 0
    fake.expire()

    assert post(session) == 401

    until(lambda: store.log.count("unlock login") == 2)
    assert store.log == ["POST /mcp 401", *REFRESH, "POST /mcp 401", *NOTED]
    assert post(session) == 401
    assert store.log[-1] == "POST /mcp 401"
