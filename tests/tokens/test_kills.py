"""`kill -9` at any moment of a refresh: the login stays readable, and nobody else is held up."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import httpx2
import pytest

import mcpnb
from mcpnb.stores import FileStore
from tests import figures
from tests.fakes.people import connect, refresh_tokens, sign_in, until
from tests.fakes.processes import (
    EXPIRED,
    STALE,
    age,
    call_once,
    message,
    refresh_for_ever,
    refresh_once,
    start,
)
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")

UNWRITTEN = "answered, not yet written"
ELSEWHERE = "before the answer, or after it was written"
MOST_STEPS = 150


class Survivor:
    """One login that processes die of, at a server that ends it when a refresh token comes twice.

    What is promised: its record can be read and its lock is free at once. Where the server's answer
    was never written, the access token serves to its end, and only then somebody has to sign in;
    after any other kill nobody notices.
    """

    def __init__(self, fake: FakeServer, folder: Path) -> None:
        self.fake = fake
        self.folder = folder
        self.killed: Counter[str] = Counter()
        self._earlier = set(threading.enumerate())  # servers of earlier tests may still end
        assert fake.rotation == "strict"
        sign_in(connect(fake.url, store=FileStore(folder)))

    def examine(self) -> None:
        """Go on as the next process does, and count when the last one was killed."""
        self._settle()
        store = FileStore(self.folder)  # a new one: it remembers nothing
        [key] = store.keys("login")
        with store.lock(key, 0):
            record = store.read(key)
        assert record is not None
        kept = record["tokens"]["refresh_token"]
        spent = self.fake.rotated.get(kept)
        grant = spent or self.fake.refresh[kept]
        if record["tokens"]["expires_at"] > time.time() + STALE / 2:
            next_one = start(call_once, self.fake.url, str(self.folder), "auth", "returns")
            assert (*next_one.communicate(timeout=30), next_one.returncode) == ("", "", 0)
            assert grant.alive, "nobody presented the refresh token again"
            age(store, EXPIRED)
        session = connect(self.fake.url, store=store)
        if spent is None:
            self._call(session)
            assert _stored(store) == grant.refresh_token
            assert refresh_tokens(self.fake).count(kept) <= 1
        else:
            with pytest.raises(mcpnb.LoginRequired):
                session.headers()
            assert refresh_tokens(self.fake).count(kept) == 2, "one more try, at the very end"
            sign_in(session)
        self.killed[ELSEWHERE if spent is None else UNWRITTEN] += 1
        figures.add("kills survived")

    def figures(self) -> str:
        """Write in one line how many died when, and what they left lying about."""
        left = sum(1 for path in self.folder.iterdir() if path.name.startswith(".new-"))
        said = ", ".join(f"{number} {when}" for when, number in sorted(self.killed.items()))
        return f"{self.killed.total()} killed: {said}; {left} temporary files left"

    def _settle(self) -> None:
        # Connections are taken in their order: once this one is answered, a request that the dead
        # sent has a thread, or has been dealt with.
        httpx2.get(f"{self.fake.base}/nothing", trust_env=False)
        until(
            lambda: (
                not any(
                    "process_request" in thread.name
                    for thread in set(threading.enumerate()) - self._earlier
                )
            )
        )

    def _call(self, session: mcpnb.Session) -> None:
        with httpx2.Client(auth=session.auth, trust_env=False) as client:
            answer = client.post(self.fake.url, json=message("echo", text="still here"))
        assert answer.status_code == 200, answer.text


def _stored(store: FileStore) -> str:
    [key] = store.keys("login")
    record = store.read(key)
    assert record is not None
    return str(record["tokens"]["refresh_token"])


def hesitate(fake: FakeServer, chance: random.Random) -> None:
    """Let the token endpoint take its time, before it has done something and after."""
    token = fake.routes["/token"]

    def slowly(request: Request) -> Reply:
        fake.closing.wait(chance.uniform(0, 0.005))
        reply = token(request)
        fake.closing.wait(chance.uniform(0, 0.005))
        return reply

    fake.routes["/token"] = slowly


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(25, marks=[pytest.mark.slow, pytest.mark.timeout(120)]),
        pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(600)]),
    ],
)
def test_a_login_survives_kill_9_at_any_moment(
    fake: FakeServer, tmp_path: Path, kills: int
) -> None:
    """The processes do nothing but refresh it, so that nearly every kill interrupts something."""
    chance = random.Random(kills)  # noqa: S311  any moment will do
    login = Survivor(fake, tmp_path)
    hesitate(fake, chance)

    for number in range(kills):
        with start(refresh_for_ever, fake.url, str(tmp_path), number) as child:
            try:
                assert child.stdout is not None
                begun = child.stdout.readline()
                threading.Event().wait(chance.uniform(0, 0.06))
            finally:
                child.kill()
            _, complaint = child.communicate(timeout=10)
        assert (begun, complaint, child.returncode) == ("refreshing\n", "", -signal.SIGKILL)
        login.examine()

    print(login.figures())  # noqa: T201


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("left", [STALE, EXPIRED], ids=["stale", "expired"])
def test_a_login_survives_kill_9_before_each_step_of_a_refresh(
    fake: FakeServer, tmp_path: Path, left: float
) -> None:
    """A step is whatever the process does to a file, a lock or a socket."""
    login, store = Survivor(fake, tmp_path), FileStore(tmp_path)

    for fatal in range(1, MOST_STEPS):
        age(store, left)
        child = start(refresh_once, fake.url, str(tmp_path), fatal)
        said, complaint = child.communicate(timeout=30)
        assert complaint == ""
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
        login.examine()
    steps = json.loads(said)

    assert fatal > len(steps), "every step had its kill"
    # The note that a refresh was sent, then its answer: each written aside, flushed, put in place.
    sent, answered = steps.index("connect"), steps.index("recv")
    assert {"fsync", "replace"} <= set(steps[:sent]) & set(steps[answered:])
    assert login.killed[UNWRITTEN] >= 4, "to read the answer, to write it, to flush it, to place it"
    assert login.killed[ELSEWHERE] > login.killed[UNWRITTEN] / 2
    print(f"{login.figures()}; the steps: {' '.join(steps)}")  # noqa: T201
