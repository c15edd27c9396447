"""What goes wrong for real, told by tools that print variables: IPython, rich, pytest, cgitb."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.stores import MemoryStore, RecordName
from tests.fakes.helper import Helper
from tests.fakes.kernels import Kernel, change, disk_fills_up_at_refresh, make_expired
from tests.fakes.people import HeldRoute, answer_of, connect, sign_in, waiting
from tests.fakes.secrets import Secrets
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request
from tests.leaks.planted import (
    into_the_environment,
    into_the_project,
    into_user_configuration,
    parrot,
)
from tests.leaks.tracebacks import Overheard, told

PLANTED = "pLanted-k3y-0f-the-address"


def searched(
    secrets: Secrets, act: Callable[[], object], *kinds: type[BaseException], url: str = "-"
) -> None:
    """Have something fail, and look through all that can be told of it.

    Args:
        secrets: What is looked for.
        act: What fails.
        kinds: How.
        url: What a person has to open, and a waiting sign-in says therefore.
    """
    with Overheard() as overheard, pytest.raises(kinds or errors.McpnbError) as caught:
        act()
    error = caught.value
    places = told(error)
    assert "traceback" in places
    secrets.absent_from({**places, **overheard.places()}, without=[url])


FAULTS: dict[str, Reply | Callable[[Request], Reply]] = {
    "refused": Reply(400, {"error": "invalid_grant"}),
    "broken": Reply(500, "an internal error"),
    "no JSON": Reply(200, "<html>hello"),
    "no token": Reply(200, {"token_type": "Bearer"}),
    "cut": Reply(drop=True),
    "parrot": parrot,
}


def have(fake: FakeServer, path: str, fault: str) -> None:
    reply = FAULTS[fault]
    fake.routes[path] = reply if callable(reply) else lambda _: reply


@pytest.fixture
def session(kernel: Kernel) -> mcpnb.Session:
    """Sign in on disk; give a session that has read nothing yet."""
    sign_in(kernel())
    return kernel()


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_refresh_that_fails(
    fake: FakeServer, folder: Path, session: mcpnb.Session, fault: str
) -> None:
    make_expired(folder)
    have(fake, "/token", fault)
    for act in (session.headers, session.access_token, lambda: session.call("echo", text="hi")):
        searched(Secrets(fake), act)


class Vault(MemoryStore):
    """A store of the person's own, which fails with a login in its hands."""

    def delete(self, key: RecordName, *, leave_tombstone: bool = False) -> None:
        record = self.read(key)
        if key.kind == "login":
            raise ZeroDivisionError(f"{len(record or ())} members, {leave_tombstone}")
        super().delete(key)


def test_a_store_of_the_persons_own_that_fails(fake: FakeServer) -> None:
    """It is no part of mcpnb, and is handed tokens all the same."""
    session = connect(fake.url, store=Vault())
    sign_in(session)
    searched(Secrets(fake), session.logout, ZeroDivisionError)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_an_exchange_that_fails(fake: FakeServer, fault: str) -> None:
    """Told to who pastes, and to who waits."""
    have(fake, "/token", fault)
    login, url = waiting(connect(fake.url))
    given = [answer_of(url)]
    secrets = Secrets(fake)
    searched(secrets, lambda: login.submit(given.pop()))
    searched(secrets, lambda: login.wait(10))
    searched(secrets, lambda: login.wait_for("signed_in", 10))
    assert {"code", "verifier", "state"} <= secrets.kinds()


@pytest.mark.slow
@pytest.mark.parametrize("text", ["{code}", "{url}&code=x", "https://x.example/?code={code}"])
def test_a_paste_that_is_refused(fake: FakeServer, text: str) -> None:
    login, url = waiting(connect(fake.url))
    answer = answer_of(url)
    code = answer.partition("code=")[2].partition("&")[0]
    given = [text.format(code=code, url=answer)]
    try:
        searched(Secrets(fake), lambda: login.submit(given.pop()), errors.AnswerRefused, url=url)
    finally:
        login.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [{"version": 99}, {"tokens": {}}, {"registration": "x"}])
