"""Tokens that a server rejects: renewed once for all, and not again while that would be in vain."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpnb import errors
from tests.fakes.kernels import Kernel, stored
from tests.fakes.people import refresh_tokens, sign_in, until
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply


@pytest.mark.threat("rejected-token-replay")
def test_a_server_that_rejects_everything_is_asked_once_by_all_kernels(
    fake: FakeServer, kernel: Kernel
) -> None:
    """Each kernel would else bring a generation that the others have not tried yet."""
    sign_in(kernel())
    fake.always("/mcp", Reply(401, headers={"WWW-Authenticate": "Bearer"}))

    for _ in range(3):
        for session in [kernel() for _ in range(3)]:
            with pytest.raises(errors.LoginRequired):
                session.call("echo", text="never")

    assert len(refresh_tokens(fake)) == 1


def test_one_tool_that_always_says_401_costs_one_renewal_whatever_else_succeeds(
    fake: FakeServer, kernel: Kernel
) -> None:
    """Too little scope said as 401, and no scope named; two notebooks take turns."""
    fake.tool_scopes, fake.lacking = {"publish": "admin"}, "401 without scope"
    notebooks = kernel(), kernel()
    sign_in(notebooks[0])

    for _ in range(3):
        for session in notebooks:
            assert session.call("echo", text="fine").text == "fine"
            with pytest.raises(errors.McpnbError):
                session.call("publish", text="no")

    assert len(refresh_tokens(fake)) == 1


@pytest.mark.slow
def test_an_outage_that_has_passed_is_forgotten_after_a_while(
    fake: FakeServer, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rejected, renewed, rejected again; then accepted, and rejected for good reason."""
    monkeypatch.setattr("mcpnb.tokens.source._REJECTION_LASTS", 0.3)
    session = kernel()
    sign_in(session)
    fake.always("/mcp", Reply(401, headers={"WWW-Authenticate": "Bearer"}))
    with pytest.raises(errors.LoginRequired):
        session.call("echo", text="no")
    fake.restore("/mcp")
    assert session.call("echo", text="back").text == "back"
    fake.expire()

    def works_again() -> bool:
        try:
            return session.call("echo", text="renewed").text == "renewed"
        except errors.LoginRequired:
            return False

    until(works_again)
    assert len(refresh_tokens(fake)) == 2


@pytest.mark.slow
def test_a_token_that_was_accepted_once_is_renewed_when_it_is_rejected_later(
    fake: FakeServer, kernel: Kernel, folder: Path
) -> None:
    """Doubt ends with the first success, for the other kernels, too."""
    sign_in(kernel())
    for number in range(3):
        fake.expire()
        assert kernel().call("echo", text=str(number)).text == str(number)
        until(lambda: stored(folder)["doubted_at"] is None)

    assert len(refresh_tokens(fake)) == 3
