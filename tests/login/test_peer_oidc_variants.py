"""`oidc-provider` and the SDK's MCP server in other set-ups, and with faults on the way.

Both eras of the protocol, HTTP+SSE, a tenant's path, declined consent, `offline_access`, answers
that get lost, registrations, given clients, client metadata documents, a restart.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from mcpnb import errors
from mcpnb.oauth.registration import metadata_document
from mcpnb.stores import FileStore
from tests.fakes.people import connect, free_port, query_of, until
from tests.peers.browser import Browser
from tests.peers.oidc import OidcProvider, oidc_provider
from tests.peers.people import refused_now, sign_in
from tests.peers.resource_server import ResourceServer, resource_server

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_whole_sdk_client_runs_signed_in(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser, mode: str
) -> None:
    """`client()` is the SDK's client, in the era of the handshake too, across an expiry."""
    oidc.set(accessTokenSeconds=2)
    session = connect(mcp_server.url)
    sign_in(browser, session)

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


def test_a_long_call_outlives_its_token(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """Authorization is checked when a request starts; a running call is not given up."""
    oidc.set(accessTokenSeconds=1)
    session = connect(mcp_server.url)
    sign_in(browser, session)
    token = session.access_token()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(session.call, "slow")
        assert mcp_server.started.wait(10)
        until(lambda: refused_now(mcp_server.url, token))
        mcp_server.hold.set()

        assert running.result(10).text == "at last"


def test_an_issuer_under_a_path_is_found(browser: Browser) -> None:
    """A tenant's metadata lies behind its path (OIDC Discovery), its `iss` has the path."""
    with oidc_provider(prefix="/tenant1") as tenant, resource_server(tenant.issuer) as server:
        tenant.allow(server.url)
        session = connect(server.url)

        sign_in(browser, session)

        assert session.call("add", a=1, b=1).data == 2


def test_an_issuer_written_with_a_slash_too_many_is_the_same(
    oidc: OidcProvider, browser: Browser
) -> None:
    """The SDK's own metadata adds the slash to a bare origin where an author used a URL object."""
    with resource_server(oidc.issuer, slash=True) as server:
        oidc.allow(server.url)
        session = connect(server.url)

        sign_in(browser, session)

        assert session.call("add", a=1, b=1).data == 2


def test_a_declined_consent_is_told_in_the_browser_and_in_python(
    mcp_server: ResourceServer, browser: Browser
) -> None:
    """`LoginDenied`, and a page that does not claim success."""
    session = connect(mcp_server.url)
    login = session.login()
    login.wait_for("waiting", timeout=10)
    assert login.url is not None

    page = browser.open(login.url, cancel=True)

    with pytest.raises(errors.LoginDenied) as caught:
        login.wait(timeout=10)
    assert caught.value.error == "access_denied"
    assert "declined" in page.text.lower() or "denied" in page.text.lower()
    assert "signed in" not in page.text.lower().replace("not signed in", "")
    assert not session.signed_in


def test_a_refresh_token_that_needs_offline_access_is_asked_for(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """OIDC Core section 11: `offline_access` counts only together with `prompt=consent`."""
    oidc.set(refreshNeedsOfflineAccess=True, accessTokenSeconds=1)
    session = connect(mcp_server.url)
    sign_in(browser, session)
    token = session.access_token()
    until(lambda: refused_now(mcp_server.url, token))

    assert session.call("add", a=1, b=1).data == 2


def test_a_503_before_the_refresh_was_processed_costs_nothing(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """Asked again, with the same refresh token, and the login lives."""
    oidc.set(accessTokenSeconds=1)
    session = connect(mcp_server.url)
    sign_in(browser, session)
    token = session.access_token()
    until(lambda: refused_now(mcp_server.url, token))
    oidc.set(failToken=1)

    assert session.call("add", a=1, b=1).data == 2

    assert oidc.grants("refresh_token") == 1


def test_a_refresh_answer_lost_after_rotation_ends_in_a_clear_error(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """The rotation is gone: at most one more try, then the person is asked; nothing hangs."""
    oidc.set(accessTokenSeconds=3)
    session = connect(mcp_server.url)
    sign_in(browser, session)
    token = session.access_token()
    until(lambda: refused_now(mcp_server.url, token))
    oidc.set(dropAfterRefresh=1)

    with pytest.raises((errors.ServerUnreachable, errors.LoginRequired)):
        session.call("add", a=1, b=1)
    with pytest.raises(errors.LoginRequired):
        session.call("add", a=1, b=1)
    asked = [r for r in oidc.requests("/token") if r["grant_type"] == ["refresh_token"]]
    assert len(asked) == 2
    sign_in(browser, session)
    assert session.call("add", a=1, b=1).data == 2


def test_the_registration_is_used_again_at_the_next_login(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """Signing in again is no reason to register again."""
    session = connect(mcp_server.url, callback_port=free_port())
    sign_in(browser, session)
    sign_in(browser, session)

    assert oidc.state()["registrations"] == 1


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


def test_a_login_in_files_is_still_there_for_the_next_process(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser, tmp_path: Path
) -> None:
    """After a restart nothing is discovered, registered or asked again."""
    store = FileStore(tmp_path)
    sign_in(browser, connect(mcp_server.url, store=store))
    asked = len(oidc.state()["requests"])

    again = connect(mcp_server.url, store=FileStore(tmp_path))

    assert again.signed_in
    assert again.call("add", a=1, b=1).data == 2
    # The MCP server may have fetched the keys meanwhile; mcpnb asked for nothing.
    later = oidc.state()["requests"][asked:]
    assert [r for r in later if r["path"] != "/jwks"] == []