def test_a_stored_login_that_cannot_be_read(
    fake: FakeServer, folder: Path, session: mcpnb.Session, wrong: dict[str, Any]
) -> None:
    """It was opened, so all of it is there as plain text."""
    change(folder, **wrong)
    for act in (session.headers, session.tools, lambda: session.signed_in):
        searched(Secrets(fake), act)


@pytest.mark.slow
def test_a_disk_that_fills_up(
    fake: FakeServer, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new login is plain text before it is sealed."""
    login, url = waiting(kernel())
    given = [answer_of(url)]
    disk_fills_up_at_refresh(fake, monkeypatch)
    searched(Secrets(fake), lambda: login.submit(given.pop()))
    searched(Secrets(fake), lambda: login.wait(10))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["down", "denied", "broken", "in the middle"])
def test_a_call_that_fails(fake: FakeServer, session: mcpnb.Session, fault: str) -> None:
    session.call("echo", text="hi")
    reply = {
        "down": Reply(drop=True),
        "denied": Reply(403, headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'}),
        "broken": Reply(500, "broken"),
        "in the middle": Reply(200, "{", {"Content-Type": "application/json"}),
    }[fault]
    fake.always("/mcp", reply)
    secrets = Secrets(fake)

    async def acalled() -> object:
        return await session.acall("echo", text="hi")

    for _ in range(2):
        searched(secrets, lambda: session.call("echo", text="hi"))
        searched(secrets, lambda: asyncio.run(acalled()))
        searched(secrets, partial(_in_a_client, session))


def _in_a_client(session: mcpnb.Session, fails: Exception | None = None) -> None:
    async def listed() -> None:
        async with session.client() as client:
            await client.list_tools()
            if fails is not None:
                raise fails

    asyncio.run(listed())


@pytest.mark.slow
def test_an_error_of_the_persons_own_in_a_connection(
    fake: FakeServer, session: mcpnb.Session
) -> None:
    """It goes out by frames of ours and of the SDK's."""
    fails = partial(_in_a_client, session, ZeroDivisionError())
    searched(Secrets(fake), fails, ZeroDivisionError)


@pytest.mark.slow
def test_what_configuration_has_planted(
    fake: FakeServer, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers, a helper's, a bearer token, a store's key and a part of an address."""
    values = {
        "BEARER": "pLanted-bearer\ttoken",
        "HEADER": "pLanted-header\tvalue",
        "MCPNB_STORE_KEY": "pLanted-store-key-of-a-wrong-length",
        "URL_KEY": PLANTED,
    }
    into_the_environment(monkeypatch, values)
    helper = Helper(tmp_path)
    helper.says(**{"X-Key": "pLanted-header\tof-the-helper"})
    into_user_configuration(
        world,
        fake,
        static={"bearer_token_env_var": "BEARER"},
        headers={"env_http_headers": {"X-Env": "HEADER"}},
        helped={"http_headers_helper": helper.command},
        stored={},
    )
    into_the_project(world, "keyed", f"{fake.base}/${{URL_KEY}}/mcp")
    secrets = Secrets(fake, **values, helper="pLanted-header\tof-the-helper")
    for name in ("static", "headers", "helped", "keyed"):
        with _closing(name) as session:
            searched(secrets, session.tools)
            searched(secrets, partial(_in_a_client, session))
            if name == "static":
                searched(secrets, session.headers)
    searched(secrets, lambda: mcpnb.discover("keyed"))
    stored = mcpnb.connect("stored", store="file")
    searched(secrets, lambda: sign_in(stored))


@contextmanager
def _closing(name: str) -> Iterator[mcpnb.Session]:
    """A session with a store in memory, whose connection is closed at the end."""
    session = connect(name, store=MemoryStore())
    yield session
    session._shared.disconnect()  # noqa: SLF001


@pytest.mark.slow
def test_ctrl_c_while_a_sign_out_waits_for_the_server(
    fake: FakeServer, session: mcpnb.Session
) -> None:
    """It comes in the middle of the HTTP library, which has the token in its variables."""
    hanging, main = HeldRoute(fake, "/revoke"), threading.main_thread().ident or 0

    def press() -> None:
        hanging.reached()
        signal.pthread_kill(main, signal.SIGINT)

    person = threading.Thread(target=press)
    person.start()
    try:
        searched(Secrets(fake), session.logout, KeyboardInterrupt)
    finally:
        hanging.let_go()
        person.join()
