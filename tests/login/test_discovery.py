"""From a server's address to its authorization endpoint: what is found, and what is refused.

Every refusal comes before the browser opens and before anything is registered.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mcpnb import errors
from tests.fakes.people import (
    connect,
    fails_before_the_browser,
    free_port,
    query_of,
    sign_in,
    sign_in_and_call,
    waiting,
)
from tests.fakes.server import AS_METADATA, PRM, FakeServer
from tests.fakes.wire import Reply, html, redirect

OPENID = "/.well-known/openid-configuration"
ROOT = PRM.removesuffix("/mcp")


class TestChallenge:
    """The 401 without a token comes in many forms; the root document is often a 404."""

    @pytest.mark.parametrize(
        "challenge",
        [
            None,
            {},
            {"realm": "mcp"},
            {"error": "invalid_token"},
            {"error": "invalid_token", "error_description": 'no, \\"really\\" not'},
            {"scope": "read"},
        ],
    )
    def test_a_401_leads_to_the_sign_in_with_or_without_its_members(
        self, fake: FakeServer, challenge: dict[str, str] | None
    ) -> None:
        """What it does not say is found at the well-known address."""
        fake.challenge = challenge
        session = connect(fake.url)

        url = sign_in(session)
        assert query_of(url).get("scope") == (["read"] if "scope" in (challenge or {}) else None)
        assert session.call("echo", text="fine").text == "fine"

    def test_a_server_open_until_a_tool_is_called_is_signed_in_to(self, fake: FakeServer) -> None:
        """It answers 200 to everybody who only looks; its metadata is asked for all the same."""
        fake.open_until_called = True
        session = connect(fake.url)
        with pytest.raises(errors.LoginRequired):
            session.call("echo", text="no")

        sign_in(session)
        assert session.call("echo", text="yes").text == "yes"


class TestPlaces:
    """Where the documents are: as RFC 9728, RFC 8414, OpenID Connect and 2025-03-26 have it."""

    @pytest.mark.parametrize(
        ("named", "place"),
        [
            ("here", "/elsewhere/named"),
            ("at another origin", "/elsewhere/named"),
            (None, PRM),
            (None, ROOT),
        ],
    )
    def test_resource_metadata_is_found(
        self, fakes: Callable[[], FakeServer], named: str | None, place: str
    ) -> None:
        """Named in the challenge, wherever that is, else at the path's address, else at the root.

        Codex also asks below the path, which no specification has: that is not done here.
        """
        fake = fakes()
        described = fakes() if named == "at another origin" else fake
        fake.challenge = {"resource_metadata": described.base + place} if named else {}
        resource = fake.base if place == ROOT else fake.url
        described.always(place, Reply(200, (fake.resource_metadata or {}) | {"resource": resource}))
        fake.resource_metadata = None

        assert query_of(sign_in_and_call(fake.url))["resource"] == [resource]

        tried = [r.path for r in fake.requests if r.path in (PRM, ROOT)]
        assert tried == {"/elsewhere/named": [], PRM: [PRM], ROOT: [PRM, ROOT]}[place]
        assert described.asked(place)

    @pytest.mark.parametrize(
        ("path", "place"),
        [
            ("", AS_METADATA),
            ("", OPENID),
            ("", "/moved"),
            ("/t", f"{AS_METADATA}/t"),
            ("/t", f"{OPENID}/t"),
            ("/t", f"/t{OPENID}"),
        ],
    )
    def test_authorization_server_metadata_is_found(
        self, fake: FakeServer, path: str, place: str
    ) -> None:
        """A redirect within the origin is followed: some servers move their documents about."""
        fake.announce(issuer=fake.base + path)
        fake.describe(authorization_servers=[fake.base + path])
        document, fake.metadata = fake.metadata, None
        fake.always(place, Reply(200, document))
        if place == "/moved":
            fake.always(AS_METADATA, redirect("/moved", 307))
        fake.iss = fake.base + path
        assert sign_in(connect(fake.url)).startswith(f"{fake.base}/authorize")

    @pytest.mark.parametrize("metadata", [True, False])
    def test_a_server_of_2025_03_26_is_its_own_authorization_server(
        self, fake: FakeServer, *, metadata: bool
    ) -> None:
        """By the origin's document, or the default endpoints; `resource` is the canonical URL."""
        fake.resource_metadata, fake.challenge = None, None
        if not metadata:
            fake.metadata = None

        url = sign_in_and_call(fake.url)

        assert url.startswith(f"{fake.base}/authorize?")
        assert query_of(url)["resource"] == [fake.url]


