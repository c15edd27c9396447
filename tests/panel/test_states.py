"""What a panel shows where things are not as usual."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import mcpnb
from tests.fakes.device import OtherDevice
from tests.fakes.front_end import HUB, LAB, Show, page_at
from tests.fakes.kernels import Kernel, change, make_expired
from tests.fakes.people import answer_of, connect, query_of, sign_in
from tests.fakes.server import FakeServer
from tests.panel.page.states import STATES


@pytest.fixture(autouse=True)
def desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer with a screen, wherever this test runs."""
    for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setenv("TOOLBOX_PATH", "/usr/bin/toolbox")


def configured(fake: FakeServer, own: Path, more: str) -> mcpnb.Session:
    """Connect to a server by its configured name."""
    own.write_text(f'[mcp_servers.team]\nurl = "{fake.url}"\n{more}\n')
    return mcpnb.connect("team", store="memory")


def names(value: Any) -> Any:
    """Return the names in a state, level by level, without what stands there."""
    if isinstance(value, dict):
        return {name: names(inner) for name, inner in value.items()}
    return None


def test_the_page_is_tried_with_states_as_the_kernel_sends_them(
    fake: FakeServer, show: Show
) -> None:
    """`page/states.py` makes up others; what it names is what is named here."""
    front = show(connect(fake.url, callback_port=None))
    told = front.click()
    assert names(told) == names(STATES["waiting, relay"])
    front.answer(answer_of(told["wait"]["url"]))
    assert names(front.phase("signed_in")) == names(STATES["signed in"])


class TestWaysToWait:
    @pytest.mark.slow
    def test_a_code_for_another_device(self, fake: FakeServer, show: Show) -> None:
        phone = OtherDevice(fake)
        front = show(connect(fake.url))
        wait = front.click(via="device")["wait"]
        assert wait["way"] == "device"
        assert wait["user_code"] == "WDJB-MJHT"
        assert not wait["can_paste"]
        assert wait["ssh_line"] is None
        device = wait["other_device"]
        assert wait["url"] == f"{fake.base}/device?user_code=WDJB-MJHT"
        assert device["can_begin_device"] is False
        rows = device["qr"]
        assert {len(row) for row in rows} == {len(rows)}
        assert set("".join(rows)) == {"0", "1"}
        assert front.state["headline"] == "Enter the code on your other device"

        reply = front.answer(f"{LAB}?code=c&state=s", kind="paste")
        assert reply["outcome"] == "refused"
        assert "needs no pasted address" in reply["text"]
        phone.decision = "agreed"
        assert front.phase("signed_in")

    def test_it_is_offered_where_the_server_has_it(self, fake: FakeServer, show: Show) -> None:
        OtherDevice(fake)
        wait = show(connect(fake.url, callback_port=None)).click()["wait"]
        assert wait["offers_loopback"] is True
        assert wait["other_device"]["can_begin_device"] is True

    def test_another_way_takes_the_place_of_the_first(self, fake: FakeServer, show: Show) -> None:
        front = show(connect(fake.url, callback_port=None))
        first = front.click()["wait"]
        assert first["offers_loopback"] is True
        front.act("another_way", via="loopback")
        second = front.wait_for(lambda s: s["wait"] and s["wait"]["way"] == "loopback")["wait"]
        assert second["url"] != first["url"]
        assert second["offers_loopback"] is False
        assert front.answer(answer_of(first["url"]))["outcome"] == "refused"
        assert front.answer(answer_of(second["url"]), kind="paste")["outcome"] == "done"

    @pytest.mark.parametrize(
        ("callback", "variable", "helps"),
        [
            (LAB, None, False),
            (HUB, None, True),
            (LAB, "SSH_CONNECTION", True),
            (None, None, False),
        ],
        ids=["at this computer", "at a hub", "over SSH", "unknown"],
    )
    def test_the_line_for_ssh_is_there_where_it_helps(  # noqa: PLR0913, PLR0917  a table
        self,
        fake: FakeServer,
        show: Show,
        monkeypatch: pytest.MonkeyPatch,
        callback: str | None,
        variable: str | None,
        helps: bool,  # noqa: FBT001  a row of the table
    ) -> None:
        if variable:
            monkeypatch.setenv(variable, "192.0.2.1 50000 192.0.2.2 22")
        front = show(connect(fake.url), callback)
        wait = front.click(via="loopback")["wait"]
        port = urlsplit(query_of(wait["url"])["redirect_uri"][0]).port
        assert (wait["ssh_line"] or "").startswith(f"ssh -N -L {port}:127.0.0.1:{port}") is helps
        assert wait["can_paste"]

    def test_none_is_there_for_the_page(self, fake: FakeServer, show: Show) -> None:
        assert show(connect(fake.url, callback_port=None), HUB).click()["wait"]["ssh_line"] is None

    def test_an_address_that_is_too_long_has_no_code(self, fake: FakeServer, show: Show) -> None:
        scopes = tuple(f"scope-{number}" for number in range(200))
        other = show(connect(fake.url, scopes=scopes)).click()["wait"]["other_device"]
        assert other["qr"] is None


