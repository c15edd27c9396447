"""Token answers, scopes and PKCE: what is taken, and what is not."""

from __future__ import annotations

import base64
import math
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpnb import errors
from mcpnb.oauth import token
from mcpnb.oauth.authorization import AuthorizationRequest, ValidatedResponse
from mcpnb.oauth.credentials import LoginRecord, Registration, Tokens
from mcpnb.oauth.metadata import authorization_server, protected_resource, require_pkce
from mcpnb.oauth.models import AuthorizationServer, Secret
from mcpnb.oauth.scopes import chosen, covers, scopes_from, union

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
    return token.read_tokens(document, now=NOW, asked=("x", "y"), previous=previous)


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
            (None, None),
            ("3600", 3600),
            (" 60 ", 60),
            (1.5, 1.5),
            (0, None),
            (-1, None),
            ("soon", None),
            ("", None),
            (True, None),
            ([3600], None),
            (math.nan, None),
            ("nan", None),
            (math.inf, 10 * 365 * 86_400),
            (1e300, 10 * 365 * 86_400),
            (10**400, None),
            ("9" * 500, 10 * 365 * 86_400),
        ],
        ids=range(16),
    )
    def test_an_odd_lifetime_is_understood_or_counts_as_not_said(
        self, said: Any, seconds: float | None
    ) -> None:
        assert read(expires_in=said).lifetime == seconds

    @pytest.mark.threat("token-type", "token-that-adds-a-header")
    @pytest.mark.parametrize(
        "changes",
        [
            {"access_token": None},
            {"access_token": ""},
            {"access_token": 5},
            {"access_token": ["access"]},
            {"access_token": "with space"},
            {"access_token": "line\r\nX-Injected: yes"},
            {"access_token": "line\n"},
            {"access_token": "ünicode"},
            {"token_type": "mac"},
            {"token_type": "DPoP"},
            {"token_type": ["Bearer"]},
            {"token_type": ""},
        ],
    )
    def test_what_is_no_bearer_token_is_a_clear_error(self, changes: dict[str, Any]) -> None:
        with pytest.raises(errors.GrantError) as caught:
            read(**changes)

        assert str(caught.value).isprintable()
        assert "line" not in str(caught.value)

    @pytest.mark.threat("answer-without-a-token")
    @pytest.mark.parametrize("document", [None, [], "access", 5, True])
    def test_what_is_no_object_is_a_clear_error(self, document: Any) -> None:
        with pytest.raises(errors.GrantError, match="not a JSON object"):
            token.read_tokens(document, now=NOW, asked=())

    @pytest.mark.parametrize("kind", [None, "bearer", "BEARER", "Bearer"])
    def test_the_type_may_be_in_any_case_or_left_out(self, kind: str | None) -> None:
        assert read(token_type=kind).access_token.reveal() == "access"

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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(ANSWER, JSON)), st.booleans())
def test_any_answer_is_tokens_or_a_grant_error(document: dict[str, Any], refreshing: bool) -> None:  # noqa: FBT001
    try:
        tokens = token.read_tokens(
            document, now=NOW, asked=(), previous=BEFORE if refreshing else None
        )
    except errors.GrantError:
        return
    assert tokens.access_token.reveal().isascii()
    assert tokens.expires_at is None or NOW < tokens.expires_at < NOW + 4e8


