"""Signing in on another device (RFC 8628): a code here, a person elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.login.pending import PendingLogins
from mcpnb.oauth.authorization import DeviceRequest
from mcpnb.text import qr_code, qr_modules
from mcpnb.tokens import login_key
from tests.fakes.device import DEVICE_CODE, OtherDevice
from tests.fakes.kernels import Kernel
from tests.fakes.people import browse, connect, until
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply
from tests.terminal import OnTerminal, Running


@pytest.fixture
def phone(fake: FakeServer) -> OtherDevice:
    return OtherDevice(fake)


def shown(session: mcpnb.Session, **given: Any) -> Any:
    """Begin a sign-in on another device; return it once its code is there."""
    login = session.login(device=True, **given)
    login.wait_for("waiting", 10)
    return login


@pytest.mark.slow
def test_a_code_entered_elsewhere_signs_in_here(fake: FakeServer, phone: OtherDevice) -> None:
    """And the login is refreshed like any other."""
    session = connect(fake.url, scopes=("read",))
    login = shown(session)
    assert login.user_code == "WDJB-MJHT"
    assert login.url == f"{fake.base}/device?user_code=WDJB-MJHT"
    assert login.redirect_uri is None
    until(lambda: len(phone.asked_at) >= 2)

    phone.decision = "agreed"
    assert login.wait(10).call("echo", text="hello").text == "hello"
    assert session.scopes == ("read",)
    (begun,) = phone.begun
    assert begun.form["resource"] == [fake.url]
    polls = fake.token_requests(DEVICE_CODE)
    assert all(poll.form["resource"] == [fake.url] for poll in polls)
    (client,) = fake.clients.values()
    assert client["grant_types"] == [DEVICE_CODE, "refresh_token"]
    assert client["redirect_uris"] == []
    fake.expire()
    assert session.call("echo", text="refreshed").text == "refreshed"


@pytest.mark.slow
def test_the_client_is_registered_once_and_apart_from_the_browsers(
    fake: FakeServer, phone: OtherDevice, kernel: Kernel
) -> None:
    """A client for the authorization code is refused the device grant."""
    phone.decision = "agreed"
    for _ in range(2):
        kernel().login(device=True).wait(10)
        kernel().logout()

    assert len(fake.asked("/register")) == 1


@pytest.mark.slow
def test_slow_down_is_obeyed(
    fake: FakeServer, phone: OtherDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five seconds more for each of them (shortened here)."""
    monkeypatch.setattr("mcpnb.login.flow._SLOWER", 0.6)
    phone.says = [Reply(400, {"error": "slow_down"})]
    phone.decision = "agreed"

    connect(fake.url).login(device=True).wait(10)

    first, second = phone.asked_at
    assert second - first >= 0.6


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [Reply(503, "busy"), Reply(500), Reply(429), Reply(drop=True)])
def test_trouble_is_waited_out(fake: FakeServer, phone: OtherDevice, trouble: Reply) -> None:
    phone.says = [trouble]
    phone.decision = "agreed"

    assert connect(fake.url).login(device=True).wait(10).signed_in


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decision", "kind", "said"),
    [
        ("access_denied", errors.LoginDenied, "declined"),
        ("expired_token", errors.LoginTimeout, "not entered in time"),
        ("unauthorized_client", errors.GrantError, "unauthorized_client"),
    ],
)
def test_how_it_can_end_without_a_login(
    fake: FakeServer, phone: OtherDevice, decision: str, kind: type[Exception], said: str
) -> None:
    phone.decision = decision
    session = connect(fake.url)
    login = session.login(device=True)

    with pytest.raises(kind, match=said):
        login.wait(10)
    assert not session.signed_in
    assert session.login(device=True) is not login, "the next one begins anew"


@pytest.mark.slow
def test_a_code_that_nobody_enters_expires(fake: FakeServer, phone: OtherDevice) -> None:
    phone.answer["expires_in"] = 1

    with pytest.raises(errors.LoginTimeout, match="other device"):
        connect(fake.url).login(device=True, timeout=60).wait(20)


