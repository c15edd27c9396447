"""Refreshes that fail: what stays, what a person reads, and who does not try again."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.oauth import http
from mcpnb.oauth.models import ServerConfig
from mcpnb.stores import FileStore, MemoryStore, RecordName
from mcpnb.tokens import AccessToken, TokenSource, record, refresh
from tests.fakes.kernels import Kernel, disk_fills_up_at_refresh, make_expired
from tests.fakes.people import HeldRoute, connect, free_port, sign_in, until
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request
from tests.tokens.conftest import SharedLogin


def is_told(shared: SharedLogin) -> bool:
    """Whether the outcome of the last refresh is stored."""
    return bool((shared.record["setback"] or {}).get("said"))


class TestOutcomeUnknown:
    """The response was lost: the server may have rotated, and reuse would end everything."""

    @pytest.fixture
    def lost(self, shared: SharedLogin) -> SharedLogin:
        """Let the response to the next refresh get lost, of a token that can still be used."""
        shared.fake.rotation = "grace"
        shared.make_stale()
        shared.fake.drop_after_refresh = 1
        return shared

    @pytest.mark.threat("refresh-token-replay")
    def test_siblings_do_not_present_the_same_refresh_token_while_the_access_token_lives(
        self, lost: SharedLogin
    ) -> None:
        lost.fake.rotation = "strict"
        first, second = lost.kernel(), lost.kernel()
        token = first.access_token()
        until(lambda: lost.record["setback"] is not None and len(lost.presented) == 1)

        assert second.access_token() == token
        assert second.call("echo", text="alive").text == "alive"
        assert len(lost.presented) == 1

    @pytest.mark.parametrize("why", ["expired", "rejected"])
    def test_after_its_end_it_is_tried_once_more_by_whoever_comes_first(
        self, lost: SharedLogin, why: str
    ) -> None:
        lost.kernel().access_token()
        until(lambda: is_told(lost))
        if why == "rejected":
            lost.fake.expire()
        else:
            lost.expire()
            lost.change(setback=lost.record["setback"] | {"until": time.time() - 1})

        assert lost.kernel().call("echo", text="back").text == "back"

        assert len(lost.presented) == 2
        assert lost.record["setback"] is None

    @pytest.mark.parametrize("reply", [Reply(500, "oops"), Reply(200, ["what"])])
    def test_an_answer_that_says_nothing_counts_as_lost(
        self, shared: SharedLogin, reply: Reply
    ) -> None:
        shared.make_stale()
        shared.fake.always("/token", reply)

        session = shared.kernel()
        for _ in range(3):
            session.access_token()

        assert shared.record["setback"]["kind"] == "unknown"
        assert len(shared.presented) == 1

    def test_a_token_rejected_while_its_refresh_gets_lost_is_not_taken_for_a_new_one(
        self, lost: SharedLogin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """That refresh ends with the rejected token: nobody has to sign in again for that."""
        lost.fake.expire()
        hanging, after = HeldRoute(lost.fake, "/token"), TokenSource.after

        def noted(source: TokenSource, *refused: Any) -> AccessToken | Future[AccessToken]:
            another = after(source, *refused)
            hanging.let_go()
            return another

        monkeypatch.setattr(TokenSource, "after", noted)
        session = lost.kernel()

        with pytest.raises(errors.ServerUnreachable, match="It is kept"):
            session.call("echo", text="lost")

        assert session.call("echo", text="back").text == "back"
        assert len(lost.presented) == 2


class TestTurnedAway:
    def test_a_long_retry_after_is_kept_by_all_and_said(self, shared: SharedLogin) -> None:
        shared.expire()
        shared.fake.always("/token", Reply(429, {"error": "slow_down"}, {"Retry-After": "60"}))

        for _ in range(3):
            with pytest.raises(errors.GrantError) as caught:
                shared.kernel().access_token()

        assert len(shared.presented) == 1
        assert caught.value.retry_after is not None
        assert 50 < caught.value.retry_after <= 60
        assert "try again at" in str(caught.value)
        assert shared.kernel().signed_in

    @pytest.mark.slow
    def test_a_stale_token_is_used_while_the_server_wants_to_be_left_alone(
        self, shared: SharedLogin
    ) -> None:
        shared.make_stale()
        shared.fake.always("/token", Reply(429, headers={"Retry-After": "3600"}))

        for _ in range(3):
            assert shared.kernel().call("echo", text="on").text == "on"

        until(lambda: shared.record["setback"] is not None)
        assert len(shared.presented) == 1

    def test_everybody_in_line_shares_one_failure(self, shared: SharedLogin) -> None:
        """Eight kernels wait while the refresh of one fails: the server is asked once."""
        shared.expire()
        shared.fake.routes["/token"] = lambda _: Reply(500, "oops")
        hanging = HeldRoute(shared.fake, "/token")
        sessions = [shared.kernel() for _ in range(8)]

        def fails(session: mcpnb.Session) -> bool:
            with pytest.raises((errors.ServerError, errors.GrantError)):
                session.access_token()
            return True

        with ThreadPoolExecutor(8) as pool:
            failing = [pool.submit(fails, session) for session in sessions]
            hanging.reached()
            hanging.let_go()
            assert all(f.result(timeout=30) for f in failing)

        # A kernel may have come only after the first failure.
        assert len(shared.presented) <= 2

    def test_it_is_tried_once_more_only_while_siblings_wait_for_the_lock(
        self, shared: SharedLogin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two requests of thirty seconds, and the pause, were longer than they wait."""
        for within, requests in ((60.0, 2), (0.0, 3)):
            monkeypatch.setattr(refresh, "_RETRY_WITHIN", within)
            shared.expire()
            shared.fake.script("/token", Reply(503))
            with suppress(errors.GrantError):
                shared.kernel().access_token()
            assert len(shared.presented) == requests
        assert shared.kernel().signed_in
        monkeypatch.undo()
        assert refresh._RETRY_WITHIN + http._TOTAL < record.LOCK_TIMEOUT - 5  # noqa: SLF001

    def test_nothing_is_given_away_that_could_not_be_replaced(
        self, shared: SharedLogin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A disk that takes no new refresh token keeps the old one unspent."""
        shared.make_stale()
        session = shared.kernel()

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("mcpnb.storage.files.write_file", full)
        for _ in range(3):
            assert session.call("echo", text="on").text == "on"
        assert shared.presented == []

    @pytest.mark.slow
    def test_a_rotation_that_could_not_be_written_is_written_later(
        self, shared: SharedLogin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The disk filled up between the question and the answer."""
        monkeypatch.setattr("mcpnb.tokens.record._SAVE_AGAIN", 0.0)
        shared.expire()
        session = shared.kernel()
        full = disk_fills_up_at_refresh(shared.fake, monkeypatch)
        token = session.access_token()
        assert shared.access_token != token
        full.clear()

        until(lambda: session.access_token() == token == shared.access_token)
        assert len(shared.presented) == 1
        assert shared.kernel().access_token() == token


class TestWhoEndedIt:
    def test_the_message_says_who_when_and_what_to_do_in_every_kernel(
        self, shared: SharedLogin
    ) -> None:
        """Also in one that starts later, and without asking again."""
        shared.fake.end()
        shared.expire()

        for session in (shared.kernel(), shared.kernel()):
            with pytest.raises(errors.LoginRequired) as caught:
                session.access_token()
            told = str(caught.value)
            for part in (shared.fake.base, time.strftime("at %H:"), "invalid_grant"):
                assert part in told
            assert "Sign in again" in told
            assert session.status == "reauth_required"
        assert len(shared.presented) == 1

    @pytest.mark.threat("forgotten-client")
    def test_a_forgotten_client_is_registered_again_and_the_refresh_token_stays(
        self, fake: FakeServer, kernel: Kernel, shared: SharedLogin
    ) -> None:
        """Only `invalid_grant` ends a login: the server may know the client again tomorrow."""
        session = kernel(callback_port=free_port())
        sign_in(session)
        store, clients = FileStore(shared.folder), dict(fake.clients)
        assert len(store.keys("client")) == 1
        fake.clients.clear()
        shared.expire()

        with pytest.raises(errors.LoginRequired, match="no longer knows this client"):
            session.access_token()
        assert session.status == "reauth_required"
        assert shared.record["tokens"]["refresh_token"] is not None
        assert store.keys("client") == []

        fake.clients.update(clients)
        assert kernel().call("echo", text="known again").text == "known again"
        assert session.status == "authenticated"

    def test_an_expired_client_secret_is_named_as_the_reason(self, shared: SharedLogin) -> None:
        ended = shared.record["registration"] | {"secret_expires_at": time.time() - 60}
        shared.change(registration=ended)
        shared.fake.clients.clear()
        shared.expire()

        with pytest.raises(errors.LoginRequired, match="its secret ended"):
            shared.kernel().access_token()

    def test_a_secret_that_was_changed_in_the_configuration_is_used_from_then_on(
        self, fake: FakeServer, own_client: dict[str, Any], kernel: Kernel, folder: Path
    ) -> None:
        """No new sign-in for a rotated client secret."""
        sign_in(kernel(client_secret="old", **own_client))
        fake.clients["mine"]["client_secret"] = "new"
        make_expired(folder)

        with pytest.raises(errors.GrantError, match="client id and secret that you configured"):
            kernel(client_secret="old", **own_client).access_token()
        assert kernel(client_secret="new", **own_client).call("echo", text="on").text == "on"
        make_expired(folder)
        assert kernel().call("echo", text="stored, too").text == "stored, too"


class TestDisturbed:
    def test_a_touched_file_is_not_taken_for_a_sign_out(self, shared: SharedLogin) -> None:
        """As backup and synchronising programs do in the middle of it."""
        shared.expire()
        (file,) = shared.folder.glob("login-*.mcpnb")
        honest = shared.fake.routes["/token"]

        def touched(request: Request) -> Reply:
            os.utime(file)
            return honest(request)

        shared.fake.routes["/token"] = touched

        assert shared.kernel().access_token() == shared.access_token
        assert shared.fake.asked("/revoke") == []

    @pytest.mark.slow
    def test_one_server_that_hangs_holds_up_no_other(
        self, session: mcpnb.Session, fake: FakeServer, fakes: Callable[[], FakeServer]
    ) -> None:
        slow = fakes()
        waiting = [connect(slow.url, store=session.store, account=f"a{n}") for n in range(6)]
        for each in waiting:
            sign_in(each)
        slow.expire()
        fake.expire()
        hanging = HeldRoute(slow, "/token")
        with ThreadPoolExecutor(6) as pool:
            calls = [pool.submit(each.call, "echo", text="x") for each in waiting]
            hanging.reached()

            assert session.call("echo", text="quick").text == "quick"

            hanging.let_go()
            assert [call.result(30).text for call in calls] == ["x"] * 6

    def test_who_signs_in_while_an_open_server_is_called_is_not_sent_to_sign_in(
        self, shared: SharedLogin
    ) -> None:
        login = shared.record

        class Meanwhile(MemoryStore):
            """Whoever asks it since when nobody is signed in gives a sibling time to sign in."""

            def deleted_at(self, key: RecordName) -> float | None:
                self.write(key, login)
                return None

        asyncio.run(TokenSource(ServerConfig(shared.fake.url), Meanwhile()).require())

    def test_who_signs_out_while_a_call_begins_is_told_so(self, shared: SharedLogin) -> None:
        """Instead of the call going out without a token."""
        shared.expire()
        login = shared.record

        class Meanwhile(MemoryStore):
            """A sibling signs out before anybody else has the lock."""

            @contextmanager
            def lock(self, key: RecordName, timeout: float) -> Iterator[None]:
                self.delete(key, leave_tombstone=True)
                with super().lock(key, timeout):
                    yield

        source = TokenSource(ServerConfig(shared.fake.url), Meanwhile())
        source.store.write(source.key, login)
        with pytest.raises(errors.LoginRequired, match="You signed out of"):
            asyncio.run(source.require())

    def test_a_refusal_from_the_future_is_forgotten(self, shared: SharedLogin) -> None:
        """The clock was set back since."""
        shared.expire()
        day = time.time() + 86_400
        refused = {"kind": "refused", "at": day, "error": "", "said": "busy", "until": day + 60}
        shared.change(setback=refused)

        assert shared.kernel().call("echo", text="now").text == "now"
