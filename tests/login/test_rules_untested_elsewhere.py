"""Rules of the specification that the official conformance suite does not test.

State, PKCE refusal, several authorization servers, error answers with a wrong `iss`, URL schemes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import mcpnb
from mcpnb import errors
from tests.fakes.people import (
    answer_of,
    connect,
    fails_before_the_browser,
    free_port,
    query_of,
    sign_in,
    waiting,
)
from tests.fakes.server import AS_METADATA, FakeServer
from tests.fakes.wire import Reply, html, redirect
from tests.peers.browser import Browser


class TestState:
    """An answer without the right `state` is no answer (OAuth 2.1 section 7.12)."""

    @pytest.mark.threat("csrf")
    @pytest.mark.parametrize("state", [None, "", "forged"])
    def test_an_answer_with_another_state_is_refused_and_the_wait_goes_on(
        self, fake: FakeServer, state: str | None
    ) -> None:
        """The right one is still taken afterwards."""
        login, url = waiting(connect(fake.url))
        fake.state = state

        with pytest.raises(errors.AnswerRefused):
            login.submit(answer_of(url))

        assert login.state == "waiting"
        assert fake.asked("/token") == []
        fake.state = "default"
        login.submit(answer_of(url))
        assert login.wait(timeout=10).signed_in

    @pytest.mark.threat("csrf")
    def test_a_forged_answer_at_the_listener_does_not_end_the_wait(self, fake: FakeServer) -> None:
        """Whoever else can reach the port gets a page that claims nothing."""
        login, url = waiting(connect(fake.url))
        callback = query_of(url)["redirect_uri"][0]

        with Browser() as stranger:
            page = stranger.open(f"{callback}?code=stolen&state=forged")
            assert "you are signed in" not in page.text.lower()
            assert login.state == "waiting"
            assert fake.asked("/token") == []
            stranger.open(url)

        assert login.wait(timeout=10).signed_in

    @pytest.mark.threat("bare-code")
    def test_a_bare_code_is_refused_with_the_reason(self, fake: FakeServer) -> None:
        """Nobody can tell which sign-in it belongs to."""
        login, url = waiting(connect(fake.url))
        answer = answer_of(url)

        with pytest.raises(errors.AnswerRefused, match="state"):
            login.submit(query_of(answer)["code"][0])

        assert login.state == "waiting"
        login.submit(answer)
        assert login.wait(timeout=10).signed_in

    @pytest.mark.threat("answer-replay")
    def test_the_second_of_two_tabs_changes_nothing(self, fake: FakeServer) -> None:
        """One code is exchanged; the late answer is told that it came late."""
        session = connect(fake.url)
        login, url = waiting(session)
        first, second = answer_of(url), answer_of(url)
        login.submit(first)

        with pytest.raises(errors.LoginError):
            login.submit(second)

        assert login.state == "signed_in"
        assert session.signed_in
        assert len(fake.asked("/token")) == 1

    @pytest.mark.threat("guessable-state", "code-injection")
    def test_each_sign_in_has_a_state_and_challenge_of_its_own(self, fake: FakeServer) -> None:
        """And the verifier is in no URL."""
        session = connect(fake.url)
        one, other = query_of(sign_in(session)), query_of(sign_in(session))

        assert one["state"] != other["state"]
        assert one["code_challenge"] != other["code_challenge"]
        verifiers = [r.form["code_verifier"][0] for r in fake.asked("/token")]
        assert all(43 <= len(v) <= 128 for v in verifiers)
        assert not any(v in r.target for v in verifiers for r in fake.requests)


class TestPkce:
    """No announced S256, no sign-in, unless the person says so for this server."""

    @pytest.mark.threat("pkce-downgrade", "pkce-plain")
    @pytest.mark.parametrize("methods", [None, [], ["plain"]])
    def test_a_server_that_does_not_announce_s256_is_refused(
        self, fake: FakeServer, methods: list[str] | None
    ) -> None:
        """Before anything is registered, and the message names the way round."""
        fake.announce(code_challenge_methods_supported=methods)

        error = fails_before_the_browser(fake.url, errors.ProtocolError)

        assert "PKCE" in str(error)
        assert fake.asked("/register") == []

    @pytest.mark.threat("pkce-downgrade")
    def test_an_openid_document_is_held_to_it_as_well(self, fake: FakeServer) -> None:
        """The rule is for both kinds of metadata."""
        fake.announce(code_challenge_methods_supported=None)
        fake.always("/.well-known/openid-configuration", Reply(200, fake.metadata))
        fake.metadata = None

        fails_before_the_browser(fake.url, errors.ProtocolError)

    def test_the_next_document_counts_where_the_first_forgot_to_say(self, fake: FakeServer) -> None:
        """RFC 8414 without, OpenID with: the second one is used."""
        complete = dict(fake.metadata or {})
        fake.announce(code_challenge_methods_supported=None)
        fake.always("/.well-known/openid-configuration", Reply(200, complete))
        session = connect(fake.url)

        sign_in(session)

        assert session.signed_in

    def test_the_configuration_can_allow_it_for_one_server(
        self, fake: FakeServer, tmp_path: Path
    ) -> None:
        """`allow_missing_pkce`; PKCE is then still sent."""
        fake.announce(code_challenge_methods_supported=None)
        config = tmp_path / "mcpnb.toml"
        config.write_text(
            f'[mcp_servers.trusted]\nurl = "{fake.url}"\nallow_missing_pkce = true\n'
            f'[mcp_servers.other]\nurl = "{fake.url}"\n'
        )

        fails_before_the_browser("other", errors.ProtocolError, config=config)
        session = connect("trusted", config=config)
        query = query_of(sign_in(session))

        assert session.call("echo", text="fine").text == "fine"
        assert query["code_challenge_method"] == ["S256"]


class TestSeveralAuthorizationServers:
    """RFC 9728 section 7.6 leaves the choice to the client: the first that can be used."""

    @pytest.mark.parametrize(
        "broken",
        [
            pytest.param(None, id="nobody listens"),
            pytest.param(Reply(500, "down"), id="500"),
            pytest.param(html("Welcome"), id="a page"),
            pytest.param(Reply(200, {"issuer": "https://elsewhere.example"}), id="another issuer"),
            pytest.param(Reply(200, b"{" + b" " * 3_000_000), id="too large"),
            pytest.param(redirect("https://elsewhere.example/"), id="redirect"),
        ],
    )
    def test_a_first_one_that_is_broken_is_passed_over(
        self, fakes: Callable[[], FakeServer], broken: Reply | None
    ) -> None:
        """The second one signs in; the first one gets no registration."""
        fake, first = fakes(), fakes()
        dead = f"http://127.0.0.1:{free_port()}"
        if broken is not None:
            for path in (AS_METADATA, "/.well-known/openid-configuration"):
                first.always(path, broken)
        fake.describe(authorization_servers=[first.base if broken else dead, fake.base])
        session = connect(fake.url)

        sign_in(session)

        assert session.call("echo", text="fine").text == "fine"
        assert first.asked("/register") == []

    def test_the_one_the_person_named_is_taken(self, fakes: Callable[[], FakeServer]) -> None:
        """`issuer=` chooses among them."""
        fake, second = fakes(), fakes()
        fake.describe(authorization_servers=[fake.base, second.base])

        url = sign_in_url(connect(fake.url, issuer=second.base))

        assert url.startswith(f"{second.base}/authorize?")
        assert fake.asked("/register") == []

    @pytest.mark.threat("issuer-not-named")
    def test_an_issuer_that_the_server_does_not_name_is_refused(self, fake: FakeServer) -> None:
        """Given credentials do not go to another one."""
        error = fails_before_the_browser(
            fake.url, errors.ServerError, errors.LoginError, issuer="https://as.example"
        )

        assert "as.example" in str(error)
        assert fake.asked("/register") == []


def sign_in_url(session: mcpnb.Session) -> str:
    """Go as far as the authorization URL, and cancel."""
    login, url = waiting(session)
    login.cancel()
    return url


class TestIss:
    """RFC 9207, where the suite does not look: error answers."""

    @pytest.mark.threat("error-of-another-issuer")
    def test_an_error_from_the_wrong_issuer_is_neither_used_nor_shown(
        self, fake: FakeServer
    ) -> None:
        """Its text is an attacker's."""
        fake.iss = "https://evil.example"
        fake.authorize_error = {
            "error": "access_denied",
            "error_description": "call 0190 666 666",
            "error_uri": "https://evil.example/help",
        }
        login, url = waiting(connect(fake.url))

        with pytest.raises((errors.ProtocolError, errors.AnswerRefused)) as caught:
            login.submit(answer_of(url))

        said = f"{caught.value} {login.error or ''} {login.notes}"
        assert "0190" not in said
        assert "evil.example" not in said
        assert "declined" not in said

    @pytest.mark.threat("error-of-another-issuer")
    def test_the_page_in_the_browser_does_not_show_it_either(self, fake: FakeServer) -> None:
        """The listener answers with words of its own."""
        fake.iss = "https://evil.example"
        fake.authorize_error = {"error": "access_denied", "error_description": "call 0190 666 666"}
        login, url = waiting(connect(fake.url))

        with Browser() as browser:
            page = browser.open(url)
        login.cancel()

        assert "0190" not in page.text
        assert "evil" not in page.text

    @pytest.mark.threat("mix-up")
    @pytest.mark.parametrize(
        ("iss", "announced"),
        [("https://evil.example", "true"), ("https://evil.example", "false"), (None, "true")],
    )
    def test_a_code_from_the_wrong_issuer_is_never_exchanged(
        self,
        fake: FakeServer,
        iss: str | None,
        announced: str,
    ) -> None:
        """Wrong, or missing where it was announced."""
        fake.iss = iss
        fake.announce(authorization_response_iss_parameter_supported=json.loads(announced))
        login, url = waiting(connect(fake.url))

        with pytest.raises((errors.ProtocolError, errors.AnswerRefused)):
            login.submit(answer_of(url))

        assert fake.asked("/token") == []
        login.cancel()

    def test_an_error_from_the_right_issuer_is_told(self, fake: FakeServer) -> None:
        """Quoted, as somebody else's words."""
        fake.authorize_error = {"error": "access_denied", "error_description": "closed on Sundays"}
        login, url = waiting(connect(fake.url))

        with pytest.raises(errors.LoginDenied, match="closed on Sundays"):
            login.submit(answer_of(url))

        with pytest.raises(errors.LoginDenied):
            login.wait(timeout=5)


