"""What real servers were seen to do with tokens: each habit is one test, and mcpnb survives it.

The servers are fakes only in that they do it on demand.
"""

from __future__ import annotations

from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from tests.fakes.people import connect, query_of, refresh_tokens, sign_in
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, html


def called_after_expiry(fake: FakeServer, session: mcpnb.Session, times: int) -> list[str]:
    """Let the token expire and call, some times; give the refresh tokens that were presented."""
    for _ in range(times):
        fake.expire()
        assert session.call("echo", text="back").text == "back"
    return refresh_tokens(fake)


class TestRotation:
    """Presenting a rotated refresh token again ends the whole login."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "refusal",
        [Reply(503, "upstream unavailable"), Reply(429, headers={"Retry-After": "1"})],
        ids=["503", "429, with Retry-After"],
    )
    def test_a_refresh_that_was_not_processed_is_sent_again(
        self, fake: FakeServer, session: mcpnb.Session, refusal: Reply
    ) -> None:
        """Nothing was rotated, so the same refresh token is good."""
        fake.script("/token", refusal)
        first, second = called_after_expiry(fake, session, 1)
        assert first == second

    @pytest.mark.threat("refresh-token-lost")
    @pytest.mark.parametrize("changes", [{"refresh_token": None}, {}], ids=["none", "the same"])
    def test_a_refresh_token_that_is_not_rotated_is_kept(
        self, fake: FakeServer, session: mcpnb.Session, changes: dict[str, Any]
    ) -> None:
        """RFC 6749 section 6: the response may leave it out. Or it has the same one again."""
        fake.rotation, fake.refresh_changes = "none", changes
        presented = called_after_expiry(fake, session, 3)
        assert len(presented) == 3
        assert len(set(presented)) == 1


class TestErrors:
    """Judge by the JSON error, not by the status."""

    @pytest.mark.threat("dead-refresh-token")
    @pytest.mark.parametrize("status", [400, 401, 403])
    def test_invalid_grant_ends_the_login_with_any_status(
        self, fake: FakeServer, session: mcpnb.Session, status: int
    ) -> None:
        """Somebody else used the refresh token, say. Sent once, and not again before a sign-in."""
        fake.expire()
        fake.script("/token", Reply(status, {"error": "invalid_grant"}))

        for _ in range(2):
            with pytest.raises(errors.LoginRequired, match="Sign in again"):
                session.call("echo", text="gone")
            assert not session.signed_in
        assert len(refresh_tokens(fake)) == 1

        sign_in(connect(fake.url, store=session.store))  # elsewhere, and nobody restarts this one
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
        self, fake: FakeServer, session: mcpnb.Session, refusal: Reply
    ) -> None:
        """Only `invalid_grant` ends a login: the next try may succeed."""
        fake.expire()
        fake.always("/token", refusal)
        for _ in range(2):
            with pytest.raises((errors.LoginError, errors.ServerError)):
                session.call("echo", text="not now")
        assert session.signed_in

        fake.restore("/token")

        assert session.call("echo", text="back").text == "back"


class TestRefreshResponses:
    """They may leave members out."""

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
        self, fake: FakeServer, session: mcpnb.Session, given: Any
    ) -> None:
        """No refresh per call, whatever `expires_in` says or leaves out."""
        fake.refresh_changes = {"expires_in": given}
        fake.expire()

        for _ in range(3):
            assert session.call("echo", text="back").text == "back"
        assert len(refresh_tokens(fake)) == 1
