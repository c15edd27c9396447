"""What real servers were seen to do at sign-in and sign-out: each habit is one test.

Registration, pages that never redirect, revocation, issuers, challenges. The servers are fakes
only in that they do it on demand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from mcpnb import errors
from mcpnb.stores import MemoryStore
from tests.fakes.people import answer_of, connect, free_port, query_of, refresh_tokens, sign_in
from tests.fakes.server import AS_METADATA, FakeServer
from tests.fakes.wire import Reply, Request


class TestResourceAndScope:
    """`resource` everywhere, and what is asked for where nothing is known."""

    def test_resource_goes_to_authorize_token_and_refresh(self, fake: FakeServer) -> None:
        """Left out at the token endpoint, some servers give a token that is of no use."""
        session = connect(fake.url)
        sign_in(session)
        fake.expire()
        session.call("echo", text="back")

        sent = [r.query for r in fake.asked("/authorize")] + [r.form for r in fake.asked("/token")]

        assert [s["resource"] for s in sent] == [[fake.url]] * 3

    def test_a_denial_without_description_is_still_a_sentence(self, fake: FakeServer) -> None:
        """Asked without `scope`, some servers answer a bare `access_denied`."""
        fake.authorize_error = {"error": "access_denied"}
        login = connect(fake.url).login()
        login.wait_for("waiting", timeout=10)
        assert login.url is not None
        assert "scope" not in query_of(login.url)

        with pytest.raises(errors.LoginDenied) as caught:
            login.submit(answer_of(login.url))

        assert caught.value.error == "access_denied"
        assert len(str(caught.value).split()) > 3

    def test_offline_access_comes_with_prompt_consent(self, fake: FakeServer) -> None:
        """Without it, some servers drop the scope silently."""
        fake.announce(scopes_supported=["read", "offline_access"])
        fake.describe(scopes_supported=["read"])

        query = query_of(sign_in(connect(fake.url)))

        assert query["scope"] == ["read offline_access"]
        assert query["prompt"] == ["consent"]

    def test_offline_access_is_not_asked_for_where_it_is_not_announced(
        self, fake: FakeServer
    ) -> None:
        """It would be an unknown scope there."""
        fake.describe(scopes_supported=["read"])

        query = query_of(sign_in(connect(fake.url)))

        assert query["scope"] == ["read"]
        assert "prompt" not in query


class TestRegistration:
    """Dynamic registration, as it is really done."""

    def test_a_refused_scope_is_left_out(self, fake: FakeServer) -> None:
        """400 `invalid_client_metadata` for a scope that the server does not list."""
        fake.register_refuses_scope = True
        fake.describe(scopes_supported=["read"])

        sign_in(connect(fake.url))

        first, second = (r.json for r in fake.asked("/register"))
        assert "scope" in first
        assert second == {k: v for k, v in first.items() if k != "scope"}

    def test_it_asks_for_refresh_tokens_and_says_that_it_is_native(self, fake: FakeServer) -> None:
        """Else: no refresh token ever, and http loopback refused."""
        sign_in(connect(fake.url))

        [sent] = (r.json for r in fake.asked("/register"))
        assert set(sent["grant_types"]) == {"authorization_code", "refresh_token"}
        assert sent["application_type"] == "native"
        assert sent["response_types"] == ["code"]
        assert all(uri.startswith("http://127.0.0.1:") for uri in sent["redirect_uris"])

    def test_200_is_as_good_as_201(self, fake: FakeServer) -> None:
        """Though RFC 7591 has 201."""
        fake.register_status = 200

        session = connect(fake.url)
        sign_in(session)

        assert session.signed_in

    @pytest.mark.threat("secret-sent-another-way")
    def test_a_secret_nobody_asked_for_is_not_sent(self, fake: FakeServer) -> None:
        """The method is `none`, whatever else the answer holds."""
        fake.register_gives_secret = True
        session = connect(fake.url)
        sign_in(session)
        fake.expire()

        assert session.call("echo", text="back").text == "back"

        sent = fake.asked("/token")
        assert [("client_secret" in r.form, "authorization" in r.headers) for r in sent] == [
            (False, False)
        ] * 2

    @pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
    def test_the_method_the_server_assigned_is_used(self, fake: FakeServer, method: str) -> None:
        """RFC 7591 section 3.2.1: the answer may differ from what was asked for."""
        fake.register_gives_secret = True
        fake.register_adds = {"token_endpoint_auth_method": method}
        session = connect(fake.url)
        sign_in(session)
        fake.expire()

        assert session.call("echo", text="back").text == "back"

    def test_a_429_is_told_and_leaves_nothing_behind(self, fake: FakeServer) -> None:
        """A limit per hour: asked once, and the next attempt is clean."""
        fake.script("/register", Reply(429, headers={"Retry-After": "1800"}))
        session = connect(fake.url)

        with pytest.raises(errors.GrantError) as caught:
            session.login().wait(timeout=10)

        assert caught.value.status == 429
        assert caught.value.retry_after == 1800
        assert len(fake.asked("/register")) == 1
        sign_in(session)
        assert session.signed_in

    def test_a_client_the_server_forgot_is_registered_anew(self, fake: FakeServer) -> None:
        """`invalid_client` at refresh: the next login does not insist on the old client id."""
        session = connect(fake.url, callback_port=free_port())
        sign_in(session)
        fake.clients.clear()
        fake.expire()
        with pytest.raises(errors.LoginError):
            session.call("echo", text="gone")

        sign_in(session)

        assert session.call("echo", text="back").text == "back"

    @pytest.mark.slow
    def test_a_slow_registration_holds_up_no_other_sign_in(
        self, fakes: Callable[[], FakeServer]
    ) -> None:
        """Two servers behind one issuer share a client; the second does not fail for the first."""
        first, second = fakes(), fakes()
        second.resource_metadata = {"resource": second.url, "authorization_servers": [first.base]}
        arrived, go_on, register = threading.Event(), threading.Event(), first.routes["/register"]

        def slow_at_first(request: Request) -> Reply:
            if not arrived.is_set():
                arrived.set()
                go_on.wait(60)
            return register(request)

        first.routes["/register"] = slow_at_first
        given = {"store": MemoryStore(), "callback_port": free_port(), "via": "paste"}
        slow = connect(first.url, **given).login()
        assert arrived.wait(10)

        other = connect(second.url, **given).login()
        other.wait_for("waiting", timeout=30)
        go_on.set()
        slow.wait_for("waiting", timeout=10)
        for login in (other, slow):
            assert login.url is not None
            login.submit(answer_of(login.url))


class TestEndpoints:
    """Where a server's addresses have a shape of their own."""

    def test_a_query_in_an_endpoints_address_is_kept(self, fake: FakeServer) -> None:
        """RFC 6749 section 3.1 and 3.2: it must be retained."""
        fake.announce(
            authorization_endpoint=f"{fake.base}/authorize?tenant=7",
            token_endpoint=f"{fake.base}/token?tenant=7",
        )
        session = connect(fake.url)

        url = sign_in(session)

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