class TestPkce:
    """No announced S256, no sign-in, unless the person says so for this server."""

    @pytest.mark.threat("pkce-downgrade", "pkce-plain", "pkce-downgrade-to-an-older-server")
    @pytest.mark.parametrize("methods", [None, [], ["plain"], ["s256"]])
    @pytest.mark.parametrize(
        "document", ["RFC 8414", "RFC 8414 without resource metadata", "OpenID Connect"]
    )
    def test_a_server_that_does_not_announce_s256_is_refused(
        self, fake: FakeServer, document: str, methods: list[str] | None
    ) -> None:
        """Whichever document says so, and the message names the way round."""
        fake.announce(code_challenge_methods_supported=methods)
        if document == "OpenID Connect":
            fake.always(OPENID, Reply(200, fake.metadata))
            fake.metadata = None
        elif document != "RFC 8414":
            fake.resource_metadata = None

        error = fails_before_the_browser(fake.url, errors.ProtocolError)
        assert "PKCE" in str(error)
        assert "allow_missing_pkce" in str(error)
        assert fake.asked(OPENID if document == "OpenID Connect" else AS_METADATA)
        assert fake.asked("/register") == []

    def test_the_next_document_counts_where_the_first_forgot_to_say(self, fake: FakeServer) -> None:
        """RFC 8414 without, OpenID with: the second one is used."""
        complete = dict(fake.metadata or {})
        fake.announce(code_challenge_methods_supported=None)
        fake.always(OPENID, Reply(200, complete))
        sign_in(connect(fake.url))

    def test_configuration_can_allow_it_per_server(self, fake: FakeServer, tmp_path: Path) -> None:
        """`allow_missing_pkce`, for servers that forgot to say. PKCE is then still sent."""
        fake.announce(code_challenge_methods_supported=None)
        config = tmp_path / "mcpnb.toml"
        config.write_text(
            f'[mcp_servers.trusted]\nurl = "{fake.url}"\nallow_missing_pkce = true\n'
            f'[mcp_servers.other]\nurl = "{fake.url}"\n'
        )

        fails_before_the_browser("other", errors.ProtocolError, config=config)
        query = query_of(sign_in_and_call("trusted", config=config))
        assert query["code_challenge_method"] == ["S256"]
        for said in ([], ["plain"]):  # no: it has not forgotten
            fake.announce(code_challenge_methods_supported=said)
            fails_before_the_browser("trusted", errors.ProtocolError, config=config)
        fake.announce(code_challenge_methods_supported=["plain", "S256"])
        sign_in(connect("other", config=config))


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
        fake, first = fakes(), fakes()
        dead = f"http://127.0.0.1:{free_port()}"
        if broken is not None:
            for path in (AS_METADATA, OPENID):
                first.always(path, broken)
        fake.describe(authorization_servers=[first.base if broken else dead, fake.base])
        sign_in_and_call(fake.url)
        assert first.asked("/register") == []

    def test_the_one_the_person_named_is_taken(self, fakes: Callable[[], FakeServer]) -> None:
        """`issuer=` chooses among them."""
        fake, second = fakes(), fakes()
        fake.describe(authorization_servers=[fake.base, second.base])

        login, url = waiting(connect(fake.url, issuer=second.base))
        login.cancel()

        assert url.startswith(f"{second.base}/authorize?")
        assert fake.asked("/register") == []

    @pytest.mark.threat("issuer-not-named")
    @pytest.mark.parametrize("named", ["another", "none", "no resource metadata"])
    def test_an_issuer_that_the_server_does_not_name_is_refused(
        self, fake: FakeServer, named: str
    ) -> None:
        """Given credentials do not go to another one: not even to the server's own origin.

        Where nothing names an authorization server, 2025-03-26 had the origin be one.
        """
        if named == "none":
            fake.describe(authorization_servers=[])
        elif named == "no resource metadata":
            fake.resource_metadata = None
        issuer = "https://login.example.com"

        error = fails_before_the_browser(
            fake.url, errors.ServerError, errors.LoginError, issuer=issuer
        )

        assert "login.example.com" in str(error)
        assert fake.asked("/register") == []
        sign_in(connect(fake.url, issuer=fake.base))


class TestIssuer:
    """With and without trailing slash, also in a real server's own documents."""

    @pytest.mark.parametrize("where", ["resource metadata", "issuer's document"])
    def test_a_slash_after_an_origin_makes_no_difference(
        self, fake: FakeServer, where: str
    ) -> None:
        """The one tolerance; `iss` is still compared with the document's own value."""
        if where == "resource metadata":
            fake.describe(authorization_servers=[f"{fake.base}/"])
        else:
            fake.announce(issuer=f"{fake.base}/")
        sign_in_and_call(fake.url)

    @pytest.mark.threat("issuer-that-looks-alike")
    def test_a_slash_after_a_path_makes_another_issuer(self, fake: FakeServer) -> None:
        """RFC 8414 section 3.3: compared as they are."""
        tenant = f"{fake.base}/tenant"
        fake.describe(authorization_servers=[tenant])
        fake.always(
            f"{AS_METADATA}/tenant", Reply(200, (fake.metadata or {}) | {"issuer": f"{tenant}/"})
        )

        fails_before_the_browser(fake.url, errors.ProtocolError, errors.DiscoveryError)
        assert fake.asked("/register") == []

    @pytest.mark.threat("issuer-confusion", "foreign-document-of-an-older-server")
    @pytest.mark.parametrize("described", [True, False])
    def test_another_issuers_metadata_at_the_own_origin_is_not_used(
        self, fakes: Callable[[], FakeServer], *, described: bool
    ) -> None:
        """A resource server may serve it; whose it is cannot be checked there (RFC 8414 3.3)."""
        fake, other = fakes(), fakes()
        fake.metadata = {**(other.metadata or {}), "token_endpoint": f"{fake.base}/token"}
        if not described:
            fake.resource_metadata = None

        fails_before_the_browser(fake.url, errors.ProtocolError, errors.DiscoveryError)
        assert other.requests == []
        assert fake.asked("/register") == []

    def test_localhost_and_127_0_0_1_are_mixed(self, fake: FakeServer) -> None:
        """The server is at one, its authorization server at the other."""
        local = fake.base.replace("127.0.0.1", "localhost")
        fake.metadata = {
            k: v.replace(fake.base, local) if isinstance(v, str) else v
            for k, v in (fake.metadata or {}).items()
        }
        fake.describe(authorization_servers=[local])
        sign_in_and_call(fake.url)


