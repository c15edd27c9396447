"""One sign-in, step by step: what is asked of servers and of the store, and in which order."""

from __future__ import annotations

from tests.fakes.diary import Diary
from tests.fakes.people import answer_of, connect, waiting
from tests.fakes.server import FakeServer

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


def changes(store: Diary) -> list[str]:
    return [line for line in store.lines if not line.startswith("read")]


def test_a_sign_in_goes_through_its_steps_in_this_order(fake: FakeServer) -> None:
    store = Diary()
    store.note_requests(fake)
    session = connect(fake.url, store=store, callback_port=0)

    login, url = waiting(session)
    assert changes(store) == BEGIN
    login.submit(answer_of(url))
    login.wait(10)
    login.join(10)

    assert changes(store)[len(BEGIN) : len(BEGIN) + len(ANSWER)] == ANSWER
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
    store.note_requests(fake)
    before = len(store.lines)

    assert session.logout()

    done = [line for line in store.lines[before:] if line.startswith(("write", "delete", "POST"))]
    assert done == [
        "delete pending",
        "delete login leaving a tombstone",
        "POST /revoke",
        "POST /revoke",
    ]
