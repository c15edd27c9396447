"""End to end with the certified `oidc-provider` in front of an MCP server of the official SDK.

Sign in, call, expire, refresh, revoke, step up; other set-ups; faults on the way; the device grant.
Through the public API only, and judged by what the servers counted.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import anyio
import pytest

import mcpnb
from mcpnb import errors
from mcpnb.oauth.registration import metadata_document
from mcpnb.stores import MemoryStore
from tests.fakes.people import connect, query_of, until, waiting
from tests.peers.browser import Browser, refused_now, sign_in
from tests.peers.oidc import OidcProvider, oidc_provider
from tests.peers.resource_server import ResourceServer, resource_server

pytestmark = pytest.mark.peer

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"

SignedIn = Callable[..., mcpnb.Session]


@pytest.fixture
def signed_in(oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser) -> SignedIn:
    """Sign a session in, at a provider that behaves as it is told."""

    def enter(**behaviour: object) -> mcpnb.Session:
        if behaviour:
            oidc.set(**behaviour)
        session = connect(mcp_server.url)
        sign_in(browser, session)
        return session

    return enter


def outlive_token(session: mcpnb.Session) -> str:
    """Wait until the MCP server itself refuses the session's access token; return the token."""
    token = session.access_token()
    until(lambda: refused_now(session.server, token))
    return token