def test_a_response_without_what_is_optional_serves(fake: FakeServer, phone: OtherDevice) -> None:
    """The plain address, and an interval of five seconds (RFC 8628 section 3.2)."""
    del phone.answer["interval"]
    del phone.answer["verification_uri_complete"]
    login = shown(session := connect(fake.url))

    pending = PendingLogins(session.store, login_key(fake.url, None)).current()
    assert login.url == f"{fake.base}/device"
    assert pending is not None
    assert isinstance(pending.request, DeviceRequest)
    assert pending.request.interval == 5
    login.cancel()
    assert phone.asked_at == []


@pytest.mark.threat("dangerous-device-page")
@pytest.mark.parametrize(
    "wrong",
    [
        {"verification_uri": "http://mcp.example.com/device"},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": None},
        {"device_code": ""},
        {"user_code": 7},
    ],
)
def test_an_answer_that_nobody_could_use_is_refused(
    fake: FakeServer, phone: OtherDevice, wrong: dict[str, Any]
) -> None:
    phone.answer |= wrong
    login = connect(fake.url).login(device=True)

    with pytest.raises(errors.GrantError, match="not complete"):
        login.wait(10)


@pytest.mark.threat("terminal-escapes")
def test_a_hostile_code_is_shown_harmlessly(fake: FakeServer, phone: OtherDevice) -> None:
    phone.answer |= {"user_code": "\x1b[2J\u202eAB" + "C" * 500}
    login = shown(connect(fake.url))

    assert login.user_code is not None
    assert login.user_code.isprintable()
    assert len(login.user_code) < 80
    login.cancel()


def test_a_server_without_it_says_what_to_do_instead(fake: FakeServer) -> None:
    login = connect(fake.url).login(device=True)

    with pytest.raises(errors.LoginError, match="Sign in with a browser instead"):
        login.wait(10)
    assert fake.asked("/register") == []


@pytest.mark.slow
def test_refused_scopes_are_left_out_once(fake: FakeServer, phone: OtherDevice) -> None:
    fake.describe(scopes_supported=["odd"])
    fake.known_scopes = set()
    phone.decision = "agreed"

    connect(fake.url).login(device=True).wait(10)
    assert ["scope" in begun.form for begun in phone.begun] == [True, False]


def test_a_paste_is_told_to_enter_the_code(fake: FakeServer, phone: OtherDevice) -> None:
    login = shown(connect(fake.url))

    with pytest.raises(errors.AnswerRefused, match="Enter the code"):
        login.submit("http://127.0.0.1/callback?code=x")
    assert phone.begun
    login.cancel()


class TestShared:
    @pytest.mark.slow
    def test_another_notebook_follows_it(self, phone: OtherDevice, kernel: Kernel) -> None:
        first = shown(kernel())
        second = kernel().login()
        second.wait_for("waiting", 10)
        assert second.user_code == first.user_code

        phone.decision = "agreed"
        assert first.wait(10).signed_in
        assert second.wait(10).signed_in
        assert len(phone.begun) == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("asked_for", ["on another device", "by nobody, as a panel is shown"])
    def test_one_that_was_left_is_gone_on_with(
        self, phone: OtherDevice, kernel: Kernel, asked_for: str
    ) -> None:
        """The person may agree while nobody asks."""
        shown(kernel()).leave()
        phone.decision = "agreed"

        session = kernel()
        login = session.resume() if "nobody" in asked_for else session.login(device=True)
        assert login is not None
        assert login.wait(10).signed_in
        assert login.user_code == "WDJB-MJHT"
        assert len(phone.begun) == 1

    @pytest.mark.parametrize("wanted", [{}, {"via": "loopback"}, {"via": "paste"}])
    def test_a_sign_in_with_a_browser_does_not_go_on_with_one_that_was_left(
        self, phone: OtherDevice, kernel: Kernel, wanted: dict[str, Any]
    ) -> None:
        shown(kernel()).leave()

        login = kernel().login(**wanted)
        login.wait_for("waiting", 10)

        assert phone.begun
        assert login.user_code is None
        assert login.redirect_uri is not None
        login.cancel()


