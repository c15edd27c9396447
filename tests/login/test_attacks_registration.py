"""Attacks by registration: a client that is somebody else's, or an answer that spoils ours.

What other files try already is marked there with the same ids (`tests/threats`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpnb import errors
from mcpnb.oauth.registration import metadata_document
from mcpnb.stores import FileStore
from tests.fakes.kernels import Kernel
from tests.fakes.people import (
    connect,
    fails_before_the_browser,
    free_port,
    query_of,
    sign_in,
    waiting,
)
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request, redirect


@pytest.mark.threat("registration-with-another-redirect")
def test_a_redirect_that_the_answer_names_is_not_used(fake: FakeServer) -> None:
    """RFC 7591 section 3.2.1 lets a server change what was asked for; not where answers go."""
    fake.register_adds = {"redirect_uris": ["https://evil.example/callback"]}
    port = free_port()
    login, url = waiting(connect(fake.url, callback_port=port))
    login.cancel()

    assert query_of(url)["redirect_uri"] == [f"http://127.0.0.1:{port}/callback"]
    assert login.redirect_uri == f"http://127.0.0.1:{port}/callback"


@pytest.mark.threat("registration-with-an-unknown-method")
@pytest.mark.parametrize("method", ["private_key_jwt", "tls_client_auth", "", 7, ["none"]])
def test_an_authentication_that_we_do_not_have_is_none(fake: FakeServer, method: object) -> None:
    """Without a secret there is nothing to prove, whatever the answer calls it."""
    honest = fake.routes["/register"]

    def odd(request: Request) -> Reply:
        reply = honest(request)
        return Reply(201, {**reply.body, "token_endpoint_auth_method": method})

    fake.routes["/register"] = odd
    session = connect(fake.url)

    sign_in(session)

    assert session.call("echo", text="fine").text == "fine"
    assert not any("client_secret" in r.form for r in fake.asked("/token"))


@pytest.mark.threat("registration-with-an-unknown-method")
def test_a_secret_with_an_unknown_method_is_sent_in_a_known_way(fake: FakeServer) -> None:
    """RFC 7591 section 2: client_secret_basic where nothing else is announced."""
    fake.announce(token_endpoint_auth_methods_supported=None)
    fake.register_gives_secret = True
    fake.register_adds = {"token_endpoint_auth_method": "client_secret_in_the_query"}
    port = free_port()
    login, _ = waiting(session := connect(fake.url, callback_port=port))
    next(iter(fake.clients.values()))["token_endpoint_auth_method"] = "client_secret_basic"
    login.cancel()

    sign_in(session)

    [sent] = fake.token_requests("authorization_code")
    assert sent.headers["authorization"].startswith("Basic ")
    assert "client_secret" not in sent.form
    assert "secret" not in sent.target


@pytest.mark.threat("registration-with-an-unusable-client-id")
@pytest.mark.parametrize(
    "given", ["", "\ud800", "line\r\nHost: evil.example", "\x1b[2J", "é", "x" * 100_000, 7, None]
)
def test_a_client_id_that_cannot_be_sent_makes_no_client(
    fake: FakeServer, kernel: Kernel, folder: Path, given: Any
) -> None:
    """RFC 6749 appendix A.1; nothing of it is kept."""
    fake.always("/register", Reply(201, {"client_id": given}))
    login = (session := kernel()).login()

    with pytest.raises(errors.GrantError, match="no usable client_id"):
        login.wait(timeout=10)

    assert login.url is None
    assert FileStore(folder).keys("client") == []
    fake.restore("/register")
    sign_in(session)
    assert session.signed_in


@pytest.mark.threat("registration-with-an-absurd-end")
@pytest.mark.parametrize("end", [10**400, 1e300, -1, "soon", None, True])
def test_an_absurd_end_of_a_secret_is_no_surprise(fake: FakeServer, end: Any) -> None:
    """RFC 7591 section 3.2.1: seconds since the epoch, or 0 for none."""
    fake.register_adds = {
        "client_secret": "a-secret",
        "token_endpoint_auth_method": "client_secret_post",
        "client_secret_expires_at": end,
    }
    session = connect(fake.url)

    sign_in(session)

    assert session.call("echo", text="fine").text == "fine"


@pytest.mark.threat("expired-client-secret")
def test_a_client_whose_secret_is_about_to_end_is_not_used_again(fake: FakeServer) -> None:
    """It would end between consent and exchange."""
    session = connect(fake.url, callback_port=free_port())
    fake.register_adds = {
        "client_secret": "a-secret",
        "token_endpoint_auth_method": "client_secret_post",
        "client_secret_expires_at": time.time() + 60,
    }
    sign_in(session)
    sign_in(session)
    assert len(fake.asked("/register")) == 2

    fake.register_adds["client_secret_expires_at"] = time.time() + 86_400
    sign_in(session)
    sign_in(session)

    assert len(fake.asked("/register")) == 3


@pytest.mark.threat("registration-led-elsewhere")
@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_redirect_of_the_registration_endpoint_is_not_followed(
    fakes: Callable[[], FakeServer], status: int
) -> None:
    """Else another server would choose our client id."""
    fake, thief = fakes(), fakes()
    fake.always("/register", redirect(f"{thief.base}/register", status))

    fails_before_the_browser(fake.url, errors.GrantError)

    assert thief.requests == []


@pytest.mark.threat("registration-without-end")
def test_a_server_that_refuses_everything_is_asked_twice_at_most(fake: FakeServer) -> None:
    """Once more without the scopes, and no further."""
    fake.describe(scopes_supported=["read"])
    fake.always("/register", Reply(400, {"error": "invalid_client_metadata"}))

    fails_before_the_browser(fake.url, errors.GrantError)

    assert ["scope" in r.json for r in fake.asked("/register")] == [True, False]


@pytest.mark.threat("registration-access-token")
def test_what_would_manage_the_client_is_not_kept(
    fake: FakeServer, kernel: Kernel, folder: Path
) -> None:
    """RFC 7592: nothing here needs it, so nobody can steal it here."""
    fake.register_adds = {
        "registration_access_token": "manage-me",
        "registration_client_uri": f"{fake.base}/register/1",
    }
    sign_in(kernel())

    store = FileStore(folder)
    kept = [store.read(key) for kind in ("login", "client") for key in store.keys(kind)]
    assert kept
    assert "manage-me" not in repr(kept)
    assert fake.asked("/register/1") == []


@pytest.mark.threat("client-metadata-document-address")
@pytest.mark.parametrize(
    "url",
    [
        "http://client.example/metadata.json",
        "https://client.example",
        "https://client.example/",
        "https://user:word@client.example/metadata.json",
        "https://client.example/metadata.json#part",
        "https://client.example/a/../metadata.json",
        "https://client.example/./metadata.json",
        "javascript:alert(1)//x",
        "file:///metadata.json",
    ],
)
def test_a_client_metadata_document_has_one_plain_address(fake: FakeServer, url: str) -> None:
    """The address is the client id, and is compared as text (client ID metadata, section 3)."""
    fake.announce(client_id_metadata_document_supported=True, registration_endpoint=None)

    with pytest.raises(errors.ConfigError, match="client_metadata_url"):
        metadata_document(url)
    fails_before_the_browser(fake.url, errors.ConfigError, client_metadata_url=url)


@pytest.mark.threat("client-metadata-document-unasked")
def test_the_address_of_the_document_is_given_only_to_who_says_that_it_reads_such(
    fake: FakeServer,
) -> None:
    """Elsewhere it would be a client id that anybody could have registered."""
    port = free_port()
    session = connect(
        fake.url, client_metadata_url="https://client.example/c.json", callback_port=port
    )
    login, url = waiting(session)
    login.cancel()

    assert query_of(url)["client_id"] == [next(iter(fake.clients))]
