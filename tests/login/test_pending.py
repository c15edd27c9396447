"""One pending sign-in per server and account: begun in one process, seen and ended in others."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

import mcpnb
from mcpnb import errors
from mcpnb.login import SignInRequest
from mcpnb.login.pending import PendingLogins
from mcpnb.stores import FileStore, MemoryStore, RecordName
from mcpnb.tokens.record import login_key
from tests.fakes.front_end import open_panel
from tests.fakes.kernels import Kernel
from tests.fakes.people import (
    HeldRoute,
    answer_of,
    browse,
    connect,
    free_port,
    query_of,
    sign_in,
    until,
    waiting,
)
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request

WAITER = """
import sys, mcpnb
from mcpnb.stores import FileStore
session = mcpnb.connect(sys.argv[1], store=FileStore(sys.argv[2]), callback_port=0)
login = session.login()
login.until("waiting", 20)
print(login.url, flush=True)
login.wait()
print("signed in", flush=True)
"""


def start_waiter(fake: FakeServer, folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start to sign in in another process; return it and the address it shows."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITER, fake.url, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=20)
    return process.returncode, out + err


@pytest.fixture
def left(kernel: Kernel) -> str:
    """Begin a sign-in and leave it; return its address."""
    begun, url = waiting(kernel())
    begun.leave()
    return url


@pytest.mark.slow
def test_a_slow_refresh_is_no_reason_not_to_sign_in(
    fake: FakeServer, kernel: Kernel, folder: Path
) -> None:
    sign_in(kernel())
    with FileStore(folder).lock(RecordName("login", fake.url), 5):
        login, _ = waiting(kernel())
        login.cancel()


@pytest.mark.slow
def test_waiting_is_not_ended_by_a_sign_in_cancelled_before(kernel: Kernel) -> None:
    session = kernel()
    login, _ = waiting(session)
    login.cancel()

    with pytest.raises(errors.LoginTimeout):
        session.wait(timeout=0.6)


class TestLeft:
    """Left pending by a process that is no more, or that does not wait."""

    @pytest.mark.slow
    @pytest.mark.parametrize("way", ["paste", "listener"])
    def test_the_response_completes_the_sign_in_of_a_killed_kernel(
        self, fake: FakeServer, kernel: Kernel, folder: Path, way: str
    ) -> None:
        """The tab that is open still counts: same address, port, state and verifier."""
        killed, url = start_waiter(fake, folder)
        killed.send_signal(signal.SIGKILL)
        ended(killed)
        session = kernel()
        login, again = waiting(session)
        assert again == url
        assert any("Continuing the sign-in" in note for note in login.notes)
        if way == "listener":
            assert "Signed in" in browse(url).text
        else:
            login.submit(answer_of(url))
        login.wait(10)

        assert session.call("echo", text="back").text == "back"
        assert len(fake.asked("/register")) == 1

    def test_cancelling_it_begins_another_the_next_time(self, kernel: Kernel, left: str) -> None:
        session = kernel()
        login, url = waiting(session)
        assert url == left
        login.cancel()

        fresh, other = waiting(session)
        assert other != left
        fresh.cancel()

    @pytest.mark.parametrize(
        ("wanted", "parameter"),
        [({"scopes": ("write",)}, "scope"), ({"choose_account": True}, "prompt")],
    )
    def test_one_that_asks_for_something_else_does_not_go_on_with_it(
        self, kernel: Kernel, left: str, wanted: dict[str, Any], parameter: str
    ) -> None:
        login, url = waiting(kernel(), **wanted)

        assert url != left
        expected = {"scope": ["write"], "prompt": ["select_account"]}
        assert query_of(url)[parameter] == expected[parameter]
        login.cancel()

    @pytest.mark.parametrize("damage", ["claimed", "not readable"])
    def test_one_that_cannot_be_used_is_begun_again(
        self, fake: FakeServer, kernel: Kernel, folder: Path, left: str, damage: str
    ) -> None:
        """The code of an exchange that died half-way may be spent."""
        store = FileStore(folder)
        (key,) = store.keys("pending")
        record = store.read(key)
        assert record is not None
        wrong = {"format": 1, "request": {"server": 7}}
        store.write(key, record | {"claimed_at": 1.0} if damage == "claimed" else wrong)

        assert sign_in(kernel()) != left
        assert RecordName("login", fake.url) in store.keys("login")

    @pytest.mark.threat("pending-sign-in-poisoned")
    @pytest.mark.threat("answer-to-other-credentials")
    def test_one_of_other_credentials_is_not_completed(
        self, fake: FakeServer, kernel: Kernel, left: str
    ) -> None:
        other = kernel(client_id="mine", issuer="https://login.example.com")

        with pytest.raises(errors.LoginError, match="other settings"):
            other.finish(answer_of(left))

        assert fake.token_requests("authorization_code") == []
        assert not other.signed_in

    @pytest.mark.threat("listening-everywhere")
    def test_nobody_listens_everywhere_for_what_was_not_configured(self, kernel: Kernel) -> None:
        """Left pending by who had configured it; without that it can only be pasted."""
        port = free_port()
        begun, url = waiting(
            kernel(callback_url="https://hub.example.com/callback", callback_port=port)
        )
        begun.leave()

        login, same = waiting(kernel(callback_port=None))
        assert same == url
        assert any("not configured here" in note for note in login.notes)
        assert not any("all interfaces" in note for note in login.notes)
        login.submit(answer_of(url))
        assert login.wait(10).signed_in

    @pytest.mark.threat("pending-sign-in-prolonged")
    def test_a_panel_that_is_shown_prolongs_no_pending_sign_in(self, fake: FakeServer) -> None:
        """Its address was printed, perhaps into a file that others read."""
        store = MemoryStore()
        begun = mcpnb.connect(fake.url, store=store, callback_port=0).sign_in(
            SignInRequest(timeout=20, anew=True)
        )
        begun.wait_for("waiting", timeout=10)
        ends = begun.expires_at
        begun.leave()

        session = mcpnb.connect(fake.url, store=store)
        panel = open_panel(session)
        panel.hello()
        shown = panel.phase("waiting")["wait"]

        assert shown["expires_at"] == ends
        pending = PendingLogins(store, login_key(session.server, None)).current()
        assert pending is not None
        assert pending.expires_at == ends
        resumed = session.latest_login
        assert resumed is not None
        assert resumed._flow._deadline <= time.monotonic() + 20  # noqa: SLF001  when it gives up
        resumed.cancel()


class TestFollowing:
    @pytest.mark.slow
    @pytest.mark.parametrize("way", ["listener of the first", "paste in the second"])
    def test_a_second_notebook_shows_the_same_address_and_is_signed_in_with_the_first(
        self, fake: FakeServer, kernel: Kernel, folder: Path, way: str
    ) -> None:
        first, url = start_waiter(fake, folder)
        second, same = waiting(kernel())
        assert same == url
        assert any("Another notebook" in note for note in second.notes)

        if way == "listener of the first":
            browse(url)
        else:
            second.submit(answer_of(url))

        assert second.wait(10).signed_in
        assert ended(first) == (0, "signed in\n")
        assert len(fake.asked("/register")) == 1
        assert len(fake.token_requests("authorization_code")) == 1

    @pytest.mark.slow
    def test_the_follower_goes_on_where_the_first_is_killed(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        first, url = start_waiter(fake, folder)
        second, _ = waiting(kernel())

        first.send_signal(signal.SIGKILL)
        ended(first)

        def came_back() -> bool:
            with contextlib.suppress(httpx2.TransportError):
                return "Signed in" in browse(url).text
            return False

        until(came_back)
        assert second.wait(10).signed_in

    def test_cancelling_the_second_leaves_the_first(self, kernel: Kernel) -> None:
        first, url = waiting(kernel())
        second, _ = waiting(kernel())

        second.cancel()
        assert second.state == "cancelled"
        first.submit(answer_of(url))
        assert first.wait(10).signed_in

    @pytest.mark.slow
    def test_the_second_is_told_when_the_first_ends_without_a_login(self, kernel: Kernel) -> None:
        first, _ = waiting(kernel())
        second, _ = waiting(kernel())

        first.cancel()

        with pytest.raises(errors.LoginError, match="ended without a login"):
            second.wait(10)

    @pytest.mark.slow
    @pytest.mark.parametrize("wanted", [{"scopes": ("read", "write")}, {"choose_account": True}])
    def test_one_that_needs_more_takes_over(self, kernel: Kernel, wanted: dict[str, Any]) -> None:
        """More scopes, or a page that asks the person who they are."""
        first, plain = waiting(kernel(), scopes=("read",))
        second, url = waiting(kernel(), **{"scopes": ("read",)} | wanted)

        assert url != plain
        assert query_of(url).get("prompt") == (
            ["select_account"] if "choose_account" in wanted else None
        )
        assert not second.now.is_follower
        with pytest.raises(errors.LoginCancelled, match="replaced"):
            first.wait(10)
        second.submit(answer_of(url))
        assert second.wait(10).scopes == wanted.get("scopes", ("read",))

    @pytest.mark.slow
    @pytest.mark.parametrize("choose_account", [True, False])
    def test_one_that_asks_for_the_same_follows(
        self, kernel: Kernel, *, choose_account: bool
    ) -> None:
        """With a reverse proxy's address and a port, too: the port is not in the address."""
        own: dict[str, Any] = {
            "callback_url": "https://hub.example.com/proxy/callback",
            "callback_port": free_port(),
        }
        first, url = waiting(kernel(**own), choose_account=choose_account)
        second, same = waiting(kernel(**own), choose_account=choose_account)
        assert same == url
        assert second.now.is_follower

        second.submit(answer_of(url))
        assert first.wait(10).signed_in

    @pytest.mark.slow
    def test_the_next_one_finds_the_port_free(self, kernel: Kernel) -> None:
        """The port is given back before the turn."""
        port = free_port()
        first, _ = waiting(kernel(callback_port=port), scopes=("read",))
        second, _ = waiting(kernel(callback_port=port), scopes=("read", "write"))

        assert f":{port}/" in str(second.redirect_uri)
        assert not any("in use" in note for note in second.notes)
        second.cancel()
        assert first.state == "cancelled"

    @pytest.mark.slow
    def test_signing_out_elsewhere_ends_the_wait(self, kernel: Kernel) -> None:
        login, url = waiting(kernel())

        kernel().logout()

        with pytest.raises(errors.LoginCancelled):
            login.wait(10)
        with pytest.raises(errors.AnswerRefused):
            login.submit(answer_of(url))


