"""The panel's Python side: what a click leads to, message by message."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from mcpnb.panel import Panel
from tests.fakes.front_end import LAB, FrontEnd, Show, say
from tests.fakes.kernels import Kernel
from tests.fakes.people import answer_of, connect, query_of, sign_in, until
from tests.fakes.server import FakeServer


class TestBeforeTheClick:
    def test_nobody_is_contacted_and_nothing_is_written(
        self, front: FrontEnd, fake: FakeServer, folder: Path
    ) -> None:
        state = front.state
        assert state["phase"] == "signed_out"
        assert state["headline"] == f"Sign in to 127.0.0.1:{fake.port}"
        assert state["detail"] == "mcpnb contacts no server before you click."
        assert state["authorization_server"] is None
        assert state["wait"] is state["login"] is state["error"] is None
        assert fake.requests == []
        assert list(folder.glob("*")) == []

    def test_it_says_where_the_login_would_be_kept_and_who_could_use_it(
        self, front: FrontEnd
    ) -> None:
        state = front.state
        assert state["kept"].startswith("It will be saved ")
        assert "permissions" in state["kept"], "a key that is a file is told plainly"
        assert state["who"] == "Anyone who can run code in this kernel can act as this login."
        assert state["memory_only_possible"] is True

    def test_a_pinned_authorization_server_is_shown(self, fake: FakeServer, show: Show) -> None:
        state = show(connect(fake.url, issuer="https://login.example.com/t")).state
        server = {"issuer": "https://login.example.com/t", "host": "login.example.com"}
        assert state["authorization_server"] == server
        assert fake.requests == []


class TestOneClick:
    @pytest.mark.threat("mix-up-without-iss")
    def test_a_page_elsewhere_than_at_its_authorization_server_is_said(
        self, front: FrontEnd, fake: FakeServer
    ) -> None:
        """A hostile one leads people to an honest page, having registered our address there."""
        port = fake.base.rpartition(":")[2]
        fake.announce(authorization_endpoint=f"http://localhost:{port}/authorize")
        [note] = front.click()["notes"]
        assert note == (f"You approve on localhost:{port}. The code goes to 127.0.0.1:{port}.")

    def test_the_answer_comes_through_the_page_and_the_login_works(
        self, front: FrontEnd, fake: FakeServer
    ) -> None:
        state = front.click()
        assert state["wait"]["way"] == "page"
        assert state["permissions_note"] == "The server decides."
        assert state["authorization_server"]["issuer"] == fake.base
        reply = front.answer(answer_of(state["wait"]["url"]))

        assert (reply["outcome"], reply["location"]) == ("done", None)
        state = front.phase("signed_in")
        assert state["headline"] == f"Signed in to 127.0.0.1:{fake.port}"
        assert state["kept"].startswith("Saved ")
        assert state["login"]["renews"] == "It refreshes itself."
        assert state["wait"] is None
        session = front.panel.session
        assert session.call("echo", text="hello").text == "hello"
        fake.expire()
        assert session.call("echo", text="renewed").text == "renewed"

    def test_every_step_is_shown_in_its_order(self, front: FrontEnd) -> None:
        front.sign_in()
        order = ["signed_out", "starting", "waiting", "exchanging", "signed_in"]
        phases = [state["phase"] for state in front.states]
        assert phases == sorted(phases, key=order.index)
        assert {"signed_out", "waiting", "signed_in"} <= set(phases)
        serials = [state["serial"] for state in front.states]
        assert serials == sorted(set(serials))

    @pytest.mark.threat("widget-state-leak")
    def test_what_the_file_keeps_holds_neither_address_nor_account(
        self, kernel: Kernel, show: Show, fake: FakeServer
    ) -> None:
        """Whoever executes a notebook with nobody there writes every trait into the file."""
        front = show(kernel(callback_port=None, account="ada-of-finance"))
        front.sign_in()
        front.act("sign_out")
        front.phase("signed_out")

        kept = " ".join(front.kept | {front.what_is_kept()})
        assert "http" not in kept
        assert "finance" not in kept, "and not ada: a widget's id is made of such letters"
        assert f"<Panel: sign in to 127.0.0.1:{fake.port}>" in kept
        assert front.states[0]["account"] == "ada-of-finance", "a person sees it"

    @pytest.mark.threat("widget-state-leak")
    def test_only_the_pages_own_code_is_a_synced_trait(self, front: FrontEnd) -> None:
        from anywidget import AnyWidget

        class Bare(AnyWidget):
            """A widget with nothing of its own."""

            _esm = "export default {}"

        front.sign_in()
        assert set(front.panel.get_state()) - {"_css"} == set(Bare().get_state())

    def test_a_second_click_is_the_same_sign_in(self, front: FrontEnd, fake: FakeServer) -> None:
        url = front.click()["wait"]["url"]
        front.act("sign_in", page=front.page, memory_only=False, via="auto")
        front.hello("two")

        assert front.state["wait"]["url"] == url
        assert len(fake.asked("/register")) == 1

    def test_a_click_that_comes_after_the_sign_in_changes_nothing(
        self, front: FrontEnd, fake: FakeServer
    ) -> None:
        """Signed in elsewhere while it was on its way."""
        front.sign_in()
        asked = len(fake.requests)
        front.act("sign_in", page=front.page, memory_only=True, via="auto")
        front.act("tools")  # handled after it

        assert front.wait_for(lambda s: s["login"] and s["login"]["tools"])["memory_only"] is False
        assert all(request.path == "/mcp" for request in fake.requests[asked:])

    def test_cancelling_ends_it(self, front: FrontEnd, folder: Path) -> None:
        front.click()
        front.act("cancel")

        state = front.phase("signed_out")
        assert state["error"] is None, "it was the person's own wish"
        until(lambda: not list(folder.glob("pending-*.mcpnb")))


class TestPasting:
    def test_a_wrong_address_is_refused_and_the_wait_goes_on(self, front: FrontEnd) -> None:
        url = front.click(via="paste")["wait"]["url"]
        other = "https://shop.example/?code=abc&state=wrong"
        reply = front.answer(other, kind="paste")
        assert reply["outcome"] == "refused"
        assert "wrong" not in reply["text"]
        assert front.state["phase"] == "waiting"
        assert front.answer("nonsense", kind="paste")["outcome"] == "refused"

        assert front.answer(answer_of(url), kind="paste")["outcome"] == "done"
        assert front.phase("signed_in")["error"] is None

    def test_consent_that_is_denied_is_told_and_can_be_tried_again(
        self, front: FrontEnd, fake: FakeServer
    ) -> None:
        fake.authorize_error = {"error": "access_denied"}
        reply = front.answer(answer_of(front.click()["wait"]["url"]))
        assert reply["outcome"] == "failed"
        state = front.phase("failed")
        assert state["headline"] == f"Not signed in to 127.0.0.1:{fake.port}"
        assert state["error"]["text"] == reply["text"]
        assert state["error"]["next"]

        fake.authorize_error = None
        front.sign_in()
        assert front.state["error"] is None

    def test_scopes_that_are_refused_send_the_browser_on(
        self, front: FrontEnd, fake: FakeServer
    ) -> None:
        fake.describe(scopes_supported=["nonsense"])
        fake.known_scopes = {"read"}
        first = front.click()["wait"]["url"]
        reply = front.answer(answer_of(first))

        assert reply["outcome"] == "again"
        state = front.wait_for(lambda s: s["wait"] and s["wait"]["url"] == reply["location"])
        assert "scope" not in query_of(reply["location"])
        assert state["permissions"] == []
        assert front.answer(answer_of(reply["location"]))["outcome"] == "done"

    def test_an_answer_that_nobody_awaits_is_replied_to(self, front: FrontEnd) -> None:
        """The page that hands it over would wait for a word for ever."""
        assert front.answer(f"{LAB}?code=c&state=s")["outcome"] == "refused"
        front.sign_in()
        assert front.answer(f"{LAB}?code=c&state=s")["outcome"] == "refused"
        front.phase("signed_in")

    @pytest.mark.parametrize("text", [None, 7, ["a"], {}])
    def test_so_is_one_that_is_no_text(self, front: FrontEnd, text: object) -> None:
        front.click()
        assert front.answer(text)["outcome"] == "refused"
        assert front.state["phase"] == "waiting"


class TestViews:
    def test_an_answer_that_both_hand_over_is_done_for_both(
        self, front: FrontEnd, fake: FakeServer
    ) -> None:
        front.hello("two")
        text = answer_of(str(front.click()["wait"]["url"]))
        assert front.answer(text)["outcome"] == "done"
        assert front.answer(text, view="two")["outcome"] == "done"
        assert len(fake.token_requests("authorization_code")) == 1

    def test_whoever_says_hello_is_sent_the_whole_state(self, front: FrontEnd) -> None:
        url = front.click()["wait"]["url"]
        before = front.state["serial"]
        state = front.hello("reloaded")
        assert state["serial"] > before
        assert state["wait"]["url"] == url

    def test_each_message_is_acknowledged_at_once(self, front: FrontEnd) -> None:
        assert front.heard(front.say("pong"))
        assert front.heard(front.say("act", action="no such thing"))

    def test_a_panel_lives_as_long_as_a_view_has_not_said_goodbye(self, front: FrontEnd) -> None:
        front.hello("two")
        front.say("bye", "one")
        front.say("bye", "never seen")
        assert front.panel.live
        front.say("bye", "two")
        until(lambda: not front.panel.live)

    def test_a_view_that_goes_at_once_is_gone(self, kernel: Kernel) -> None:
        """Though its greeting is worked on only after its goodbye."""
        gone = threading.Event()

        class Slow(dict[str, Any]):
            """What a page says of itself, read only once the page has gone."""

            def get(self, key: str, default: Any = None) -> Any:
                assert gone.wait(10)
                return super().get(key, default)

        front = FrontEnd(Panel(kernel()))
        front.say("hello", page=Slow(front.page))
        front.say("bye")
        gone.set()
        front.phase("signed_out")
        assert not front.panel.live
        front.close()

    def test_a_closed_panel_is_not_alive(self, front: FrontEnd) -> None:
        assert front.panel.live
        front.panel.close()
        assert not front.panel.live

    @pytest.mark.slow
    def test_one_that_nobody_has_any_more_is_let_go(self, kernel: Kernel) -> None:
        front = FrontEnd(Panel(kernel()))
        front.hello()
        sign_in(kernel())
        front.phase("signed_in")  # it is looked after
        front.panel.close()
        panel = weakref.ref(front.panel)
        del front
        until(lambda: gc.collect() >= 0 and panel() is None)

    @pytest.mark.parametrize(
        "message",
        [
            None,
            7,
            "hello",
            [],
            {},
            {"kind": "hello"},
            {"kind": "hello", "view": 7},
            {"kind": "hello", "view": ["one"], "id": 1},
            {"view": "one"},
            {"kind": ["hello"], "view": "one"},
            {"kind": "act", "view": "one"},
            {"kind": "act", "view": "one", "action": ["sign_in"]},
            {"kind": "act", "view": "one", "action": "__class__"},
            {"kind": "act", "view": "one", "action": "cancel", "page": "here"},
            {"kind": "answer", "view": "one", "text": {"a": 1}},
            {"kind": "paste", "view": "one"},
            {"kind": "no such thing", "view": "one", "id": "seven"},
        ],
        ids=str,
    )
    def test_a_message_that_makes_no_sense_is_ignored(
        self, front: FrontEnd, fake: FakeServer, caplog: pytest.LogCaptureFixture, message: Any
    ) -> None:
        with caplog.at_level(logging.INFO):
            say(front.panel, message)
            state = front.hello("two")

        assert caplog.records == []
        assert state["phase"] == "signed_out"
        assert not any("Unexpected" in note for note in state["notes"])
        assert fake.requests == []

    @pytest.mark.parametrize(
        "page",
        [
            None,
            7,
            "page",
            {},
            {"origin": "http://[", "callback": "http://[", "served": True},
            {"origin": 7, "callback": 7, "served": 7},
            {"origin": "x" * 5000, "callback": ["x"], "served": "yes"},
        ],
        ids=lambda page: str(page)[:40],
    )
    def test_a_page_that_does_not_know_where_it_is_is_shown_the_panel(
        self, kernel: Kernel, page: Any
    ) -> None:
        front = FrontEnd(Panel(kernel()))
        front.say("hello", page=page)
        assert front.phase("signed_out")["notes"] == []
        assert front.panel.live
        front.close()

    def test_a_way_that_does_not_exist_is_told(self, front: FrontEnd, fake: FakeServer) -> None:
        front.act("sign_in", page=front.page, memory_only=False, via="pigeon")
        assert front.noted("via has to be one of")["phase"] == "signed_out"
        assert fake.requests == []
