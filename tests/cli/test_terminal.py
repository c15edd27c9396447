"""On a terminal: pasted lines arrive whole, messages make room, and it is given back as it was."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import httpx2
import pytest

from mcpnb.demo.browser import approve
from mcpnb.demo.servers import DemoServers
from mcpnb.stores import FileStore
from tests.fakes.device import OtherDevice
from tests.fakes.people import answer_of, browse, free_port, until
from tests.fakes.server import FakeServer
from tests.login.test_relay import CODE, STATE, authorization
from tests.terminal import OnTerminal, invoke

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX"),
]

LONG = "x" * 6_000
"""Longer than the 4,095 characters that Linux keeps of a line, and macOS' 1,023."""
PROMPT = "Paste the address here: "


def login(url: str, *more: str) -> OnTerminal:
    return OnTerminal("login", url, "--no-browser", "--port", "0", *more)


class TestPasting:
    def test_a_wrong_line_and_a_long_one_pasted_at_once_sign_in_unseen(
        self, demo: DemoServers
    ) -> None:
        with login(demo.mcp_url) as terminal:
            answer = approve(terminal.address(), follow=False)
            terminal.shows(PROMPT)
            assert not terminal.echoes(), "the pasted address holds a code"
            terminal.type(f"a-bare-code\n{answer}&more={LONG}\n{answer}\n")

            assert terminal.end() == 0
            assert terminal.is_as_usual()
            assert terminal.unread() == 0, "the shell would run it"
        assert "alone is refused" in terminal.shown
        assert "Signed in" in terminal.shown
        for unseen in (answer, "a-bare-code", LONG[:50]):
            assert unseen not in terminal.shown

    def test_what_is_erased_is_gone(self, demo: DemoServers) -> None:
        """By letter, an umlaut included, and the whole line."""
        with login(demo.mcp_url) as terminal:
            answer = approve(terminal.address(), follow=False)
            terminal.shows(PROMPT)
            terminal.type("nonsense\x15")
            terminal.type(f"{answer[:40]}äö\x7f\x7f{answer[40:]}\n")

            assert terminal.end() == 0

    def test_a_long_line_completes_a_sign_in_that_was_begun(self, demo: DemoServers) -> None:
        begun = invoke("login", demo.mcp_url, "--begin").expect(0)
        answer = approve(begun.out.strip(), follow=False)
        with OnTerminal("login", demo.mcp_url, "--finish", "-") as terminal:
            terminal.shows(PROMPT)
            terminal.type(f"{answer}&more={LONG}\n")

            assert terminal.end() == 0
            assert terminal.is_as_usual()
        assert LONG[:50] not in terminal.shown

    def test_a_long_line_is_relayed_unseen(self) -> None:
        callback = f"http://127.0.0.1:{free_port()}/callback"
        url = f"{authorization(callback)}&claims={LONG}"
        with OnTerminal("relay", "-", "--no-browser") as terminal:
            terminal.shows("Paste the address that the other machine printed: ")
            terminal.type(f"{url}\n")
            terminal.shows("where this command waits")
            browse(f"{callback}?code={CODE}&state={STATE}")

            assert terminal.end() == 0
            assert terminal.is_as_usual()
        assert terminal.shown.count(url) == 1, "to open"


class TestMessages:
    def test_stand_on_lines_of_their_own_before_the_prompt_is_shown_again(
        self, fake: FakeServer
    ) -> None:
        fake.describe(scopes_supported=["odd"])
        fake.known_scopes = set()
        with login(fake.url) as terminal:
            first = terminal.address()
            terminal.shows(PROMPT)
            assert terminal.shown.count("Or run mcpnb relay -") == 1
            # The listener, not the person, brings on the second address.
            sent_on = httpx2.get(answer_of(first), trust_env=False, follow_redirects=False)
            terminal.shows(PROMPT, times=2)
            httpx2.get(answer_of(sent_on.headers["location"]), trust_env=False)
            terminal.shows("Signed in")
            assert terminal.end() == 0
        for line in terminal.shown.splitlines():
            assert not line.removeprefix(PROMPT) or not line.startswith(PROMPT), line
        assert "\n\n\n" not in terminal.shown

    def test_take_the_place_of_the_time_that_is_left(self, fake: FakeServer) -> None:
        phone = OtherDevice(fake)
        with OnTerminal("login", fake.url, "--device") as terminal:
            terminal.shows("The code expires in")
            phone.decision = "agreed"
            terminal.shows("Signed in")
            assert terminal.end() == 0
        (line,) = (line for line in terminal.shown.split("\n") if "Getting the login" in line)
        assert line.rpartition("\r")[2] == "Getting the login ..."


class TestWaysOut:
    """Whatever ends the program, the next prompt of the shell shows what is typed."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
    @pytest.mark.parametrize("command", ["login", "relay"])
    def test_a_signal(self, demo: DemoServers, command: str, number: signal.Signals) -> None:
        words = ["relay", "-"] if command == "relay" else ["login", demo.mcp_url, "--port", "0"]
        with OnTerminal(*words, "--no-browser") as terminal:
            terminal.shows("Paste the address")
            until(lambda: not terminal.is_as_usual())
            terminal.signal(number)

            assert terminal.end() == (130 if number == signal.SIGINT else -number)
            assert terminal.is_as_usual()
        assert "Traceback" not in terminal.shown

    def test_ctrl_c_in_the_middle_of_a_line(self, demo: DemoServers, world: Path) -> None:
        with login(demo.mcp_url) as terminal:
            terminal.shows(PROMPT)
            terminal.type("half an addr\x03")

            assert terminal.end() == 130
            assert terminal.is_as_usual()
        assert "half an addr" not in terminal.shown
        assert "Traceback" not in terminal.shown
        assert terminal.shown.rstrip().endswith("Cancelled.")
        assert FileStore(world / "mcpnb").keys("login") == []

    def test_ctrl_c_while_a_code_is_entered_elsewhere(self, fake: FakeServer) -> None:
        OtherDevice(fake)
        with OnTerminal("login", fake.url, "--device") as terminal:
            terminal.shows("WDJB-MJHT")
            terminal.type("\x03")

            assert terminal.end() == 130
            assert terminal.is_as_usual()
        assert "Traceback" not in terminal.shown
        assert terminal.shown.rstrip().endswith("Cancelled.")

    def test_an_end_in_time(self, demo: DemoServers) -> None:
        with login(demo.mcp_url, "--timeout", "1") as terminal:
            assert terminal.end() == 1
            assert terminal.is_as_usual()

    @pytest.mark.parametrize("typed", ["", "\x04"], ids=["nothing typed", "Ctrl-D"])
    def test_an_answer_at_the_listener_ends_the_prompt_too(
        self, demo: DemoServers, typed: str
    ) -> None:
        """Ctrl-D cancels nothing."""
        with login(demo.mcp_url) as terminal:
            address = terminal.address()
            terminal.shows(PROMPT)
            terminal.type(typed)
            approve(address)

            assert terminal.end() == 0
            assert terminal.is_as_usual()
        assert "Signed in" in terminal.shown

    def test_ctrl_c_in_the_demo(self) -> None:
        with OnTerminal("demo", "--no-browser") as terminal:
            terminal.shows("Press Ctrl-C to stop", timeout=60)
            terminal.type("\x03")
            assert terminal.end() in {0, 130}
        assert "Traceback" not in terminal.shown
