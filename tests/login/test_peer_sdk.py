"""End to end with the MCP SDK's own authorization routes: a second, quite different server."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.fakes.people import (
    answer_of,
    connect,
    query_of,
    sign_in,
    until,
)

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.peers.sdk_routes import SdkServer


def expired(server: SdkServer) -> bool:
    """Whether every access token has expired, as the SDK judges it."""
    return all((t.expires_at or 0) < int(time.time()) for t in server.memory.access.values())


def test_a_login_is_registered_used_refreshed_and_revoked(notes: SdkServer) -> None:
    """The SDK's revocation answers 400 where `client_secret` is missing altogether."""
    notes.memory.lifetime = 1
    session = connect(notes.url)
    url = sign_in(session)

    [client] = notes.memory.clients.values()
    assert client.token_endpoint_auth_method in {"client_secret_post", "client_secret_basic"}
    assert "refresh_token" in client.grant_types
    assert client.application_type == "native"
    # RFC 9700 section 4.4.2: it sends no `iss`, so the redirect tells authorization servers apart.
    [redirect] = query_of(url)["redirect_uri"]
    assert notes.memory.redirects == [redirect]
    assert re.fullmatch(r"/callback/.+", urlsplit(redirect).path)
    assert "iss" not in query_of(answer_of(url))
    for count in (1, 2):
        until(lambda: expired(notes))
        assert session.call("add", a=1, b=1).data == 2
        assert notes.memory.refreshes >= count  # a slow machine may see it expire again
    assert len(notes.memory.refresh) == 1, "the new refresh token replaces the old one"
    session.logout()
    assert (notes.memory.access, notes.memory.refresh) == ({}, {})
    assert not session.signed_in
