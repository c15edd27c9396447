"""Attacks on a sign-in under way: another server's answer, somebody else's code, a bent address.

What other files try already is marked there with the same ids (`tests/threats`).
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable
from urllib.parse import quote, urlencode

import pytest

from mcpnb import errors
from mcpnb.stores import MemoryStore
from tests.fakes.people import (
    answer_of,
    connect,
    fails_before_the_browser,
    free_port,
    query_of,
    sign_in,
    until,
    waiting,
)
from tests.fakes.server import AS_METADATA, FakeServer
from tests.fakes.wire import Reply, Request
from tests.peers.browser import Browser

REFUSED = (errors.AnswerRefused, errors.ProtocolError)


def mixed_up(fakes: Callable[[], FakeServer], port: int) -> tuple[FakeServer, FakeServer]:
    """Give an honest server, and a hostile one that sends people to the other's sign-in page.

    The hostile one hands out the client id that the person's sign-in has at the honest one, so that
    its page and its consent are the real ones. Only the token endpoint is the thief's.
    """
    honest, hostile = fakes(), fakes()
    sign_in(connect(honest.url, callback_port=port))
    hostile.register_adds = {"client_id": next(iter(honest.clients))}
    hostile.announce(authorization_endpoint=f"{honest.base}/authorize")
    return honest, hostile


class TestMixUp:
    """RFC 9700 section 4.4: a code of an honest server must not reach a hostile one's endpoint."""

    @pytest.mark.threat("mix-up", "mix-up-missing-iss")
    @pytest.mark.parametrize("iss", ["sent", "not sent"])
    def test_an_honest_servers_code_is_not_given_to_the_one_that_borrowed_its_page(
        self, fakes: Callable[[], FakeServer], iss: str
    ) -> None:
        port = free_port()
        honest, hostile = mixed_up(fakes, port)
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
        port = free_port()
        honest, hostile = fakes(), fakes()
        for server in (honest, hostile):
            server.announce(authorization_response_iss_parameter_supported=None)
            server.iss = None
        sign_in(connect(honest.url, callback_port=port))
        hostile.register_adds = {"client_id": next(iter(honest.clients))}
        hostile.announce(authorization_endpoint=f"{honest.base}/authorize")
        login, url = waiting(connect(hostile.url, callback_port=port))

        with Browser() as browser:
            page = browser.open(url)

        assert "redirect is not known" in page.text
        assert login.state == "waiting"
        assert hostile.asked("/token") == []
        login.cancel()


