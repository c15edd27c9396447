"""Which client a sign-in is made with: registered, configured, or a metadata document.

Registrations and secrets stay with the issuer and redirect that they were made for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpnb import errors
from mcpnb.oauth.registration import metadata_document
from mcpnb.stores import FileStore, MemoryStore
from tests.fakes.kernels import Kernel
from tests.fakes.people import (
    answer_of,
    connect,
    fails_before_the_browser,
    free_port,
    query_of,
    sign_in,
    sign_in_and_call,
    waiting,
)
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request


def works_after_an_expiry(fake: FakeServer) -> None:
    """Sign in, and refresh once."""
    session = connect(fake.url)
    sign_in(session)
    fake.expire()
    assert session.call("echo", text="back").text == "back"


class TestRegistration:
    """Dynamic registration (RFC 7591), as it is really done."""

    def test_it_asks_for_refresh_tokens_and_says_that_it_is_native(self, fake: FakeServer) -> None:
        """Else: no refresh token ever, and http loopback refused."""
        sign_in(connect(fake.url))

        [sent] = (r.json for r in fake.asked("/register"))
        assert set(sent["grant_types"]) == {"authorization_code", "refresh_token"}
        assert sent["application_type"] == "native"
        assert sent["response_types"] == ["code"]
        assert all(uri.startswith("http://127.0.0.1:") for uri in sent["redirect_uris"])

    def test_200_is_as_good_as_201(self, fake: FakeServer) -> None:
        fake.register_status = 200
        sign_in(connect(fake.url))

    def test_a_refused_scope_is_left_out(self, fake: FakeServer) -> None:
        """400 `invalid_client_metadata` for a scope that the server does not list."""
        fake.register_refuses_scope = True
        fake.describe(scopes_supported=["read"])

        sign_in(connect(fake.url))

        first, second = (r.json for r in fake.asked("/register"))
        assert "scope" in first
        assert second == {k: v for k, v in first.items() if k != "scope"}

    @pytest.mark.threat("registration-without-end")
    def test_a_server_that_refuses_everything_is_asked_twice(self, fake: FakeServer) -> None:
        """Once more without the scopes, and no further."""
        fake.describe(scopes_supported=["read"])
        fake.always("/register", Reply(400, {"error": "invalid_client_metadata"}))

        fails_before_the_browser(fake.url, errors.GrantError)
        assert ["scope" in r.json for r in fake.asked("/register")] == [True, False]

    def test_a_429_is_told_and_leaves_nothing_behind(self, fake: FakeServer) -> None:
        """A limit per hour: asked once, and the next attempt is clean."""
        fake.script("/register", Reply(429, headers={"Retry-After": "1800"}))
        session = connect(fake.url)

        with pytest.raises(errors.GrantError) as caught:
            session.login().wait(timeout=10)

        assert (caught.value.status, caught.value.retry_after) == (429, 1800)
        assert len(fake.asked("/register")) == 1
        sign_in(session)

    @pytest.mark.threat("registration-with-another-redirect")
    def test_a_redirect_that_the_response_names_is_not_used(self, fake: FakeServer) -> None:
        """RFC 7591 section 3.2.1 lets a server change what was asked for; not where codes go."""
        fake.register_adds = {"redirect_uris": ["https://evil.example/callback"]}
        port = free_port()
        login, url = waiting(connect(fake.url, callback_port=port))
        login.cancel()

        assert query_of(url)["redirect_uri"] == [f"http://127.0.0.1:{port}/callback"]
        assert login.redirect_uri == f"http://127.0.0.1:{port}/callback"

    @pytest.mark.threat("registration-with-an-unusable-client-id")
    @pytest.mark.parametrize(
        "given",
        ["", "\ud800", "line\r\nHost: evil.example", "\x1b[2J", "é", "x" * 100_000, 7, None],
    )
    def test_a_client_id_that_cannot_be_sent_makes_no_client(
        self, fake: FakeServer, kernel: Kernel, folder: Path, given: Any
    ) -> None:
        """RFC 6749 appendix A.1; nothing of it is stored."""
        fake.always("/register", Reply(201, {"client_id": given}))
        login = (session := kernel()).login()

        with pytest.raises(errors.GrantError, match="no usable client_id"):
            login.wait(timeout=10)

        assert login.url is None
        assert FileStore(folder).keys("client") == []
        fake.restore("/register")
        sign_in(session)

    @pytest.mark.threat("registration-access-token")
    def test_what_would_manage_the_client_is_not_stored(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        """RFC 7592: nothing here needs it, so nobody can steal it here."""
        fake.register_adds = {
            "registration_access_token": "manage-me",
            "registration_client_uri": f"{fake.base}/register/1",
        }
        sign_in(kernel())

        store = FileStore(folder)
        records = [store.read(key) for kind in ("login", "client") for key in store.keys(kind)]
        assert records
        assert "manage-me" not in repr(records)
        assert fake.asked("/register/1") == []

    @pytest.mark.slow
    def test_a_slow_one_holds_up_no_other_sign_in(self, fakes: Callable[[], FakeServer]) -> None:
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


class TestSecret:
    """A client's secret, and how it is sent (RFC 7591 sections 2 and 3.2.1)."""

    @pytest.mark.threat("secret-sent-another-way")
    def test_a_secret_nobody_asked_for_is_not_sent(self, fake: FakeServer) -> None:
        """The method is `none`, whatever else the response holds."""
        fake.register_gives_secret = True
        works_after_an_expiry(fake)

        sent = [
            ("client_secret" in r.form, "authorization" in r.headers) for r in fake.asked("/token")
        ]
        assert sent == [(False, False)] * 2

    @pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
    def test_the_method_the_server_assigned_is_used(self, fake: FakeServer, method: str) -> None:
        """It may differ from what was asked for."""
        fake.register_gives_secret = True
        fake.register_adds = {"token_endpoint_auth_method": method}
        works_after_an_expiry(fake)

    @pytest.mark.threat("registration-with-an-unknown-method")
    @pytest.mark.parametrize("method", ["private_key_jwt", "tls_client_auth", "", 7, ["none"]])
    def test_a_method_that_we_do_not_have_is_none(self, fake: FakeServer, method: object) -> None:
        """Without a secret there is nothing to prove, whatever the response calls it."""
        honest = fake.routes["/register"]

        def odd(request: Request) -> Reply:
            reply = honest(request)
            return Reply(201, {**reply.body, "token_endpoint_auth_method": method})

        fake.routes["/register"] = odd
        sign_in_and_call(fake.url)
        assert not any("client_secret" in r.form for r in fake.asked("/token"))

    @pytest.mark.threat("registration-with-an-unknown-method")
    def test_a_secret_with_an_unknown_method_is_sent_in_a_known_way(self, fake: FakeServer) -> None:
        """client_secret_basic where nothing else is announced."""
        fake.announce(token_endpoint_auth_methods_supported=None)
        fake.register_gives_secret = True
        fake.register_adds = {"token_endpoint_auth_method": "client_secret_in_the_query"}
        login, _ = waiting(session := connect(fake.url, callback_port=free_port()))
        next(iter(fake.clients.values()))["token_endpoint_auth_method"] = "client_secret_basic"
        login.cancel()

        sign_in(session)

        [sent] = fake.token_requests("authorization_code")
        assert sent.headers["authorization"].startswith("Basic ")
        assert "client_secret" not in sent.form
        assert "secret" not in sent.target

    @pytest.mark.threat("registration-with-an-absurd-end")
    @pytest.mark.parametrize("end", [10**400, 1e300, -1, "soon", None, True])
    def test_an_absurd_end_of_a_secret_is_no_surprise(self, fake: FakeServer, end: Any) -> None:
        """Seconds since the epoch, or 0 for none."""
        fake.register_adds = self.ends_at(end)
        sign_in_and_call(fake.url)

    @pytest.mark.threat("expired-client-secret")
    def test_a_client_whose_secret_ends_soon_is_not_used_again(self, fake: FakeServer) -> None:
        """It would end between consent and exchange."""
        session = connect(fake.url, callback_port=free_port())
        for left, registrations in ((60, 2), (86_400, 3)):
            fake.register_adds = self.ends_at(time.time() + left)
            sign_in(session)
            sign_in(session)
            assert len(fake.asked("/register")) == registrations

    def ends_at(self, end: object) -> dict[str, object]:
        return {
            "client_secret": "a-secret",
            "token_endpoint_auth_method": "client_secret_post",
            "client_secret_expires_at": end,
        }


