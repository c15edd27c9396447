"""End to end with the MCP SDK's own authorization routes: a second, quite different server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import pytest
from mcp.shared.auth import OAuthClientInformationFull

from mcpnb import errors
from tests.fakes.people import (
    answer_of,
    browse,
    connect,
    free_port,
    query_of,
    sign_in,
    until,
    waiting,
)
from tests.peers.sdk_routes import SCOPES, sdk_server

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.peers.sdk_routes import SdkServer


def expired(server: SdkServer) -> bool:
    """Whether every access token has expired, as the SDK judges it."""
    return all((t.expires_at or 0) < int(time.time()) for t in server.memory.access.values())


def test_sign_in_and_call(notes: SdkServer) -> None:
    """Registered with the method the server announces, signed in, called."""
    session = connect(notes.url)

    sign_in(session)
    assert session.call("add", a=1, b=2).data == 3
    [client] = notes.memory.clients.values()
    assert client.token_endpoint_auth_method in {"client_secret_post", "client_secret_basic"}
    assert "refresh_token" in client.grant_types
    assert client.application_type == "native"


def test_the_redirect_has_a_part_of_its_own_where_iss_is_not_announced(notes: SdkServer) -> None:
    """RFC 9700 section 4.4.2: without `iss`, the redirect tells the authorization servers apart."""
    session = connect(notes.url)

    url = sign_in(session)

    redirect = query_of(url)["redirect_uri"][0]
    assert notes.memory.redirects == [redirect]
    path = urlsplit(redirect).path
    assert path.startswith("/callback/")
    assert len(path) > len("/callback/")
    assert "iss" not in query_of(answer_of(url))


def test_the_loopback_listener_takes_the_answer(notes: SdkServer) -> None:
    """The browser is redirected to the listener's own path."""
    session = connect(notes.url)
    login, url = waiting(session)

    page = browse(url)
    assert login.wait(timeout=10) is session
    assert (page.status_code, "signed in" in page.text.lower()) == (200, True)


def test_an_expired_token_is_renewed_once_and_rotated(notes: SdkServer) -> None:
    """One refresh per expiry; the new refresh token replaces the old one."""
    notes.memory.lifetime = 1
    session = connect(notes.url)
    sign_in(session)

    for count in (1, 2):
        until(lambda: expired(notes))
        assert session.call("add", a=1, b=1).data == 2
        assert notes.memory.refreshes == count
    assert len(notes.memory.refresh) == 1


def test_logout_revokes_although_the_server_wants_a_secret_field(notes: SdkServer) -> None:
    """The SDK's revocation answers 400 where `client_secret` is missing altogether."""
    session = connect(notes.url)
    sign_in(session)
    assert notes.memory.refresh

    session.logout()
    assert (notes.memory.access, notes.memory.refresh) == ({}, {})
    assert not session.signed_in


def test_logout_of_a_public_client_sends_an_empty_secret(notes: SdkServer) -> None:
    """A client without a secret still gets its tokens revoked there."""
    redirect = public_client(notes)
    session = connect(notes.url, client_id="public", callback_url=redirect)
    sign_in(session)

    session.logout()
    assert (notes.memory.access, notes.memory.refresh) == ({}, {})


def public_client(server: SdkServer) -> str:
    """Register a public client by hand; give the redirect it has."""
    redirect = "http://127.0.0.1:27199/callback"
    server.memory.clients["public"] = OAuthClientInformationFull.model_validate(
        {
            "client_id": "public",
            "redirect_uris": [redirect],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "scope": " ".join(SCOPES),
        }
    )
    return redirect


def test_a_denial_is_told(notes: SdkServer) -> None:
    """The server's own words are quoted."""
    notes.memory.denies = True
    session = connect(notes.url)
    login, url = waiting(session)

    with pytest.raises(errors.LoginDenied, match="not today"):
        login.submit(answer_of(url))

    with pytest.raises(errors.LoginDenied):
        login.wait(timeout=5)
    assert login.state == "failed"


def test_a_403_without_scope_asks_for_a_sign_in_and_keeps_the_login(notes: SdkServer) -> None:
    """The SDK names no scope in its 403; adding the right one is a new authorization."""
    session = connect(notes.url, scopes=("notes:write",))
    sign_in(session)

    with pytest.raises((errors.LoginRequired, errors.ScopeRefused)):
        session.call("add", a=1, b=1)
    assert notes.memory.refreshes == 0
    url = sign_in(session, scopes=("notes:read",))

    assert query_of(url)["scope"] == ["notes:write notes:read"]
    assert session.call("add", a=1, b=1).data == 2


def test_without_registration_a_client_id_is_asked_for() -> None:
    """`ClientIdRequired` says what to give; given, it works."""
    with sdk_server(register=False) as server:
        with pytest.raises(errors.ClientIdRequired, match="client_id"):
            connect(server.url).login().wait(timeout=10)

        redirect = public_client(server)
        session = connect(server.url, client_id="public", callback_url=redirect)
        sign_in(session)

        assert session.call("add", a=1, b=1).data == 2


def test_older_servers_with_sse_work() -> None:
    """The HTTP+SSE transport, with the SDK's authorization routes beside it."""
    with sdk_server(transport="sse") as server:
        session = connect(server.url)
        sign_in(session)

        assert session.call("add", a=1, b=2).data == 3
        assert "add" in {tool.name for tool in session.tools()}
        session.logout()  # ends the stream before the server does


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_sdk_client_works_in_both_eras(notes: SdkServer, mode: str) -> None:
    """Stateless and with the handshake."""
    session = connect(notes.url)
    sign_in(session)

    async def run() -> None:
        async with session.client(mode=mode) as client:
            result = await client.call_tool("add", {"a": 1, "b": 2})
            assert result.structured_content == {"result": 3}

    anyio.run(run)


def test_a_server_that_lost_its_clients_can_be_signed_in_to_again(notes: SdkServer) -> None:
    """An in-memory server restarted: the refresh is refused, and a new login is possible."""
    session = connect(notes.url, callback_port=free_port())
    sign_in(session)
    notes.memory.clients.clear()
    notes.memory.access.clear()
    notes.memory.refresh.clear()
    with pytest.raises(errors.LoginError):
        session.call("add", a=1, b=1)

    sign_in(session)
    assert session.call("add", a=1, b=1).data == 2