class TestAddresses:
    """Only https, or http on loopback: never opened, never contacted otherwise."""

    @pytest.mark.threat("dangerous-address", "credentials-in-an-endpoint")
    @pytest.mark.parametrize("url", ["http://as.example/authorize", ["https://as.example/"]])
    @pytest.mark.parametrize(
        "endpoint", ["authorization_endpoint", "token_endpoint", "registration_endpoint"]
    )
    def test_an_endpoint_of_another_kind_ends_the_sign_in(
        self, fake: FakeServer, endpoint: str, url: object
    ) -> None:
        """Of which kinds there are, `tests.oauth.test_urls` knows more."""
        fake.announce(**{endpoint: url})
        fails_before_the_browser(fake.url, errors.ServerError, errors.ClientIdRequired)
        assert fake.asked("/register") == []

    @pytest.mark.threat("metadata-in-the-clear")
    @pytest.mark.parametrize("where", ["challenge", "issuer"])
    @pytest.mark.parametrize("url", ["http://as.example/prm", "file:///etc/passwd", "javascript:1"])
    def test_a_document_of_another_kind_is_not_asked_for(
        self, fake: FakeServer, monkeypatch: pytest.MonkeyPatch, where: str, url: str
    ) -> None:
        """Plain http, which anybody on the way could change, is refused before its look-up."""
        real, looked_up = socket.getaddrinfo, list[str]()

        def look_up(host: Any, *args: Any, **given: Any) -> Any:
            looked_up.append(str(host))
            return real(host, *args, **given)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        if where == "challenge":
            fake.challenge = {"resource_metadata": url}
        else:
            fake.describe(authorization_servers=[url])

        fails_before_the_browser(fake.url, errors.ServerError)
        assert fake.asked("/register") == []
        assert "as.example" not in looked_up

    @pytest.mark.threat("injected-request-parameters")
    @pytest.mark.parametrize(
        "injected",
        [
            "?client_id=another",
            "?code_challenge=known",
            "?response_type=token",
            "?scope=everything",
            "?redirect_uri=https%3A%2F%2Fevil.example",
            "?state=known",
            "?code_challenge_method=plain",
            "?response_mode=form_post",
            "?request_uri=https%3A%2F%2Fevil.example%2Fr",
            "?request=eyJhbGciOiJub25lIn0.e30.",
            "?resource",
            "?tenant=7&%73tate=known",
            "#x",
        ],
    )
    def test_an_authorization_endpoint_sets_no_parameter_of_the_request_and_has_no_fragment(
        self, fake: FakeServer, injected: str
    ) -> None:
        """A server may take the first of two, and never gets what follows a `#` (RFC 6749 3.1)."""
        fake.announce(authorization_endpoint=f"{fake.base}/authorize{injected}")

        error = fails_before_the_browser(fake.url, errors.ProtocolError)
        assert injected == "#x" or "RFC 6749" in str(error)
        assert fake.asked("/register") == []

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

    def test_a_query_in_an_endpoints_address_is_kept(self, fake: FakeServer) -> None:
        """RFC 6749 section 3.1 and 3.2: it must be retained."""
        fake.announce(
            authorization_endpoint=f"{fake.base}/authorize?tenant=7",
            token_endpoint=f"{fake.base}/token?tenant=7",
        )
        url = sign_in(connect(fake.url))

        assert url.startswith(f"{fake.base}/authorize?tenant=7&")
        assert [r.target for r in fake.asked("/token")] == ["/token?tenant=7"]

    def test_the_servers_own_address_may_have_a_query(self, fake: FakeServer) -> None:
        """It belongs to the address, for calls as for the sign-in."""
        fake.describe(resource=f"{fake.url}?team=7")
        session = connect(f"{fake.url}?team=7")

        query = query_of(sign_in(session))
        assert query["resource"] == [f"{fake.url}?team=7"]
        assert session.call("echo", text="fine").text == "fine"
        assert {r.target for r in fake.asked("/mcp")} == {"/mcp?team=7"}