class TestWhileTheCodeIsExchanged:
    @pytest.mark.slow
    def test_another_sign_in_waits_and_is_signed_in_with_it(
        self, fake: FakeServer, kernel: Kernel, left: str
    ) -> None:
        """`mcpnb login --finish` beside a notebook that runs `await connect(...)`."""
        token = HeldRoute(fake, "/token")
        with ThreadPoolExecutor(1) as pool:
            finishing = pool.submit(kernel().finish, answer_of(left))
            token.reached()
            other = kernel().login()
            until(lambda: other.state == "waiting" or other.now.is_follower)
            token.let_go()
            assert finishing.result(20).signed_in

        assert other.wait(10).signed_in
        assert fake.asked("/revoke") == []

    @pytest.mark.slow
    def test_the_leaders_time_out_does_not_end_it(self, fake: FakeServer, kernel: Kernel) -> None:
        leader, url = waiting(kernel(), timeout=2)
        follower, _ = waiting(kernel())
        token = HeldRoute(fake, "/token")
        with ThreadPoolExecutor(1) as pool:
            submitting = pool.submit(follower.submit, answer_of(url))
            token.reached()
            late = time.monotonic() + 3
            until(lambda: time.monotonic() > late)
            token.let_go()
            submitting.result(20)

        assert leader.wait(10).signed_in
        assert fake.asked("/revoke") == []

    @pytest.mark.slow
    @pytest.mark.parametrize("end", ["a sign-out", "a cancel"])
    def test_what_ends_it_wins_though_the_record_is_locked(
        self,
        fake: FakeServer,
        kernel: Kernel,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        end: str,
    ) -> None:
        """Looked for under the lock, and not before: else the login comes back."""
        monkeypatch.setattr("mcpnb.tokens.source._SIGN_OUT_PATIENCE", 0.1)
        login, url = waiting(kernel())
        answer, store = answer_of(url), FileStore(folder)
        with ThreadPoolExecutor(1) as pool:
            with store.lock(RecordName("login", fake.url), 5):
                submitting = pool.submit(login.submit, answer)
                until(lambda: len(fake.token_requests("authorization_code")) == 1)
                if end == "a cancel":
                    login.cancel()  # while the lock is held: waiting for it would never end
                    assert login.state == "cancelled"
                else:
                    kernel().logout()
            with pytest.raises(errors.LoginCancelled):
                submitting.result(20)

        assert not kernel().signed_in
        assert all(not grant.alive for grant, _ in fake.access.values())

    @pytest.mark.threat("login-after-a-sign-out")
    def test_signing_out_while_the_code_is_exchanged_leaves_nothing(
        self, fake: FakeServer, kernel: Kernel
    ) -> None:
        """What the exchange brings is revoked."""
        login, url = waiting(kernel())
        answer = answer_of(url)
        other = kernel()

        honest = fake.routes["/token"]

        def meanwhile(request: Request) -> Reply:
            other.logout()
            return honest(request)

        fake.routes["/token"] = meanwhile
        with pytest.raises(errors.LoginCancelled):
            login.submit(answer)

        assert not other.signed_in
        assert all(not grant.alive for grant, _ in fake.access.values())