def test_the_browser_comes_back_to_the_loopback_listener_and_tools_can_be_called(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """The whole way as a person goes it: link, login page, consent, back, call."""
    session = connect(mcp_server.url)
    login, url = waiting(session)

    page = browser.open(url)
    assert login.wait(timeout=10) is session
    assert (page.status, "signed in" in page.text.lower()) == (200, True)
    assert session.signed_in
    assert session.status == "authenticated"
    assert session.call("add", a=1, b=2).data == 3
    assert {"add", "publish"} <= {tool.name for tool in session.tools()}
    assert oidc.grants("authorization_code") == 1


def test_the_rotated_refresh_token_is_kept_for_the_next_expiry(
    signed_in: SignedIn, oidc: OidcProvider
) -> None:
    """Each expiry costs a refresh, with the refresh token that the last one gave."""
    session = signed_in(accessTokenSeconds=1)

    for _ in range(2):
        outlive_token(session)
        before = oidc.grants("refresh_token")
        assert session.call("add", a=1, b=1).data == 2
        assert oidc.grants("refresh_token") > before

    used = [r["refresh_token"][0] for r in oidc.requests("/token") if "refresh_token" in r]
    assert len(used) == len(set(used)), "a rotated refresh token was presented twice"
    assert [e for e in oidc.state()["errors"] if e["kind"] == "grant"] == []


def test_logout_revokes_at_the_server_and_forgets(signed_in: SignedIn, oidc: OidcProvider) -> None:
    """After `logout` the server itself calls the login dead."""
    session = signed_in(format="opaque")
    token = session.access_token()
    assert oidc.knows(token)

    session.logout()
    assert not oidc.knows(token)
    assert oidc.state()["revokedGrants"] == 1
    assert not session.signed_in
    with pytest.raises(errors.LoginRequired):
        session.call("add", a=1, b=1)


def test_a_token_for_another_resource_is_refused_and_not_tried_without_end(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """A login counts for its own server; one got for another audience ends in a clear error."""
    with resource_server(oidc.issuer) as other:
        oidc.allow(other.url)
        store = MemoryStore()
        session = connect(mcp_server.url, store=store)
        sign_in(browser, session)
        assert refused_now(other.url, session.access_token())
        assert not connect(other.url, store=store).signed_in

        mistaken = connect(other.url, resource=mcp_server.url)
        sign_in(browser, mistaken)
        with pytest.raises((errors.LoginError, errors.CallError)) as caught:
            mistaken.call("add", a=1, b=1)

        assert not isinstance(caught.value, errors.ToolError)
        assert oidc.grants("refresh_token") <= 1
        assert session.call("add", a=1, b=1).data == 2


@pytest.mark.parametrize("lacking", ["403", "401"])
def test_a_call_that_needs_more_scope_asks_for_the_union(
    mcp_server: ResourceServer, browser: Browser, lacking: Literal["403", "401"]
) -> None:
    """Step-up keeps what was asked for before (SEP-2350), and then the call goes through."""
    mcp_server.gate.lacking = lacking
    session = connect(mcp_server.url)
    url = sign_in(browser, session)
    before = query_of(url)["scope"][0].split()
    assert "mcp:write" not in before

    with pytest.raises(errors.LoginRequired) as caught:
        session.call("publish", text="news")
    assert caught.value.scopes == ("mcp:write",)
    assert session.call("add", a=1, b=1).data == 2, "a refused call must not end the login"
    url = sign_in(browser, session, scopes=caught.value.scopes)

    assert set(query_of(url)["scope"][0].split()) == {*before, "mcp:write"}
    assert session.call("publish", text="news").text == "published news"
    assert session.call("add", a=1, b=1).data == 2


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_whole_sdk_client_runs_signed_in(
    signed_in: SignedIn, oidc: OidcProvider, mcp_server: ResourceServer, mode: str
) -> None:
    """`client()` is the SDK's client, in the era of the handshake too, across an expiry."""
    session = signed_in(accessTokenSeconds=2)

    async def run() -> None:
        async with session.client(mode=mode) as client:
            first = await client.call_tool("add", {"a": 1, "b": 2})
            token = session.access_token()
            await anyio.to_thread.run_sync(until, lambda: refused_now(mcp_server.url, token))
            second = await client.call_tool("add", {"a": 3, "b": 4})
            assert first.structured_content == {"result": 3}
            assert second.structured_content == {"result": 7}

    anyio.run(run)
    assert oidc.grants("refresh_token") >= 1
    # A session id survives a refresh (2026-07-28 has none).
    assert len(mcp_server.gate.sessions) == (1 if mode == "legacy" else 0)


def test_older_servers_with_sse_work(oidc: OidcProvider, browser: Browser) -> None:
    """The HTTP+SSE transport of 2024: sign in, list, call, expire, call."""
    with resource_server(oidc.issuer, transport="sse") as server:
        oidc.allow(server.url)
        oidc.set(accessTokenSeconds=2)
        session = connect(server.url)
        sign_in(browser, session)
        token = session.access_token()

        assert session.call("add", a=1, b=2).data == 3
        assert "add" in {tool.name for tool in session.tools()}

        until(lambda: refused_now(server.url, token))
        assert session.call("add", a=3, b=4).data == 7
        assert oidc.grants("refresh_token") >= 1
        session.logout()  # ends the stream before the server does


def test_a_long_call_outlives_its_token(signed_in: SignedIn, mcp_server: ResourceServer) -> None:
    """Authorization is checked when a request starts; a running call is not given up."""
    session = signed_in(accessTokenSeconds=1)
    token = session.access_token()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(session.call, "slow")
        assert mcp_server.started.wait(10)
        until(lambda: refused_now(mcp_server.url, token))
        mcp_server.hold.set()

        assert running.result(10).text == "at last"


@pytest.mark.parametrize(("prefix", "slash"), [("/tenant1", False), ("", True)])
def test_an_issuer_is_found_under_a_path_and_with_a_slash_too_many(
    browser: Browser, prefix: str, *, slash: bool
) -> None:
    """A tenant's metadata lies behind its path (OIDC Discovery), its `iss` has the path.

    The SDK's own metadata adds the slash to a bare origin where an author used a URL object.
    """
    with oidc_provider(prefix=prefix) as oidc, resource_server(oidc.issuer, slash=slash) as server:
        oidc.allow(server.url)
        session = connect(server.url)
        sign_in(browser, session)
        assert session.call("add", a=1, b=1).data == 2


def test_a_refresh_token_that_needs_offline_access_is_asked_for(signed_in: SignedIn) -> None:
    """OIDC Core section 11: `offline_access` counts only together with `prompt=consent`."""
    session = signed_in(refreshNeedsOfflineAccess=True, accessTokenSeconds=1)
    outlive_token(session)

    assert session.call("add", a=1, b=1).data == 2


def test_given_credentials_are_used_with_basic_authentication(browser: Browser) -> None:
    """A confidential client of one's own; its secret is form-encoded first (RFC 6749, 2.3.1)."""
    secret = "with space, +, %, : and /"
    client = {
        "client_id": "own client",
        "client_secret": secret,
        "application_type": "native",
        "token_endpoint_auth_method": "client_secret_basic",
        "redirect_uris": ["http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": "mcp:read offline_access",
    }
    with oidc_provider(clients=(client,)) as oidc, resource_server(oidc.issuer) as server:
        oidc.allow(server.url)
        session = connect(server.url, client_id="own client", client_secret=secret)

        sign_in(browser, session)
        assert session.call("add", a=1, b=1).data == 2
        state = oidc.state()
        assert state["registrations"] == 0
        assert not any(secret in r["body"] + r["query"] for r in state["requests"])


def test_a_client_metadata_document_needs_no_registration(browser: Browser) -> None:
    """The document's address is the client id, where the server announces that it reads them."""
    url = "https://client.example/mcpnb.json"
    document = metadata_document(url)  # as `mcpnb client-metadata` prints it
    with oidc_provider(documents={url: document}) as oidc, resource_server(oidc.issuer) as server:
        oidc.allow(server.url)
        session = connect(server.url, client_metadata_url=url)

        authorize = sign_in(browser, session)
        assert query_of(authorize)["client_id"] == [url]
        assert oidc.state()["registrations"] == 0
        assert session.call("add", a=1, b=1).data == 2


# -- the device grant --------------------------------------------------------------------------


def test_a_phone_signs_a_notebook_in(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """Registered for that grant, asked for with the resource, renewed like any other."""
    session = connect(mcp_server.url)
    login, url = waiting(session, device=True)
    assert login.user_code is not None
    assert login.user_code in url

    browser.open(url)
    login.wait(30)

    assert session.call("add", a=1, b=2).data == 3
    assert oidc.grants(DEVICE_CODE) == 1
