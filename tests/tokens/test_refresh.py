"""Refreshes that fail: what stays, what a person reads, and who does not try again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.oauth import http
from mcpnb.stores import FileStore
from mcpnb.tokens import AccessToken, TokenSource, record, refresh
from tests.fakes.kernels import (
    Kernel,
    change,
    disk_fills_up_at_refresh,
    make_expired,
    make_stale,
    stored,
)
from tests.fakes.people import HeldRoute, connect, free_port, refresh_tokens, sign_in, until
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request


class TestOutcomeUnknown:
    @pytest.mark.threat("refresh-token-replay")
    def test_siblings_do_not_present_the_same_refresh_token_while_the_access_token_lives(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        """The answer was lost: the server may have rotated, and reuse would end everything."""
        sign_in(kernel())
        make_stale(folder)
        fake.drop_after_refresh = 1

        first, second = kernel(), kernel()
        token = first.access_token()
        until(lambda: stored(folder)["setback"] is not None and len(refresh_tokens(fake)) == 1)

        assert second.access_token() == token
        assert second.call("echo", text="alive").text == "alive"
        assert len(refresh_tokens(fake)) == 1

    def test_after_its_end_it_is_tried_once_more_by_whoever_comes_first(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        fake.rotation = "grace"
        sign_in(kernel())
        make_stale(folder)
        fake.drop_after_refresh = 1
        kernel().access_token()
        until(lambda: stored(folder)["setback"] is not None)
        until(lambda: bool(stored(folder)["setback"]["said"]))
        make_expired(folder)
        change(folder, setback=stored(folder)["setback"] | {"until": time.time() - 1})

        assert kernel().call("echo", text="back").text == "back"

        assert len(refresh_tokens(fake)) == 2
        assert stored(folder)["setback"] is None

    @pytest.mark.parametrize("reply", [Reply(500, "oops"), Reply(200, ["what"])])
    def test_an_answer_that_says_nothing_counts_as_lost(
        self, fake: FakeServer, kernel: Kernel, folder: Path, reply: Reply
    ) -> None:
        sign_in(kernel())
        make_stale(folder)
        fake.always("/token", reply)

        session = kernel()
        for _ in range(3):
            session.access_token()

        assert stored(folder)["setback"]["kind"] == "unknown"
        assert len(refresh_tokens(fake)) == 1

    def test_a_token_rejected_meanwhile_is_worth_the_one_more_try(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        fake.rotation = "grace"
        sign_in(kernel())
        make_stale(folder)
        fake.drop_after_refresh = 1
        kernel().access_token()
        until(lambda: bool((stored(folder)["setback"] or {}).get("said")))
        fake.expire()

        assert kernel().call("echo", text="back").text == "back"

    def test_a_token_rejected_while_its_refresh_gets_lost_is_not_taken_for_a_new_one(
        self, fake: FakeServer, kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """That refresh ends with the rejected token: nobody has to sign in again for that."""
        fake.rotation = "grace"
        sign_in(kernel())
        make_stale(folder)
        fake.expire()
        fake.drop_after_refresh = 1
        waits, honest, rejected = threading.Event(), fake.routes["/token"], TokenSource.after

        def late(request: Request) -> Reply:
            assert waits.wait(10)
            return honest(request)

        def noted(source: TokenSource, *refused: Any) -> AccessToken | Future[AccessToken]:
            refresh = rejected(source, *refused)
            waits.set()
            return refresh

        fake.routes["/token"] = late
        monkeypatch.setattr(TokenSource, "after", noted)
        session = kernel()

        with pytest.raises(errors.ServerUnreachable, match="It is kept"):
            session.call("echo", text="lost")

        assert session.call("echo", text="back").text == "back"
        assert len(refresh_tokens(fake)) == 2


class TestTurnedAway:
    def test_a_long_retry_after_is_kept_by_all_and_said(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        sign_in(kernel())
        make_expired(folder)
        fake.always("/token", Reply(429, {"error": "slow_down"}, {"Retry-After": "60"}))

        for _ in range(3):
            with pytest.raises(errors.GrantError) as caught:
                kernel().access_token()

        assert len(refresh_tokens(fake)) == 1
        assert caught.value.retry_after is not None
        assert 50 < caught.value.retry_after <= 60
        assert "try again at" in str(caught.value)
        assert kernel().signed_in

    @pytest.mark.slow
    def test_a_stale_token_is_used_while_the_server_wants_to_be_left_alone(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        sign_in(kernel())
        make_stale(folder)
        fake.always("/token", Reply(429, headers={"Retry-After": "3600"}))

        for _ in range(3):
            assert kernel().call("echo", text="on").text == "on"

        until(lambda: stored(folder)["setback"] is not None)
        assert len(refresh_tokens(fake)) == 1

    def test_everybody_in_line_shares_one_failure(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        """Eight kernels wait while the refresh of one fails: the server is asked once."""
        sign_in(kernel())
        make_expired(folder)
        go_on = threading.Event()

        def slow(_: Request) -> Reply:
            go_on.wait(10)
            return Reply(500, "oops")

        fake.routes["/token"] = slow
        sessions = [kernel() for _ in range(8)]

        def fails(session: mcpnb.Session) -> bool:
            with pytest.raises((errors.ServerError, errors.GrantError)):
                session.access_token()
            return True

        with ThreadPoolExecutor(8) as pool:
            failing = [pool.submit(fails, session) for session in sessions]
            until(lambda: len(refresh_tokens(fake)) == 1)
            go_on.set()
            assert all(f.result(timeout=30) for f in failing)

        assert len(refresh_tokens(fake)) <= 2  # a kernel may have come only after the first failure

    def test_it_is_tried_once_more_only_while_siblings_wait_for_the_lock(
        self, fake: FakeServer, kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two requests of thirty seconds, and the pause, were longer than they wait."""
        sign_in(kernel())
        for within, requests in ((60.0, 2), (0.0, 3)):
            monkeypatch.setattr(refresh, "_RETRY_WITHIN", within)
            make_expired(folder)
            fake.script("/token", Reply(503))
            with suppress(errors.GrantError):
                kernel().access_token()
            assert len(refresh_tokens(fake)) == requests
        assert kernel().signed_in
        monkeypatch.undo()
        assert refresh._RETRY_WITHIN + http._TOTAL < record.LOCK_TIMEOUT - 5  # noqa: SLF001

    def test_nothing_is_given_away_that_could_not_be_replaced(
        self, fake: FakeServer, kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A disk that takes no new refresh token keeps the old one unspent."""
        sign_in(kernel())
        make_stale(folder)
        session = kernel()

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("mcpnb.storage.files.write_file", full)
        for _ in range(3):
            assert session.call("echo", text="on").text == "on"
        assert refresh_tokens(fake) == []

    @pytest.mark.slow
    def test_a_rotation_that_could_not_be_written_is_written_later(
        self, fake: FakeServer, kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The disk filled up between the question and the answer."""
        monkeypatch.setattr("mcpnb.tokens.record._SAVE_AGAIN", 0.0)
        sign_in(kernel())
        make_expired(folder)
        session = kernel()
        full = disk_fills_up_at_refresh(fake, monkeypatch)
        token = session.access_token()
        assert stored(folder)["tokens"]["access_token"] != token
        full.clear()

        until(
            lambda: (
                session.access_token() == token
                and stored(folder)["tokens"]["access_token"] == token
            )
        )
        assert len(refresh_tokens(fake)) == 1
        assert kernel().access_token() == token


class TestWhoEndedIt:
    def test_the_message_says_who_when_and_what_to_do_in_every_kernel(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        """Also in one that starts later, and without asking again."""
        sign_in(kernel())
        fake.end()
        make_expired(folder)

        for session in (kernel(), kernel()):
            with pytest.raises(errors.LoginRequired) as caught:
                session.access_token()
            said = str(caught.value)
            assert fake.base in said
            assert time.strftime("at %H:") in said
            assert "invalid_grant" in said
            assert "Sign in again" in said
            assert session.status == "reauth_required"
        assert len(refresh_tokens(fake)) == 1

    @pytest.mark.threat("forgotten-client")
    def test_a_forgotten_client_is_registered_again_and_the_refresh_token_stays(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        """Only `invalid_grant` ends a login: the server may know the client again tomorrow."""
        session = kernel(callback_port=free_port())
        sign_in(session)
        assert len(FileStore(folder).keys("client")) == 1
        clients = dict(fake.clients)
        fake.clients.clear()
        make_expired(folder)

        with pytest.raises(errors.LoginRequired, match="no longer knows this client"):
            session.access_token()
        assert session.status == "reauth_required"
        assert stored(folder)["tokens"]["refresh_token"] is not None
        assert FileStore(folder).keys("client") == []

        fake.clients.update(clients)
        assert kernel().call("echo", text="known again").text == "known again"
        assert session.status == "authenticated"

    @pytest.mark.slow
    def test_the_next_sign_in_after_that_registers_a_new_client(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        session = kernel()
        sign_in(session)
        fake.clients.clear()
        make_expired(folder)
        with pytest.raises(errors.LoginRequired):
            session.access_token()

        sign_in(session)

        assert session.call("echo", text="anew").text == "anew"
        assert len(fake.asked("/register")) == 2

    def test_an_expired_client_secret_is_named_as_the_reason(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        session = kernel()
        sign_in(session)
        registration = stored(folder)["registration"] | {"secret_expires_at": time.time() - 60}
        change(folder, registration=registration)
        fake.clients.clear()
        make_expired(folder)

        with pytest.raises(errors.LoginRequired, match="its secret ended"):
            session.access_token()

    def test_a_secret_that_was_changed_in_the_configuration_is_used_from_then_on(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        """No new sign-in for a rotated client secret."""
        fake.announce(token_endpoint_auth_methods_supported=["client_secret_post"])
        port = free_port()
        client = {
            "redirect_uris": [f"http://127.0.0.1:{port}/callback"],
            "client_secret": "old",
            "token_endpoint_auth_method": "client_secret_post",
        }
        fake.clients["mine"] = client
        own = {"client_id": "mine", "callback_port": port}
        sign_in(kernel(client_secret="old", **own))
        client["client_secret"] = "new"
        make_expired(folder)

        with pytest.raises(errors.GrantError, match="client id and secret that you configured"):
            kernel(client_secret="old", **own).access_token()
        assert kernel(client_secret="new", **own).call("echo", text="on").text == "on"
        make_expired(folder)
        assert kernel().call("echo", text="stored, too").text == "stored, too"


class TestDisturbed:
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
        assert fake.asked("/revoke") == []

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
        hanging = HeldRoute(slow, "/token")
        with ThreadPoolExecutor(6) as pool:
            calls = [pool.submit(session.call, "echo", text="x") for session in sessions]
            hanging.reached()

            assert other.call("echo", text="quick").text == "quick"

            hanging.let_go()
            assert [call.result(30).text for call in calls] == ["x"] * 6

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

    @pytest.mark.threat("fork-amid-a-lock")
    def test_a_forked_child_finds_the_locks_free(self, kernel: Kernel) -> None:
        """A thread of the parent held one just then."""
        session = kernel()
        sign_in(session)
        source: Any = session._shared.source  # noqa: SLF001
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
