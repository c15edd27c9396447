"""The panel of a login: where it is kept, and what can be done with it; message by message."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpnb import errors
from tests.fakes.front_end import FrontEnd, Show
from tests.fakes.kernels import Kernel
from tests.fakes.people import answer_of, connect, query_of, until
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply


class TestMemoryOnly:
    def test_nothing_is_written(self, kernel: Kernel, show: Show, folder: Path) -> None:
        front = show(kernel(callback_port=None, account="memory-only"))
        front.sign_in(memory_only=True)

        state = front.state
        assert state["memory_only"] is True
        assert "memory" in state["kept"]
        assert list(folder.glob("*")) == []
        session = front.panel.session
        assert session.call("echo", text="kept").text == "kept"
        with pytest.raises(errors.ConfigError, match="Sign out"):
            session.keep_in("file")
        front.act("sign_out")
        front.phase("signed_out")

    @pytest.mark.parametrize("ticked", [False, True])
    def test_a_sign_in_under_way_stays_where_it_was_begun(
        self,
        front: FrontEnd,
        folder: Path,
        ticked: bool,  # noqa: FBT001  a row of the table
    ) -> None:
        """A second view, in which the box is the other way round, clicks as well: it is told so."""
        url = front.click(memory_only=ticked)["wait"]["url"]
        front.act("sign_in", "two", page=front.page, memory_only=not ticked, via="auto")
        state = front.noted("Cancel it first")
        assert state["memory_only"] is ticked
        assert state["wait"]["url"] == url
        assert front.answer(answer_of(url))["outcome"] == "done"
        front.phase("signed_in")
        assert len(list(folder.glob("login-*.mcpnb"))) == (0 if ticked else 1)
        assert front.panel.session.info().in_memory is ticked

    def test_it_can_be_chosen_once_the_first_is_cancelled(
        self, front: FrontEnd, folder: Path
    ) -> None:
        front.click()
        front.act("sign_in", page=front.page, memory_only=True, via="auto")
        front.noted("Cancel it first")
        front.act("cancel")
        front.phase("signed_out")
        front.sign_in(memory_only=True)
        assert list(folder.glob("login-*.mcpnb")) == []


class TestTwoPanels:
    """Of one session: what counts is where it keeps logins, whoever chose that."""

    @pytest.fixture
    def both(self, kernel: Kernel, show: Show) -> tuple[FrontEnd, FrontEnd]:
        session = kernel(callback_port=None)
        return show(session), show(session)

    @pytest.mark.slow
    def test_each_tick_counts(self, both: tuple[FrontEnd, FrontEnd], folder: Path) -> None:
        """Ticked in the second long ago, unticked in the first since, and ticked in it again."""
        first, second = both
        for front, ticked in ((second, True), (first, True), (first, False), (second, True)):
            front.sign_in(memory_only=ticked)
            assert front.panel.session.info().in_memory is ticked
            assert [bool(p.phase("signed_in")["memory_only"]) for p in both] == [ticked, ticked]
            logins = [f for f in folder.glob("login-*.mcpnb") if "sealed" in f.read_text()]
            assert len(logins) == (0 if ticked else 1)
            front.act("sign_out")
            for each in both:
                each.phase("signed_out")

    def test_one_that_is_shown_later_can_be_unticked(
        self, kernel: Kernel, show: Show, folder: Path
    ) -> None:
        """Where the login was to be kept at first is the session's to know."""
        session = kernel(callback_port=None)
        first = show(session)
        first.sign_in(memory_only=True)
        first.act("sign_out")
        first.phase("signed_out")
        second = show(session)
        assert second.state["memory_only"] is True
        assert second.state["memory_only_possible"] is True
        second.sign_in(memory_only=False)
        assert len(list(folder.glob("login-*.mcpnb"))) == 1


class TestChosenInCode:
    @pytest.mark.slow
    def test_the_panel_shows_it_and_a_tick_counts_again(
        self, front: FrontEnd, world: Path, folder: Path
    ) -> None:
        session = front.panel.session
        front.sign_in(memory_only=True)
        session.logout()
        session.keep_in("file")
        assert "memory" not in session.info().location
        front.hello()
        front.wait_for(lambda s: s["phase"] == "signed_out" and s["memory_only"] is False)
        front.sign_in(memory_only=False)
        home = world / "mcpnb"
        assert len(list(home.glob("login-*.mcpnb"))) == 1, "where the code said"
        session.logout()
        front.phase("signed_out")

        front.sign_in(memory_only=True)
        assert session.info().in_memory
        assert not any("sealed" in f.read_text() for f in home.glob("login-*.mcpnb"))
        assert list(folder.glob("login-*.mcpnb")) == []

    def test_none_leads_back_to_where_it_was_to_be_kept_at_first(self, kernel: Kernel) -> None:
        session = kernel()
        first = session.store
        session.keep_in("memory")
        assert session.info().in_memory
        assert session.info().memory_is_a_choice
        assert session.options(timeout=1).info().in_memory, "so it is for every view of it"
        session.keep_in(None)
        assert session.store is first
        assert not session.options(timeout=1).info().in_memory

    def test_memory_is_no_choice_where_it_was_given(self, fake: FakeServer, show: Show) -> None:
        front = show(connect(fake.url, callback_port=None))
        assert front.state["memory_only"] is True
        assert front.state["memory_only_possible"] is False
        front.sign_in(memory_only=False)
        assert front.panel.session.info().in_memory
        assert not front.panel.session.info().memory_is_a_choice


