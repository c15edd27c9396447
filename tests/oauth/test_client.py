"""The requests of a client and the responses to them, and scopes."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus

import pytest

from mcpnb import errors
from mcpnb.oauth import client
from mcpnb.oauth.authorization import AuthorizationRequest, ValidatedResponse
from mcpnb.oauth.credentials import LoginRecord, Registration, Tokens
from mcpnb.oauth.http import Http
from mcpnb.oauth.metadata import Defects, authorization_server
from mcpnb.oauth.models import AuthorizationServer, Secret
from mcpnb.oauth.scopes import chosen, covers, scopes_from, union
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request

NOW = 1_000_000.0
ISSUER = "https://as.example"
ANSWER: dict[str, Any] = {
    "access_token": "access",
    "token_type": "Bearer",
    "expires_in": 3600,
    "refresh_token": "refresh",
    "scope": "a b",
}
BEFORE = Tokens(Secret("old"), NOW - 9, NOW, Secret("old refresh"), ("a", "b", "c"))
AS = AuthorizationServer(
    issuer=ISSUER,
    authorization_endpoint=f"{ISSUER}/authorize",
    token_endpoint=f"{ISSUER}/token",
    code_challenge_methods=("S256",),
    url=f"{ISSUER}/.well-known/oauth-authorization-server",
)


def read(previous: Tokens | None = None, **changes: Any) -> Tokens:
    document = {n: v for n, v in (ANSWER | changes).items() if v is not None}
    return client.read_tokens(document, now=NOW, asked=("x", "y"), previous=previous)


class TestTokenAnswers:
    def test_a_plain_one_is_read(self) -> None:
        tokens = read()

        assert tokens.access_token.reveal() == "access"
        assert tokens.refresh_token == Secret("refresh")
        assert (tokens.obtained_at, tokens.expires_at) == (NOW, NOW + 3600)
        assert tokens.scopes == ("a", "b")
        assert tokens.lifetime == 3600

    @pytest.mark.threat("absurd-lifetime")
    @pytest.mark.parametrize(
        ("said", "seconds"),
        [
            *(("3600", 3600), (" 60 ", 60), (1.5, 1.5)),
            *((much, 10 * 365 * 86_400) for much in (math.inf, 1e300, "9" * 500)),
            *((None, None), (0, None), (-1, None), ("soon", None), ("", None), (True, None)),
            *(([3600], None), (math.nan, None), ("nan", None), (10**400, None)),
        ],
        ids=range(16),
    )
    def test_an_odd_lifetime_is_understood_or_counts_as_not_said(
        self, said: Any, seconds: float | None
    ) -> None:
        assert read(expires_in=said).lifetime == seconds

    @pytest.mark.threat("answer-without-a-token")
    @pytest.mark.parametrize("document", [None, [], "access", 5, True])
    def test_what_is_no_object_is_a_clear_error(self, document: Any) -> None:
        with pytest.raises(errors.GrantError, match="not a JSON object"):
            client.read_tokens(document, now=NOW, asked=())

    @pytest.mark.parametrize("scope", [None, "", "  ", ["a"], 5])
    def test_scopes_that_are_not_said_are_those_asked_for(self, scope: Any) -> None:
        """RFC 6749 section 5.1; after a refresh, those that were granted."""
        assert read(scope=scope).scopes == ("x", "y")
        assert read(BEFORE, scope=scope).scopes == ("a", "b", "c")

    def test_scopes_that_are_said_count(self) -> None:
        assert read(BEFORE, scope="b  b a").scopes == ("b", "a")

    @pytest.mark.threat("refresh-token-lost")
    @pytest.mark.parametrize("kept", [None, "", 5])
    def test_a_refresh_that_gives_no_new_refresh_token_keeps_the_old_one(self, kept: Any) -> None:
        assert read(BEFORE, refresh_token=kept).refresh_token == Secret("old refresh")
        assert read(refresh_token=kept).refresh_token is None

    def test_a_new_refresh_token_replaces_the_old_one(self) -> None:
        assert read(BEFORE).refresh_token == Secret("refresh")


class TestRequests:
    """What a token endpoint is sent, and what an error of it may repeat."""

    CODE = ValidatedResponse(
        AuthorizationRequest(
            AS,
            Registration(ISSUER, "id&é", "dcr"),
            redirect_uri="http://127.0.0.1:1/callback",
            resource="https://mcp.example/mcp",
            scopes=("a",),
        ),
        Secret("c&de-of it"),
    )

    @pytest.fixture
    def http(self, fake: FakeServer) -> Iterator[Http]:
        fake.routes["/token"] = lambda _: Reply(200, ANSWER)
        with closing(Http(fake.url)) as http:
            yield http

    def code(self, fake: FakeServer, registration: Registration | None = None) -> ValidatedResponse:
        request = self.CODE.request
        server = replace(request.server, token_endpoint=f"{fake.base}/token")
        registration = registration or request.registration
        request = replace(request, server=server, registration=registration)
        return replace(self.CODE, request=request)

    @pytest.mark.threat("token-for-another-audience")
    def test_an_exchange_sends_each_parameter_once(self, fake: FakeServer, http: Http) -> None:
        client.exchange(self.code(fake), http)

        [sent] = fake.asked("/token")
        assert sent.form == {
            "grant_type": ["authorization_code"],
            "code": ["c&de-of it"],
            "redirect_uri": ["http://127.0.0.1:1/callback"],
            "code_verifier": [self.CODE.request.verifier.reveal()],
            "resource": ["https://mcp.example/mcp"],
            "client_id": ["id&é"],
        }
        assert "authorization" not in sent.headers

    @pytest.mark.threat("secret-sent-another-way", "token-for-another-audience")
    @pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
    def test_a_secret_is_sent_in_the_way_agreed_on_only(
        self, fake: FakeServer, http: Http, method: Any
    ) -> None:
        registration = Registration(ISSUER, "id:1", "dcr", method, Secret("s:% é"))
        endpoint = f"{fake.base}/token"

        client.refresh(LoginRecord("s", None, "https://m", registration, endpoint, BEFORE), http)

        [sent] = fake.asked("/token")
        assert sent.form["refresh_token"] == ["old refresh"]
        assert sent.form["resource"] == ["https://m"]
        assert "scope" not in sent.form
        assert ("client_secret" in sent.form) is (method == "client_secret_post")
        # RFC 6749 section 2.3.1: form-encoded first, so that a colon is no separator.
        pair = base64.b64encode(b"id%3A1:s%3A%25+%C3%A9").decode()
        basic = f"Basic {pair}" if method == "client_secret_basic" else None
        assert sent.headers.get("authorization") == basic

    def test_without_a_refresh_token_there_is_no_refresh(self, http: Http) -> None:
        tokens = replace(BEFORE, refresh_token=None)
        record = LoginRecord("s", None, "r", Registration(ISSUER, "id", "dcr"), "t", tokens)

        with pytest.raises(errors.GrantError, match="no refresh token"):
            client.refresh(record, http)

    @pytest.mark.parametrize("document", [None, [], {}, {"error": 5}, {"error": "boo\x1b"}])
    def test_an_error_answer_is_told_with_its_status(
        self, fake: FakeServer, http: Http, document: Any
    ) -> None:
        fake.always("/token", Reply(400, document))
        with pytest.raises(errors.GrantError) as caught:
            client.exchange(self.code(fake), http)

        assert str(caught.value).isprintable()
        assert caught.value.status == 400
        assert isinstance(caught.value.error, str)

    @pytest.mark.threat("secret-in-an-error")
    @pytest.mark.parametrize("method", ["none", "client_secret_post", "client_secret_basic"])
    def test_an_error_repeats_nothing_that_was_sent(
        self, fake: FakeServer, http: Http, method: Any
    ) -> None:
        """A server may quote the request in its error, in whatever encoding."""
        secret, code = "s3cret/of+the client", self.CODE.code.reveal()
        given = None if method == "none" else Secret(secret)
        response = self.code(fake, Registration(ISSUER, "client", "dcr", method, given))

        def echo(request: Request) -> Reply:
            sent = f"{request.body.decode()} {request.headers} {request.form}"
            words = {"error": f"no_such_{code}", "error_description": sent}
            return Reply(400, words)

        fake.routes["/token"] = echo
        with pytest.raises(errors.GrantError) as caught:
            client.exchange(response, http)

        error = caught.value
        verifier = self.CODE.request.verifier.reveal()
        for hidden in (secret, code, verifier, quote_plus(secret), quote_plus(code)):
            assert hidden not in f"{error} {error.error} {error!r}"
        assert "no_such_" in error.error


class TestScopes:
    @pytest.mark.parametrize(
        ("value", "scopes"),
        [
            (None, None),
            ("", ()),
            ("a", ("a",)),
            ("a b,c, a", ("a", "b", "c")),
            (["a", "b", "a"], ("a", "b")),
            ((), ()),
            ("https://x/y.read api://z/.default", ("https://x/y.read", "api://z/.default")),
        ],
    )
    def test_a_person_may_write_them_in_several_ways(
        self, value: Any, scopes: tuple[str, ...] | None
    ) -> None:
        assert scopes_from(value) == scopes

    @pytest.mark.parametrize("value", ['a"b', "a\\b", ["a b"], [""], "ä", ["a\n"], [None, "\x00"]])
    def test_what_is_no_scope_is_a_clear_error(self, value: Any) -> None:
        with pytest.raises(errors.ConfigError, match="not a scope"):
            scopes_from(value)

    @pytest.mark.threat("scope-widening")
    @pytest.mark.parametrize(
        ("explicit", "challenged", "supported", "announced", "asked"),
        [
            (("e",), ("c",), ("s",), (), (("e",), False)),
            ((), ("c",), ("s",), (), ((), False)),
            (None, ("c",), ("s",), (), (("c",), True)),
            (None, None, ("s", "t"), (), (("s", "t"), True)),
            (None, None, (), (), ((), False)),
            (None, None, (), ("offline_access",), ((), False)),
            (None, ("c",), (), ("offline_access", "x"), (("c", "offline_access"), True)),
            (None, ("offline_access",), (), ("offline_access",), (("offline_access",), True)),
            (("e",), None, (), ("offline_access",), (("e",), False)),
        ],
    )
    def test_the_order_is_explicit_challenged_supported_none(
        self, explicit: Any, challenged: Any, supported: Any, announced: Any, asked: Any
    ) -> None:
        """Rules 37 and 39: `offline_access` only where the authorization server announces it."""
        server = replace(AS, scopes_supported=announced)

        assert chosen(explicit, challenged, supported, server) == asked

    def test_a_union_keeps_order_and_drops_repetitions(self) -> None:
        assert union(("a", "b"), None, ("b", "c"), ()) == ("a", "b", "c")

    def test_no_bound_covers_everything(self) -> None:
        assert covers(None, ("a",))
        assert covers(("a", "b"), ("b",))
        assert covers((), ())
        assert not covers(("a",), ("a", "b"))


@pytest.mark.threat("issuer-confusion")
def test_a_document_of_another_issuer_is_refused_for_that_before_all_else() -> None:
    document = {"issuer": f"{ISSUER}/other", "revocation_endpoint": "http://as.example/revoke"}
    with pytest.raises(errors.ProtocolError, match="none of it is used"):
        authorization_server(document, issuer=ISSUER, url=ISSUER)
    defects: Defects = {}
    authorization_server(document, issuer=ISSUER, url=ISSUER, defects=defects)
    assert next(iter(defects)) == "issuer"
