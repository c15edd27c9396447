"""Signing in on another device (RFC 8628): a code here, a person elsewhere."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mcpnb import errors
from mcpnb.login.pending import PendingLogins
from mcpnb.login.qr import as_text, modules
from mcpnb.oauth.device import DeviceRequest
from mcpnb.tokens import login_key
from tests.fakes.kernels import Kernel
from tests.fakes.people import connect, until
from tests.fakes.server import FakeServer, Grant
from tests.fakes.wire import Reply, Request
from tests.terminal import OnTerminal, Running, run

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


class OtherDevice:
    """The device authorization endpoint of a fake, and the person at the other device."""

    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake
        self.answer: dict[str, Any] = {
            "device_code": secrets.token_urlsafe(16),
            "user_code": "WDJB-MJHT",
            "verification_uri": f"{fake.base}/device",
            "verification_uri_complete": f"{fake.base}/device?user_code=WDJB-MJHT",
            "expires_in": 60,
            "interval": 0.05,
        }
        self.says: list[Reply] = []
        """What the token endpoint says before it says what the person decided."""
        self.decision = "authorization_pending"
        self.begun: list[Request] = []
        self.asked_at: list[float] = []
        fake.announce(device_authorization_endpoint=f"{fake.base}/device_authorization")
        fake.routes["/device_authorization"] = self._begin
        self._others = fake.routes["/token"]
        fake.routes["/token"] = self._token

    def _begin(self, request: Request) -> Reply:
        self.begun.append(request)
        refused = self.fake.known_scopes is not None and "scope" in request.form
        return Reply(400, {"error": "invalid_scope"}) if refused else Reply(200, self.answer)

    def _token(self, request: Request) -> Reply:
        if request.form.get("grant_type") != [DEVICE_CODE]:
            return self._others(request)
        self.asked_at.append(time.monotonic())
        if self.says:
            return self.says.pop(0)
        if self.decision != "agreed":
            return Reply(400, {"error": self.decision})
        assert request.form["device_code"] == [self.answer["device_code"]]
        begun = self.begun[-1].form
        scopes = tuple(begun.get("scope", [""])[0].split())
        grant = Grant(begun["client_id"][0], scopes, begun["resource"][0])
        return self.fake._issue(grant, {})  # noqa: SLF001  as any other grant


@pytest.fixture
def phone(fake: FakeServer) -> OtherDevice:
    return OtherDevice(fake)


@pytest.mark.slow
def test_a_code_entered_elsewhere_signs_in_here(fake: FakeServer, phone: OtherDevice) -> None:
    session = connect(fake.url, scopes=("read",))
    login = session.login(device=True)
    login.wait_for("waiting", 10)
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


@pytest.mark.slow
def test_it_is_renewed_like_any_other_login(fake: FakeServer, phone: OtherDevice) -> None:
    session = connect(fake.url)
    phone.decision = "agreed"
    session.login(device=True).wait(10)
    fake.expire()

    assert session.call("echo", text="renewed").text == "renewed"


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
    monkeypatch.setattr("mcpnb.login.device._SLOWER", 0.6)
    phone.says = [Reply(400, {"error": "slow_down"})]
    phone.decision = "agreed"

    connect(fake.url).login(device=True).wait(10)

    first, second = phone.asked_at
    assert second - first >= 0.6


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [Reply(503, "busy"), Reply(500), Reply(429), Reply(drop=True)])
def test_trouble_on_the_way_is_waited_out(
    fake: FakeServer, phone: OtherDevice, trouble: Reply
) -> None:
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
def test_a_code_that_nobody_enters_ends_with_its_lifetime(
    fake: FakeServer, phone: OtherDevice
) -> None:
    phone.answer["expires_in"] = 1

    with pytest.raises(errors.LoginTimeout, match="other device"):
        connect(fake.url).login(device=True, timeout=60).wait(20)


def test_a_missing_interval_is_five_seconds(fake: FakeServer, phone: OtherDevice) -> None:
    del phone.answer["interval"]
    session = connect(fake.url)
    login = session.login(device=True)
    login.wait_for("waiting", 10)

    pending = PendingLogins(session.store, login_key(fake.url, None)).current()

    assert pending is not None
    assert isinstance(pending.request, DeviceRequest)
    assert pending.request.interval == 5
    login.cancel()
    assert phone.asked_at == []


def test_the_plain_address_serves_where_there_is_no_complete_one(
    fake: FakeServer, phone: OtherDevice
) -> None:
    del phone.answer["verification_uri_complete"]
    login = connect(fake.url).login(device=True)
    login.wait_for("waiting", 10)

    assert login.url == f"{fake.base}/device"
    login.cancel()


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
    login = connect(fake.url).login(device=True)
    login.wait_for("waiting", 10)

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
def test_discovered_scopes_that_are_refused_are_left_out_once(
    fake: FakeServer, phone: OtherDevice
) -> None:
    fake.describe(scopes_supported=["odd"])
    fake.known_scopes = set()
    phone.decision = "agreed"

    connect(fake.url).login(device=True).wait(10)

    assert ["scope" in begun.form for begun in phone.begun] == [True, False]


def test_a_paste_is_told_that_there_is_nothing_to_paste(
    fake: FakeServer, phone: OtherDevice
) -> None:
    login = connect(fake.url).login(device=True)
    login.wait_for("waiting", 10)

    with pytest.raises(errors.AnswerRefused, match="enter the code"):
        login.submit("http://127.0.0.1/callback?code=x")
    assert phone.begun
    login.cancel()


class TestShared:
    @pytest.mark.slow
    def test_another_notebook_follows_it(self, phone: OtherDevice, kernel: Kernel) -> None:
        first = kernel().login(device=True)
        first.wait_for("waiting", 10)
        second = kernel().login()
        second.wait_for("waiting", 10)
        assert second.user_code == first.user_code

        phone.decision = "agreed"

        assert first.wait(10).signed_in
        assert second.wait(10).signed_in
        assert len(phone.begun) == 1

    @pytest.mark.slow
    def test_a_kernel_that_comes_after_a_killed_one_goes_on_asking(
        self, fake: FakeServer, phone: OtherDevice, kernel: Kernel, folder: Path
    ) -> None:
        """The person may agree while nobody asks."""
        code = (
            "import sys, mcpnb; from mcpnb.stores import FileStore; "
            "login = mcpnb.connect(sys.argv[1], store=FileStore(sys.argv[2])).login(device=True); "
            "login.until('waiting', 20); print('shown', flush=True); login.wait()"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code, fake.url, str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "shown\n"
        child.send_signal(signal.SIGKILL)
        child.communicate(timeout=10)
        phone.decision = "agreed"

        assert kernel().login(device=True).wait(10).signed_in
        assert len(phone.begun) == 1

    @pytest.mark.slow
    def test_a_sign_out_elsewhere_ends_it(
        self, fake: FakeServer, phone: OtherDevice, kernel: Kernel
    ) -> None:
        login = kernel().login(device=True)
        login.wait_for("waiting", 10)

        kernel().logout()

        with pytest.raises(errors.LoginCancelled):
            login.wait(10)
        assert phone.begun
        assert fake.access == {}


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
            command.shows("the code lasts 0:5")
            phone.decision = "agreed"
            said = command.shows("Signed in")

        assert "▀" in said
        assert "\x1b[30;107m" in said

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
    def test_ctrl_c_ends_it(self, fake: FakeServer, phone: OtherDevice) -> None:
        with OnTerminal("login", fake.url, "--device") as command:
            command.shows("the code lasts")
            command.type("\x03")
            assert command.end() == 130, command.shown

        assert phone.begun
        assert fake.access == {}

    @pytest.mark.slow
    @pytest.mark.parametrize("wrong", [("--begin",), ("--finish", "x")])
    def test_what_does_not_go_together_is_a_usage_error(
        self, fake: FakeServer, wrong: tuple[str, ...]
    ) -> None:
        run("login", fake.url, "--device", *wrong).expect(2)


class TestQrCode:
    def test_it_has_a_quiet_zone_and_its_three_corners(self) -> None:
        rows = modules("https://as.example/device")
        size = len(rows)

        assert all(len(row) == size for row in rows)
        assert not any(any(row) for row in rows[:4] + rows[-4:])
        for top, left in ((4, 4), (4, size - 11), (size - 11, 4)):
            corner = [row[left : left + 7] for row in rows[top : top + 7]]
            assert all(corner[0]) and all(corner[6])  # noqa: PT018  the finder pattern
            assert corner[3] == [True, False, True, True, True, False, True]

    def test_without_colours_there_are_no_escapes(self) -> None:
        lines = as_text("x", colour=False).split("\n")

        assert all(set(line) <= set("█▄▀ ") for line in lines)
        assert len({len(line) for line in lines}) == 1
