"""One sign-in: what is asked for, how the exchange can end, and what the person is told meanwhile.

The order of its steps is in `test_order`, what may go wrong on the way in `test_faults`.
"""

from __future__ import annotations

import sys
import webbrowser
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest

from mcpnb import errors
from mcpnb.stores import MemoryStore, RecordName
from tests.fakes.people import (
    HeldRoute,
    answer_of,
    browse,
    connect,
    fails_before_the_browser,
    free_port,
    posix,
    query_of,
    sign_in,
    until,
    waiting,
)
from tests.fakes.server import AS_METADATA, PRM, FakeServer
from tests.fakes.wire import Reply


class TestRequests:
    """Requests cost time, and doubled ones twice."""

    @pytest.mark.parametrize("signed_out", [False, True])
    def test_a_second_sign_in_registers_nothing(
        self, fake: FakeServer, *, signed_out: bool
    ) -> None:
        """Discovery and one exchange: a sign-out ends the login, and the client stays."""
        session = connect(fake.url, callback_port=free_port())
        sign_in(session)
        if signed_out:
            session.logout()
        before = len(fake.requests)
        sign_in(session)

        paths = [r.path for r in fake.requests[before:] if r.path != "/authorize"]
        assert sorted(paths) == sorted(["/mcp", PRM, AS_METADATA, "/token"])


class TestResource:
    """RFC 8707: once, and byte for byte what the metadata says, or the configuration."""

    @pytest.mark.threat("token-for-another-audience")
    @pytest.mark.parametrize(
        "resource",
        [
            "http://127.0.0.1:{port}/mcp",
            "http://127.0.0.1:{port}",
            "http://127.0.0.1:{port}/",
            "http://127.0.0.1:{port}/mcp/",
            "HTTP://127.0.0.1:{port}/mcp",
        ],
    )
    def test_resource_goes_to_authorize_token_and_refresh_as_it_is_written(
        self, fake: FakeServer, resource: str
    ) -> None:
        """Left out at the token endpoint, some servers issue a token that is of no use."""
        fake.describe(resource=resource.format(port=fake.port))
        assert self.sent(fake) == [[resource.format(port=fake.port)]] * 3

    def test_a_configured_value_replaces_it_everywhere(self, fake: FakeServer) -> None:
        """`oauth_resource`, for servers that describe themselves wrongly."""
        sent = self.sent(fake, resource="https://api.example/v1")
        assert sent == [["https://api.example/v1"]] * 3

    def sent(self, fake: FakeServer, **given: Any) -> list[list[str]]:
        session = connect(fake.url, **given)
        sign_in(session)
        fake.expire()
        session.call("echo", text="back")
        sent = [r.query for r in fake.asked("/authorize")] + [r.form for r in fake.asked("/token")]
        return [parameters["resource"] for parameters in sent]

    @pytest.mark.threat("resource-confusion", "resource-that-looks-alike")
    @pytest.mark.parametrize("foreign", ["http://127.0.0.1:{port}/mcp/deeper", "", None])
    def test_metadata_for_another_resource_is_refused(
        self, fake: FakeServer, foreign: str | None
    ) -> None:
        """RFC 9728 section 3.3."""
        fake.describe(resource=foreign and foreign.format(port=fake.port))

        fails_before_the_browser(fake.url, errors.ServerError)
        assert fake.asked("/register") == []


