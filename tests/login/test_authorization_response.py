"""Which authorization response a sign-in takes: `state`, `iss`, the code, errors, and forgeries.

A response arrives at the listener, as a paste, or with `finish()`.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from mcpnb import errors
from mcpnb.login import answers
from mcpnb.login.relay import Relay
from mcpnb.stores import MemoryStore
from tests.fakes.people import (
    HeldRoute,
    answer_of,
    browse,
    connect,
    free_port,
    query_of,
    sign_in,
    until,
    waiting,
)
from tests.fakes.server import FakeServer

REFUSED = (errors.AnswerRefused, errors.ProtocolError)


class TestState:
    """A response without the right `state` is none (OAuth 2.1 section 7.12)."""

    @pytest.mark.threat("csrf", "forged-error")
    def test_forged_and_stray_requests_at_the_listener_are_ignored(self, fake: FakeServer) -> None:
        """The page and the notes say so; then the real one is taken."""
        login, url = waiting(connect(fake.url))
        callback = str(login.redirect_uri)
        for forged in (
            "?code=x&state=forged",
            "?error=access_denied&state=forged",
            "?code=x",
            "",
            "?" + "&".join(f"a{n}=1" for n in range(200)),
            "?code=" + "x" * 20_000,
        ):
            page = browse(callback + forged)
            assert page.status_code == 400
            assert "Not the expected response" in page.text
        assert browse(callback.replace("/callback", "/favicon.ico")).status_code == 404
        assert browse(callback + "?code=x", Host="evil.example").status_code == 421
        assert login.state == "waiting"
        assert any("Ignored" in note for note in login.notes)
        assert fake.asked("/token") == []

        assert "<h1>Signed in</h1>" in browse(url).text
        assert login.wait(10).signed_in

    @pytest.mark.slow
    @pytest.mark.threat("flood-of-answers")
    def test_each_reason_is_noted_once_and_only_a_few_are(
        self, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
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

    @pytest.mark.threat("login-fixation", "answer-to-an-earlier-sign-in")
    @pytest.mark.parametrize("whose", ["a stranger's", "a cancelled one's"])
    @pytest.mark.parametrize("way", ["listener", "paste", "finish"])
    def test_the_whole_response_of_another_sign_in_signs_nobody_in(
        self, fake: FakeServer, whose: str, way: str
    ) -> None:
        """A real code, sent by the right server to the right port."""
        port = free_port()
        session = connect(fake.url, callback_port=port)
        other = session if whose == "a cancelled one's" else connect(fake.url, callback_port=port)
        theirs, their_url = waiting(other)
        gift = answer_of(their_url)
        theirs.cancel()
        theirs.join(10)
        login, url = waiting(session)
        assert gift.startswith(f"{login.redirect_uri}?")

        if way == "listener":
            assert "another sign-in" in browse(gift).text
        else:
            with pytest.raises(errors.AnswerRefused, match="another sign-in"):
                (login.submit if way == "paste" else session.finish)(gift)

        assert login.state == "waiting"
        assert fake.asked("/token") == []
        login.submit(answer_of(url))
        assert session.signed_in

    @pytest.mark.threat("answer-to-another-account")
    def test_one_accounts_response_does_not_sign_in_another(self, fake: FakeServer) -> None:
        store = MemoryStore()
        work, home = (connect(fake.url, store=store, account=name) for name in ("work", "home"))
        (at_work, work_url), (at_home, home_url) = waiting(work), waiting(home)
        assert work_url != home_url

        with pytest.raises(REFUSED):
            at_home.submit(answer_of(work_url))
        with pytest.raises(REFUSED):
            home.finish(answer_of(work_url))

        assert fake.asked("/token") == []
        at_home.submit(answer_of(home_url))
        assert (work.signed_in, home.signed_in) == (False, True)
        at_work.submit(answer_of(work_url))
        assert [at.wait(10).account for at in (at_work, at_home)] == ["work", "home"]


NOBODY_GOES = {
    "an image": {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    "a script": {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
    "a frame": {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    "fetch()": {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    "mode alone": {"Sec-Fetch-Mode": "no-cors"},
    "a prefetch": {
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
        "Sec-Purpose": "prefetch;prerender",
    },
    "an older prefetch": {"Purpose": "prefetch"},
}
TOP = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


class TestWhatAPageLoads:
    """The state is right: somebody has seen the address, and signs the person in as himself."""

    @pytest.mark.threat("answer-that-a-page-loads")
    @pytest.mark.parametrize("what", NOBODY_GOES)
    def test_it_is_neither_delivered_nor_noted(self, fake: FakeServer, what: str) -> None:
        session = connect(fake.url)
        login, url = waiting(session)
        answer = answer_of(url)

        page = browse(answer, **NOBODY_GOES[what])
        assert page.status_code == 403
        assert "<h1>Not a page</h1>" in page.text
        assert (login.state, login.notes) == ("waiting", ())
        assert browse(answer, **TOP).status_code == 200
        assert session.signed_in

    def test_a_browser_that_sends_no_such_header_is_answered(self, fake: FakeServer) -> None:
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


class TestIss:
    """RFC 9207, and RFC 9700 section 4.4: a code of one server must not reach another's endpoint.

    The hostile server hands out the client id that the person's sign-in has at the honest one:
    the page and the consent are the honest one's. Only the token endpoint is the thief's.
    """

    def mixed_up(
        self, fakes: Callable[[], FakeServer], **announced: object
    ) -> tuple[FakeServer, FakeServer, int]:
        port = free_port()
        honest, hostile = fakes(), fakes()
        for server in (honest, hostile):
            server.announce(**announced)
        sign_in(connect(honest.url, callback_port=port))
        hostile.register_adds = {"client_id": next(iter(honest.clients))}
        hostile.announce(authorization_endpoint=f"{honest.base}/authorize")
        return honest, hostile, port

    @pytest.mark.threat("mix-up", "mix-up-missing-iss")
    @pytest.mark.parametrize("iss", ["sent", "not sent"])
    def test_an_honest_servers_code_is_not_given_to_the_one_that_borrowed_its_page(
        self, fakes: Callable[[], FakeServer], iss: str
    ) -> None:
        honest, hostile, port = self.mixed_up(fakes)
        if iss == "not sent":
            honest.iss = None
        session = connect(hostile.url, callback_port=port)
        login, url = waiting(session)
        answer = answer_of(url)
        assert answer.startswith(f"{login.redirect_uri}?")
        assert query_of(answer)["code"]

        with pytest.raises(errors.ProtocolError, match="RFC 9207"):
            login.submit(answer)

        assert hostile.asked("/token") == []
        assert not session.signed_in

    @pytest.mark.threat("mix-up-without-iss")
    def test_where_neither_says_who_it_is_the_honest_one_refuses_the_others_redirect(
        self, fakes: Callable[[], FakeServer]
    ) -> None:
        """It knows the client by an address with another part in it."""
        honest, hostile, port = self.mixed_up(
            fakes, authorization_response_iss_parameter_supported=None
        )
        honest.iss = None
        login, url = waiting(connect(hostile.url, callback_port=port))

        assert "redirect is not known" in browse(url).text
        assert login.state == "waiting"
        assert hostile.asked("/token") == []
        login.cancel()

    @pytest.mark.threat("mix-up-without-iss")
    def test_a_redirect_has_a_part_of_its_own_where_iss_is_missing(self, fake: FakeServer) -> None:
        """RFC 9700 section 4.4: two servers cannot be mixed up; the plain path is not answered."""
        fake.announce(authorization_response_iss_parameter_supported=None)
        fake.iss = None
        login, url = waiting(connect(fake.url))
        redirect_uri = str(login.redirect_uri)
        path, _, part = redirect_uri.rpartition("/")
        assert path.endswith("/callback")
        assert part
        query = urlsplit(answer_of(url)).query
        assert parse_qs(query)["code"]

        assert browse(f"{path}?{query}").status_code == 404
        assert login.state == "waiting"
        assert "<h1>Signed in</h1>" in browse(f"{redirect_uri}?{query}").text

    @pytest.mark.threat("error-of-another-issuer")
    def test_an_error_of_the_wrong_issuer_is_not_shown(self, fake: FakeServer) -> None:
        """Its text is an attacker's."""
        fake.iss = "https://evil.example"
        fake.authorize_error = {
            "error": "access_denied",
            "error_description": "call 0190 666 666",
            "error_uri": "https://evil.example/help",
        }
        login, url = waiting(connect(fake.url))

        told = browse(url).text
        with pytest.raises(errors.ProtocolError):
            login.wait(10)

        told = f"{told} {login.error or ''} {login.notes}"
        assert [w for w in ("0190", "evil", "declined") if w in told] == []


