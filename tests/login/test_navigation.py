"""Who may answer a sign-in: a person's browser on its way, and not what a page loads by itself."""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

import mcpnb
from mcpnb import errors
from mcpnb.login import SignInRequest, answers
from mcpnb.login.loopback import LoopbackListener, Reply
from mcpnb.login.pending import PendingLogins
from mcpnb.login.relay import Relay
from mcpnb.stores import MemoryStore
from mcpnb.tokens.record import login_key
from tests.fakes.front_end import open_panel
from tests.fakes.people import answer_of, connect, free_port, query_of, until, waiting
from tests.fakes.server import FakeServer
from tests.terminal import Running

posix = pytest.mark.skipif(sys.platform == "win32", reason="a script of POSIX as the browser")

TOP = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
NOBODY_GOES = {
    "an image": {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    "a script": {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
    "a frame": TOP | {"Sec-Fetch-Dest": "iframe"},
    "fetch()": {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    "mode alone": {"Sec-Fetch-Mode": "no-cors"},
    "a prefetch": TOP | {"Sec-Purpose": "prefetch;prerender"},
    "an older prefetch": {"Purpose": "prefetch"},
}


def browse(url: str, **headers: str) -> httpx2.Response:
    with httpx2.Client(trust_env=False, timeout=10, follow_redirects=True) as browser:
        return browser.get(url, headers=headers)


def led_to(url: str) -> httpx2.Response:
    with httpx2.Client(trust_env=False, timeout=10) as browser:
        return browser.get(url, headers=TOP)


class TestWhatAPageLoads:
    """The state is right: somebody has seen the address, and signs the person in as himself."""

    @pytest.mark.threat("answer-that-a-page-loads")
    @pytest.mark.parametrize("what", NOBODY_GOES)
    def test_it_is_not_delivered_and_not_even_noted(self, fake: FakeServer, what: str) -> None:
        session = connect(fake.url)
        login, url = waiting(session)
        answer = answer_of(url)

        page = browse(answer, **NOBODY_GOES[what])

        assert page.status_code == 403
        assert "<h1>Not a page</h1>" in page.text
        assert (login.state, login.notes) == ("waiting", ())
        assert browse(answer, **TOP).status_code == 200
        assert session.signed_in

    def test_who_says_nothing_of_it_is_listened_to(self, fake: FakeServer) -> None:
        """A text browser, curl, a browser of 2019."""
        session = connect(fake.url)
        assert browse(waiting(session)[1]).status_code == 200
        assert session.signed_in

    @pytest.mark.threat("answer-that-a-page-loads")
    def test_mcpnb_relay_does_not_catch_it(self) -> None:
        callback, ignored = f"http://127.0.0.1:{free_port()}/callback", list[str]()
        asked = f"https://as.example/a?response_type=code&state=s&redirect_uri={callback}"
        with Relay(asked, ignored.append) as relay:
            for headers in NOBODY_GOES.values():
                assert browse(f"{callback}?code=c&state=s", **headers).status_code == 403
            with pytest.raises(errors.LoginTimeout):
                relay.wait(0.1)
            assert ignored == []
            assert browse(f"{callback}?code=c&state=s", **TOP).status_code == 200
            assert relay.wait(5).error is None


class TestTheAddressThatABrowserIsStartedWith:
    @pytest.fixture
    def seen(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """What the command line of a browser held: that is for everybody to read."""
        browser, seen = tmp_path / "browser", tmp_path / "seen"
        browser.write_text(
            f"#!{sys.executable}\nimport os, pathlib, sys\n"
            f"part = pathlib.Path({str(seen)!r} + '.part')\n"
            f"part.write_text(sys.argv[1])\nos.rename(part, {str(seen)!r})\n"
        )
        browser.chmod(0o700)
        monkeypatch.setenv("BROWSER", f"{browser} %s")
        for name, empty in (("_tryorder", None), ("_browsers", {})):  # it looks once in a process
            monkeypatch.setattr(webbrowser, name, empty)
        return seen

    @posix
    @pytest.mark.threat("authorization-url-in-a-process-list")
    def test_it_has_nothing_to_steal_and_leads_on_once(self, fake: FakeServer, seen: Path) -> None:
        session = connect(fake.url)
        login, url = waiting(session, open_browser=True)
        until(seen.exists)
        opened = seen.read_text()
        assert urlsplit(opened).netloc == f"127.0.0.1:{login.port}"
        assert query_of(url)["state"][0] not in opened

        assert browse(opened, **NOBODY_GOES["a prefetch"]).status_code == 403
        first = led_to(opened)
        assert (first.status_code, first.headers["location"]) == (303, url)
        assert first.headers["cache-control"] == "no-store"
        assert first.headers["referrer-policy"] == "no-referrer"
        second = browse(opened)
        assert second.status_code == 410
        assert "somebody has already opened it" in second.text
        assert login.state == "waiting"
        assert browse(url).status_code == 200
        assert session.signed_in

    @pytest.mark.slow
    @posix
    @pytest.mark.threat("authorization-url-in-a-process-list")
    def test_the_terminal_prints_the_whole_address_all_the_same(
        self, fake: FakeServer, seen: Path
    ) -> None:
        with Running("login", fake.url, "--port", "0") as command:
            url = command.address()
            until(seen.exists)
            assert query_of(url)["state"][0] not in seen.read_text()
            browse(seen.read_text())
            command.end().expect(0)

    @posix
    @pytest.mark.parametrize("how", ["paste", "another host"])
    def test_where_no_listener_is_the_way_back_it_is_the_page_itself(
        self, fake: FakeServer, seen: Path, how: str
    ) -> None:
        port, given = free_port(), dict[str, Any]()
        if how == "another host":
            given = {"callback_url": "https://hub.example/callback", "callback_port": port}
        login, url = waiting(
            connect(fake.url, **given), open_browser=True, via="paste" if how == "paste" else "auto"
        )
        until(seen.exists)
        assert seen.read_text() == url
        login.cancel()

    def test_a_path_that_nobody_was_given_leads_nowhere(self, fake: FakeServer) -> None:
        login, _ = waiting(connect(fake.url))
        assert browse(f"http://127.0.0.1:{login.port}/go/guessed").status_code == 404


@pytest.mark.threat("pending-sign-in-prolonged")
def test_a_panel_that_is_shown_prolongs_no_pending_sign_in(fake: FakeServer) -> None:
    """Its address was printed, perhaps into a file that others read."""
    store = MemoryStore()
    begun = mcpnb.connect(fake.url, store=store, callback_port=0).sign_in(
        SignInRequest(timeout=20, anew=True)
    )
    begun.wait_for("waiting", timeout=10)
    ends = begun.expires_at
    begun.leave()

    session = mcpnb.connect(fake.url, store=store)
    panel = open_panel(session)
    panel.hello()
    shown = panel.phase("waiting")["wait"]

    assert shown["expires_at"] == ends
    pending = PendingLogins(store, login_key(session.server, None)).current()
    assert pending is not None
    assert pending.expires_at == ends
    resumed = session.latest_login
    assert resumed is not None
    assert resumed.deadline <= time.monotonic() + 20
    resumed.cancel()


@pytest.mark.slow
@pytest.mark.threat("flood-of-answers")
def test_a_reason_is_noted_once_and_few_are(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any page can have the browser send a thousand of them."""
    login, _ = waiting(connect(fake.url))
    for number in range(30):
        assert browse(f"{login.redirect_uri}?code=x&state=x{number}").status_code == 400
    assert len(login.notes) == 1
    monkeypatch.setattr(answers, "_MOST_IGNORED", 3)
    for query in ("state=x&state=y", "code=x&code=y", "iss=x&iss=y", "code=x&state=x", ""):
        login.deliver(f"{login.redirect_uri}?{query}")
        login.deliver(f"https://shop.example/callback?{query}")
    assert len(set(login.notes)) == len(login.notes) == 3
    login.cancel()


class TestLocalhostByName:
    """Browsers try [::1] first (RFC 8252 section 8.3)."""

    @pytest.fixture
    def six(self) -> Iterator[socket.socket]:
        probe = socket.socket(socket.AF_INET6)
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        with probe:
            yield probe

    @pytest.mark.threat("callback-by-name")
    @pytest.mark.usefixtures("six")
    def test_the_answer_is_taken_on_either_address(self, fake: FakeServer) -> None:
        for host in ("127.0.0.1", "[::1]"):
            session = connect(
                fake.url, callback_url=f"http://localhost:{free_port()}/cb", callback_port=None
            )
            login, url = waiting(session)
            answer = answer_of(url).replace("localhost", host)
            assert browse(answer, Host=f"localhost:{login.port}").status_code == 200
            assert session.signed_in

    @pytest.mark.threat("callback-by-name")
    def test_where_somebody_else_listens_there_it_is_an_error(self, six: socket.socket) -> None:
        port = six.getsockname()[1]
        six.listen()
        with pytest.raises(errors.LoginError, match=f"Port {port} cannot be listened on"):
            LoopbackListener(port, fallback=False, host="localhost")
        LoopbackListener(port, fallback=False).close()

    @pytest.mark.threat("callback-by-name")
    def test_on_a_machine_without_ipv6_nobody_can_take_it_there(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Without(socket.socket):
            def __init__(self, family: int = -1, *rest: Any) -> None:
                if family == socket.AF_INET6:
                    raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
                super().__init__(family, *rest)

        monkeypatch.setattr(socket, "socket", Without)
        listener = LoopbackListener(0, host="localhost")
        socket.create_connection(("127.0.0.1", listener.port), timeout=2).close()
        listener.close()

    @pytest.mark.usefixtures("six")
    def test_other_callbacks_are_not_listened_for_there(self) -> None:
        listener = LoopbackListener(0, host="127.0.0.1")
        listener.listen("http://127.0.0.1/callback", lambda _: Reply("done"))
        with pytest.raises(OSError, match=r"refused|reach"):
            socket.create_connection(("::1", listener.port), timeout=2).close()
        listener.close()