class TestSignedIn:
    def test_the_tools_are_listed_with_what_they_do(self, front: FrontEnd) -> None:
        front.sign_in()
        assert front.state["login"]["tools_state"] == "unknown"
        front.act("tools")
        login = front.wait_for(lambda s: s["login"]["tools_state"] == "ready")["login"]
        assert "echo" in [tool["name"] for tool in login["tools"]]
        assert all(set(tool) == {"name", "description"} for tool in login["tools"])

    def test_what_keeps_them_from_being_listed_is_told(
        self, front: FrontEnd, fake: FakeServer
    ) -> None:
        front.sign_in()
        fake.always("/mcp", Reply(500, "broken"))
        front.act("tools")
        login = front.wait_for(lambda s: s["login"]["tools_state"] == "failed")["login"]
        assert login["tools_text"]
        assert login["tools"] is None

    def test_a_fault_of_ours_does_not_leave_it_loading(
        self, front: FrontEnd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        front.sign_in()

        def broken() -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(front.panel.session, "tools", broken)
        front.act("tools")
        login = front.wait_for(lambda s: s["login"]["tools_state"] == "failed")["login"]
        assert "ZeroDivisionError" in login["tools_text"]

    def test_signing_out_revokes(self, front: FrontEnd, fake: FakeServer) -> None:
        front.sign_in()
        front.act("sign_out")
        assert front.phase("signed_out")["notes"] == []
        until(lambda: len(fake.asked("/revoke")) == 2)

    def test_a_sign_out_that_the_server_does_not_confirm_is_told(
        self, front: FrontEnd, fake: FakeServer
    ) -> None:
        front.sign_in()
        fake.always("/revoke", Reply(503))
        front.act("sign_out")
        assert front.noted("did not confirm")["phase"] == "signed_out"


class TestAnotherAccount:
    def test_the_server_is_asked_to_let_the_person_choose(
        self, front: FrontEnd, fake: FakeServer
    ) -> None:
        front.sign_in()
        before = front.panel.session.access_token()
        front.act("another_account", page=front.page, via="auto")
        url = front.waiting()["wait"]["url"]
        assert query_of(url)["prompt"] == ["select_account"]
        assert front.panel.session.access_token() == before, "it is good until the other one is"
        assert front.answer(answer_of(url))["outcome"] == "done"

        front.phase("signed_in")
        assert front.panel.session.access_token() != before
        assert len(fake.token_requests("authorization_code")) == 2

    def test_one_that_fails_leaves_the_earlier_login(
        self, front: FrontEnd, fake: FakeServer
    ) -> None:
        front.sign_in()
        before = front.panel.session.access_token()
        fake.authorize_error = {"error": "access_denied"}
        front.act("another_account", page=front.page, via="auto")
        front.answer(answer_of(front.waiting()["wait"]["url"]))

        state = front.phase("signed_in")
        assert state["error"]["next"] == "The earlier login still works."
        assert front.panel.session.access_token() == before

    def test_another_way_asks_the_same_of_the_server(self, front: FrontEnd) -> None:
        front.sign_in()
        front.act("another_account", page=front.page, via="auto")
        first = front.waiting()["wait"]["url"]
        front.act("another_way", via="loopback")
        url = front.wait_for(lambda s: s["wait"] and s["wait"]["url"] not in (None, first))["wait"]
        assert query_of(url["url"])["prompt"] == ["select_account"]


class TestMorePermissions:
    def test_what_a_refused_call_needed_is_asked_for_beside_what_is_held(
        self, fake: FakeServer, kernel: Kernel, show: Show
    ) -> None:
        session = kernel(callback_port=None, scopes=("read",))
        front = show(session)
        front.sign_in()
        fake.tool_scopes = {"echo": "write"}
        with pytest.raises(errors.LoginRequired) as caught:
            session.call("echo", text="x")
        assert caught.value.scopes == ("write",)
        assert front.hello()["login"]["missing"] == ["write"]

        front.act("add_permissions", page=front.page, via="auto")
        state = front.waiting()
        assert state["permissions"] == ["read", "write"]
        assert state["permissions_note"] == "requested"
        assert front.answer(answer_of(state["wait"]["url"]))["outcome"] == "done"
        state = front.phase("signed_in")
        assert state["login"]["missing"] == []
        assert state["permissions"] == ["read", "write"]
        assert session.call("echo", text="x").text == "x"

    def test_scopes_of_a_sign_in_in_code_survive_another_way(self, front: FrontEnd) -> None:
        login = front.panel.session.login(scopes=("read", "write"))
        login.wait_for("waiting", 10)
        first = login.url
        front.act("another_way", via="paste")
        url = front.wait_for(lambda s: s["wait"] and s["wait"]["url"] not in (None, first))["wait"]
        assert query_of(url["url"])["scope"] == ["read write"]
