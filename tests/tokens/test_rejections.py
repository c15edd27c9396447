"""Tokens that a server rejects, and calls it refuses: one refresh, one step-up, and an end."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from mcpnb import errors
from tests.fakes.kernels import Kernel, stored
from tests.fakes.people import connect, query_of, refresh_tokens, sign_in, until
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply


@pytest.mark.threat("rejected-token-replay")
def test_a_server_that_rejects_everything_is_asked_once_by_all_kernels(
    fake: FakeServer, kernel: Kernel
) -> None:
    """Each kernel would else bring a generation that the others have not tried yet."""
    sign_in(kernel())
    fake.always("/mcp", Reply(401, headers={"WWW-Authenticate": "Bearer"}))

    for _ in range(3):
        for session in [kernel() for _ in range(3)]:
            with pytest.raises(errors.LoginRequired):
                session.call("echo", text="never")

    assert len(refresh_tokens(fake)) == 1


def test_a_token_that_worked_and_is_rejected_later_is_refreshed_again(
    fake: FakeServer, kernel: Kernel, folder: Path
) -> None:
    """Kernels that come later learn from the store that the server had accepted it."""
    sign_in(kernel())
    for times in (1, 2):
        fake.expire()
        for session in [kernel() for _ in range(2)]:
            assert session.call("echo", text="back").text == "back"
        assert len(refresh_tokens(fake)) == times
        # It is stored in the background.
        until(lambda: stored(folder)["doubted_at"] is None)


@pytest.mark.parametrize("lacking", ["401", "401 without scope"])
def test_one_tool_that_always_says_401_costs_one_refresh_whatever_else_succeeds(
    fake: FakeServer, kernel: Kernel, lacking: Literal["401", "401 without scope"]
) -> None:
    """A server says 401 for too little scope; two notebooks take turns."""
    fake.tool_scopes, fake.lacking = {"publish": "admin"}, lacking
    notebooks = kernel(scopes=("read",)), kernel(scopes=("read",))
    sign_in(notebooks[0])

    for _ in range(3):
        for session in notebooks:
            assert session.call("echo", text="fine").text == "fine"
            with pytest.raises(errors.McpnbError):
                session.call("publish", text="no")

    assert len(refresh_tokens(fake)) <= 1


@pytest.mark.slow
def test_an_outage_that_has_passed_is_forgotten_after_a_while(
    fake: FakeServer, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rejected, refreshed, rejected again; then accepted, and rejected for good reason."""
    monkeypatch.setattr("mcpnb.tokens.source._REJECTION_LASTS", 0.3)
    session = kernel()
    sign_in(session)
    fake.always("/mcp", Reply(401, headers={"WWW-Authenticate": "Bearer"}))
    with pytest.raises(errors.LoginRequired):
        session.call("echo", text="no")
    fake.restore("/mcp")
    assert session.call("echo", text="back").text == "back"
    fake.expire()

    def works_again() -> bool:
        try:
            return session.call("echo", text="refreshed").text == "refreshed"
        except errors.LoginRequired:
            return False

    until(works_again)
    assert len(refresh_tokens(fake)) == 2


class TestScopeFailures:
    """How a server says that a call needs more."""

    @pytest.mark.threat("step-up-without-end")
    def test_a_403_that_names_another_scope_ends_after_one_step_up(
        self, fake: FakeServer, kernel: Kernel
    ) -> None:
        """The union is asked for once; then it is refused for good."""
        fake.tool_scopes, fake.names_scope = {"publish": "write"}, "other"
        session = kernel(scopes=("read",))
        sign_in(session)
        with pytest.raises(errors.LoginRequired) as caught:
            session.call("publish", text="news")
        assert caught.value.scopes == ("other",)

        url = sign_in(session, scopes=caught.value.scopes)
        assert query_of(url)["scope"] == ["read other"]

        # The login tells what was asked for: a kernel that starts later is not sent round, either.
        for each in (session, session, kernel(scopes=("read",))):
            with pytest.raises(errors.ScopeRefused):
                each.call("publish", text="news")
        assert session.call("echo", text="fine").text == "fine"

    def test_a_403_that_names_no_scope_keeps_the_login(self, fake: FakeServer) -> None:
        """There is nothing to ask for, but nothing to lose either."""
        fake.tool_scopes, fake.lacking = {"publish": "write"}, "403 without scope"
        session = connect(fake.url, scopes=("read",))
        sign_in(session)

        with pytest.raises((errors.LoginRequired, errors.ScopeRefused)):
            session.call("publish", text="news")

        assert session.call("echo", text="fine").text == "fine"
        assert refresh_tokens(fake) == []
        url = sign_in(session, scopes=("write",))
        assert query_of(url)["scope"] == ["read write"]
        assert session.call("publish", text="news").text == "news"

    def test_scopes_a_server_gave_unasked_are_asked_for_at_the_step_up(
        self, fake: FakeServer
    ) -> None:
        """Asked for none, it granted some: the step-up asks for those, too."""
        fake.grants_scopes = ("read",)
        fake.tool_scopes = {"publish": "write"}
        session = connect(fake.url)
        assert "scope" not in query_of(sign_in(session))
        with pytest.raises(errors.LoginRequired) as caught:
            session.call("publish", text="news")
        fake.grants_scopes = None

        url = sign_in(session, scopes=caught.value.scopes)

        assert set(query_of(url)["scope"][0].split()) == {"read", "write"}

    @pytest.mark.threat("scope-widening-at-refresh")
    def test_a_wider_scope_is_never_asked_for_at_refresh(self, fake: FakeServer) -> None:
        """Not even after a call that needs more: stepping up is a new authorization."""
        fake.tool_scopes = {"publish": "write"}
        session = connect(fake.url, scopes=("read",))
        sign_in(session)
        with pytest.raises(errors.LoginRequired):
            session.call("publish", text="news")
        fake.expire()

        session.call("echo", text="back")

        assert [r.form.get("scope") for r in fake.token_requests("refresh_token")] == [None]

    def test_fewer_scopes_than_asked_for_are_a_login_all_the_same(self, fake: FakeServer) -> None:
        """The answer's `scope` says what was granted (RFC 6749 section 3.3)."""
        fake.grants_scopes = ("read",)
        fake.tool_scopes = {"publish": "write"}
        session = connect(fake.url, scopes=("read", "write"))
        sign_in(session)

        assert session.call("echo", text="fine").text == "fine"
        with pytest.raises(errors.ScopeRefused):
            session.call("publish", text="news")
