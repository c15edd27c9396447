"""One pending sign-in per server and account: begun in one process, seen and ended in others."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

import mcpnb
from mcpnb import errors
from mcpnb.stores import FileStore, Key
from tests.fakes.people import answer_of, connect, query_of, sign_in, until, waiting
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request
from tests.terminal import run

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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "logins"


def notebook(fake: FakeServer, folder: Path, **given: object) -> mcpnb.Session:
    """Open a session as another notebook would: nothing is shared but the folder."""
    return connect(fake.url, store=FileStore(folder), **given)


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


def pending_files(folder: Path) -> list[Path]:
    return list(folder.glob("pending-*.mcpnb"))


class TestTwoSteps:
    def test_one_process_begins_and_another_finishes(self, fake: FakeServer) -> None:
        """What scripts, papermill and CI need: nobody waits in between."""
        begun = run("login", fake.url, "--begin", "--json").expect(0)
        said = json.loads(begun.out)
        assert set(said) == {"authorization_url", "expires_at"}
        answer = answer_of(said["authorization_url"])

        done = run("login", fake.url, "--finish", "-", given=answer + "\n").expect(0)

        assert "Signed in" in done.err
        assert answer not in done.err + done.out
        assert run("token", fake.url).expect(0).out.strip() in fake.access
        assert len(fake.token_requests("authorization_code")) == 1

    def test_without_json_the_address_stands_alone_on_stdout(self, fake: FakeServer) -> None:
        begun = run("login", fake.url, "--begin").expect(0)

        assert begun.out.strip().startswith(fake.base + "/authorize?")
        assert f"mcpnb login {fake.url} --finish -" in begun.err

    def test_a_wrong_address_is_refused_and_the_right_one_still_works(
        self, fake: FakeServer
    ) -> None:
        url = run("login", fake.url, "--begin").expect(0).out.strip()
        answer = answer_of(url)
        forged = answer.replace("state=", "state=x")

        refused = run("login", fake.url, "--finish", forged).expect(1)

        assert "another sign-in" in refused.err
        assert fake.token_requests("authorization_code") == []
        run("login", fake.url, "--finish", answer).expect(0)

    def test_it_can_be_finished_once(self, fake: FakeServer) -> None:
        """A code is good once: the second attempt sends nothing."""
        url = run("login", fake.url, "--begin").expect(0).out.strip()
        answer = answer_of(url)
        run("login", fake.url, "--finish", answer).expect(0)

        again = run("login", fake.url, "--finish", answer).expect(1)

        assert "is waiting for its answer" in again.err
        assert len(fake.token_requests("authorization_code")) == 1

    def test_it_expires(self, fake: FakeServer, folder: Path) -> None:
        session = notebook(fake, folder)
        login, url = waiting(session, timeout=1)
        login.leave()
        answer = answer_of(url)

        until(lambda: not pending_is_alive(session, answer))

        assert fake.token_requests("authorization_code") == []
        assert not session.signed_in

    def test_a_declined_sign_in_ends_what_was_begun(self, fake: FakeServer) -> None:
        fake.authorize_error = {"error": "access_denied"}
        url = run("login", fake.url, "--begin").expect(0).out.strip()

        done = run("login", fake.url, "--finish", answer_of(url)).expect(1)

        assert "declined" in done.err
        assert "is waiting" in run("login", fake.url, "--finish", answer_of(url)).expect(1).err

    def test_refused_scopes_lead_to_a_second_address_for_the_same_two_steps(
        self, fake: FakeServer
    ) -> None:
        fake.describe(scopes_supported=["odd"])
        fake.known_scopes = set()
        url = run("login", fake.url, "--begin").expect(0).out.strip()

        refused = run("login", fake.url, "--finish", answer_of(url)).expect(1)
        second = next(word for word in refused.err.split() if word.startswith(fake.base))
        run("login", fake.url, "--finish", answer_of(second)).expect(0)

        assert "scope" not in query_of(second)

    @pytest.mark.parametrize(
        "wrong",
        [
            ("--begin", "--finish", "x"),
            ("--begin", "--store", "memory"),
            ("--json",),
            ("--finish", "x", "--json"),
        ],
    )
    def test_options_that_do_not_go_together_are_a_usage_error(
        self, fake: FakeServer, wrong: tuple[str, ...]
    ) -> None:
        run("login", fake.url, *wrong).expect(2)
        assert fake.requests == []

    def test_nothing_to_finish_says_how_to_begin(self, fake: FakeServer) -> None:
        done = run("login", fake.url, "--finish", "http://127.0.0.1/callback?code=x").expect(1)

        assert "Begin again" in done.err


def pending_is_alive(session: mcpnb.Session, answer: str) -> bool:
    try:
        session.finish(answer.replace("state=", "state=x"))
    except errors.AnswerRefused:
        return True
    except errors.LoginError:
        return False
    raise AssertionError("a forged answer was taken")


class TestAfterARestart:
    def test_a_paste_completes_the_sign_in_of_a_killed_kernel(
        self, fake: FakeServer, folder: Path
    ) -> None:
        """The tab that is open still counts: same address, same state, same verifier."""
        process, url = start_waiter(fake, folder)
        process.send_signal(signal.SIGKILL)
        ended(process)

        session = notebook(fake, folder)
        login, again = waiting(session)

        assert again == url
        assert any("Going on with the sign-in" in note for note in login.notes)
        login.submit(answer_of(url))
        assert login.wait(10).call("echo", text="back").text == "back"
        assert len(fake.asked("/register")) == 1

    def test_the_browser_comes_back_to_the_same_port(self, fake: FakeServer, folder: Path) -> None:
        process, url = start_waiter(fake, folder)
        process.send_signal(signal.SIGKILL)
        ended(process)
        login, _ = waiting(notebook(fake, folder))

        with httpx2.Client(trust_env=False, follow_redirects=True, timeout=10) as browser:
            page = browser.get(url)

        assert "Signed in" in page.text
        login.wait(10)

    def test_finish_needs_no_login_object(self, fake: FakeServer, folder: Path) -> None:
        process, url = start_waiter(fake, folder)
        process.send_signal(signal.SIGKILL)
        ended(process)

        session = notebook(fake, folder).finish(answer_of(url))

        assert session.signed_in

    def test_cancelling_it_begins_anew_the_next_time(self, fake: FakeServer, folder: Path) -> None:
        process, url = start_waiter(fake, folder)
        process.send_signal(signal.SIGKILL)
        ended(process)
        session = notebook(fake, folder)
        login, _ = waiting(session)
        login.cancel()

        fresh, other = waiting(session)

        assert other != url
        fresh.cancel()

    def test_other_scopes_are_no_reason_to_go_on_with_it(
        self, fake: FakeServer, folder: Path
    ) -> None:
        process, url = start_waiter(fake, folder)
        process.send_signal(signal.SIGKILL)
        ended(process)

        login, other = waiting(notebook(fake, folder), scopes=("write",))

        assert other != url
        assert query_of(other)["scope"] == ["write"]
        login.cancel()

    def test_an_exchange_that_died_half_way_is_not_gone_on_with(
        self, fake: FakeServer, folder: Path
    ) -> None:
        """Its code may be spent."""
        login, url = waiting(notebook(fake, folder))
        login.leave()
        store = FileStore(folder)
        key = store.keys("pending")[0]
        record = store.read(key)
        assert record is not None
        store.write(key, record | {"claimed_at": 1.0})

        fresh, other = waiting(notebook(fake, folder))

        assert other != url
        fresh.cancel()


class TestFollowing:
    def test_a_second_notebook_shows_the_same_address_and_is_signed_in_with_the_first(
        self, fake: FakeServer, folder: Path
    ) -> None:
        first, url = start_waiter(fake, folder)
        second, same = waiting(notebook(fake, folder))
        assert same == url
        assert any("another notebook" in note for note in second.notes)

        with httpx2.Client(trust_env=False, follow_redirects=True, timeout=10) as browser:
            browser.get(url)

        assert second.wait(10).signed_in
        assert ended(first) == (0, "signed in\n")
        assert len(fake.asked("/register")) == 1
        assert len(fake.token_requests("authorization_code")) == 1

    def test_an_answer_pasted_in_the_second_completes_the_first(
        self, fake: FakeServer, folder: Path
    ) -> None:
        first, url = start_waiter(fake, folder)
        second, _ = waiting(notebook(fake, folder))

        second.submit(answer_of(url))

        assert second.wait(10).signed_in
        assert ended(first) == (0, "signed in\n")

    def test_the_follower_goes_on_where_the_first_is_killed(
        self, fake: FakeServer, folder: Path
    ) -> None:
        first, url = start_waiter(fake, folder)
        second, _ = waiting(notebook(fake, folder))

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

    def test_cancelling_the_second_leaves_the_first(self, fake: FakeServer, folder: Path) -> None:
        first, url = waiting(notebook(fake, folder))
        second, _ = waiting(notebook(fake, folder))

        second.cancel()

        assert second.state == "cancelled"
        first.submit(answer_of(url))
        assert first.wait(10).signed_in

    def test_the_second_is_told_when_the_first_ends_without_a_login(
        self, fake: FakeServer, folder: Path
    ) -> None:
        first, _ = waiting(notebook(fake, folder))
        second, _ = waiting(notebook(fake, folder))

        first.cancel()

        with pytest.raises(errors.LoginError, match="ended without a login"):
            second.wait(10)

    def test_one_that_needs_more_scopes_takes_over(self, fake: FakeServer, folder: Path) -> None:
        first, _ = waiting(notebook(fake, folder, scopes=("read",)))
        second, url = waiting(notebook(fake, folder, scopes=("read", "write")))

        with pytest.raises(errors.LoginCancelled, match="replaced"):
            first.wait(10)
        second.submit(answer_of(url))
        assert second.wait(10).scopes == ("read", "write")

    def test_accounts_do_not_follow_each_other(self, fake: FakeServer, folder: Path) -> None:
        work, at_work = waiting(notebook(fake, folder, account="work"))
        home, at_home = waiting(notebook(fake, folder, account="home"))

        assert at_work != at_home
        work.submit(answer_of(at_work))
        home.submit(answer_of(at_home))
        assert work.wait(10).account == "work"
        assert home.wait(10).account == "home"

    def test_signing_out_elsewhere_ends_the_wait(self, fake: FakeServer, folder: Path) -> None:
        login, url = waiting(notebook(fake, folder))

        notebook(fake, folder).logout()

        with pytest.raises(errors.LoginCancelled):
            login.wait(10)
        with pytest.raises(errors.AnswerRefused):
            login.submit(answer_of(url))

    def test_signing_out_while_the_code_is_exchanged_leaves_nothing(
        self, fake: FakeServer, folder: Path
    ) -> None:
        """What the exchange brings is revoked."""
        login, url = waiting(notebook(fake, folder))
        answer = answer_of(url)
        other = notebook(fake, folder)

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
    def test_it_is_encrypted_and_gone_at_the_end(self, fake: FakeServer, folder: Path) -> None:
        session = notebook(fake, folder)
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
        self, fake: FakeServer, folder: Path
    ) -> None:
        sign_in(notebook(fake, folder))
        key = folder / "key"
        key.chmod(0o644)

        login = notebook(fake, folder).login()

        with pytest.raises(errors.StoreError, match="chmod 600"):
            login.wait(10)
        assert login.url is None

    def test_a_pending_sign_in_that_cannot_be_read_is_begun_anew(
        self, fake: FakeServer, folder: Path
    ) -> None:
        first, _ = waiting(notebook(fake, folder))
        first.leave()
        store = FileStore(folder)
        store.write(store.keys("pending")[0], {"format": 1, "request": {"server": 7}})

        sign_in(notebook(fake, folder))

        assert Key("login", fake.url) in store.keys("login")