class TestCodes:
    @pytest.mark.threat("code-injection")
    def test_a_stolen_code_comes_with_the_wrong_verifier(self, fake: FakeServer) -> None:
        """RFC 9700 section 4.5: each exchange sends its own sign-in's verifier, and no other."""
        _, theirs = waiting(connect(fake.url))
        stolen = query_of(answer_of(theirs))["code"][0]
        session = connect(fake.url)
        login, url = waiting(session)
        state, iss = query_of(url)["state"][0], fake.base
        answer = f"{login.redirect_uri}?{urlencode({'code': stolen, 'state': state, 'iss': iss})}"

        with pytest.raises(errors.GrantError, match="PKCE"):
            login.submit(answer)

        assert not session.signed_in
        [sent] = fake.token_requests("authorization_code")
        digest = hashlib.sha256(sent.form["code_verifier"][0].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert query_of(url)["code_challenge"] == [challenge]

    @pytest.mark.threat("login-fixation")
    @pytest.mark.parametrize("way", ["listener", "paste", "finish"])
    def test_a_strangers_whole_answer_signs_nobody_in(self, fake: FakeServer, way: str) -> None:
        """A real code for the stranger's account, sent by the right server to the right port."""
        port = free_port()
        stranger = connect(fake.url, callback_port=port)
        theirs, their_url = waiting(stranger)
        gift = answer_of(their_url)
        theirs.cancel()
        session = connect(fake.url, callback_port=port)
        login, url = waiting(session)
        assert gift.startswith(f"{login.redirect_uri}?")

        if way == "listener":
            with Browser() as browser:
                assert "another sign-in" in browser.open(gift).text
        else:
            take = login.submit if way == "paste" else session.finish
            with pytest.raises(errors.AnswerRefused, match="another sign-in"):
                take(gift)

        assert login.state == "waiting"
        assert fake.asked("/token") == []
        login.submit(answer_of(url))
        assert session.signed_in

    @pytest.mark.threat("answer-to-another-account")
    def test_one_accounts_answer_does_not_sign_in_another(self, fake: FakeServer) -> None:
        store = MemoryStore()
        work, home = (connect(fake.url, store=store, account=name) for name in ("work", "home"))
        (at_work, work_url), (at_home, home_url) = waiting(work), waiting(home)

        with pytest.raises(REFUSED):
            at_home.submit(answer_of(work_url))
        with pytest.raises(REFUSED):
            home.finish(answer_of(work_url))

        assert fake.asked("/token") == []
        at_home.submit(answer_of(home_url))
        assert (work.signed_in, home.signed_in) == (False, True)
        at_work.cancel()

    @pytest.mark.threat("answer-replay")
    def test_an_answer_that_two_kernels_get_is_exchanged_once(self, fake: FakeServer) -> None:
        """A second use would have the server end what the first one got (RFC 6749 4.1.2)."""
        store = MemoryStore()
        one, other = connect(fake.url, store=store), connect(fake.url, store=store)
        login, url = waiting(one)
        answer = answer_of(url)
        go_on, honest = threading.Event(), fake.routes["/token"]

        def slow(request: Request) -> Reply:
            go_on.wait(10)
            return honest(request)

        fake.routes["/token"] = slow
        first = threading.Thread(target=login.submit, args=(answer,))
        first.start()
        until(lambda: len(fake.asked("/token")) == 1)
        try:
            with pytest.raises(errors.LoginError):
                other.finish(answer)
        finally:
            go_on.set()
            first.join(10)

        assert login.wait(10).signed_in
        assert len(fake.asked("/token")) == 1

    @pytest.mark.threat("implicit-answer")
    @pytest.mark.parametrize("sign", ["#", "?"])
    def test_a_token_in_the_answer_is_not_taken(self, fake: FakeServer, sign: str) -> None:
        """Only a code is asked for, and only a code is of use (RFC 9700 section 2.1.2)."""
        session = connect(fake.url)
        login, url = waiting(session)
        given = {
            "access_token": "somebody-elses",
            "token_type": "Bearer",
            "state": query_of(url)["state"][0],
            "iss": fake.base,
        }

        with pytest.raises(errors.AnswerRefused):
            login.submit(f"{login.redirect_uri}{sign}{urlencode(given)}")

        assert query_of(url)["response_type"] == ["code"]
        assert not session.signed_in
        assert fake.asked("/token") == []
        login.cancel()


class TestAddresses:
    @pytest.mark.threat("injected-request-parameters")
    @pytest.mark.parametrize(
        "injected",
        [
            "redirect_uri=https%3A%2F%2Fevil.example",
            "client_id=another",
            "state=known",
            "scope=everything",
            "code_challenge_method=plain",
            "response_type=token",
            "response_mode=form_post",
            "request_uri=https%3A%2F%2Fevil.example%2Fr",
            "request=eyJhbGciOiJub25lIn0.e30.",
            "resource",
            "tenant=7&%73tate=known",
        ],
    )
    def test_an_authorization_endpoint_sets_no_parameter_of_the_request(
        self, fake: FakeServer, injected: str
    ) -> None:
        """A server that takes the first of two would be asked for something else (RFC 6749 3.1)."""
        fake.announce(authorization_endpoint=f"{fake.base}/authorize?{injected}")

        error = fails_before_the_browser(fake.url, errors.ProtocolError)

        assert "RFC 6749" in str(error)
        assert fake.asked("/register") == []

    @pytest.mark.threat("injected-request-parameters")
    def test_nor_does_it_have_a_fragment(self, fake: FakeServer) -> None:
        """What is behind it would never be sent (RFC 6749 section 3.1)."""
        fake.announce(authorization_endpoint=f"{fake.base}/authorize#x")

        fails_before_the_browser(fake.url, errors.ProtocolError)

    @pytest.mark.threat("injected-request-parameters")
    def test_what_comes_from_a_server_adds_no_parameter_either(self, fake: FakeServer) -> None:
        """Client id, resource and scopes are values, whatever characters they hold."""
        fake.register_adds = {"client_id": "a&state=known#"}
        fake.describe(scopes_supported=["read&redirect_uri=https://evil.example"])
        login, url = waiting(connect(fake.url))
        login.cancel()

        query = query_of(url)

        assert all(len(values) == 1 for values in query.values())
        assert query["client_id"] == ["a&state=known#"]
        assert query["redirect_uri"] == [login.redirect_uri]
        assert quote("a&state", safe="") in url

    @pytest.mark.threat("pkce-downgrade-to-an-older-server")
    @pytest.mark.parametrize("methods", [None, ["plain"]])
    def test_a_server_without_resource_metadata_is_held_to_pkce_too(
        self, fake: FakeServer, methods: list[str] | None
    ) -> None:
        """Leaving a document out must not be a way around the rule."""
        fake.resource_metadata = None
        fake.announce(code_challenge_methods_supported=methods)

        fails_before_the_browser(fake.url, errors.ProtocolError)

        assert fake.asked(AS_METADATA)
        assert fake.asked("/register") == []