class TestUsedAgain:
    """A client is bound to the issuer that it came from (SEP-2352), and to its redirect."""

    @pytest.mark.threat("registration-of-another-redirect")
    def test_a_registration_is_made_once_per_issuer_and_redirect(self, fake: FakeServer) -> None:
        """Also by another session with the same store; another redirect needs another."""
        store, port = MemoryStore(), free_port()
        for _ in range(2):
            sign_in(connect(fake.url, store=store, callback_port=port))
        assert len(fake.asked("/register")) == 1

        sign_in(connect(fake.url, store=store, callback_port=free_port()))
        assert len(fake.asked("/register")) == 2

    def test_a_forgotten_client_is_registered_again(self, fake: FakeServer) -> None:
        """The server shows a page that never redirects: the old id is not insisted on."""
        session = connect(fake.url, callback_port=free_port())
        sign_in(session)
        session.logout()
        fake.clients.clear()
        login, _ = waiting(session)
        login.cancel()

        sign_in(session)
        assert session.call("echo", text="back").text == "back"

    @pytest.mark.threat("registration-of-another-issuer")
    def test_another_issuer_gets_its_own_registration(
        self, fakes: Callable[[], FakeServer]
    ) -> None:
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
        for server in (fake, moved):
            server.announce(token_endpoint_auth_methods_supported=["client_secret_post"])
            server.clients["mine"] = {
                "client_id": "mine",
                "client_secret": "a secret of mine",
                "redirect_uris": [f"http://127.0.0.1:{port}/callback"],
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
    def test_a_refresh_goes_where_the_login_came_from_whatever_the_metadata_says_now(
        self, fakes: Callable[[], FakeServer]
    ) -> None:
        fake, moved = fakes(), fakes()
        session = connect(fake.url)
        sign_in(session)
        fake.describe(authorization_servers=[moved.base])
        fake.announce(token_endpoint=f"{moved.base}/token")
        fake.expire()

        assert session.call("echo", text="back").text == "back"

        assert moved.requests == []


class TestMetadataDocument:
    """A client id that is the address of a document (client ID metadata documents)."""

    @pytest.mark.threat("client-metadata-document-address")
    @pytest.mark.parametrize(
        "url",
        [
            "http://client.example/metadata.json",
            "https://client.example/",
            "https://user:word@client.example/metadata.json",
            "https://client.example/metadata.json#part",
            "https://client.example/./metadata.json",
            "file:///metadata.json",
        ],
    )
    def test_it_has_one_plain_address(self, fake: FakeServer, url: str) -> None:
        """The address is compared as text (section 3)."""
        fake.announce(client_id_metadata_document_supported=True, registration_endpoint=None)

        with pytest.raises(errors.ConfigError, match="client_metadata_url"):
            metadata_document(url)
        fails_before_the_browser(fake.url, errors.ConfigError, client_metadata_url=url)

    @pytest.mark.threat("client-metadata-document-unasked")
    def test_its_address_is_given_only_to_servers_that_read_such(self, fake: FakeServer) -> None:
        """Elsewhere it would be a client id that anybody could have registered."""
        login, url = waiting(connect(fake.url, client_metadata_url="https://client.example/c.json"))
        login.cancel()

        assert query_of(url)["client_id"] == [next(iter(fake.clients))]