class TestDenied:
    @pytest.mark.threat("callback-page-xss")
    def test_what_the_server_says_is_text_on_the_page(self, fake: FakeServer) -> None:
        fake.authorize_error = {
            "error": "access_denied",
            "error_description": "<script>alert(1)</script>\"'><img src=x>\x1b[31m",
            "error_uri": "javascript:alert(1)",
        }
        login, url = waiting(connect(fake.url))
        page = browse(url)

        assert "declined" in page.text
        assert "&lt;script&gt;" in page.text
        for part in ("<script", "<img", "javascript:", "\x1b"):
            assert part not in page.text
        with pytest.raises(errors.LoginDenied) as caught:
            login.wait(10)
        assert "\x1b" not in str(caught.value)


class TestCode:
    @pytest.mark.threat("code-injection")
    def test_a_stolen_code_comes_with_the_wrong_verifier(self, fake: FakeServer) -> None:
        """RFC 9700 section 4.5: each exchange sends its own sign-in's verifier, and no other."""
        _, theirs = waiting(connect(fake.url))
        stolen = query_of(answer_of(theirs))["code"][0]
        session = connect(fake.url)
        login, url = waiting(session)
        given = {"code": stolen, "state": query_of(url)["state"][0], "iss": fake.base}

        with pytest.raises(errors.GrantError, match="PKCE"):
            login.submit(f"{login.redirect_uri}?{urlencode(given)}")

        assert not session.signed_in
        [sent] = fake.token_requests("authorization_code")
        digest = hashlib.sha256(sent.form["code_verifier"][0].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert query_of(url)["code_challenge"] == [challenge]


class TestReplay:
    """A second use would have the server end what the first one got (RFC 6749 section 4.1.2)."""

    @pytest.mark.threat("answer-replay")
    def test_a_second_tab_that_comes_after_the_end_changes_nothing(self, fake: FakeServer) -> None:
        session = connect(fake.url)
        login, url = waiting(session)
        first, second = answer_of(url), answer_of(url)
        login.submit(first)

        with pytest.raises(errors.LoginError):
            login.submit(second)

        assert login.state == "signed_in"
        assert session.signed_in
        assert len(fake.asked("/token")) == 1

    @pytest.mark.threat("answer-replay")
    def test_a_second_tab_that_comes_during_the_exchange_is_told_so(self, fake: FakeServer) -> None:
        token = HeldRoute(fake, "/token")
        login, url = waiting(connect(fake.url))
        first, second = answer_of(url), answer_of(url)
        with ThreadPoolExecutor(1) as tabs:
            tab = tabs.submit(browse, second)
            token.reached()
            late = browse(first)
            token.let_go()

            assert late.status_code == 400
            assert "not waiting" in late.text
            assert "<h1>Signed in</h1>" in tab.result(10).text
        assert login.wait(10).signed_in
        assert len(fake.asked("/token")) == 1

    @pytest.mark.threat("answer-replay")
    def test_a_response_that_two_kernels_get_is_exchanged_once(self, fake: FakeServer) -> None:
        store = MemoryStore()
        one, other = connect(fake.url, store=store), connect(fake.url, store=store)
        login, url = waiting(one)
        answer = answer_of(url)
        token = HeldRoute(fake, "/token")
        first = threading.Thread(target=login.submit, args=(answer,))
        first.start()
        token.reached()
        try:
            with pytest.raises(errors.LoginError):
                other.finish(answer)
        finally:
            token.let_go()
            first.join(10)

        assert login.wait(10).signed_in
        assert len(fake.asked("/token")) == 1

    @pytest.mark.slow
    @pytest.mark.threat("late-answer")
    @pytest.mark.parametrize("prompts", [False, True])
    def test_a_response_that_comes_too_late_is_not_exchanged(
        self, fake: FakeServer, monkeypatch: pytest.MonkeyPatch, *, prompts: bool
    ) -> None:
        """Also if the prompt for it has been open since before the end."""
        session = connect(fake.url)
        login, url = waiting(session, timeout=1)
        login.leave()
        answer = answer_of(url)
        ends = login.expires_at
        assert ends is not None

        def response_after_the_end(*_: object) -> str:
            until(lambda: time.time() > ends)
            return answer

        if prompts:
            monkeypatch.setattr("getpass.getpass", response_after_the_end)
        with pytest.raises(errors.LoginError, match="is pending"):
            session.finish(None if prompts else response_after_the_end())

        assert fake.token_requests("authorization_code") == []
        assert not session.signed_in
