"""Processes that end during a refresh: whatever the server rotated is written."""

from __future__ import annotations

import threading
from itertools import cycle, islice
from pathlib import Path

import pytest

from mcpnb.stores import FileStore
from tests.fakes.people import connect, refresh_tokens, sign_in
from tests.fakes.processes import NEAR_ITS_END, STALE, age, call_after_the_end, call_once, start
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request

pytestmark = pytest.mark.slow

PROCESSES = 6
SLOW = 0.25
"""Seconds between the rotation and its answer: a process is long done with its call by then."""
ENDINGS = {"returns": 0, "exits": 3, "fails": 1}
COMPLAINT = "RuntimeError: nobody catches this\n"


def answer_late(fake: FakeServer, seconds: float = SLOW) -> threading.Event:
    """Let the token endpoint do its work at once, and answer late; give what tells of the work."""
    token, done = fake.routes["/token"], threading.Event()

    def late(request: Request) -> Reply:
        reply = token(request)
        done.set()
        fake.closing.wait(seconds)
        return reply

    fake.routes["/token"] = late
    return done


def stored_refresh_token(store: FileStore) -> str:
    [key] = store.keys("login")
    record = store.read(key)
    assert record is not None
    return str(record["tokens"]["refresh_token"])


@pytest.mark.timeout(150)
@pytest.mark.parametrize("way", ["auth", "async auth", "call"])
def test_a_process_that_ends_during_a_refresh_writes_it_first(
    fake: FakeServer, tmp_path: Path, way: str
) -> None:
    """One after the other: one rotation left unwritten would end the login."""
    store = FileStore(tmp_path)
    session = connect(fake.url, store=store)
    sign_in(session)
    [grant] = fake.refresh.values()
    answer_late(fake)

    for ending in islice(cycle(ENDINGS), PROCESSES):
        age(store, STALE)
        before = grant.refresh_token
        child = start(call_once, fake.url, str(tmp_path), way, ending)
        said, complaint = child.communicate(timeout=30)
        assert (child.returncode, said) == (ENDINGS[ending], "")
        assert complaint.endswith(COMPLAINT if ending == "fails" else ""), complaint
        assert complaint.count("Traceback") == (ending == "fails"), complaint
        assert "ignored" not in complaint
        assert stored_refresh_token(store) == grant.refresh_token != before

    assert grant.alive
    assert len(refresh_tokens(fake)) == len(set(refresh_tokens(fake))) == PROCESSES
    assert session.call("echo", text="and on").text == "and on"


@pytest.mark.parametrize("when", ["thread", "atexit"])
def test_a_token_is_refreshed_also_after_the_main_thread_has_ended(
    fake: FakeServer, tmp_path: Path, when: str
) -> None:
    """A script whose threads go on without it, or that tells a server goodbye."""
    store = FileStore(tmp_path)
    sign_in(connect(fake.url, store=store))
    [grant] = fake.refresh.values()
    age(store, STALE)

    child = start(call_after_the_end, fake.url, str(tmp_path), when)

    assert (*child.communicate(timeout=30), child.returncode) == ("", "", 0)
    assert stored_refresh_token(store) == grant.refresh_token
    assert len(refresh_tokens(fake)) == 1


def test_a_token_near_its_end_is_not_given_while_another_process_refreshs_it(
    fake: FakeServer, tmp_path: Path
) -> None:
    """Servers count in whole seconds: what `headers()` gives in its last one is refused."""
    store = FileStore(tmp_path)
    session = connect(fake.url, store=store)
    sign_in(session)
    age(store, NEAR_ITS_END)
    rotated = answer_late(fake, seconds=1)

    with start(call_once, fake.url, str(tmp_path), "auth", "returns") as child:
        assert rotated.wait(20)
        assert child.poll() is None
        given = session.access_token()
        assert (*child.communicate(timeout=30), child.returncode) == ("", "", 0)

    assert given == session.access_token()
    assert len(refresh_tokens(fake)) == 1