class TestNoSignIn:
    def test_a_configured_token_needs_none(
        self, fake: FakeServer, own: Path, show: Show, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TEAM_TOKEN", "secret-team-token")
        front = show(configured(fake, own, 'bearer_token_env_var = "TEAM_TOKEN"'))
        state = front.state
        assert state["phase"] == "no_sign_in"
        assert state["server"]["name"] == "team"
        assert "has a token for it" in state["detail"]
        front.act("sign_in", page=front.page, memory_only=False, via="auto")
        front.act("sign_out")
        assert front.noted("no login")["phase"] == "no_sign_in"
        assert fake.requests == []
        assert "secret-team-token" not in repr(front.sent)

    def test_a_configured_token_that_is_not_there_is_told(
        self, fake: FakeServer, own: Path, show: Show
    ) -> None:
        front = show(configured(fake, own, 'bearer_token_env_var = "TEAM_TOKEN"'))
        assert front.state["phase"] == "unusable"
        assert "TEAM_TOKEN is not set" in front.state["error"]["text"]

    def test_a_disabled_server_cannot_be_signed_in_to(
        self, fake: FakeServer, own: Path, show: Show
    ) -> None:
        front = show(configured(fake, own, "enabled = false"))
        assert front.state["phase"] == "unusable"
        assert "is disabled" in front.state["error"]["text"]
        front.act("sign_in", page=front.page, memory_only=False, via="auto")
        assert front.noted("is disabled")["phase"] == "unusable"
        assert fake.requests == []

    def test_a_server_that_answers_without_a_login_needs_none(
        self, fake: FakeServer, show: Show
    ) -> None:
        fake.need_no_sign_in()
        front = show(connect(fake.url))
        front.act("sign_in", page=front.page, memory_only=False, via="auto")
        state = front.phase("no_sign_in")
        assert state["headline"] == f"127.0.0.1:{fake.port} needs no sign-in"
        assert state["detail"] == "Just call it."
        assert state["error"] is None


class TestTrouble:
    def test_a_login_whose_key_is_lost_is_told_and_can_be_replaced(
        self, kernel: Kernel, show: Show, folder: Path
    ) -> None:
        """As `session.login()` does in a cell: what cannot be read is replaced."""
        sign_in(kernel())
        (folder / "key").unlink()
        front = show(kernel(callback_port=None))
        state = front.state
        assert state["phase"] == "unusable"
        assert "no key file" in state["error"]["text"]
        assert state["login"] is state["wait"] is None
        assert not state["memory_only_possible"]
        front.act("sign_out")
        assert front.phase("signed_out")["error"] is None
        front.sign_in()

    @pytest.mark.slow
    def test_a_login_that_becomes_unreadable_is_seen_as_it_happens(
        self, kernel: Kernel, show: Show, folder: Path
    ) -> None:
        front = show(kernel(callback_port=None))
        front.sign_in()
        (file,) = folder.glob("login-*.mcpnb")
        file.write_text("what")
        assert front.phase("unusable")["error"]["text"]

    def test_a_server_that_cannot_be_reached(
        self, fake: FakeServer, kernel: Kernel, show: Show
    ) -> None:
        front = show(kernel())
        fake.close()
        front.act("sign_in", page=front.page, memory_only=False, via="auto")
        state = front.phase("failed")
        assert state["error"]["text"]
        assert "session.doctor()" in state["error"]["next"]
        assert state["memory_only_possible"]

    def test_a_login_that_ended_is_to_be_made_anew(
        self, fake: FakeServer, kernel: Kernel, show: Show, folder: Path
    ) -> None:
        sign_in(kernel())
        make_expired(folder)
        change(folder, refresh_token=None)
        front = show(kernel(callback_port=None))
        assert front.state["phase"] == "signed_out"
        front.sign_in()
        assert fake.asked("/token")

    def test_one_that_does_not_renew_itself_says_when_it_ends(
        self, fake: FakeServer, show: Show
    ) -> None:
        fake.token_changes = {"refresh_token": None}
        front = show(connect(fake.url, callback_port=None))
        front.sign_in()
        assert front.state["login"]["renews"] == "It ends in 1 hour. Sign in again then."

    @pytest.mark.threat("panel-texts")
    def test_what_a_server_says_is_made_plain(self, fake: FakeServer, show: Show) -> None:
        fake.describe(resource_name="Evil\u202e\x1b[31m" + "x" * 500)
        fake.describe(scopes_supported=["read", "y" * 3000])
        state = show(connect(fake.url, callback_port=None)).click()
        claim = state["server"]["claim"]
        assert claim.startswith("Evil")
        assert len(claim) <= 61
        assert claim.rstrip("…").isprintable()
        assert "\u202e" not in claim
        assert max(len(name) for name in state["permissions"]) <= 101

    @pytest.mark.threat("lookalike-host")
    def test_hosts_are_shown_as_dns_has_them(self, show: Show) -> None:
        """A letter of another alphabet that looks alike is seen."""
        lookalike = "https://аpple.example:8443/mcp"  # noqa: RUF001  that is what it is about
        front = show(connect(lookalike, issuer="https://bücher.example/t"))
        assert front.state["server"]["host"] == "xn--pple-43d.example:8443"
        assert front.state["headline"] == "Sign in to xn--pple-43d.example:8443"
        assert front.state["authorization_server"]["host"] == "xn--bcher-kva.example"
        assert repr(front.panel) == "<Panel: sign in to xn--pple-43d.example:8443>"

    @pytest.mark.threat("long-host")
    def test_of_a_long_host_the_end_is_shown(self, show: Show) -> None:
        """It says whose it is, and the beginning what its owner likes."""
        long = "login.microsoft.com." + "a" * 60 + "." + "b" * 40 + ".evil.example"
        state = show(connect(f"https://{long}/mcp", issuer=f"https://{long}")).state
        for host in (state["server"]["host"], state["authorization_server"]["host"]):
            assert host.startswith("…")
            assert host.endswith("b.evil.example")
            assert len(host) == 61
        assert state["headline"].endswith(".evil.example")
        assert "microsoft" not in state["headline"]

    @pytest.mark.parametrize("issuer", ["https://as.example:x", "our own", "https://[as"])
    def test_an_issuer_that_is_no_address_is_shown_as_it_is(self, show: Show, issuer: str) -> None:
        state = show(connect("https://mcp.example/mcp", issuer=issuer)).state
        assert state["phase"] == "signed_out"
        assert state["authorization_server"] == {"issuer": issuer, "host": issuer}

    def test_the_page_that_is_missing_can_be_put_in_place(
        self, fake: FakeServer, show: Show, world: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("JUPYTER_DATA_DIR", str(world / "jupyter"))
        front = show(connect(fake.url))
        missing = page_at(LAB, served=False)
        assert front.hello(page=missing)["jupyter"]["page_missing"] is True
        front.act("install")
        state = front.wait_for(lambda s: not s["jupyter"]["page_missing"])
        assert str(world / "jupyter") in state["jupyter"]["text"]
        assert (world / "jupyter" / "labextensions" / "mcpnb" / "callback.html").is_file()

    def test_where_it_cannot_be_put_is_told(
        self, fake: FakeServer, show: Show, world: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (world / "jupyter").write_text("a file, and no folder")
        monkeypatch.setenv("JUPYTER_DATA_DIR", str(world / "jupyter"))
        front = show(connect(fake.url))
        front.hello(page=page_at(LAB, served=False))
        front.act("install")
        assert front.noted("cannot be written")["jupyter"]["page_missing"]


class TestVoila:
    """Each visitor has a kernel, and all of these are one system user's."""

    def test_the_visitor_is_told_whose_login_it_is(
        self, fake: FakeServer, show: Show, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5")
        state = show(mcpnb.connect(fake.url)).state
        assert state["who"].startswith("This page's own kernel can act as this login")
        assert "memory" in state["kept"]
        assert state["memory_only_possible"] is False

    def test_on_disk_it_is_everybodys_as_in_any_notebook(
        self, kernel: Kernel, show: Show, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = show(kernel()).state["who"]
        monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5")
        assert show(kernel()).state["who"] == elsewhere
        assert elsewhere.startswith("Anyone who can run code in this kernel")