class TestUrlSchemes:
    """Only https, or http on loopback: never opened, never contacted otherwise."""

    @pytest.mark.threat("dangerous-address", "credentials-in-an-endpoint")
    @pytest.mark.parametrize(
        "url",
        [
            "javascript:alert(1)//",
            "JavaScript:alert(1)",
            "data:text/html,hello",
            "file:///etc/passwd",
            "vbscript:x",
            "http://as.example/authorize",
            "//as.example/authorize",
            "https://user:password@as.example/authorize",
            "https://as.example/a b",
            "",
            7,
            ["https://as.example/authorize"],
        ],
    )
    @pytest.mark.parametrize(
        "endpoint", ["authorization_endpoint", "token_endpoint", "registration_endpoint"]
    )
    def test_an_endpoint_of_another_kind_ends_the_sign_in(
        self, fake: FakeServer, endpoint: str, url: object
    ) -> None:
        """Before the browser opens, and before anything is registered."""
        fake.announce(**{endpoint: url})

        fails_before_the_browser(fake.url, errors.ServerError, errors.ClientIdRequired)

        assert fake.asked("/register") == []

    def test_an_authorization_server_of_another_kind_is_refused(self, fake: FakeServer) -> None:
        """The same for the issuer itself, and for the metadata the 401 names."""
        fake.describe(authorization_servers=["http://as.example", "file:///as", "javascript:1"])

        fails_before_the_browser(fake.url, errors.ServerError)

    @pytest.mark.parametrize(
        "url", ["file:///etc/passwd", "http://mcp.example/prm", "javascript:1"]
    )
    def test_resource_metadata_of_another_kind_is_not_read(
        self, fake: FakeServer, url: str
    ) -> None:
        """A refusal, or the well-known address instead; never that URL."""
        fake.challenge = {"resource_metadata": url}
        session = connect(fake.url)
        login = session.login()
        try:
            login.wait_for("waiting", timeout=10)
        except errors.ServerError:
            assert login.state == "failed"
        else:
            assert login.url is not None
            assert login.url.startswith(fake.base)
        finally:
            login.cancel()

    @pytest.mark.parametrize(
        "url", ["http://mcp.example/mcp", "ftp://127.0.0.1/mcp", "https://a:b@mcp.example/mcp"]
    )
    def test_a_server_of_another_kind_is_refused_at_once(self, url: str) -> None:
        """A person's own mistake is a `ConfigError`."""
        with pytest.raises(errors.ConfigError):
            connect(url)