class TestInATerminal:
    @pytest.mark.slow
    def test_the_address_stands_alone_and_the_code_beside_it(
        self, fake: FakeServer, phone: OtherDevice
    ) -> None:
        with Running("login", fake.url, "--device") as command:
            until(lambda: len(phone.asked_at) > 0)
            phone.decision = "agreed"
            done = command.end().expect(0)

        lines = done.err.splitlines()
        assert phone.answer["verification_uri_complete"] in lines
        assert "WDJB-MJHT" in done.err
        assert "█" not in done.err, "no picture where nobody looks"
        assert "Signed in" in done.err
        assert phone.answer["device_code"] not in done.err
        assert done.out == ""

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
    def test_a_terminal_shows_a_qr_code_and_how_long_it_lasts(
        self, fake: FakeServer, phone: OtherDevice
    ) -> None:
        with OnTerminal("login", fake.url, "--device") as command:
            command.shows("The code expires in 0:5")
            phone.decision = "agreed"
            said = command.shows("Signed in")

        assert "▀" in said
        assert "\x1b[30;107m" in said


OFFER = "Or sign in on another device: "
PASTE = "Or paste the address where a browser on another machine ends: "


def said_by(server: str, fake: FakeServer, *more: str) -> str:
    """Sign in with a browser; return what the command printed."""
    with Running("login", server, "--port", "0", *more) as command:
        browse(command.address())
        said = command.end().expect(0).err
    assert fake.access
    return said


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="programs of POSIX")
class TestOffered:
    """Where no browser is at hand, and the server has it."""

    @pytest.fixture
    def offering(self, fake: FakeServer) -> FakeServer:
        fake.announce(device_authorization_endpoint=f"{fake.base}/device_authorization")
        return fake

    @pytest.fixture(autouse=True)
    def desktop(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A machine with a screen and a browser, wherever this test runs."""
        for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("DISPLAY", ":99")
        monkeypatch.setenv("TOOLBOX_PATH", "/usr/bin/toolbox")
        browser = tmp_path / "browser"
        browser.write_text("#!/bin/sh\n")
        browser.chmod(0o755)
        monkeypatch.setenv("BROWSER", f"{browser} %s")

    def test_it_chooses_the_same_login(self, offering: FakeServer, tmp_path: Path) -> None:
        """By the name that it has, where that is not its address."""
        file = tmp_path / "the team's.toml"
        file.write_text(f'[mcp_servers.team]\nurl = "{offering.url}"\naccount = "work"\n')
        said = said_by("team", offering, "--no-browser", "--config", str(file), "--store", "file")
        quoted = str(file).replace("'", "'\"'\"'")
        assert f"{OFFER}mcpnb login team --config '{quoted}' --store file --device" in said

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22"),
            ("DISPLAY", ""),
            ("BROWSER", "/no/such"),
        ],
        ids=["over SSH", "no screen", "no browser"],
    )
    def test_so_it_is_where_none_can_be_seen(
        self, offering: FakeServer, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        """Once, however many reasons there are."""
        monkeypatch.setenv(name, value)
        said = said_by(offering.url, offering)
        assert said.count(OFFER) == 1
        assert f"{OFFER}mcpnb login {offering.url} --device" in said
        assert said.count(PASTE) == 1
        assert f"{PASTE}mcpnb login {offering.url} --no-browser\n" in said

    def test_only_pasting_is_offered_where_the_server_has_nothing_else(
        self, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BROWSER", "/no/such")
        said = said_by(fake.url, fake)
        assert OFFER not in said + said_by(fake.url, fake, "--no-browser")
        assert f"{PASTE}mcpnb login {fake.url} --no-browser\n" in said

    def test_with_a_browser_at_hand_nothing_is_offered(self, offering: FakeServer) -> None:
        said = said_by(offering.url, offering)
        assert OFFER not in said
        assert PASTE not in said


class TestQrCode:
    def test_it_has_a_quiet_zone_and_its_three_corners(self) -> None:
        rows = qr_modules("https://as.example/device")
        size = len(rows)

        assert all(len(row) == size for row in rows)
        assert not any(any(row) for row in rows[:4] + rows[-4:])
        for top, left in ((4, 4), (4, size - 11), (size - 11, 4)):
            corner = [row[left : left + 7] for row in rows[top : top + 7]]
            assert all(corner[0]) and all(corner[6])  # noqa: PT018  the finder pattern
            assert corner[3] == [True, False, True, True, True, False, True]

    def test_without_colours_there_are_no_escapes(self) -> None:
        lines = qr_code("x", colour=False).split("\n")

        assert all(set(line) <= set("█▄▀ ") for line in lines)
        assert len({len(line) for line in lines}) == 1
