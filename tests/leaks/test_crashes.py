"""Every function of ours fails once, when its variables are full: nothing of them shows.

What is searched: the error that the person gets, with the variables of all frames behind it, as
IPython's ``%xmode Verbose``, rich and pytest print them; logs; and what falls out of threads.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import mcpnb
from mcpnb.oauth import client
from mcpnb.oauth.credentials import LoginRecord
from mcpnb.oauth.http import Http
from mcpnb.stores import FileStore, MemoryStore
from tests.fakes.people import answer_of, connect, sign_in
from tests.fakes.secrets import Secrets
from tests.fakes.server import FakeServer
from tests.leaks.crashing import Crash, crashes_at, functions_of
from tests.leaks.tracebacks import Overheard, told_quickly

pytestmark = [
    pytest.mark.slow,
    # What a crash leaves open in the middle of something, the garbage collector closes and tells.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def own_garbage() -> Iterator[None]:
    """What a test left open is told while it runs: the next one would fail for it."""
    yield
    gc.collect()


class Place:
    """Makes sessions that stand right before what is tried."""

    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake
        fake.announce(token_endpoint_auth_methods_supported=["client_secret_post"])
        fake.register_adds = {
            "client_secret": "pLanted-client-secret",
            "token_endpoint_auth_method": "client_secret_post",
            "registration_access_token": "pLanted-registration-access-token",
        }
        self._at_first = connect(fake.url)
        sign_in(self._at_first)
        (key,) = self._at_first.store.keys("login")
        self.key, self.record = key, self._at_first.store.read(key) or {}

    def signed_in(self, *, expired: bool = False) -> mcpnb.Session:
        """Give a session with a login of its own, as after a restart of the kernel."""
        now, tokens = time.time(), dict(self.record["tokens"])
        granted = next(iter(self.fake.access.values()))[0]
        granted.alive = True
        self.fake.refresh[tokens["refresh_token"]] = granted
        self.fake.rotated.pop(tokens["refresh_token"], None)
        if expired:
            tokens |= {"obtained_at": now - 3700, "expires_at": now - 100}
        store = MemoryStore()
        store.write(self.key, {**self.record, "tokens": tokens})
        return connect(self.fake.url, store=store)

    def waiting(self) -> tuple[mcpnb.Login[mcpnb.Session], str]:
        """Give a sign-in that waits for its answer, and the answer."""
        login = connect(self.fake.url).login()
        login.wait_for("waiting", 10)
        return login, answer_of(str(login.url))


def tried(
    fake: FakeServer,
    prepared: Callable[[], Callable[[], object]],
    *rooms: str,
    kind: type[BaseException] = Crash,
) -> int:
    """Crash everywhere in something; say in how many functions that was."""
    secrets, count = Secrets(fake), 0
    for code in functions_of(prepared(), *rooms):
        act = prepared()
        with Overheard() as overheard:
            happened, error = crashes_at(code, act, kind)
        count += happened
        shown = "" if error is None else told_quickly(error)
        del error
        try:
            secrets.absent_from({"the error": shown, **overheard.places()})
        except AssertionError as leak:
            raise AssertionError(f"in {code.co_filename}, {code.co_qualname}: {leak}") from None
    assert {"access token", "refresh token", "client secret"} <= secrets.kinds()
    return count


@pytest.fixture
def place(fake: FakeServer) -> Place:
    return Place(fake)


def test_a_refresh(place: Place) -> None:
    assert tried(place.fake, lambda: place.signed_in(expired=True).headers) > 50


@pytest.mark.parametrize("kind", [Crash, KeyboardInterrupt])
def test_a_sign_out(place: Place, kind: type[BaseException]) -> None:
    """It is the person's own thread that asks the server: Ctrl-C comes in the middle of it."""
    assert tried(place.fake, lambda: place.signed_in().logout, kind=kind) > 30


def test_an_answer_that_is_pasted(place: Place) -> None:
    """Text, code and tokens are in the variables of the person's own thread."""

    def prepared() -> Callable[[], object]:
        login, answer = place.waiting()
        given = [answer]

        def act() -> None:
            try:
                login.submit(given.pop())
            finally:
                login.cancel()

        return act

    rooms = ("login/answers", "login/request", "login/pending", "oauth", "tokens")
    assert tried(place.fake, prepared, *rooms) > 30


def test_a_call(place: Place) -> None:
    session = place.signed_in()
    assert tried(place.fake, lambda: lambda: session.call("echo", text="hi")) > 30


def test_requests_that_nobody_waits_for(place: Place) -> None:
    """What threads of ours ask for is as discreet: who catches it may log it."""
    record = LoginRecord.from_dict(place.record)

    def act() -> None:
        with closing(Http(place.fake.url)) as http:
            client.revoke(record, http)

    assert tried(place.fake, lambda: act, "oauth", kind=KeyboardInterrupt) > 10


def test_a_store_on_disk(place: Place, folder: Path) -> None:
    """Its records are plain text before they are sealed, and after they are opened."""
    sign_in(connect(place.fake.url, store=FileStore(folder)))

    def prepared() -> Callable[[], object]:
        session = connect(place.fake.url, store=FileStore(folder))
        return lambda: session.signed_in

    assert tried(place.fake, prepared, "storage", "tokens") > 10
