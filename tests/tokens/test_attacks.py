"""Attacks on tokens and secrets: led to somebody else, taken from somebody else, or spoilt.

What other files try already is marked there with the same ids (`tests/threats`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import mcpnb
from mcpnb import errors
from tests.fakes.kernels import Kernel, change, make_expired, stored
from tests.fakes.people import (
    connect,
    query_of,
    refresh_tokens,
    sign_in,
)
from tests.fakes.server import FakeServer


@pytest.mark.threat("token-in-the-address")
def test_no_address_ever_holds_a_token(fake: FakeServer, session: mcpnb.Session) -> None:
    """OAuth 2.1 section 5.1.1: logs, proxies and the history of a browser keep addresses."""
    session.call("echo", text="hello")
    fake.expire()
    session.call("echo", text="hello again")
    session.logout()

    tokens = [*fake.access, *fake.refresh, *fake.rotated]
    assert len(tokens) == 4
    assert not [r.target for r in fake.requests if any(t in unquote(r.target) for t in tokens)]
    carried = [r for r in fake.requests if r.bearer]
    assert {r.path for r in carried} == {"/mcp"}


@pytest.mark.threat("client-secret-at-refresh")
def test_a_secret_configured_for_another_issuer_is_not_sent_at_a_refresh(
    fake: FakeServer, own_client: dict[str, Any], kernel: Kernel, folder: Path
) -> None:
    """The login is of the old issuer; the new secret belongs to the new one."""
    sign_in(kernel(client_secret="old", **own_client))
    make_expired(folder)

    moved = kernel(client_secret="of the new one", issuer="https://new.example", **own_client)

    assert moved.call("echo", text="still").text == "still"
    assert not any(b"of+the+new+one" in r.body for r in fake.requests)
    assert stored(folder)["registration"]["client_secret"] == "old"


@pytest.mark.threat("refresh-token-unfit-to-send")
@pytest.mark.parametrize("given", ["\ud800", "a\r\nb", "é", "\x00", ["list"]])
def test_a_refresh_token_that_is_none_is_as_good_as_not_given(
    fake: FakeServer, kernel: Kernel, folder: Path, given: Any
) -> None:
    """RFC 6749 appendix A.17: visible characters. Else each refresh would end in a surprise."""
    fake.token_changes = {"refresh_token": given}
    session = kernel()
    sign_in(session)

    assert session.call("echo", text="fine").text == "fine"
    assert stored(folder)["tokens"]["refresh_token"] is None
    make_expired(folder)
    with pytest.raises(errors.LoginRequired, match="Sign in again"):
        session.access_token()


@pytest.mark.threat("scopes-that-are-none")
def test_what_is_no_scope_in_an_answer_counts_for_nothing(fake: FakeServer) -> None:
    """They are shown, and asked for at the next step-up (RFC 6749 section 3.3)."""
    fake.token_changes = {"scope": 'read \x1b[2J \ud800 a"b wr\u0130te write'}
    session = connect(fake.url)
    sign_in(session)

    assert session.scopes == ("read", "write")
    assert query_of(sign_in(session, scopes=("more",)))["scope"] == ["read write more"]


@pytest.mark.slow
@pytest.mark.threat("token-of-another-account")
def test_an_account_never_uses_or_ends_the_login_of_another(
    fake: FakeServer, kernel: Kernel
) -> None:
    """Not by a call, not by a refresh, not by a sign-out."""
    work, home, nobody = kernel(account="work"), kernel(account="home"), kernel()
    sign_in(work)
    sign_in(home)
    assert work.access_token() != home.access_token()

    with pytest.raises(errors.LoginRequired):
        nobody.call("echo", text="hello")
    home.logout()

    assert work.call("echo", text="still").text == "still"
    assert refresh_tokens(fake) == []


@pytest.mark.threat("scope-widening-at-refresh")
def test_a_refresh_that_grants_more_is_not_asked_for_it(
    fake: FakeServer, kernel: Kernel, folder: Path
) -> None:
    """What a refresh adds unasked counts as granted, and nobody asks for it afterwards."""
    session = kernel(scopes=("read",))
    sign_in(session)
    fake.refresh_changes = {"scope": "read everything"}
    make_expired(folder)
    session.access_token()

    assert stored(folder)["requested_scopes"] == ["read"]
    change(folder, expires_at=1.0)
    session.access_token()
    assert [r.form.get("scope") for r in fake.token_requests("refresh_token")] == [None, None]
