"""More rules that the official conformance suite does not test: what is sent, and to whom.

Registrations and secrets stay with their issuer, `resource` is sent byte for byte, scopes have an
order, and nothing is asked for twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

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
    waiting,
)
from tests.fakes.server import AS_METADATA, PRM, FakeServer
from tests.peers.browser import Browser


class TestRegistrationsAndSecrets:
    """Bound to the issuer they came from (SEP-2352)."""

    @pytest.mark.threat("registration-of-another-redirect")
    def test_a_registration_is_made_once_per_issuer_and_redirect(self, fake: FakeServer) -> None:
        """Also by another session with the same store; another redirect needs another."""
        store, port = MemoryStore(), free_port()
        for _ in range(2):
            sign_in(connect(fake.url, store=store, callback_port=port))
        assert len(fake.asked("/register")) == 1

        sign_in(connect(fake.url, store=store, callback_port=free_port()))

        assert len(fake.asked("/register")) == 2

    def test_signing_out_keeps_the_registration(self, fake: FakeServer) -> None:
        """The login ends, the client stays."""
        session = connect(fake.url, callback_port=free_port())
        sign_in(session)
        session.logout()
        sign_in(session)

        assert len(fake.asked("/register")) == 1

    @pytest.mark.threat("registration-of-another-issuer")
    def test_it_is_made_anew_at_another_issuer(self, fakes: Callable[[], FakeServer]) -> None:
        """After a move the new server never hears of the old client id."""
        fake, moved = fakes(), fakes()
        session = connect(fake.url, callback_port=free_port())
        sign_in(session)
        [old] = fake.clients
        fake.describe(authorization_servers=[moved.base])
        asked = len(fake.requests)

        sign_in(session)

        assert len(moved.asked("/register")) == 1
        assert not any(old in r.target or old in r.body.decode() for r in moved.requests)
        assert [r for r in fake.requests[asked:] if r.path in {"/register", "/token"}] == []

    @pytest.mark.threat("client-secret-to-a-new-issuer")
    def test_a_secret_given_for_one_issuer_is_never_sent_to_another(
        self, fakes: Callable[[], FakeServer]
    ) -> None:
        """Pinned at the first login; afterwards a change is an error."""
        fake, moved = fakes(), fakes()
        port = free_port()
        redirect_uri = f"http://127.0.0.1:{port}/callback"
        for server in (fake, moved):
            server.announce(token_endpoint_auth_methods_supported=["client_secret_post"])
            server.clients["mine"] = {
                "client_id": "mine",
                "client_secret": "a secret of mine",
                "redirect_uris": [redirect_uri],
                "token_endpoint_auth_method": "client_secret_post",
            }
        session = connect(
            fake.url, client_id="mine", client_secret="a secret of mine", callback_port=port
        )
        sign_in(session)
        fake.describe(authorization_servers=[moved.base])

        login = session.login()
        with pytest.raises((errors.LoginError, errors.ServerError, errors.ConfigError)):
            login.wait(timeout=10)

        assert login.url is None
        assert not any(b"secret" in r.body for r in moved.requests)
        assert session.call("echo", text="still").text == "still"

    @pytest.mark.threat("refresh-led-elsewhere")
    def test_a_login_is_not_used_for_a_token_request_at_another_server(
        self, fakes: Callable[[], FakeServer]
    ) -> None:
        """A refresh goes to the endpoint the login came from, whatever the metadata says now."""
        fake, moved = fakes(), fakes()
        session = connect(fake.url)
        sign_in(session)
        fake.describe(authorization_servers=[moved.base])
        fake.announce(token_endpoint=f"{moved.base}/token")
        fake.expire()

        assert session.call("echo", text="back").text == "back"

        assert moved.requests == []


class TestResource:
    """RFC 8707: once, and byte for byte what the metadata says."""

    @pytest.mark.threat("token-for-another-audience")
    @pytest.mark.parametrize(
        "written",
        [
            "http://127.0.0.1:{port}",
            "http://127.0.0.1:{port}/",
            "http://127.0.0.1:{port}/mcp/",
            "HTTP://127.0.0.1:{port}/mcp",
        ],
    )
    def test_the_metadatas_value_is_sent_as_it_is(self, fake: FakeServer, written: str) -> None:
        """No slash gained or lost, no case changed."""
        resource = written.format(port=fake.port)
        fake.describe(resource=resource)
        session = connect(fake.url)
        sign_in(session)
        fake.expire()
        session.call("echo", text="back")

        sent = [r.query for r in fake.asked("/authorize")] + [r.form for r in fake.asked("/token")]

        assert [s["resource"] for s in sent] == [[resource]] * 3

    def test_a_configured_value_replaces_it_everywhere(self, fake: FakeServer) -> None:
        """`oauth_resource`, for servers that describe themselves wrongly."""
        session = connect(fake.url, resource="https://api.example/v1")
        sign_in(session)
        fake.expire()
        session.call("echo", text="back")

        sent = [r.query for r in fake.asked("/authorize")] + [r.form for r in fake.asked("/token")]

        assert [s["resource"] for s in sent] == [["https://api.example/v1"]] * 3

    @pytest.mark.threat("resource-confusion", "resource-that-looks-alike")
    @pytest.mark.parametrize(
        "foreign",
        [
            "https://evil.example/mcp",
            "http://127.0.0.1:{port}/mcpx",
            "http://127.0.0.1:{port}/mcp/deeper",
            "https://127.0.0.1:{port}/mcp",
            "http://127.0.0.1:1/mcp",
            "",
            None,
        ],
    )
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

    def test_without_any_the_parameter_is_left_out(self, fake: FakeServer) -> None:
        """Not sent empty, and the authorization server's own list is not asked for."""
        fake.announce(scopes_supported=["admin", "everything"])

        assert "scope" not in query_of(sign_in(connect(fake.url)))

    def test_discovered_scopes_that_are_refused_are_left_out_once(self, fake: FakeServer) -> None:
        """The wait goes on with another address, and says why."""
        fake.describe(scopes_supported=["unknown"])
        fake.known_scopes = set()
        login, url = waiting(connect(fake.url))
        with pytest.raises(errors.AnswerRefused):
            login.submit(answer_of(url))

        assert login.state == "waiting"
        assert login.url is not None
        assert login.url != url
        assert "scope" not in query_of(login.url)
        assert query_of(login.url)["state"] != query_of(url)["state"]
        assert login.notes
        login.submit(answer_of(login.url))
        assert login.wait(timeout=10).signed_in

    def test_at_the_listener_the_browser_goes_on_by_itself(self, fake: FakeServer) -> None:
        """One click is enough."""
        fake.describe(scopes_supported=["unknown"])
        fake.known_scopes = set()
        login, url = waiting(connect(fake.url))

        with Browser() as browser:
            page = browser.open(url)

        assert login.wait(timeout=10).signed_in
        assert "signed in" in page.text.lower()
        assert len(fake.asked("/authorize")) == 2

    def test_it_is_not_tried_a_third_time(self, fake: FakeServer) -> None:
        """A server that refuses every request is believed."""
        fake.describe(scopes_supported=["unknown"])
        fake.authorize_error = {"error": "invalid_scope"}
        login, url = waiting(connect(fake.url))

        with Browser() as browser:
            browser.open(url)

        with pytest.raises(errors.LoginDenied):
            login.wait(timeout=10)
        assert len(fake.asked("/authorize")) == 2

    def test_scopes_a_person_asked_for_are_never_left_out(self, fake: FakeServer) -> None:
        """It would be another login than the one asked for."""
        fake.known_scopes = set()
        login, url = waiting(connect(fake.url, scopes=("mine",)))

        with pytest.raises(errors.LoginDenied) as caught:
            login.submit(answer_of(url))

        assert caught.value.error == "invalid_scope"
        assert len(fake.asked("/authorize")) == 1


class TestEconomy:
    """Requests cost time, and doubled ones twice."""

    def test_from_url_to_signed_in_takes_at_most_six_requests_and_none_twice(
        self, fake: FakeServer
    ) -> None:
        """Counted at the server, without the browser's own."""
        sign_in(connect(fake.url))

        asked = Counter((r.method, r.target) for r in fake.requests if r.path != "/authorize")

        assert asked.total() <= 6
        assert max(asked.values()) == 1

    def test_connecting_contacts_nobody(self, fake: FakeServer) -> None:
        """Nor does looking at the session."""
        session = connect(fake.url)
        repr(session)
        assert not session.signed_in

        assert fake.requests == []

    def test_a_second_sign_in_registers_nothing(self, fake: FakeServer) -> None:
        """Discovery and one exchange."""
        session = connect(fake.url, callback_port=free_port())
        sign_in(session)
        before = len(fake.requests)
        sign_in(session)

        paths = [r.path for r in fake.requests[before:] if r.path != "/authorize"]
        assert sorted(paths) == sorted(["/mcp", PRM, AS_METADATA, "/token"])
