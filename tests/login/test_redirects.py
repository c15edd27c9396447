"""Which way an answer comes back: the notebook's page where it can, this computer where it must."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

import mcpnb
from mcpnb import errors
from mcpnb.demo.servers import DemoServers
from mcpnb.login import SignInRequest
from mcpnb.login.redirects import require_callback_page
from mcpnb.oauth.models import callback_from
from mcpnb.panel import Panel
from tests.fakes.front_end import HUB, LAB, FrontEnd, page_at
from tests.fakes.kernels import Kernel
from tests.fakes.people import answer_of, connect, free_port, query_of
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply

Show = Callable[..., FrontEnd]


def redirect_of(url: str) -> str:
    return query_of(url)["redirect_uri"][0]


def any_port(server: str, **given: Any) -> mcpnb.Session:
    """Connect as a person does, who says nothing of ports."""
    return connect(server, callback_port=None, **given)


def registered(fake: FakeServer) -> dict[str, Any]:
    """Give the one client that registered."""
    [client] = fake.clients.values()
    return client


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
        assert login.port is None

    def test_servers_that_do_not_say_who_they_are_are_told_apart_by_the_address(
        self, fake: FakeServer, show: Show
    ) -> None:
        """RFC 9700 section 4.4.2; below a static file there is nothing, so it is a query."""
        fake.announce(authorization_response_iss_parameter_supported=None)
        fake.iss = None
        front = show(any_port(fake.url), HUB)
        redirect = redirect_of(front.sign_in())
        assert redirect.startswith(f"{HUB}?as=")
        assert registered(fake)["redirect_uris"] == [redirect]

    @pytest.mark.threat("mix-up-without-iss")
    def test_an_answer_at_another_servers_address_is_refused(
        self, fake: FakeServer, show: Show
    ) -> None:
        fake.announce(authorization_response_iss_parameter_supported=None)
        fake.iss = None
        front = show(any_port(fake.url), HUB)
        url = front.click()["wait"]["url"]
        part = redirect_of(url).partition("?as=")[2]
        answer = answer_of(url)
        assert part in answer
        assert front.answer(answer.replace(part, "anotherOne12"))["outcome"] == "refused"
        assert front.answer(answer.replace(f"as={part}&", ""))["outcome"] == "refused"
        assert front.answer(answer)["outcome"] == "done"

    def test_a_registration_is_used_again(
        self, fake: FakeServer, kernel: Kernel, show: Show
    ) -> None:
        for _ in range(2):
            front = show(kernel(callback_port=None), HUB)
            front.sign_in()
            front.act("sign_out")
            front.phase("signed_out")
        assert len(fake.asked("/register")) == 1

    def test_an_account_with_an_at_sign_in_its_path_has_a_page(self) -> None:
        """JupyterHub leaves it as it is."""
        page = "https://hub.example.com/user/ada@example.com/lab/extensions/mcpnb/callback.html"
        assert require_callback_page(page) == page


class TestAnotherOneWhereItIsRefused:
    @pytest.mark.slow
    def test_a_server_that_knows_localhost_only(self, show: Show, folder: Path) -> None:
        with DemoServers(redirects="localhost", auto_consent=True) as demo:
            front = show(mcpnb.connect(demo.mcp_url, store="memory", account=str(folder)), HUB)
            wait = front.click()["wait"]
            assert wait["way"] == "loopback"
            assert wait["ssh_line"], "the browser may be elsewhere"
            assert redirect_of(wait["url"]).startswith("http://127.0.0.1:")
            assert "127.0.0.1" in " ".join(front.state["notes"])
            with httpx2.Client(trust_env=False, follow_redirects=True, timeout=10) as browser:
                assert "Signed in" in browser.get(wait["url"]).text
            front.phase("signed_in")
            assert front.panel.session.call("whoami").text
            front.act("sign_out")
            front.phase("signed_out")

    @pytest.mark.slow
    def test_a_page_on_this_computer_is_no_reason(self, show: Show, folder: Path) -> None:
        with DemoServers(redirects="localhost", auto_consent=True) as demo:
            front = show(mcpnb.connect(demo.mcp_url, store="memory", account=str(folder)), LAB)
            assert redirect_of(front.sign_in()).partition("?")[0] == LAB
            front.act("sign_out")
            front.phase("signed_out")

    def test_one_that_registers_nobody_says_why(self, fake: FakeServer, show: Show) -> None:
        """The second way fails for the same reason: that is what is told, once."""
        fake.always("/register", Reply(403, {"error": "access_denied"}))
        front = show(any_port(fake.url), HUB)
        front.act("sign_in", page=front.page, memory_only=False, via="auto")
        assert "register" in front.phase("failed")["error"]["text"]
        assert len(fake.asked("/register")) == 2

    def test_a_way_that_was_chosen_is_not_left(self, fake: FakeServer, show: Show) -> None:
        fake.always("/register", Reply(400, {"error": "invalid_redirect_uri"}))
        front = show(any_port(fake.url), HUB, via="page")
        front.act("sign_in", page=front.page, memory_only=False, via="auto")
        front.phase("failed")
        assert len(fake.asked("/register")) == 1

    def test_without_any_way_to_register_a_client_id_is_asked_for(
        self, fake: FakeServer, show: Show
    ) -> None:
        fake.announce(registration_endpoint=None)
        front = show(any_port(fake.url), HUB)
        front.act("sign_in", page=front.page, memory_only=False, via="auto")
        assert "client_id=" in front.phase("failed")["error"]["text"]


class TestAClientThatWasRegisteredBefore:
    def known(self, fake: FakeServer, *redirects: str) -> dict[str, Any]:
        fake.clients["mine"] = {
            "redirect_uris": list(redirects),
            "token_endpoint_auth_method": "none",
        }
        return {"client_id": "mine", "issuer": fake.base}

    def test_goes_back_to_this_computer(self, fake: FakeServer, show: Show) -> None:
        port = free_port()
        back = f"http://127.0.0.1:{port}/callback"
        given = self.known(fake, back)
        front = show(connect(fake.url, callback_port=port, **given), HUB)
        assert redirect_of(front.sign_in()) == back

    def test_so_it_does_where_nothing_was_said_of_ports(self, fake: FakeServer, show: Show) -> None:
        front = show(any_port(fake.url, **self.known(fake)), HUB)
        wait = front.click()["wait"]
        assert wait["way"] == "loopback"
        assert fake.asked("/register") == []

    def test_goes_to_the_page_where_that_is_its_callback_address(
        self, fake: FakeServer, show: Show
    ) -> None:
        front = show(any_port(fake.url, callback_url=HUB, **self.known(fake, HUB)), HUB)
        assert redirect_of(front.sign_in()) == HUB

    def test_or_where_somebody_says_so(self, fake: FakeServer, show: Show) -> None:
        front = show(any_port(fake.url, **self.known(fake, HUB)), HUB, via="page")
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
        front.act("sign_in", page=page_at(HUB, served=False), memory_only=False, via="auto")
        assert "mcpnb jupyter" in front.phase("failed")["error"]["text"]
        with pytest.raises(errors.LoginError, match="No page of this notebook"):
            any_port(fake.url, via="page").login().wait(10)

    @pytest.mark.parametrize("way", ["loopback", "paste"])
    def test_each_place_to_choose_is_obeyed(self, fake: FakeServer, show: Show, way: str) -> None:
        chosen = cast("Any", way)
        in_connect = show(any_port(fake.url, via=chosen, account="1"), HUB).click()
        in_panel = show(any_port(fake.url, account="2"), HUB, via=chosen).click()
        in_click = show(any_port(fake.url, account="3"), HUB).click(via=way)
        session = any_port(fake.url, account="4")
        session.sign_in(SignInRequest(callback=callback_from(chosen), page=HUB))
        in_login = show(session, HUB).waiting()
        for state in (in_connect, in_panel, in_click, in_login):
            assert state["wait"]["way"] == way
            assert redirect_of(state["wait"]["url"]).startswith("http://127.0.0.1:")

    def test_the_nearest_choice_counts(self, fake: FakeServer, show: Show) -> None:
        front = show(any_port(fake.url, via="loopback"), HUB, via="page")
        assert front.click()["wait"]["way"] == "page"

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
        front.act("sign_in", page=front.page, memory_only=False, via="auto")
        front.phase("starting")
        first = front.panel.session.latest_login
        front.act("sign_in", page=front.page, memory_only=False, via="auto")
        front.act("sign_in", page=front.page, memory_only=False, via="page")
        front.hello("two")
        assert front.panel.session.login(via="relay") is first  # the earlier name


class TestWhatIsNoRedirect:
    """The page is asked for its address, and not believed."""

    @pytest.mark.parametrize(
        "callback",
        [
            HUB.replace("https", "http"),
            "javascript:alert(1)//mcpnb/callback.html",
            "data:text/html,/mcpnb/callback.html",
            "ftp://hub.example.com/mcpnb/callback.html",
            "//hub.example.com/mcpnb/callback.html",
            "/mcpnb/callback.html",
            HUB.replace("https://", "https://ada:secret@"),
            HUB.replace("https://", "https://@"),
            HUB + "?next=/",
            HUB + "?",
            HUB + "#",
            HUB + "#go=x",
            HUB + "/",
            HUB.replace("callback.html", "other.html"),
            HUB.replace("mcpnb/", "evil-mcpnb-"),
            HUB.replace("hub.example.com", ""),
            HUB.replace("hub.example.com", "hub.example.com:port"),
            HUB.replace("hub.example.com", "hub.example.com:99999"),
            HUB.replace("hub.example.com", "[hub"),
            HUB.replace("example.com", "example.com\\evil.example"),
            HUB.replace("ada", "a da"),
            HUB.replace("ada", "a\nda"),
            HUB.replace("ada", "a\u202eda"),
            HUB.replace("ada", "a" * 2000),
            "",
            None,
            7,
            True,
            [HUB],
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