class TestNoRedirect:
    """Wrong redirect, unknown client: the server shows a page of its own and never redirects."""

    @pytest.mark.slow
    def test_the_wait_says_so(self, fake: FakeServer) -> None:
        """The listener hears of nothing, so the time-out names what may have happened."""
        session = connect(fake.url)
        login = session.login(timeout=1)
        login.wait_for("waiting", timeout=10)
        fake.clients.clear()
        assert login.url is not None
        with pytest.raises(AssertionError, match="HTTP 400"):
            answer_of(login.url)

        with pytest.raises(errors.LoginTimeout) as caught:
            login.wait(timeout=10)

        assert "page" in str(caught.value) or "browser" in str(caught.value)
        assert login.state == "failed"
        assert not session.signed_in

    def test_the_next_sign_in_registers_anew(self, fake: FakeServer) -> None:
        """A stored client id that led to such a page is not insisted on."""
        session = connect(fake.url, callback_port=free_port())
        sign_in(session)
        session.logout()
        fake.clients.clear()
        login = session.login()
        login.wait_for("waiting", timeout=10)
        login.cancel()
        with pytest.raises(errors.LoginCancelled):
            login.wait(timeout=10)

        sign_in(session)

        assert session.call("echo", text="back").text == "back"


class TestRevocation:
    """RFC 7009, as some servers have it."""

    def test_an_empty_secret_is_sent_to_those_that_want_one(self, fake: FakeServer) -> None:
        """Public clients have none, but the field is missed."""
        fake.revoke_wants_secret = True
        session = connect(fake.url)
        sign_in(session)
        [grant] = {id(g): g for g in fake.refresh.values()}.values()

        session.logout()

        assert not grant.alive
        assert not session.signed_in

    @pytest.mark.parametrize(
        "answer", [Reply(500, "no"), Reply(drop=True), Reply(404), Reply(400, {"error": "x"})]
    )
    def test_a_server_that_cannot_revoke_does_not_keep_anybody_signed_in(
        self, fake: FakeServer, answer: Reply
    ) -> None:
        """Forgotten here, whatever happens there."""
        session = connect(fake.url)
        sign_in(session)
        fake.always("/revoke", answer)

        session.logout()

        assert not session.signed_in

    def test_a_server_without_revocation_is_only_forgotten(self, fake: FakeServer) -> None:
        """Its tokens live on until they expire."""
        fake.announce(revocation_endpoint=None)
        session = connect(fake.url)
        sign_in(session)

        session.logout()

        assert not session.signed_in
        assert fake.asked("/revoke") == []


