"""What a reviewer tried with sign-ins that several processes share."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mcpnb import errors
from mcpnb.stores import FileStore, RecordName
from tests.fakes.kernels import Kernel, change, make_expired, stored
from tests.fakes.people import answer_of, connect, free_port, sign_in, until, waiting
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request
from tests.terminal import run


class Held:
    """A route whose answer is held back until a test lets it go."""

    def __init__(self, fake: FakeServer, path: str) -> None:
        self.arrived, self.go_on = threading.Event(), threading.Event()
        self._honest = fake.routes[path]
        fake.routes[path] = self._hold

    def _hold(self, request: Request) -> Reply:
        self.arrived.set()
        assert self.go_on.wait(20)
        return self._honest(request)


def revocations(fake: FakeServer) -> int:
    return len(fake.asked("/revoke"))


class TestWhileTheCodeIsExchanged:
    @pytest.mark.slow
    def test_another_sign_in_waits_and_is_signed_in_with_it(
        self, fake: FakeServer, kernel: Kernel
    ) -> None:
        """`mcpnb login --finish` beside a notebook that runs `await connect(...)`."""
        begun, url = waiting(kernel())
        begun.leave()
        token = Held(fake, "/token")
        with ThreadPoolExecutor(1) as pool:
            finishing = pool.submit(kernel().finish, answer_of(url))
            assert token.arrived.wait(10)
            other = kernel().login()
            until(lambda: other.state == "waiting" or other.is_follower)
            token.go_on.set()
            assert finishing.result(20).signed_in

        assert other.wait(10).signed_in
        assert revocations(fake) == 0

    @pytest.mark.slow
    def test_the_leaders_time_out_does_not_throw_it_away(
        self, fake: FakeServer, kernel: Kernel
    ) -> None:
        leader, url = waiting(kernel(), timeout=2)
        follower, _ = waiting(kernel())
        token = Held(fake, "/token")
        with ThreadPoolExecutor(1) as pool:
            submitting = pool.submit(follower.submit, answer_of(url))
            assert token.arrived.wait(10)
            late = time.monotonic() + 3
            until(lambda: time.monotonic() > late)
            token.go_on.set()
            submitting.result(20)

        assert leader.wait(10).signed_in
        assert revocations(fake) == 0

    @pytest.mark.slow
    def test_a_sign_out_that_comes_while_the_record_is_locked_wins(
        self, fake: FakeServer, kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Asked under the lock, and not before: else the login comes back."""
        monkeypatch.setattr("mcpnb.tokens.source._SIGN_OUT_PATIENCE", 0.1)
        login, url = waiting(kernel())
        answer, store = answer_of(url), FileStore(folder)
        with ThreadPoolExecutor(1) as pool:
            with store.lock(RecordName("login", fake.url), 5):
                submitting = pool.submit(login.submit, answer)
                until(lambda: len(fake.token_requests("authorization_code")) == 1)
                kernel().logout()
            with pytest.raises(errors.LoginCancelled):
                submitting.result(20)

        assert not kernel().signed_in
        assert all(not grant.alive for grant, _ in fake.access.values())

    def test_cancelling_returns_at_once_though_the_record_is_locked(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        login, url = waiting(kernel())
        answer, store = answer_of(url), FileStore(folder)
        with ThreadPoolExecutor(1) as pool, store.lock(RecordName("login", fake.url), 5):
            submitting = pool.submit(login.submit, answer)
            until(lambda: len(fake.token_requests("authorization_code")) == 1)
            login.cancel()  # while the lock is held: waiting for it would never end
            assert login.state == "cancelled"
        with pytest.raises(errors.LoginCancelled):
            submitting.result(20)

    @pytest.mark.slow
    def test_a_process_killed_in_it_does_not_stand_in_the_way(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        begun, url = waiting(kernel())
        begun.leave()
        token = Held(fake, "/token")
        code = (
            "import sys, mcpnb; from mcpnb.stores import FileStore; "
            "mcpnb.connect(sys.argv[1], store=FileStore(sys.argv[2])).finish(sys.argv[3])"
        )
        command = [sys.executable, "-c", code, fake.url, str(folder), answer_of(url)]
        child = subprocess.Popen(command)
        assert token.arrived.wait(20)
        child.kill()
        child.wait(10)
        token.go_on.set()

        sign_in(kernel())


class TestWaysBack:
    @pytest.mark.slow
    def test_a_reverse_proxys_address_and_a_port_belong_together(self, kernel: Kernel) -> None:
        """The port is not in the address; a second kernel follows all the same."""
        own: dict[str, Any] = {
            "callback_url": "https://hub.example.com/proxy/callback",
            "callback_port": free_port(),
        }
        first, url = waiting(kernel(**own))
        second, same = waiting(kernel(**own))
        assert same == url

        second.submit(answer_of(url))

        assert first.wait(10).signed_in

    @pytest.mark.threat("listening-everywhere")
    def test_nobody_listens_everywhere_for_an_address_that_was_not_configured(
        self, kernel: Kernel
    ) -> None:
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

    @pytest.mark.threat("pending-sign-in-poisoned")
    @pytest.mark.threat("answer-to-other-credentials")
    def test_a_pending_sign_in_of_other_credentials_is_not_completed(
        self, fake: FakeServer, kernel: Kernel
    ) -> None:
        begun, url = waiting(kernel())
        begun.leave()
        other = kernel(client_id="mine", issuer="https://login.example.com")

        with pytest.raises(errors.LoginError, match="other settings"):
            other.finish(answer_of(url))

        assert fake.token_requests("authorization_code") == []
        assert not other.signed_in


class TestBeginningAnew:
    @pytest.mark.slow
    def test_each_begin_has_an_address_of_its_own_and_one_registration(
        self, fake: FakeServer
    ) -> None:
        """An address that turned out to be a dead end is not given again."""
        begin = ("login", fake.url, "--begin", "--port", str(free_port()))
        first = run(*begin).expect(0).out.strip()
        second = run(*begin).expect(0).out.strip()
        assert first != second

        assert "another sign-in" in run("login", fake.url, "--finish", answer_of(first)).err
        run("login", fake.url, "--finish", answer_of(second)).expect(0)

        assert len(fake.asked("/register")) == 1

    @pytest.mark.slow
    def test_the_hint_repeats_what_chose_the_login(self, fake: FakeServer) -> None:
        done = run("login", fake.url, "--begin", "--account", "at work").expect(0)

        assert f"mcpnb login {fake.url} --account 'at work' --finish -" in done.err

    @pytest.mark.slow
    def test_waiting_is_not_ended_by_a_sign_in_that_was_cancelled_before(
        self, kernel: Kernel
    ) -> None:
        session = kernel()
        login, _ = waiting(session)
        login.cancel()

        with pytest.raises(errors.LoginTimeout):
            session.wait(timeout=0.6)


class TestRenewals:
    def test_a_touched_file_is_not_taken_for_a_sign_out(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        """As backup and synchronising programs do in the middle of it."""
        sign_in(kernel())
        make_expired(folder)
        (file,) = folder.glob("login-*.mcpnb")
        honest = fake.routes["/token"]

        def touched(request: Request) -> Reply:
            os.utime(file)
            return honest(request)

        fake.routes["/token"] = touched
        session = kernel()

        assert session.access_token() == stored(folder)["tokens"]["access_token"]
        assert revocations(fake) == 0

    @pytest.mark.slow
    def test_one_server_that_hangs_holds_up_no_other(
        self, fakes: Callable[[], FakeServer], tmp_path: Path
    ) -> None:
        slow, quick = fakes(), fakes()
        sessions = []
        for number in range(6):
            session = connect(slow.url, store=FileStore(tmp_path), account=f"a{number}")
            sign_in(session)
            sessions.append(session)
        other = connect(quick.url, store=FileStore(tmp_path))
        sign_in(other)
        slow.expire()
        quick.expire()
        hanging = Held(slow, "/token")
        with ThreadPoolExecutor(6) as pool:
            calls = [pool.submit(session.call, "echo", text="x") for session in sessions]
            assert hanging.arrived.wait(10)

            assert other.call("echo", text="quick").text == "quick"

            hanging.go_on.set()
            assert [call.result(30).text for call in calls] == ["x"] * 6

    @pytest.mark.slow
    def test_a_slow_renewal_is_no_reason_not_to_sign_in(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        sign_in(kernel())
        with FileStore(folder).lock(RecordName("login", fake.url), 5):
            login, _ = waiting(kernel())
            login.cancel()

    def test_a_refusal_from_the_future_is_forgotten(self, kernel: Kernel, folder: Path) -> None:
        """The clock was set back since."""
        sign_in(kernel())
        make_expired(folder)
        day = time.time() + 86_400
        refresh_failure = {
            "kind": "refused",
            "at": day,
            "error": "",
            "said": "busy",
            "until": day + 60,
        }
        change(folder, setback=refresh_failure)

        assert kernel().call("echo", text="now").text == "now"


class TestSigningOut:
    def test_a_malformed_store_key_does_not_keep_anybody_signed_in(
        self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = kernel()
        sign_in(session)
        monkeypatch.setenv("MCPNB_STORE_KEY", "no key")

        assert "signed in" in repr(kernel())
        kernel().logout()

        monkeypatch.delenv("MCPNB_STORE_KEY")
        assert not kernel().signed_in

    def test_what_cannot_be_deleted_is_revoked_all_the_same(
        self, fake: FakeServer, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = kernel()
        sign_in(session)

        def refuse(*_: object, **__: object) -> None:
            raise errors.StoreError("read-only")

        monkeypatch.setattr(FileStore, "delete", refuse)
        with pytest.raises(errors.StoreError, match="read-only"):
            session.logout()

        assert revocations(fake) == 2

    @pytest.mark.slow
    def test_everything_includes_damaged_and_newer_records(
        self, fake: FakeServer, world: Path
    ) -> None:
        home = world / "mcpnb"
        sign_in(connect(fake.url, store=FileStore(home)))
        (file,) = home.glob("login-*.mcpnb")
        (home / "login-damaged.mcpnb").write_text("what")
        newer = file.read_text().replace('"format": 1', '"format": 9')
        (home / "login-newer.mcpnb").write_text(newer)
        assert "damaged" in run("list").expect(0).err

        done = run("logout", "--all").expect(0)

        assert "revoked at the server" in done.err
        assert done.err.count("could not be read") == 2
        assert [f for f in home.glob("login-*.mcpnb") if "deleted_at" not in f.read_text()] == []

    @pytest.mark.slow
    def test_a_pending_and_a_stored_login_are_one_line(self, fake: FakeServer, world: Path) -> None:
        store = FileStore(world / "mcpnb")
        sign_in(connect(fake.url, store=store))
        run("login", fake.url, "--begin").expect(0)

        assert run("logout", "--all").expect(0).err.count("Signed out of") == 1

    @pytest.mark.slow
    def test_a_broken_configuration_is_no_reason_to_stay_signed_in(
        self, fake: FakeServer, world: Path
    ) -> None:
        sign_in(connect(fake.url, store=FileStore(world / "mcpnb")))
        config = world / "xdg" / "config" / "mcpnb"
        config.mkdir(parents=True)
        (config / "config.toml").write_text("[[[")

        run("logout", "--all").expect(0)

        assert all(not grant.alive for grant, _ in fake.access.values())


@pytest.mark.threat("fork-amid-a-lock")
def test_a_forked_child_finds_the_locks_free(kernel: Kernel) -> None:
    """A thread of the parent held one just then."""
    session = kernel()
    sign_in(session)
    source: Any = session._credential.source  # noqa: SLF001
    login = source._login  # noqa: SLF001
    with login._lock:  # noqa: SLF001
        child = os.fork()
        if child == 0:
            os._exit(0 if session.signed_in else 1)
    codes: list[int] = []

    def has_ended() -> bool:
        found, status = os.waitpid(child, os.WNOHANG)
        codes.extend([os.waitstatus_to_exitcode(status)] if found else [])
        return bool(codes)

    until(has_ended)
    assert codes == [0]