class TestRequests:
    ANSWERED = ValidatedResponse(
        AuthorizationRequest(
            AS,
            Registration(ISSUER, "id&é", "dcr"),
            redirect_uri="http://127.0.0.1:1/callback",
            resource="https://mcp.example/mcp",
            scopes=("a",),
        ),
        Secret("c&de"),
    )

    @pytest.mark.threat("token-for-another-audience")
    def test_an_exchange_sends_each_parameter_once(self) -> None:
        body, headers = token.exchange(self.ANSWERED)

        assert parse_qs(body, strict_parsing=True) == {
            "grant_type": ["authorization_code"],
            "code": ["c&de"],
            "redirect_uri": ["http://127.0.0.1:1/callback"],
            "code_verifier": [self.ANSWERED.request.verifier.reveal()],
            "resource": ["https://mcp.example/mcp"],
            "client_id": ["id&é"],
        }
        assert "Authorization" not in headers

    @pytest.mark.threat("secret-sent-another-way", "token-for-another-audience")
    @pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
    def test_a_secret_is_sent_in_the_way_agreed_on_only(self, method: Any) -> None:
        registration = Registration(ISSUER, "id:1", "dcr", method, Secret("s:% é"))
        record = LoginRecord("https://m", None, "https://m", registration, "https://t", BEFORE)

        body, headers = token.refresh(record)

        form = parse_qs(body, strict_parsing=True)
        assert form["refresh_token"] == ["old refresh"]
        assert form["resource"] == ["https://m"]
        assert "scope" not in form
        assert ("client_secret" in form) is (method == "client_secret_post")
        assert ("Authorization" in headers) is (method == "client_secret_basic")
        if method == "client_secret_basic":
            # RFC 6749 section 2.3.1: form-encoded first, so that a colon is no separator.
            pair = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
            assert pair == "id%3A1:s%3A%25+%C3%A9"

    def test_without_a_refresh_token_there_is_no_refresh(self) -> None:
        tokens = replace(BEFORE, refresh_token=None)
        registration = Registration(ISSUER, "id", "dcr")

        with pytest.raises(errors.GrantError, match="no refresh token"):
            token.refresh(LoginRecord("s", None, "r", registration, "t", tokens))

    @pytest.mark.parametrize("document", [None, [], {}, {"error": 5}, {"error": "boo\x1b"}])
    def test_an_error_answer_is_told_with_its_status(self, document: Any) -> None:
        error = token.grant_error(400, document, doing="The exchange", retry_after=None)

        assert str(error).isprintable()
        assert error.status == 400
        assert isinstance(error.error, str)


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


class TestPkce:
    @pytest.mark.threat("pkce-downgrade", "pkce-plain")
    @pytest.mark.parametrize(
        ("methods", "override", "accepted"),
        [
            (("S256",), False, True),
            (("plain", "S256"), False, True),
            (None, False, False),
            (None, True, True),
            ((), False, False),
            ((), True, False),
            (("plain",), False, False),
            (("plain",), True, False),
            (("s256",), False, False),
        ],
    )
    def test_s256_has_to_be_announced(
        self, methods: Any, *, override: bool, accepted: bool
    ) -> None:
        """Rule 33. The override is for servers that forgot to say, not for those that say no."""
        server = replace(AS, code_challenge_methods=methods)
        if accepted:
            require_pkce(server, allow_missing=override)
            return
        with pytest.raises(errors.ProtocolError, match="allow_missing_pkce"):
            require_pkce(server, allow_missing=override)

    def test_where_there_is_no_document_nothing_can_announce_it(self) -> None:
        """The default endpoints of 2025-03-26."""
        require_pkce(replace(AS, url="", code_challenge_methods=None), allow_missing=False)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "resource",
                "authorization_servers",
                "scopes_supported",
                "issuer",
                "authorization_endpoint",
                "token_endpoint",
                "registration_endpoint",
                "grant_types_supported",
                "code_challenge_methods_supported",
            ]
        ),
        JSON | st.just(ISSUER) | st.just([ISSUER]),
    )
)
def test_any_metadata_is_taken_or_refused(document: dict[str, Any]) -> None:
    for check in (
        lambda: protected_resource(document, server=ISSUER, url=ISSUER),
        lambda: authorization_server(document, issuer=ISSUER, url=ISSUER),
    ):
        try:
            check()
        except (errors.DiscoveryError, errors.ProtocolError) as error:
            assert str(error).isprintable()  # noqa: PT017  either outcome is fine


@pytest.mark.threat("secret-in-an-error")
@pytest.mark.parametrize("method", ["none", "client_secret_post", "client_secret_basic"])
def test_an_error_repeats_nothing_that_was_sent(method: str) -> None:
    """A server may quote the request in its error, in whatever encoding."""
    secret, code, verifier = "s3cret/of+the client", "the-code/of it", "the-verifier-of-it"
    form = {"code": code, "code_verifier": verifier, "client_id": "client", "state": "x"}
    headers = {}
    if method == "client_secret_post":
        form["client_secret"] = secret
    elif method == "client_secret_basic":
        pair = f"client:{quote_plus(secret)}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    body = urlencode(form)
    said = f"{body} {code} {verifier} {secret if method != 'none' else ''} {headers}"

    error = token.grant_error(
        400,
        {"error": f"no_such_{code}", "error_description": said},
        doing="The exchange",
        retry_after=None,
        sent=token.secrets_sent(body, headers),
    )

    for hidden in (secret, code, verifier, quote_plus(secret), quote_plus(code)):
        assert hidden not in f"{error} {error.error} {error!r}"
    assert "client_id=client" in str(error)