class TestScopes:
    """Explicit, then the challenge's, then the metadata's, then none."""

    def test_the_first_source_that_says_something_counts(self, fake: FakeServer) -> None:
        """And only that one."""
        fake.describe(scopes_supported=["from:metadata"])
        assert query_of(sign_in(connect(fake.url)))["scope"] == ["from:metadata"]

        assert fake.challenge is not None
        fake.challenge |= {"scope": "from:challenge"}
        assert query_of(sign_in(connect(fake.url)))["scope"] == ["from:challenge"]

        session = connect(fake.url, scopes=("from:person",))
        assert query_of(sign_in(session))["scope"] == ["from:person"]

    @pytest.mark.parametrize("announced", [True, False])
    def test_offline_access_comes_with_prompt_consent(
        self, fake: FakeServer, *, announced: bool
    ) -> None:
        """Without it, some servers drop the scope silently; unannounced, it is an unknown scope."""
        if announced:
            fake.announce(scopes_supported=["read", "offline_access"])
        fake.describe(scopes_supported=["read"])

        query = query_of(sign_in(connect(fake.url)))
        assert query["scope"] == ["read offline_access" if announced else "read"]
        assert query.get("prompt") == (["consent"] if announced else None)

    @pytest.mark.parametrize("way", ["paste", "listener"])
    def test_discovered_scopes_that_are_refused_are_left_out_once(
        self, fake: FakeServer, way: str
    ) -> None:
        """The wait goes on with another address. A browser that came to the listener is led on."""
        fake.describe(scopes_supported=["read", "odd"])
        fake.known_scopes = {"read"}
        login, url = waiting(connect(fake.url))
        if way == "listener":
            assert "<h1>Signed in</h1>" in browse(url).text
        else:
            with pytest.raises(errors.AnswerRefused):
                login.submit(answer_of(url))
            assert login.state == "waiting"
            login.submit(answer_of(str(login.url)))

        first, second = (r.query for r in fake.asked("/authorize"))
        assert first["scope"] == ["read odd"]
        assert "scope" not in second
        assert first["state"] != second["state"]
        assert any("once more without" in note for note in login.notes)
        assert login.wait(timeout=10).signed_in

    @pytest.mark.threat("open-redirect-at-the-callback")
    def test_they_are_dropped_once_and_only_for_the_right_response(self, fake: FakeServer) -> None:
        fake.describe(scopes_supported=["odd"])
        fake.authorize_error = {"error": "invalid_scope"}
        login, url = waiting(connect(fake.url))
        forged = f"{login.redirect_uri}?error=invalid_scope&state=forged"
        assert browse(forged).status_code == 400
        assert login.url == url

        assert "does not grant the scopes" in browse(url).text
        assert len(fake.asked("/authorize")) == 2
        with pytest.raises(errors.LoginDenied):
            login.wait(10)

    def test_scopes_a_person_asked_for_are_never_left_out(self, fake: FakeServer) -> None:
        """It would be another login than the one asked for."""
        fake.known_scopes = set()
        login, url = waiting(connect(fake.url, scopes=("mine",)))

        with pytest.raises(errors.LoginDenied) as caught:
            login.submit(answer_of(url))

        assert caught.value.error == "invalid_scope"
        assert len(fake.asked("/authorize")) == 1


