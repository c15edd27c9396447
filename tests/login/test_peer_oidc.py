"""End to end with the certified `oidc-provider` in front of an MCP server of the official SDK.

Sign in, call, expire, refresh, revoke, step up; other set-ups; faults on the way; the device grant.
Through the public API only, and judged by what the servers counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import anyio
import pytest

import mcpnb
from mcpnb import errors
from mcpnb.oauth.registration import metadata_document
from mcpnb.stores import FileStore, MemoryStore
from tests.fakes.people import connect, query_of, until, waiting
from tests.peers.browser import Browser
from tests.peers.oidc import OidcProvider, oidc_provider
from tests.peers.people import refused_now, sign_in
from tests.peers.resource_server import ResourceServer, resource_server
from tests.terminal import Running

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


def test_exactly_one_refresh_follows_one_expiry(
    signed_in: SignedIn, oidc: OidcProvider, mcp_server: ResourceServer
) -> None:
    """Eight calls at once meet it: one refresh, counted by the server."""
    session = signed_in(accessTokenSeconds=2)
    first, signed_in_at = session.access_token(), time.time()
    # By the client's clock, too: the JWT's own `exp` is in whole seconds, and up to one earlier.
    until(lambda: refused_now(mcp_server.url, first) and time.time() > signed_in_at + 2)
    oidc.set(accessTokenSeconds=60)
    mcp_server.gate.requests.clear()

    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda a: session.call("add", a=a, b=a).data, range(8)))

    assert sums == [a + a for a in range(8)]
    assert oidc.grants("refresh_token") == 1
    assert first not in mcp_server.gate.tokens(), "an expired token was presented"
    assert len(mcp_server.gate.tokens()) == 1


def test_without_rotation_the_old_refresh_token_stays_in_use(
    signed_in: SignedIn, oidc: OidcProvider
) -> None:
    """A server that does not rotate is asked with the same refresh token again."""
    session = signed_in(accessTokenSeconds=1, rotate=False)

    for _ in range(2):
        outlive_token(session)
        session.call("add", a=1, b=1)

    used = {r["refresh_token"][0] for r in oidc.requests("/token") if "refresh_token" in r}
    assert len(used) == 1


def test_two_sessions_of_one_login_share_one_refresh(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """Whoever comes second adopts what the first one got."""
    oidc.set(accessTokenSeconds=2)
    store = MemoryStore()
    one, other = connect(mcp_server.url, store=store), connect(mcp_server.url, store=store)
    sign_in(browser, one)
    assert other.signed_in
    outlive_token(other)
    oidc.set(accessTokenSeconds=60, delayToken=200)  # so that both are waiting at the same time

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(s.call, "add", a=1, b=1) for s in (one, other)]
        assert [d.result(20).data for d in done] == [2, 2]

    assert oidc.grants("refresh_token") == 1


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


def test_a_scope_that_is_not_granted_is_refused_for_good(
    signed_in: SignedIn, oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """Signed in asking for it and still refused: no third round."""
    oidc.allow(mcp_server.url, "mcp:read mcp:write")  # nobody may have mcp:admin
    session = signed_in()
    with pytest.raises(errors.LoginRequired) as caught:
        session.call("rule")
    assert caught.value.scopes == ("mcp:admin",)
    sign_in(browser, session, scopes=caught.value.scopes)

    with pytest.raises(errors.ScopeRefused):
        session.call("rule")


@pytest.mark.parametrize("lacking", ["401", "401 without scope"])
def test_too_little_scope_told_as_401_is_bounded(
    signed_in: SignedIn,
    oidc: OidcProvider,
    mcp_server: ResourceServer,
    lacking: Literal["401", "401 without scope"],
) -> None:
    """A server that says `401 invalid_token` for a scope costs one refresh, and no login."""
    mcp_server.gate.lacking = lacking
    session = signed_in()

    for _ in range(3):
        with pytest.raises((errors.LoginRequired, errors.ScopeRefused)):
            session.call("publish", text="news")
        assert session.call("add", a=1, b=1).data == 2

    assert oidc.grants("refresh_token") <= 1
    assert oidc.grants("authorization_code") == 1


def test_a_401_without_www_authenticate_is_understood(
    signed_in: SignedIn, oidc: OidcProvider, mcp_server: ResourceServer
) -> None:
    """Well-known addresses lead to the sign-in, and a bare 401 to one refresh."""
    mcp_server.gate.silent = True
    session = signed_in()
    assert session.call("add", a=1, b=1).data == 2

    oidc.set(accessTokenSeconds=60)
    token = session.access_token()
    other = connect(mcp_server.url)
    with pytest.raises(errors.LoginRequired):
        other.call("add", a=1, b=1)
    assert session.access_token() == token


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


def test_a_declined_consent_is_told_in_the_browser_and_in_python(
    mcp_server: ResourceServer, browser: Browser
) -> None:
    """`LoginDenied`, and a page that does not claim success."""
    session = connect(mcp_server.url)
    login, url = waiting(session)

    page = browser.open(url, cancel=True)

    with pytest.raises(errors.LoginDenied) as caught:
        login.wait(timeout=10)
    assert caught.value.error == "access_denied"
    assert "declined" in page.text.lower() or "denied" in page.text.lower()
    assert "signed in" not in page.text.lower().replace("not signed in", "")
    assert not session.signed_in


def test_a_refresh_token_that_needs_offline_access_is_asked_for(signed_in: SignedIn) -> None:
    """OIDC Core section 11: `offline_access` counts only together with `prompt=consent`."""
    session = signed_in(refreshNeedsOfflineAccess=True, accessTokenSeconds=1)
    outlive_token(session)

    assert session.call("add", a=1, b=1).data == 2


def test_a_503_before_the_refresh_was_processed_costs_nothing(
    signed_in: SignedIn, oidc: OidcProvider
) -> None:
    """Asked again, with the same refresh token, and the login lives."""
    session = signed_in(accessTokenSeconds=1)
    outlive_token(session)
    oidc.set(failToken=1)

    assert session.call("add", a=1, b=1).data == 2

    assert oidc.grants("refresh_token") == 1


def test_a_refresh_answer_lost_after_rotation_ends_in_a_clear_error(
    signed_in: SignedIn, oidc: OidcProvider, browser: Browser
) -> None:
    """The rotation is gone: at most one more try, then the person is asked; nothing hangs."""
    session = signed_in(accessTokenSeconds=3)
    outlive_token(session)
    oidc.set(dropAfterRefresh=1)

    with pytest.raises((errors.ServerUnreachable, errors.LoginRequired)):
        session.call("add", a=1, b=1)
    with pytest.raises(errors.LoginRequired):
        session.call("add", a=1, b=1)
    asked = [r for r in oidc.requests("/token") if r["grant_type"] == ["refresh_token"]]
    assert len(asked) == 2
    sign_in(browser, session)
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


def test_saying_no_on_the_phone_ends_it(mcp_server: ResourceServer, browser: Browser) -> None:
    session = connect(mcp_server.url)
    login, url = waiting(session, device=True)

    browser.open(url, cancel=True)

    with pytest.raises(errors.LoginDenied):
        login.wait(30)
    assert not session.signed_in


def test_the_terminal_over_ssh_needs_no_browser_and_no_port(
    mcp_server: ResourceServer, browser: Browser
) -> None:
    with Running("login", mcp_server.url, "--device") as command:
        command.says("enter this code")
        address = next(line for line in command.err.splitlines() if line.startswith("http"))
        browser.open(address)
        done = command.end().expect(0)

    assert "Signed in" in done.err
