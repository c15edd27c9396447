"""What real servers were seen to do with tokens: each habit is one test, and mcpnb survives it.

Rotation, refusals, answers that leave things out, scope failures. The servers are fakes only in
that they do it on demand.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mcpnb import errors
from mcpnb.stores import MemoryStore
from tests.fakes.people import answer_of, connect, query_of, refresh_tokens, sign_in, until
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, html


class TestRotation:
    """Presenting a rotated refresh token again ends the whole login."""

    @pytest.mark.threat("refresh-token-theft-by-a-sibling")
    def test_sessions_that_share_a_login_refresh_once(self, fake: FakeServer) -> None:
        """Also where each of them, and each of their threads, has the newest token it knows of.

        The others adopt what one got: a second refresh would end the login of the winner, too.
        """
        store = MemoryStore()
        sessions = [connect(fake.url, store=store) for _ in range(3)]
        sign_in(sessions[0])
        assert [s.call("echo", text="a").text for s in sessions] == ["a"] * 3
        fake.expire()

        with ThreadPoolExecutor(6) as pool:
            texts = list(pool.map(lambda s: s.call("echo", text="b").text, sessions * 2))

        assert texts == ["b"] * 6
        assert len(refresh_tokens(fake)) == 1

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "refusal",
        [Reply(503, "upstream unavailable"), Reply(429, headers={"Retry-After": "1"})],
        ids=["503", "429, with Retry-After"],
    )
    def test_a_refresh_that_was_not_processed_is_sent_again(
        self, fake: FakeServer, refusal: Reply
    ) -> None:
        """Nothing was rotated, so the same refresh token is good."""
        session = connect(fake.url)
        sign_in(session)
        fake.expire()
        fake.script("/token", refusal)

        assert session.call("echo", text="back").text == "back"

        first, second = refresh_tokens(fake)
        assert first == second

    def test_the_same_refresh_token_given_again_is_kept(self, fake: FakeServer) -> None:
        """Servers with a grace period, or without rotation."""
        fake.rotation = "none"
        session = connect(fake.url)
        sign_in(session)

        for _ in range(2):
            fake.expire()
            session.call("echo", text="back")

        assert len(set(refresh_tokens(fake))) == 1


class TestRefreshBeforeUse:
    """Some servers delete the refresh token when an expired access token is presented."""

    @pytest.mark.slow
    def test_an_expired_token_is_never_presented(self, fake: FakeServer) -> None:
        """The refresh follows from the expiry, not from a 401."""
        fake.lifetime, fake.expired_use_ends_login = 1, True
        session = connect(fake.url)
        sign_in(session)
        token = session.access_token()
        until(lambda: fake.access[token][1] < time.time())
        fake.lifetime = 3600

        assert session.call("echo", text="alive").text == "alive"

        assert len(refresh_tokens(fake)) == 1


class TestErrors:
    """Judge by the JSON error, not by the status."""

    @pytest.mark.threat("dead-refresh-token")
    @pytest.mark.parametrize("status", [400, 401, 403])
    def test_invalid_grant_ends_the_login_with_any_status(
        self, fake: FakeServer, status: int
    ) -> None:
        """Somebody else used the refresh token, say. Sent once, and not again before a sign-in."""
        session = connect(fake.url)
        sign_in(session)
        fake.expire()
        fake.script("/token", Reply(status, {"error": "invalid_grant"}))

        for _ in range(2):
            with pytest.raises(errors.LoginRequired, match="Sign in again"):
                session.call("echo", text="gone")
            assert not session.signed_in
        assert len(refresh_tokens(fake)) == 1

        sign_in(session)
        assert session.call("echo", text="back").text == "back"

    @pytest.mark.threat("forged-end-of-a-login")
    @pytest.mark.parametrize(
        "refusal",
        [
            pytest.param(Reply(400), id="an empty body"),
            pytest.param(Reply(400, {"error": "invalid_request"}), id="invalid_request"),
            pytest.param(Reply(500, "<h1>Oops</h1>"), id="a page"),
            pytest.param(html("Please wait"), id="a page with 200"),
            pytest.param(Reply(200, {"error": "invalid_request"}), id="an error with 200"),
            pytest.param(Reply(200, {"token_type": "Bearer"}), id="no token"),
            pytest.param(Reply(200, ["what"]), id="a list"),
        ],
    )
    def test_any_other_refusal_is_an_error_and_keeps_the_login(
        self, fake: FakeServer, refusal: Reply
    ) -> None:
        """Only `invalid_grant` ends a login: the next try may succeed."""
        session = connect(fake.url)
        sign_in(session)
        fake.expire()
        fake.always("/token", refusal)
        for _ in range(2):
            with pytest.raises((errors.LoginError, errors.ServerError)):
                session.call("echo", text="not now")
        assert session.signed_in

        fake.restore("/token")

        assert session.call("echo", text="back").text == "back"

    def test_a_servers_description_is_quoted_and_harmless(self, fake: FakeServer) -> None:
        """Text of a server never reaches a terminal as control characters."""
        session = connect(fake.url)
        login = session.login()
        login.wait_for("waiting", timeout=10)
        description = "\x1b[2J\u202eall is well " + "x" * 5000
        fake.authorize_error = {"error": "access_denied", "error_description": description}
        assert login.url is not None

        with pytest.raises(errors.LoginDenied) as caught:
            login.submit(answer_of(login.url))

        said = str(caught.value)
        assert "all is well" in said
        assert len(said) < 1000
        assert not {"\x1b", "\u202e"} & set(said)


class TestRefreshAnswers:
    """They may leave members out."""

    @pytest.mark.threat("refresh-token-lost")
    def test_without_a_refresh_token_the_old_one_is_kept(self, fake: FakeServer) -> None:
        """RFC 6749 section 6."""
        fake.rotation, fake.refresh_changes = "none", {"refresh_token": None}
        session = connect(fake.url)
        sign_in(session)

        for _ in range(3):
            fake.expire()
            assert session.call("echo", text="back").text == "back"

        assert len(refresh_tokens(fake)) == 3
        assert len(set(refresh_tokens(fake))) == 1

    def test_without_a_scope_the_scopes_are_unchanged(self, fake: FakeServer) -> None:
        """So the next step-up still asks for all of them."""
        fake.refresh_changes = {"scope": None}
        fake.tool_scopes = {"publish": "write"}
        session = connect(fake.url)
        sign_in(session, scopes=("read", "list"))
        fake.expire()
        with pytest.raises(errors.LoginRequired) as caught:
            session.call("publish", text="news")
        assert session.scopes == ("read", "list")

        url = sign_in(session, scopes=caught.value.scopes)

        assert set(query_of(url)["scope"][0].split()) == {"read", "list", "write"}

    @pytest.mark.parametrize("given", [None, "3600", 0, -1, "soon", 10**30])
    def test_without_a_usable_lifetime_the_token_serves_until_a_401(
        self, fake: FakeServer, given: Any
    ) -> None:
        """No refresh per call, whatever `expires_in` says or leaves out."""
        fake.refresh_changes = {"expires_in": given}
        session = connect(fake.url)
        sign_in(session)
        fake.expire()

        for _ in range(3):
            assert session.call("echo", text="back").text == "back"
        assert len(refresh_tokens(fake)) == 1
