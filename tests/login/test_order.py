"""One sign-in, step by step: what is asked of servers and of the store, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mcpnb.stores import MemoryStore, RecordName
from tests.fakes.people import answer_of, connect, waiting
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request


class Diary(MemoryStore):
    """A store that writes down what is done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def write(self, key: RecordName, record: dict[str, Any]) -> None:
        self.lines.append(f"write {key.kind}")
        super().write(key, record)

    def delete(self, key: RecordName, *, leave_tombstone: bool = False) -> None:
        self.lines.append(f"delete {key.kind}{' leaving a tombstone' if leave_tombstone else ''}")
        super().delete(key, leave_tombstone=leave_tombstone)

    @contextmanager
    def lock(self, key: RecordName, timeout: float) -> Iterator[None]:
        with super().lock(key, timeout):
            self.lines.append(f"lock {key.kind}")
            yield
        self.lines.append(f"free {key.kind}")


def note_requests(fake: FakeServer, lines: list[str]) -> None:
    def noted(route: Callable[[Request], Reply]) -> Callable[[Request], Reply]:
        def answer(request: Request) -> Reply:
            lines.append(f"{request.method} {request.path}")
            return route(request)

        return answer

    for path, route in fake.routes.items():
        fake.routes[path] = noted(route)


BEGIN = [
    *("lock login", "free login"),  # can a login be stored at all?
    "lock waiting",  # one process leads
    "POST /mcp",
    "GET /.well-known/oauth-protected-resource/mcp",
    "GET /.well-known/oauth-authorization-server",
    *("lock client", "POST /register", "free client"),
    *("lock pending", "write pending", "free pending"),  # before anybody can open the address
]
ANSWER = [
    "GET /authorize",
    "lock exchanging",  # a code is good once
    *("lock pending", "write pending", "free pending"),  # claimed
    "POST /token",
    *("lock login", "lock commit", "write login", "free commit", "free login"),
    *("lock pending", "delete pending", "free pending"),
    "free exchanging",
]


def test_a_sign_in_goes_through_its_steps_in_this_order(fake: FakeServer) -> None:
    store = Diary()
    note_requests(fake, store.lines)
    session = connect(fake.url, store=store, callback_port=0)

    login, url = waiting(session)
    assert store.lines == BEGIN
    login.submit(answer_of(url))
    login.wait(10)
    login.join(10)

    assert store.lines[len(BEGIN) : len(BEGIN) + len(ANSWER)] == ANSWER
    assert store.lines[-1] == "free waiting"  # now another process may lead
    assert login.state == "signed_in"


def test_a_cancelled_sign_in_forgets_what_is_pending_before_another_may_lead(
    fake: FakeServer,
) -> None:
    store = Diary()
    session = connect(fake.url, store=store)
    login, _ = waiting(session)
    begun = len(store.lines)

    login.cancel()
    login.join(10)

    assert [line for line in store.lines[begun:] if line.startswith(("delete", "free w"))] == [
        "delete pending",
        "free waiting",
    ]


def test_a_sign_out_ends_what_is_pending_then_forgets_then_revokes(fake: FakeServer) -> None:
    store = Diary()
    session = connect(fake.url, store=store)
    login, url = waiting(session)
    login.submit(answer_of(url))
    login.wait(10)
    login.join(10)
    note_requests(fake, store.lines)
    before = len(store.lines)

    assert session.logout()

    done = [line for line in store.lines[before:] if not line.startswith(("lock", "free"))]
    assert done == [
        "delete pending",
        "delete login leaving a tombstone",
        "POST /revoke",
        "POST /revoke",
    ]
