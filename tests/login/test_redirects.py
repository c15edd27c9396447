"""Where responses come back: to the notebook's page where they can, else to this computer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.demo.authorization import is_loopback
from mcpnb.demo.servers import DemoServers
from mcpnb.login import SignInRequest
from mcpnb.login.loopback import LoopbackListener
from mcpnb.login.redirects import require_callback_page
from mcpnb.oauth.models import callback_from
from mcpnb.panel import Panel
from mcpnb.stores import MemoryStore
from tests.fakes.front_end import HUB, LAB, FrontEnd, Show, page_at
from tests.fakes.people import answer_of, browse, connect, free_port, query_of, waiting
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply


def redirect_of(url: str) -> str:
    return query_of(url)["redirect_uri"][0]


def any_port(server: str, **given: Any) -> mcpnb.Session:
    """Connect as a person does, who says nothing of ports."""
    return connect(server, callback_port=None, **given)


def registered(fake: FakeServer) -> dict[str, Any]:
    """Give the one client that registered."""
    [client] = fake.clients.values()
    return client


def start(front: FrontEnd, **changed: Any) -> None:
    """Click on "Sign in", whatever comes of it."""
    given: dict[str, Any] = {"page": front.page, "memory_only": False, "via": "auto"} | changed
    front.act("sign_in", **given)


class TestThroughThePage:
    @pytest.mark.parametrize(("page", "kind"), [(LAB, "native"), (HUB, "web")])
    def test_it_is_registered_for_what_it_is(
        self, fake: FakeServer, show: Show, page: str, kind: str
    ) -> None:
        front = show(any_port(fake.url), page)
        url = front.sign_in()
        assert redirect_of(url) == page
        assert registered(fake)["redirect_uris"] == [page]
        assert registered(fake)["application_type"] == kind

    def test_no_port_is_listened_on(
        self, fake: FakeServer, show: Show, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("a port was opened")

        monkeypatch.setattr("mcpnb.login.redirects.LoopbackListener", refuse)
        front = show(any_port(fake.url), HUB)
        front.sign_in()
        login = front.panel.session.latest_login
        assert login is not None
        assert login.now.pending is not None
        assert login.now.pending.port is None

    @pytest.mark.threat("mix-up-without-iss")
    def test_servers_that_do_not_say_who_they_are_are_told_apart_by_the_address(
        self, fake: FakeServer, show: Show
    ) -> None:
        """RFC 9700 section 4.4.2; below a static file there is nothing, so it is a query."""
        fake.announce(authorization_response_iss_parameter_supported=None)
        fake.iss = None
        front = show(any_port(fake.url), HUB)
        url = front.click()["wait"]["url"]
        assert registered(fake)["redirect_uris"] == [redirect_of(url)]
        page, _, part = redirect_of(url).partition("?as=")
        assert page == HUB
        answer = answer_of(url)
        assert part in answer
        assert front.answer(answer.replace(part, "anotherOne12"))["outcome"] == "refused"
        assert front.answer(answer.replace(f"as={part}&", ""))["outcome"] == "refused"
        assert front.answer(answer)["outcome"] == "done"

    def test_an_account_with_an_at_sign_in_its_path_has_a_page(self) -> None:
        """JupyterHub leaves it as it is."""
        page = "https://hub.example.com/user/ada@example.com/lab/extensions/mcpnb/callback.html"
        assert require_callback_page(page) == page


class TestAnotherOneWhereItIsRefused:
    @pytest.mark.slow
    def test_a_server_that_knows_localhost_only(self, show: Show, folder: Path) -> None:
        with DemoServers(redirects=is_loopback, auto_consent=True) as demo:
            front = show(mcpnb.connect(demo.mcp_url, store="memory", account=str(folder)), HUB)
            wait = front.click()["wait"]
            assert wait["way"] == "loopback"
            assert wait["ssh_line"], "the browser may be elsewhere"
            assert redirect_of(wait["url"]).startswith("http://127.0.0.1:")
            assert "127.0.0.1" in " ".join(front.state["notes"])
            assert "Signed in" in browse(wait["url"]).text
            front.phase("signed_in")
            assert front.panel.session.call("whoami").text
            front.act("sign_out")
            front.phase("signed_out")

    def test_one_that_registers_nobody_says_why(self, fake: FakeServer, show: Show) -> None:
        """The second way fails for the same reason: that is what is told, once."""
        fake.always("/register", Reply(403, {"error": "access_denied"}))
        front = show(any_port(fake.url), HUB)
        start(front)
        assert "register" in front.phase("failed")["error"]["text"]
        assert len(fake.asked("/register")) == 2

    def test_a_way_that_was_chosen_is_not_left(self, fake: FakeServer, show: Show) -> None:
        fake.always("/register", Reply(400, {"error": "invalid_redirect_uri"}))
        front = show(any_port(fake.url), HUB, via="page")
        start(front)
        front.phase("failed")
        assert len(fake.asked("/register")) == 1


class TestAClientThatWasRegisteredBefore:
    def known(self, fake: FakeServer, *redirects: str) -> dict[str, Any]:
        fake.clients["mine"] = {
            "redirect_uris": list(redirects),
            "token_endpoint_auth_method": "none",
        }
        return {"client_id": "mine", "issuer": fake.base}

    @pytest.mark.parametrize("port_given", [True, False])
    def test_goes_back_to_this_computer(
        self, fake: FakeServer, show: Show, *, port_given: bool
    ) -> None:
        port = free_port() if port_given else None
        back = f"http://127.0.0.1:{port}/callback"
        front = show(connect(fake.url, callback_port=port, **self.known(fake, back)), HUB)
        wait = front.click()["wait"]
        assert wait["way"] == "loopback"
        assert port is None or redirect_of(wait["url"]) == back
        assert fake.asked("/register") == []

    @pytest.mark.parametrize("said", ["its callback address", "via"])
    def test_goes_to_the_page_where_somebody_says_so(
        self, fake: FakeServer, show: Show, said: str
    ) -> None:
        known = self.known(fake, HUB)
        if said == "via":
            front = show(any_port(fake.url, **known), HUB, via="page")
        else:
            front = show(any_port(fake.url, callback_url=HUB, **known), HUB)
        assert redirect_of(front.sign_in()) == HUB

    def test_a_callback_address_elsewhere_stays(self, fake: FakeServer, show: Show) -> None:
        back = "http://127.0.0.1:28997/elsewhere"
        front = show(any_port(fake.url, callback_url=back, **self.known(fake, back)), HUB)
        wait = front.click(via="paste")["wait"]
        assert redirect_of(wait["url"]) == back


class TestTheChoiceOfAPerson:
    def test_the_page_without_a_page_is_an_error_that_says_what_to_do(
        self, fake: FakeServer, show: Show
    ) -> None:
        front = show(any_port(fake.url), None, via="page")
        start(front, page=page_at(HUB, served=False))
        assert "mcpnb jupyter" in front.phase("failed")["error"]["text"]
        with pytest.raises(errors.LoginError, match="No page of this notebook"):
            any_port(fake.url, via="page").login().wait(10)

    @pytest.mark.parametrize("way", ["loopback", "paste"])
    def test_each_place_to_choose_is_obeyed(self, fake: FakeServer, show: Show, way: str) -> None:
        chosen = cast("Any", way)
        in_connect = show(any_port(fake.url, via=chosen, account="1"), HUB).click()
        # The nearest counts.
        in_panel = show(any_port(fake.url, account="2", via="page"), HUB, via=chosen).click()
        in_click = show(any_port(fake.url, account="3"), HUB).click(via=way)
        session = any_port(fake.url, account="4")
        session.sign_in(SignInRequest(callback=callback_from(chosen), page=HUB))
        in_login = show(session, HUB).waiting()
        for state in (in_connect, in_panel, in_click, in_login):
            assert state["wait"]["way"] == way
            assert redirect_of(state["wait"]["url"]).startswith("http://127.0.0.1:")

    def test_a_way_that_does_not_exist_is_a_configuration_error(self, fake: FakeServer) -> None:
        wrong = cast("Any", "pigeon")
        session = any_port(fake.url)
        for attempt in (
            lambda: any_port(fake.url, via=wrong),
            lambda: session.login(via=wrong),
            lambda: Panel(session, via=wrong),
        ):
            with pytest.raises(errors.ConfigError, match=r"pigeon"):
                attempt()
        assert session.latest_login is None

    def test_clicking_twice_is_one_sign_in(self, fake: FakeServer, show: Show) -> None:
        """Also while the first is still finding out how."""
        front = show(any_port(fake.url), HUB, via="page")
        hold = fake.never()
        fake.script("/mcp", hold)
        start(front)
        front.phase("starting")
        first = front.panel.session.latest_login
        start(front)
        start(front, via="page")
        front.hello("two")
        assert front.panel.session.login(via="relay") is first  # the earlier name


class TestWhatIsNoRedirect:
    """The page is asked for its address, and not believed."""

    @pytest.mark.parametrize(
        "callback",
        [
            HUB.replace("https", "http"),
            "javascript:alert(1)//mcpnb/callback.html",
            "/mcpnb/callback.html",
            HUB.replace("https://", "https://@"),
            HUB + "?",
            HUB + "#",
            HUB + "/",
            HUB.replace("mcpnb/", "evil-mcpnb-"),
            HUB.replace("hub.example.com", "hub.example.com:99999"),
            HUB.replace("example.com", "example.com\\evil.example"),
            HUB.replace("ada", "a\u202eda"),
            HUB.replace("ada", "a" * 2000),
            None,
            {"url": HUB},
        ],
    )
    def test_it_is_never_used(self, fake: FakeServer, show: Show, callback: object) -> None:
        assert require_callback_page(callback) is None
        front = show(connect(fake.url))
        wait = front.click(page=page_at(callback))["wait"]
        assert wait["way"] == "loopback"
        assert registered(fake)["redirect_uris"][0].startswith("http://127.0.0.1:")

    def test_nor_is_one_that_is_not_served(self, fake: FakeServer, show: Show) -> None:
        front = show(any_port(fake.url))
        wait = front.click(page=page_at(HUB, served=False))["wait"]
        assert wait["way"] == "loopback"


class TestPort:
    def test_sign_ins_at_several_servers_wait_side_by_side(self, fake: FakeServer) -> None:
        """One has the port, the others take another one and register it."""
        port = free_port()
        store = MemoryStore()
        sessions = [
            connect(fake.url, store=store, account=name, callback_port=port) for name in "abc"
        ]
        logins = [waiting(session) for session in sessions]
        ports = [urlsplit(str(login.redirect_uri)).port for login, _ in logins]

        assert ports[0] == port
        assert len(set(ports)) == 3
        assert any("in use" in note for note in logins[1][0].notes)
        for login, url in reversed(logins):
            assert "<h1>Signed in</h1>" in browse(url).text
            login.wait(10)
        assert all(session.signed_in for session in sessions)

    @pytest.mark.threat("port-taken-by-another")
    def test_a_busy_port_is_a_clear_error_where_the_redirect_is_registered_by_hand(
        self, fake: FakeServer
    ) -> None:
        """And no address is shown that could not be answered."""
        with_port = LoopbackListener(0)
        try:
            session = connect(fake.url, client_id="by hand", callback_port=with_port.port)
            login = session.login()
            with pytest.raises(errors.LoginError, match="callback port is in use"):
                login.wait(10)
        finally:
            with_port.close()
        assert login.url is None

    def test_a_public_callback_is_listened_for_everywhere_and_says_so(
        self, fake: FakeServer
    ) -> None:
        """The proxy in front leads to this machine under its own name."""
        port = free_port()
        session = connect(
            fake.url, callback_url="https://hub.example/user/ada/callback?x=1", callback_port=port
        )
        login, url = waiting(session)

        assert any("all interfaces" in note for note in login.notes)
        assert query_of(url)["redirect_uri"] == ["https://hub.example/user/ada/callback?x=1"]
        assert fake.asked("/register")[0].json["application_type"] == "web"
        answer = urlsplit(answer_of(url).replace("callback?x=1?", "callback?x=1&"))
        assert answer.netloc == "hub.example"

        local = f"http://127.0.0.2:{port}{answer.path}?{answer.query}"
        assert browse(local, Host="evil.example").status_code == 421
        assert "<h1>Signed in</h1>" in browse(local, Host="hub.example").text
        assert session.signed_in
