"""The device grant against `oidc-provider`'s own device flow, pages included."""

from __future__ import annotations

import pytest

from mcpnb import errors
from tests.fakes.people import connect
from tests.peers.browser import Browser
from tests.peers.oidc import OidcProvider
from tests.peers.resource_server import ResourceServer
from tests.terminal import Running

pytestmark = pytest.mark.peer

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


def test_a_phone_signs_a_notebook_in(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser
) -> None:
    """Registered for that grant, asked for with the resource, renewed like any other."""
    session = connect(mcp_server.url)
    login = session.login(device=True)
    login.wait_for("waiting", 10)
    assert login.url is not None
    assert login.user_code is not None
    assert login.user_code in login.url

    browser.open(login.url)
    login.wait(30)

    assert session.call("add", a=1, b=2).data == 3
    assert oidc.grants(DEVICE_CODE) == 1


def test_saying_no_on_the_phone_ends_it(mcp_server: ResourceServer, browser: Browser) -> None:
    session = connect(mcp_server.url)
    login = session.login(device=True)
    login.wait_for("waiting", 10)
    assert login.url is not None

    browser.open(login.url, cancel=True)

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