class TestExchange:
    def test_the_page_says_signed_in_only_after_the_exchange(self, fake: FakeServer) -> None:
        """And after the login is stored."""
        token = HeldRoute(fake, "/token")
        session = connect(fake.url)
        login, url = waiting(session)
        with ThreadPoolExecutor(1) as tabs:
            tab = tabs.submit(browse, url)
            token.reached()
            assert not tab.done()
            assert login.state == "exchanging"
            assert session.status == "none"
            token.let_go()

            assert "<h1>Signed in</h1>" in tab.result(10).text
        assert session.signed_in
        assert login.wait(10) is session

    @pytest.mark.parametrize(
        ("reply", "told"),
        [
            (
                Reply(400, {"error": "invalid_grant", "error_description": "<b>too late"}),
                "too late",
            ),
            (Reply(500, "down"), "500"),
            (Reply(drop=True), "broke"),
            (Reply(200, {"access_token": "x", "expires_in": 10**400, "token_type": "mac"}), "mac"),
        ],
    )
    def test_the_page_says_what_went_wrong_in_it(
        self, fake: FakeServer, reply: Reply, told: str
    ) -> None:
        fake.always("/token", reply)
        session = connect(fake.url)
        login, url = waiting(session)
        page = browse(url)

        assert "<h1>Not signed in</h1>" in page.text
        assert told in page.text
        assert "<b>" not in page.text
        with pytest.raises(errors.McpnbError):
            login.wait(10)
        assert not session.signed_in

    def test_a_store_that_breaks_ends_the_sign_in(self, fake: FakeServer) -> None:
        """The wait does not go on for ever, and the page does not say "Signed in"."""

        class BrokenStore(MemoryStore):
            def write(self, key: RecordName, record: dict[str, Any]) -> None:
                if key.kind == "login":
                    raise RuntimeError("the disk is on fire")
                super().write(key, record)

        login, url = waiting(connect(fake.url, store=BrokenStore()))
        assert "<h1>Not signed in</h1>" in browse(url).text
        with pytest.raises(errors.LoginError, match="RuntimeError"):
            login.wait(10)


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
        return seen

    @posix
    @pytest.mark.threat("authorization-url-in-a-process-list")
    def test_it_has_nothing_to_steal_and_leads_on_once(self, fake: FakeServer, seen: Path) -> None:
        top = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        prefetch = top | {"Sec-Purpose": "prefetch;prerender"}
        session = connect(fake.url)
        login, url = waiting(session, open_browser=True)
        until(seen.exists)
        opened = seen.read_text()
        assert urlsplit(opened).netloc == urlsplit(login.redirect_uri).netloc
        assert query_of(url)["state"][0] not in opened

        assert browse(opened, **prefetch).status_code == 403
        with httpx2.Client(trust_env=False, timeout=10) as browser:
            first = browser.get(opened, headers=top)
        assert (first.status_code, first.headers["location"]) == (303, url)
        assert first.headers["cache-control"] == "no-store"
        assert first.headers["referrer-policy"] == "no-referrer"
        second = browse(opened)
        assert second.status_code == 410
        assert "somebody has already opened it" in second.text
        assert login.state == "waiting"
        assert browse(url).status_code == 200
        assert session.signed_in

    @posix
    @pytest.mark.parametrize("how", ["paste", "another host"])
    def test_where_no_listener_is_the_callback_it_is_the_page_itself(
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
        assert browse(urljoin(str(login.redirect_uri), "/go/guessed")).status_code == 404


class TestInAScriptWithoutBrowser:
    """Somebody has to say the address."""

    @pytest.fixture(autouse=True)
    def no_browser(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def none(*_: object) -> NoReturn:
            raise webbrowser.Error("could not locate runnable browser")

        monkeypatch.setattr(webbrowser, "get", none)

    @pytest.mark.slow
    @pytest.mark.parametrize("via", ["auto", "paste"])
    def test_whoever_waits_is_told_the_address_once(
        self, fake: FakeServer, capsys: pytest.CaptureFixture[str], via: Any
    ) -> None:
        """And where the browser comes back to, unless the response has to be pasted."""
        login = connect(fake.url).login(open_browser=True, via=via)
        for _ in range(2):
            with pytest.raises(errors.LoginTimeout):
                login.wait(1)

        out, err = capsys.readouterr()
        assert out == ""
        assert err.splitlines().count(str(login.url)) == 1
        assert "No browser could be opened here" in err
        assert (f"comes back to {login.redirect_uri}" in err) == (via == "auto")
        assert ("comes back" in err) == (via == "auto")
        assert "login.submit(" in err
        login.submit(answer_of(str(login.url)))
        assert login.wait(10).signed_in
        assert capsys.readouterr().err == ""

    @pytest.mark.slow
    @pytest.mark.parametrize("shown", ["a view", "a notebook", "no browser was wanted"])
    def test_what_is_shown_elsewhere_is_not_said_again(
        self,
        fake: FakeServer,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        shown: str,
    ) -> None:
        if shown == "a notebook":
            monkeypatch.setattr("mcpnb.login.login.frontend", lambda: "notebook")
        login, _ = waiting(connect(fake.url), open_browser=shown != "no browser was wanted")
        if shown == "a view":
            login.on_change(lambda _: None)
        else:
            until(lambda: bool(login.notes) or shown == "no browser was wanted")
        with pytest.raises(errors.LoginTimeout):
            login.wait(0.3)

        assert capsys.readouterr().err == ""
        login.cancel()