class TestIssuer:
    """With and without trailing slash, also in a real server's own documents."""

    @pytest.mark.parametrize("where", ["resource metadata", "issuer's document"])
    def test_a_slash_after_a_bare_origin_makes_no_difference(
        self, fake: FakeServer, where: str
    ) -> None:
        """The one tolerance; `iss` is still compared with the document's own value."""
        if where == "resource metadata":
            fake.describe(authorization_servers=[f"{fake.base}/"])
        else:
            fake.announce(issuer=f"{fake.base}/")
        session = connect(fake.url)

        sign_in(session)

        assert session.call("echo", text="fine").text == "fine"

    @pytest.mark.threat("issuer-that-looks-alike")
    def test_a_slash_after_a_path_makes_another_issuer(self, fake: FakeServer) -> None:
        """RFC 8414 section 3.3: compared as they are."""
        tenant = f"{fake.base}/tenant"
        fake.describe(authorization_servers=[tenant])
        fake.always(
            f"{AS_METADATA}/tenant", Reply(200, (fake.metadata or {}) | {"issuer": f"{tenant}/"})
        )

        with pytest.raises((errors.ProtocolError, errors.DiscoveryError)):
            connect(fake.url).login().wait(timeout=10)

        assert fake.asked("/register") == []

    @pytest.mark.threat("issuer-confusion")
    def test_another_issuers_metadata_at_the_own_origin_is_not_used(
        self, fakes: Callable[[], FakeServer]
    ) -> None:
        """A resource server may serve it; whose it is cannot be checked there."""
        fake, other = fakes(), fakes()
        fake.metadata = other.metadata

        with pytest.raises((errors.ProtocolError, errors.DiscoveryError)):
            connect(fake.url).login().wait(timeout=10)

        assert other.requests == []

    def test_localhost_and_127_0_0_1_are_mixed(self, fake: FakeServer) -> None:
        """The server is at one, its authorization server at the other."""
        local = fake.base.replace("127.0.0.1", "localhost")
        fake.metadata = {
            k: v.replace(fake.base, local) if isinstance(v, str) else v
            for k, v in (fake.metadata or {}).items()
        }
        fake.describe(authorization_servers=[local])
        session = connect(fake.url)

        sign_in(session)

        assert session.call("echo", text="fine").text == "fine"


class TestChallenges:
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

    def test_a_401_without_header_for_an_expired_token_is_one_refresh(
        self, fake: FakeServer
    ) -> None:
        """Nothing says why; a refresh is worth one try."""
        fake.challenge = None
        session = connect(fake.url)
        sign_in(session)
        fake.expire()

        assert session.call("echo", text="back").text == "back"

        assert len(refresh_tokens(fake)) == 1

    def test_a_server_open_until_a_tool_is_called_is_signed_in_to(self, fake: FakeServer) -> None:
        """It answers 200 to everybody who only looks; its metadata is asked for all the same."""
        fake.open_until_called = True
        session = connect(fake.url)
        with pytest.raises(errors.LoginRequired):
            session.call("echo", text="no")

        sign_in(session)

        assert session.call("echo", text="yes").text == "yes"

    def test_a_server_that_rejects_every_token_is_not_asked_without_end(
        self, fake: FakeServer
    ) -> None:
        """One refresh, one retry, then a clear error, call after call."""
        session = connect(fake.url)
        sign_in(session)
        fake.really_lives = -1
        fake.expire()

        for _ in range(3):
            with pytest.raises((errors.LoginRequired, errors.CallError)):
                session.call("echo", text="no")

        assert len(refresh_tokens(fake)) == 1
