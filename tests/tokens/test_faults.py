"""Every request of a refresh and of a sign-out, with every fault, one at a time.

Each ends with the call answered, or in a clear error after which the next call is. The one
exception is a rotation whose answer is lost: the access token is used while it lives, the refresh
token is presented once more after its end, and where the server takes that for theft, somebody has
to sign in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import mcpnb
from mcpnb.errors import LoginRequired, McpnbError
from mcpnb.stores import MemoryStore, RecordName
from tests import figures
from tests.fakes.faults import FAULTS, Kind
from tests.fakes.faulty import FaultyProxy
from tests.fakes.server import FakeServer
from tests.fakes.unsteady import (
    Behind,
    NotMade,
    Problems,
    bounded,
    demo_behind,
    fake_behind,
    granted,
    impatient,
    signed_in,
    unclear,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Call = Callable[[Behind, mcpnb.Session], None]

TOKEN, MCP = "POST /token", "POST /mcp"
# `server/discover`, and where the server knows no such thing, the handshake of 2025.
FIRST_CALL = {"demo": [MCP] * 3, "fake": [MCP] * 5}
REQUESTS = {
    # One that comes back as expired is refreshed before anything is sent; one that the server
    # rejects after the first answer, and that request is made once more.
    ("expired", "demo"): [TOKEN, *FIRST_CALL["demo"]],
    ("expired", "fake"): [TOKEN, *FIRST_CALL["fake"]],
    ("rejected", "demo"): [MCP, TOKEN, *FIRST_CALL["demo"]],
    ("rejected", "fake"): [MCP, TOKEN, *FIRST_CALL["fake"]],
    ("stale", "demo"): [TOKEN],
    ("stale", "fake"): [TOKEN],
}
_FIRST: dict[str, dict[str, Any]] = {}
"""The login that mcpnb itself made, for each server: the model of all others."""
ASYNC = (
    "1xx in hundreds",
    "answer too late",
    "answered twice",
    "asked twice, first answer",
    "cut after, RST",
    "cut before, FIN",
    "shortened",
)


@pytest.fixture(scope="module", params=["fake", "demo"])
def house(request: pytest.FixtureRequest) -> Iterator[Behind]:
    """Run a server that notices a second use of a refresh token, behind a proxy."""
    with FaultyProxy() as proxy:
        if request.param == "demo":
            with demo_behind(proxy) as behind:
                yield behind
        else:
            with FakeServer() as fake, fake_behind(proxy, fake) as behind:
                yield behind


@pytest.fixture(scope="module")
def fake_house() -> Iterator[Behind]:
    """Run the fake behind a proxy."""
    with FaultyProxy() as proxy, FakeServer() as fake, fake_behind(proxy, fake) as behind:
        yield behind


def name_of(house: Behind) -> str:
    return "fake" if isinstance(house.server, FakeServer) else "demo"


def stored(house: Behind, store: MemoryStore) -> dict[str, Any]:
    record = store.read(RecordName("login", house.url))
    assert record is not None
    return record


def age(house: Behind, store: MemoryStore, left: float) -> None:
    """Leave so many seconds of an hour; what went wrong before is past, too."""
    record, now = stored(house, store), time.time()
    record["tokens"] |= {"obtained_at": now + left - 3600, "expires_at": now + left}
    if record["setback"] is not None:
        record["setback"] |= {"at": now - 60, "until": now - 1}
    store.write(RecordName("login", house.url), record)


def login_of_age(house: Behind, state: str) -> MemoryStore:
    """Give a login that it is time to refresh."""
    store, first = MemoryStore(), _FIRST.get(house.url)
    house.proxy.begin()
    if first is None:
        assert bounded(lambda: signed_in(house.session(store))) is None
        first = _FIRST[house.url] = stored(house, store)
    store.write(RecordName("login", house.url), granted(house, first))
    if state == "rejected":
        house.reject_tokens()
    else:
        age(house, store, -100 if state == "expired" else 20)
    return store


def call(house: Behind, session: mcpnb.Session) -> None:
    house.call(session)


def acall(house: Behind, session: mcpnb.Session) -> None:
    asyncio.run(house.acall(session))


def access_token(_: Behind, session: mcpnb.Session) -> None:
    session.access_token()


@pytest.mark.parametrize("state", ["expired", "rejected", "stale"])
def test_a_refresh_and_a_call_make_just_these_requests(house: Behind, state: str) -> None:
    store = login_of_age(house, state)
    house.proxy.begin()
    use = access_token if state == "stale" else call

    assert bounded(lambda: use(house, house.session(store))) is None
    assert house.proxy.passed == REQUESTS[state, name_of(house)]


# The demo's is the SDK's server: what it does at a refresh is what the fake does, but for minutes.
@pytest.mark.parametrize(
    "house", ["fake", pytest.param("demo", marks=pytest.mark.soak)], indirect=True, scope="module"
)
@pytest.mark.parametrize("state", ["expired", "rejected", "stale"])
@pytest.mark.parametrize("name", FAULTS)
def test_whatever_happens_to_one_request_of_a_refresh_the_login_is_kept(
    house: Behind, name: str, state: str
) -> None:
    _try_all(house, name, state, access_token if state == "stale" else call)


@pytest.mark.parametrize("state", ["expired", "rejected"])
@pytest.mark.parametrize("name", ASYNC)
def test_the_same_holds_for_calls_that_are_awaited(
    fake_house: Behind, name: str, state: str
) -> None:
    _try_all(fake_house, name, state, acall)


def _try_all(house: Behind, name: str, state: str, use: Call) -> None:
    problems = Problems()
    for at, line in enumerate(REQUESTS[state, name_of(house)], 1):
        figures.add("fault positions tried")
        problems.of(f"request {at}, {line}", partial(_try, house, FAULTS[name], state, at, use))
    assert problems.found == {}


def _try(house: Behind, kind: Kind, state: str, at: int, use: Call) -> None:
    store = login_of_age(house, state)
    presented = house.presented
    session = house.session(store)
    with impatient(kind):
        house.proxy.begin(kind.fault, at)
        error = bounded(lambda: use(house, session))
        house.proxy.settle()
    if not house.proxy.played:
        raise NotMade(f"the request was not made: {error!r}")
    house.proxy.begin()
    assert not (problem := unclear(error, house.proxy)), problem
    refreshing = REQUESTS[state, name_of(house)][at - 1] == TOKEN
    if state == "stale" or (
        kind.answered and not kind.twice and (refreshing or not kind.not_as_mcp)
    ):
        assert error is None, repr(error)
    if refreshing and kind.twice:
        _assert_ended_as_theft(house, store, error)
    elif refreshing and kind.reaches and not kind.answered:
        assert house.presented == presented + 1, "it was presented again at once"
        _assert_outcome_unknown(house, store, state, error)
    else:
        if state == "stale":
            _assert_still_used(house, store)
            age(house, store, -100)
        again = bounded(lambda: house.call(session))
        assert again is None, f"the next call: {again!r}"


def _assert_still_used(house: Behind, store: MemoryStore) -> None:
    """Say that the token serves while it lives, for siblings, too, and nothing is refreshed."""
    before = house.presented
    used = stored(house, store)["tokens"]["access_token"]
    for _ in range(2):
        sibling = house.session(store)
        assert sibling.access_token() == used
        error = bounded(lambda each=sibling: house.call(each))  # type: ignore[misc]
        assert error is None, f"while the token lives: {error!r}"
    assert house.presented == before, "it was refreshed again while the token lived"


def _assert_outcome_unknown(
    house: Behind, store: MemoryStore, state: str, error: McpnbError | None
) -> None:
    """The server has rotated, and nobody knows: one more try, then somebody has to sign in."""
    assert stored(house, store)["setback"]["kind"] == "unknown"
    if state == "stale":
        _assert_still_used(house, store)
        age(house, store, -100)
    else:
        assert error is not None
        assert "It is kept" in str(error), str(error)
    before = house.presented
    for _ in range(2):
        last = bounded(lambda: house.call(house.session(store)))
        assert isinstance(last, LoginRequired), repr(last)
        assert not (problem := unclear(last, house.proxy)), problem
        assert house.presented == before + 1, "not tried just once more"
    again = bounded(lambda: signed_in(house.session(store)))
    assert again is None, f"signing in again: {again!r}"
    assert bounded(lambda: house.call(house.session(store))) is None


def _assert_ended_as_theft(house: Behind, store: MemoryStore, error: McpnbError | None) -> None:
    """A refresh token that came twice was stolen, for a server that looks: it ends the login."""
    last = error or bounded(lambda: house.call(house.session(store)))
    assert isinstance(last, LoginRequired), repr(last)
    assert not (problem := unclear(last, house.proxy)), problem


def test_a_sign_out_makes_just_these_requests(house: Behind) -> None:
    session = house.session(login_of_age(house, "stale"))
    house.proxy.begin()

    assert session.logout()
    assert house.proxy.passed == ["POST /revoke", "POST /revoke"]


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_happens_to_a_sign_out_this_machine_has_forgotten_the_login(
    house: Behind, name: str
) -> None:
    """It says honestly whether the server has heard of it, and raises nothing."""
    problems = Problems()
    for at in (1, 2):
        figures.add("fault positions tried")
        problems.of(f"revocation {at}", partial(_try_to_sign_out, house, FAULTS[name], at))
    assert problems.found == {}


def _try_to_sign_out(house: Behind, kind: Kind, at: int) -> None:
    store = login_of_age(house, "stale")
    tokens = stored(house, store)["tokens"]
    session = house.session(store)
    told: list[bool] = []
    with impatient(kind):
        house.proxy.begin(kind.fault, at)
        error = bounded(lambda: told.append(session.logout()))
        house.proxy.settle()
    assert error is None, repr(error)
    if not house.proxy.played:
        raise NotMade(f"the request was not made: {error!r}")
    house.proxy.begin()
    assert not session.signed_in
    assert store.keys("login") == []
    if kind.answered:
        assert told == [True]
    if told == [True] or at == 2:
        assert not _opens(house, tokens), "it says that it was revoked, and it was not"
    assert isinstance(bounded(lambda: house.call(session)), LoginRequired)


def _opens(house: Behind, tokens: dict[str, Any]) -> bool:
    """Whether the server still takes the tokens."""
    if isinstance(house.server, FakeServer):
        return bool(house.server.access[tokens["access_token"]][0].alive)
    found = house.server.refresh_token(tokens["refresh_token"])
    return not (found is None or found.grant.revoked)
