"""Every request of a sign-in and of the first call, with every fault, one at a time.

Each ends signed in, or in a clear error that leaves the earlier login as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from mcpnb.errors import GrantError, LoginRequired
from mcpnb.stores import MemoryStore, RecordName
from tests import figures
from tests.fakes.faults import FAULTS, Kind
from tests.fakes.faulty import FaultyProxy
from tests.fakes.unsteady import (
    Behind,
    NotMade,
    Problems,
    bounded,
    demo_behind,
    impatient,
    signed_in,
    unclear,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SIGN_IN = [
    "POST /mcp",
    "GET /.well-known/oauth-protected-resource/mcp",
    "GET /.well-known/oauth-authorization-server",
    "POST /register",
    "GET /callback",
    "POST /token",
]
FIRST_CALL = ["POST /mcp", "POST /mcp", "POST /mcp"]
REQUESTS = SIGN_IN + FIRST_CALL
"""Where the faults are played. A request more, or less, and the first test says so."""


@pytest.fixture(scope="module")
def house() -> Iterator[Behind]:
    """Run the demo's servers behind a proxy, for all tests of this file."""
    with FaultyProxy() as proxy, demo_behind(proxy) as behind:
        yield behind


@pytest.fixture(scope="module")
def earlier(house: Behind) -> dict[str, Any]:
    """Sign in once: what every sign-in here takes the place of, or leaves alone."""
    store = MemoryStore()
    assert bounded(lambda: signed_in(house.session(store))) is None
    return stored(store)


def stored(store: MemoryStore) -> dict[str, Any]:
    record = store.read(store.keys("login")[0])
    assert record is not None
    return record


def test_a_sign_in_and_a_first_call_make_just_these_requests(house: Behind) -> None:
    session = house.session(MemoryStore())
    house.proxy.begin()

    assert bounded(lambda: signed_in(session)) is None
    assert house.proxy.passed == SIGN_IN
    assert bounded(lambda: house.call(session)) is None
    assert house.proxy.passed == REQUESTS


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_happens_to_one_request_of_a_sign_in_an_earlier_login_stays(
    house: Behind, earlier: dict[str, Any], name: str
) -> None:
    problems = Problems()
    for at, line in enumerate(REQUESTS, 1):
        figures.add("fault positions tried")
        problems.of(f"request {at}, {line}", partial(_try, house, earlier, FAULTS[name], at))
    assert problems.found == {}


def _try(house: Behind, earlier: dict[str, Any], kind: Kind, at: int) -> None:
    store = MemoryStore()
    store.write(RecordName("login", house.url), earlier)
    session = house.session(store)
    done: list[str] = []

    def sign_in_and_call() -> None:
        signed_in(session)
        done.append("signed in")
        house.call(session)

    with impatient(kind):
        house.proxy.begin(kind.fault, at)
        error = bounded(sign_in_and_call)
        house.proxy.settle()
    if not house.proxy.played:
        raise NotMade(f"the request was not made: {error!r}")
    house.proxy.begin()
    assert not (problem := unclear(error, house.proxy)), problem
    new_login = bool(done)
    assert new_login or stored(store) == earlier, "the earlier login was touched"
    exchanging = REQUESTS[at - 1] == "POST /token"
    if kind.twice and exchanging:
        # A code that comes twice was stolen: the server has revoked what it gave (RFC 6749 4.1.2).
        assert isinstance(error, LoginRequired if kind.answered else GrantError), repr(error)
    elif REQUESTS[at - 1] == "GET /callback" or (
        kind.answered and not (kind.not_as_mcp and at > len(SIGN_IN))
    ):
        # A page that did not come is loaded once more.
        assert error is None, repr(error)
    if not (new_login and kind.twice and exchanging):
        _assert_works_without_a_new_sign_in(house, store)
    if not new_login:
        again = bounded(sign_in_and_call)
        assert again is None, f"signing in once more: {again!r}"


def _assert_works_without_a_new_sign_in(house: Behind, store: MemoryStore) -> None:
    before = stored(store)
    house.proxy.begin()
    error = bounded(lambda: house.call(house.session(store)))
    assert error is None, f"the next call: {error!r}"
    assert stored(store)["signed_in_at"] == before["signed_in_at"]
    assert house.proxy.passed == FIRST_CALL
