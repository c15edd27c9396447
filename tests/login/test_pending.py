"""One pending sign-in per server and account: begun in one process, seen and ended in others."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from mcpnb import errors
from mcpnb.stores import FileStore, RecordName
from tests.fakes.kernels import Kernel
from tests.fakes.people import answer_of, query_of, sign_in, until, waiting
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request

WAITER = """
import sys, mcpnb
from mcpnb.stores import FileStore
session = mcpnb.connect(sys.argv[1], store=FileStore(sys.argv[2]), callback_port=int(sys.argv[3]))
login = session.login()
login.until("waiting", 20)
print(login.url, flush=True)
login.wait()
print("signed in", flush=True)
"""


def start_waiter(
    fake: FakeServer, folder: Path, port: int = 0
) -> tuple[subprocess.Popen[str], str]:
    """Start to sign in in another process; give it and the address it shows."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITER, fake.url, str(folder), str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=20)
    return process.returncode, out + err


def killed_waiter(fake: FakeServer, folder: Path) -> str:
    """Give the address that a process showed which was killed while it waited."""
    process, url = start_waiter(fake, folder)
    process.send_signal(signal.SIGKILL)
    ended(process)
    return url


def pending_files(folder: Path) -> list[Path]:
    return list(folder.glob("pending-*.mcpnb"))


