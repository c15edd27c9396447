"""End to end with the certified `oidc-provider` in front of an MCP server of the official SDK.

Sign in, call, expire, refresh, revoke, wrong audience, more scope: through the public API only, and
judged by what the servers counted.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest

from mcpnb import errors
from mcpnb.stores import MemoryStore
from tests.fakes.people import connect, query_of, until
from tests.peers.browser import Browser
from tests.peers.oidc import OidcProvider
from tests.peers.people import refused_now, sign_in
from tests.peers.resource_server import ResourceServer, resource_server

pytestmark = pytest.mark.peer


def test_the_browser_comes_back_to_the_loopback_listener_and_tools_can_be_called(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """The whole way as a person goes it: link, login page, consent, back, call."""
    session = connect(mcp_server.url)
    login = session.login()
    login.wait_for("waiting", timeout=10)
    assert login.url is not None

    page = browser.open(login.url)

    assert login.wait(timeout=10) is session
    assert (page.status, "signed in" in page.text.lower()) == (200, True)
    assert session.signed_in
    assert session.status == "authenticated"
    assert session.call("add", a=1, b=2).data == 3
    assert {"add", "publish"} <= {tool.name for tool in session.tools()}
    assert oidc.grants("authorization_code") == 1


def test_the_pasted_address_signs_in_as_well(mcp_server: ResourceServer, browser: Browser) -> None:
    """Paste needs no listener."""
    session = connect(mcp_server.url)

    sign_in(browser, session)

    assert session.call("add", {"a": 20, "b": 22}).data == 42


def test_the_rotated_refresh_token_is_kept_for_the_next_expiry(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """Each expiry costs a refresh, with the refresh token that the last one gave."""
    oidc.set(accessTokenSeconds=1)
    session = connect(mcp_server.url)
    sign_in(browser, session)

    for _ in range(2):
        token = session.access_token()
        until(lambda token=token: refused_now(mcp_server.url, token))  # type: ignore[misc]
        before = oidc.grants("refresh_token")
        assert session.call("add", a=1, b=1).data == 2
        assert oidc.grants("refresh_token") > before

    used = [r["refresh_token"][0] for r in oidc.requests("/token") if "refresh_token" in r]
    assert len(used) == len(set(used)), "a rotated refresh token was presented twice"
    assert [e for e in oidc.state()["errors"] if e["kind"] == "grant"] == []


def test_exactly_one_refresh_follows_one_expiry(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """Eight calls at once meet it: one refresh, counted by the server."""
    oidc.set(accessTokenSeconds=2)
    session = connect(mcp_server.url)
    sign_in(browser, session)
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
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """A server that does not rotate is asked with the same refresh token again."""
    oidc.set(accessTokenSeconds=1, rotate=False)
    session = connect(mcp_server.url)
    sign_in(browser, session)

    for _ in range(2):
        token = session.access_token()
        until(lambda token=token: refused_now(mcp_server.url, token))  # type: ignore[misc]
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
    token = other.access_token()
    until(lambda: refused_now(mcp_server.url, token))
    oidc.set(accessTokenSeconds=60, delayToken=200)  # so that both are waiting at the same time

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(s.call, "add", a=1, b=1) for s in (one, other)]
        assert [d.result(20).data for d in done] == [2, 2]

    assert oidc.grants("refresh_token") == 1


def test_logout_revokes_at_the_server_and_forgets(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """After `logout` the server itself calls the login dead."""
    oidc.set(format="opaque")
    session = connect(mcp_server.url)
    sign_in(browser, session)
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


def test_resource_is_sent_exactly_once_in_authorize_token_and_refresh(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """RFC 8707: once each, and always the metadata's own value."""
    oidc.set(accessTokenSeconds=1)
    session = connect(mcp_server.url)
    sign_in(browser, session)
    token = session.access_token()
    until(lambda: refused_now(mcp_server.url, token))
    session.call("add", a=1, b=1)

    sent = [*oidc.requests("/auth"), *oidc.requests("/token")]
    kinds = [r.get("grant_type", ["authorize"])[0] for r in sent]

    assert kinds == ["authorize", "authorization_code", "refresh_token"]
    assert [r["resource"] for r in sent] == [[mcp_server.url]] * 3


def test_a_call_that_needs_more_scope_asks_for_the_union(
    mcp_server: ResourceServer, browser: Browser
) -> None:
    """Step-up keeps what was asked for before (SEP-2350), and then the call goes through."""
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
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """Signed in asking for it and still refused: no third round."""
    oidc.allow(mcp_server.url, "mcp:read mcp:write")  # nobody may have mcp:admin
    session = connect(mcp_server.url)
    sign_in(browser, session)
    with pytest.raises(errors.LoginRequired) as caught:
        session.call("rule")
    assert caught.value.scopes == ("mcp:admin",)
    sign_in(browser, session, scopes=caught.value.scopes)

    with pytest.raises(errors.ScopeRefused):
        session.call("rule")


@pytest.mark.parametrize("lacking", ["401", "401 without scope"])
def test_too_little_scope_told_as_401_is_bounded(
    oidc: OidcProvider,
    mcp_server: ResourceServer,
    browser: Browser,
    lacking: Literal["401", "401 without scope"],
) -> None:
    """A server that says `401 invalid_token` for a scope costs one refresh, and no login."""
    mcp_server.gate.lacking = lacking
    session = connect(mcp_server.url)
    sign_in(browser, session)

    for _ in range(3):
        with pytest.raises((errors.LoginRequired, errors.ScopeRefused)):
            session.call("publish", text="news")
        assert session.call("add", a=1, b=1).data == 2

    assert oidc.grants("refresh_token") <= 1
    assert oidc.grants("authorization_code") == 1


def test_a_scope_named_in_a_401_can_be_stepped_up(
    mcp_server: ResourceServer, browser: Browser
) -> None:
    """Where the 401 names the scope, signing in for it opens the call."""
    mcp_server.gate.lacking = "401"
    session = connect(mcp_server.url)
    sign_in(browser, session)
    with pytest.raises(errors.LoginRequired) as caught:
        session.call("publish", text="news")
    assert caught.value.scopes == ("mcp:write",)

    sign_in(browser, session, scopes=caught.value.scopes)

    assert session.call("publish", text="news").text == "published news"


def test_a_401_without_www_authenticate_is_understood(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """Well-known addresses lead to the sign-in, and a bare 401 to one refresh."""
    mcp_server.gate.silent = True
    session = connect(mcp_server.url)
    sign_in(browser, session)
    assert session.call("add", a=1, b=1).data == 2

    oidc.set(accessTokenSeconds=60)
    token = session.access_token()
    other = connect(mcp_server.url)
    with pytest.raises(errors.LoginRequired):
        other.call("add", a=1, b=1)
    assert session.access_token() == token
