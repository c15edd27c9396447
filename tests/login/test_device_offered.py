"""Where a browser is not at hand, a sign-in on another device is offered, if the server has it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fakes.people import answer_of
from tests.fakes.server import FakeServer
from tests.terminal import Running

OFFER = "Or sign in on another device: "
PASTE = "Or paste the address that a browser elsewhere ends at: "

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="programs of POSIX"),
]


@pytest.fixture
def offering(fake: FakeServer) -> FakeServer:
    fake.announce(device_authorization_endpoint=f"{fake.base}/device_authorization")
    return fake


@pytest.fixture(autouse=True)
def desktop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with a screen and a browser, wherever this test runs."""
    for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setenv("TOOLBOX_PATH", "/usr/bin/toolbox")
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\n")
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")


def said_by(server: str, fake: FakeServer, *more: str) -> str:
    """Sign in; give what was said."""
    with Running("login", server, "--port", "0", *more) as command:
        answer_to_listener(command.address())
        said = command.end().expect(0).err
    assert fake.access
    return said


def answer_to_listener(address: str) -> None:
    import httpx2

    httpx2.get(answer_of(address), trust_env=False).raise_for_status()


def test_without_a_browser_the_command_is_given(offering: FakeServer) -> None:
    said = said_by(offering.url, offering, "--no-browser")
    assert f"{OFFER}mcpnb login {offering.url} --device" in said.splitlines()


def test_it_chooses_the_same_login(offering: FakeServer, tmp_path: Path) -> None:
    """By the name that it has, where that is not its address."""
    file = tmp_path / "the team's.toml"
    file.write_text(f'[mcp_servers.team]\nurl = "{offering.url}"\naccount = "work"\n')
    said = said_by("team", offering, "--no-browser", "--config", str(file), "--store", "file")
    quoted = str(file).replace("'", "'\"'\"'")
    assert f"{OFFER}mcpnb login team --config '{quoted}' --store file --device" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22"), ("DISPLAY", ""), ("BROWSER", "/no/such")],
    ids=["over SSH", "no screen", "no browser"],
)
def test_so_it_is_where_none_can_be_seen(
    offering: FakeServer, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Once, however many reasons there are."""
    monkeypatch.setenv(name, value)
    said = said_by(offering.url, offering)
    assert said.count(OFFER) == 1
    assert f"{OFFER}mcpnb login {offering.url} --device" in said
    assert said.count(PASTE) == 1
    assert f"{PASTE}mcpnb login {offering.url} --no-browser\n" in said


def test_pasting_is_offered_where_the_server_has_nothing_else(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER", "/no/such")
    said = said_by(fake.url, fake)
    assert f"{PASTE}mcpnb login {fake.url} --no-browser\n" in said


def test_with_a_browser_at_hand_nothing_is_offered(offering: FakeServer) -> None:
    said = said_by(offering.url, offering)
    assert OFFER not in said
    assert PASTE not in said


def test_a_server_without_it_is_not_said_to_have_it(fake: FakeServer) -> None:
    assert OFFER not in said_by(fake.url, fake, "--no-browser")