class TestAfterARestart:
    @pytest.mark.slow
    def test_a_paste_completes_the_sign_in_of_a_killed_kernel(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        """The tab that is open still counts: same address, same state, same verifier."""
        url = killed_waiter(fake, folder)

        session = kernel()
        login, again = waiting(session)

        assert again == url
        assert any("Continuing the sign-in" in note for note in login.notes)
        login.submit(answer_of(url))
        assert login.wait(10).call("echo", text="back").text == "back"
        assert len(fake.asked("/register")) == 1

    @pytest.mark.slow
    def test_the_browser_comes_back_to_the_same_port(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        url = killed_waiter(fake, folder)
        login, _ = waiting(kernel())

        with httpx2.Client(trust_env=False, follow_redirects=True, timeout=10) as browser:
            page = browser.get(url)

        assert "Signed in" in page.text
        login.wait(10)

    @pytest.mark.slow
    def test_finish_needs_no_login_object(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        url = killed_waiter(fake, folder)

        session = kernel().finish(answer_of(url))

        assert session.signed_in

    @pytest.mark.slow
    def test_cancelling_it_begins_anew_the_next_time(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        url = killed_waiter(fake, folder)
        session = kernel()
        login, _ = waiting(session)
        login.cancel()

        fresh, other = waiting(session)

        assert other != url
        fresh.cancel()

    @pytest.mark.slow
    def test_other_scopes_are_no_reason_to_go_on_with_it(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        url = killed_waiter(fake, folder)

        login, other = waiting(kernel(), scopes=("write",))

        assert other != url
        assert query_of(other)["scope"] == ["write"]
        login.cancel()

    def test_an_exchange_that_died_half_way_is_not_gone_on_with(
        self, kernel: Kernel, folder: Path
    ) -> None:
        """Its code may be spent."""
        login, url = waiting(kernel())
        login.leave()
        store = FileStore(folder)
        key = store.keys("pending")[0]
        record = store.read(key)
        assert record is not None
        store.write(key, record | {"claimed_at": 1.0})

        fresh, other = waiting(kernel())

        assert other != url
        fresh.cancel()


class TestFollowing:
    @pytest.mark.slow
    def test_a_second_notebook_shows_the_same_address_and_is_signed_in_with_the_first(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        first, url = start_waiter(fake, folder)
        second, same = waiting(kernel())
        assert same == url
        assert any("another notebook" in note for note in second.notes)

        with httpx2.Client(trust_env=False, follow_redirects=True, timeout=10) as browser:
            browser.get(url)

        assert second.wait(10).signed_in
        assert ended(first) == (0, "signed in\n")
        assert len(fake.asked("/register")) == 1
        assert len(fake.token_requests("authorization_code")) == 1

    @pytest.mark.slow
    def test_an_answer_pasted_in_the_second_completes_the_first(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        first, url = start_waiter(fake, folder)
        second, _ = waiting(kernel())

        second.submit(answer_of(url))

        assert second.wait(10).signed_in
        assert ended(first) == (0, "signed in\n")

    @pytest.mark.slow
    def test_the_follower_goes_on_where_the_first_is_killed(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        first, url = start_waiter(fake, folder)
        second, _ = waiting(kernel())

        first.send_signal(signal.SIGKILL)
        ended(first)

        def came_back() -> bool:
            with httpx2.Client(trust_env=False, follow_redirects=True, timeout=10) as browser:
                try:
                    return "Signed in" in browser.get(url).text
                except httpx2.TransportError:
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
    def test_one_that_needs_more_scopes_takes_over(self, kernel: Kernel) -> None:
        first, _ = waiting(kernel(scopes=("read",)))
        second, url = waiting(kernel(scopes=("read", "write")))

        with pytest.raises(errors.LoginCancelled, match="replaced"):
            first.wait(10)
        second.submit(answer_of(url))
        assert second.wait(10).scopes == ("read", "write")

    @pytest.mark.slow
    def test_one_that_asks_for_the_account_takes_over(self, kernel: Kernel) -> None:
        """The person wants to be asked who they are: what does not ask is no such sign-in."""
        first, plain = waiting(kernel())
        second, url = waiting(kernel(), choose_account=True)

        assert url != plain
        assert query_of(url)["prompt"] == ["select_account"]
        assert not second.is_follower
        with pytest.raises(errors.LoginCancelled, match="replaced"):
            first.wait(10)
        second.submit(answer_of(url))
        assert second.wait(10).signed_in

    @pytest.mark.slow
    def test_one_that_asks_for_it_as_well_is_followed(self, kernel: Kernel) -> None:
        first, url = waiting(kernel(), choose_account=True)
        second, same = waiting(kernel(), choose_account=True)

        assert same == url
        assert second.is_follower
        second.submit(answer_of(url))
        assert first.wait(10).signed_in

    def test_one_that_was_left_without_asking_for_it_is_not_gone_on_with(
        self, kernel: Kernel
    ) -> None:
        begun, plain = waiting(kernel())
        begun.leave()
        login, url = waiting(kernel(), choose_account=True)

        assert url != plain
        assert query_of(url)["prompt"] == ["select_account"]
        login.cancel()

    @pytest.mark.threat("answer-to-another-account")
    def test_accounts_do_not_follow_each_other(self, kernel: Kernel) -> None:
        work, at_work = waiting(kernel(account="work"))
        home, at_home = waiting(kernel(account="home"))

        assert at_work != at_home
        work.submit(answer_of(at_work))
        home.submit(answer_of(at_home))
        assert work.wait(10).account == "work"
        assert home.wait(10).account == "home"

    @pytest.mark.slow
    def test_signing_out_elsewhere_ends_the_wait(self, kernel: Kernel) -> None:
        login, url = waiting(kernel())

        kernel().logout()

        with pytest.raises(errors.LoginCancelled):
            login.wait(10)
        with pytest.raises(errors.AnswerRefused):
            login.submit(answer_of(url))

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


class TestAtRest:
    def test_it_is_encrypted_and_gone_at_the_end(self, kernel: Kernel, folder: Path) -> None:
        session = kernel()
        login, url = waiting(session)
        (file,) = pending_files(folder)
        state = query_of(url)["state"][0]

        assert file.stat().st_mode & 0o777 == 0o600
        assert state.encode() not in file.read_bytes()
        assert b"verifier" not in file.read_bytes()

        login.submit(answer_of(url))
        login.wait(10)
        assert pending_files(folder) == []

    def test_a_store_that_cannot_be_written_fails_before_the_browser(
        self, kernel: Kernel, folder: Path
    ) -> None:
        sign_in(kernel())
        key = folder / "key"
        key.chmod(0o644)

        login = kernel().login()

        with pytest.raises(errors.StoreError, match="chmod 600"):
            login.wait(10)
        assert login.url is None

    def test_a_pending_sign_in_that_cannot_be_read_is_begun_anew(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        first, _ = waiting(kernel())
        first.leave()
        store = FileStore(folder)
        store.write(store.keys("pending")[0], {"format": 1, "request": {"server": 7}})

        sign_in(kernel())

        assert RecordName("login", fake.url) in store.keys("login")