class Overtaken(FileStore):
    """Where another process does something just before a pending sign-in is read, once."""

    def __init__(self, folder: Path, other: Callable[[], object]) -> None:
        super().__init__(folder)
        self.other: Callable[[], object] | None = other
        self.when: Callable[[], bool] = lambda: True

    def read(self, key: RecordName) -> dict[str, Any] | None:
        if key.kind == "pending" and self.other is not None and self.when():
            other, self.other = self.other, None
            other()
        return super().read(key)


class Slow(FileStore):
    """Where what was pending is forgotten late."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.forgets, self.go_on = threading.Event(), threading.Event()

    def delete(self, key: RecordName, *, leave_tombstone: bool = False) -> None:
        if key.kind == "pending":
            self.forgets.set()
            assert self.go_on.wait(20)
        super().delete(key, leave_tombstone=leave_tombstone)


class TestCompletedElsewhere:
    """By another process, between two looks of this one.

    Whoever completes it stores the login, and then forgets what was pending.
    """

    def test_the_one_that_waits_is_signed_in(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        store = Overtaken(folder, lambda: kernel().finish(answer_of(str(login.url))))
        session = connect(fake.url, store=store)
        store.when = lambda: "waiting" in repr(session.latest_login)
        login = session.login()

        assert login.wait(10).signed_in
        assert store.other is None

    def test_the_one_that_comes_to_it_begins_no_other(
        self, fake: FakeServer, kernel: Kernel, folder: Path, left: str
    ) -> None:
        store = Overtaken(folder, lambda: kernel().finish(answer_of(left)))

        login = connect(fake.url, store=store).login()
        assert login.wait(10).signed_in
        assert store.other is None
        assert login.url is None, "nobody is asked"

    def test_one_that_begins_before_it_is_forgotten_is_signed_in(
        self, fake: FakeServer, kernel: Kernel, folder: Path, left: str
    ) -> None:
        """It finds the login there already, and what led to it, too."""
        store = Slow(folder)
        with ThreadPoolExecutor(1) as pool:
            finishing = pool.submit(connect(fake.url, store=store).finish, answer_of(left))
            assert store.forgets.wait(10)
            login = kernel().login()
            until(lambda: login.now.is_follower)
            store.go_on.set()
            assert finishing.result(20).signed_in

        assert login.wait(10).signed_in
        assert len(fake.asked("/authorize")) == 1
