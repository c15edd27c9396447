"""`mcpnb login`, as a process: addresses out, answers in, and every way it can end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from mcpnb.demo.browser import approve
from mcpnb.demo.servers import DemoServers
from mcpnb.stores import FileStore
from tests.fakes.people import free_port, until
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, html
from tests.terminal import ADDRESS, OnTerminal, Running, run

pytestmark = pytest.mark.slow

posix = pytest.mark.skipif(sys.platform == "win32", reason="terminals and signals of POSIX")


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoServers]:
    with DemoServers() as servers:
        yield servers


def login(url: str, *more: str) -> Running:
    return Running("login", url, "--no-browser", "--port", "0", *more)


def nothing_is_stored(world: Path) -> bool:
    return FileStore(world / "mcpnb").keys("login") == []


class TestThroughPipes:
    def test_the_address_stands_alone_and_the_listener_takes_the_answer(
        self, demo: DemoServers, world: Path
    ) -> None:
        with login(demo.mcp_url) as command:
            address = command.address()
            assert command.is_running
            assert nothing_is_stored(world)
            callback = approve(address)
            done = command.end().expect(0)

        assert done.out == "", "stdout is for data"
        assert f"Signed in to {demo.mcp_url}" in done.err
        assert "Paste" not in done.err, "no prompt where there is no terminal"
        assert [line for line in done.err.splitlines() if ADDRESS.match(line)] == [address]
        answer = parse_qs(urlsplit(callback).query)
        store = FileStore(world / "mcpnb")
        record = store.read(store.keys("login")[0])
        assert record is not None
        for secret in (
            answer["code"][0],
            record["tokens"]["access_token"],
            record["tokens"]["refresh_token"],
        ):
            assert secret not in done.err

    def test_a_pasted_line_signs_in(self, demo: DemoServers) -> None:
        with login(demo.mcp_url) as command:
            answer = approve(command.address(), follow=False)
            command.type("")
            command.type(f"  {answer}  ")
            done = command.end().expect(0)

        assert "Signed in" in done.err
        assert answer not in done.err

    def test_a_wrong_paste_is_told_and_the_wait_goes_on(
        self, demo: DemoServers, world: Path
    ) -> None:
        """A bare code, the address itself, another sign-in's answer; then the right one."""
        with login(demo.mcp_url) as command:
            address = command.address()
            answer = approve(address, follow=False)
            code = parse_qs(urlsplit(answer).query)["code"][0]
            for wrong, told in (
                (code, "alone is refused"),
                (address, "where the sign-in begins"),
                (answer.replace("state=", "state=x"), "another sign-in"),
                ("x" * 20_000, "too long"),
            ):
                command.type(wrong)
                command.says(told)
            assert command.is_running
            assert nothing_is_stored(world)
            command.type(answer)
            done = command.end().expect(0)

        assert done.err.count("Not used: ") == 4
        assert code not in done.err

    def test_a_second_address_stands_alone_as_well(self, fake: FakeServer) -> None:
        """Where the server refuses the scopes that it announces, it is asked without any."""
        fake.describe(scopes_supported=["odd"])
        fake.known_scopes = set()
        with login(fake.url) as command:
            first = command.address()
            command.type(approve(first, follow=False))
            command.says("Not used: The server refused the scopes")
            second = command.address(2)
            command.type(approve(second, follow=False))
            command.end().expect(0)

        assert "scope" in parse_qs(urlsplit(first).query)
        assert "scope" not in parse_qs(urlsplit(second).query)

    def test_the_end_of_input_cancels_nothing(self, demo: DemoServers) -> None:
        with Running(
            "login", demo.mcp_url, "--no-browser", "--port", "0", stdin=subprocess.DEVNULL
        ) as command:
            approve(command.address())
            command.end().expect(0)
        with login(demo.mcp_url) as command:
            address = command.address()
            command.close_input()
            approve(address)
            command.end().expect(0)

    def test_scopes_can_be_asked_for(self, demo: DemoServers) -> None:
        with login(demo.mcp_url, "--scopes", "data:read,data:write") as command:
            address = command.address()
            approve(address)
            command.end().expect(0)

        assert parse_qs(urlsplit(address).query)["scope"] == ["data:read data:write"]
        run("call", demo.mcp_url, "publish", "title=Fog").expect(0)

    def test_a_login_in_memory_ends_with_the_command(self, demo: DemoServers, world: Path) -> None:
        with login(demo.mcp_url, "--store", "memory") as command:
            approve(command.address())
            command.end().expect(0)

        assert not (world / "mcpnb").exists() or not any((world / "mcpnb").iterdir())
        run("token", demo.mcp_url).expect(3)

    def test_without_a_browser_to_open_the_address_is_given(self, demo: DemoServers) -> None:
        """A machine without one is no reason to fail."""
        with Running("login", demo.mcp_url, "--port", "0") as command:
            approve(command.address())
            command.end().expect(0)


class TestFailures:
    """Exit 1, one clear error, no traceback, nothing stored."""

    def test_a_declined_consent(self, demo: DemoServers, world: Path) -> None:
        with login(demo.mcp_url) as command:
            approve(command.address(), deny=True)
            done = command.end().expect(1)

        assert "Error: The sign-in was declined" in done.err
        assert "Signed in" not in done.err
        assert nothing_is_stored(world)

    def test_nobody_comes_in_time(self, demo: DemoServers, world: Path) -> None:
        done = run("login", demo.mcp_url, "--no-browser", "--port", "0", "--timeout", "1").expect(1)

        assert "Error: The browser brought no response within 1 s." in done.err
        assert nothing_is_stored(world)

    def test_a_code_that_is_not_accepted(self, fake: FakeServer, world: Path) -> None:
        fake.always("/token", Reply(400, {"error": "invalid_grant"}))
        with login(fake.url) as command:
            approve(command.address())
            done = command.end().expect(1)

        assert "invalid_grant" in done.err
        assert nothing_is_stored(world)

    @pytest.mark.parametrize("command", ["login", "discover"])
    def test_a_host_nobody_listens_at(self, command: str, world: Path) -> None:
        done = run(command, f"http://127.0.0.1:{free_port()}/mcp").expect(1)

        assert done.out == ""
        assert "Error: “127.0.0.1” cannot be reached" in done.err
        assert nothing_is_stored(world)

    @pytest.mark.parametrize("command", ["login", "discover"])
    @pytest.mark.parametrize(
        "reply",
        [html("Welcome to our shop"), html("Not here", 404), Reply(500, "down")],
        ids=["a web page", "nothing", "down"],
    )
    def test_what_is_no_mcp_server(
        self, fake: FakeServer, world: Path, command: str, reply: Reply
    ) -> None:
        fake.always("/mcp", reply)
        fake.metadata = fake.resource_metadata = None
        done = run(command, fake.url).expect(1)

        assert done.out == ""
        assert "Error: " in done.err
        assert fake.asked("/register") == []
        assert nothing_is_stored(world)

    def test_text_of_a_server_cannot_paint_the_terminal(self, fake: FakeServer) -> None:
        fake.authorize_error = {
            "error": "access_denied",
            "error_description": "\x1b]0;owned\x07\x1b[31mred\u202e",
        }
        with login(fake.url) as command:
            approve(command.address())
            done = command.end().expect(1)

        assert "\x1b" not in done.err
        assert "\u202e" not in done.err


@posix
class TestCtrlC:
    """130, nothing stored, and the terminal as it was."""

    def test_while_it_waits(self, demo: DemoServers, world: Path) -> None:
        with login(demo.mcp_url) as command:
            command.address()
            command.interrupt()
            done = command.end().expect(130)

        assert done.err.rstrip().endswith("Cancelled.")
        assert nothing_is_stored(world)

    def test_while_a_server_does_not_answer(self, fake: FakeServer, world: Path) -> None:
        """At once, and not when the server has timed out."""
        fake.always("/mcp", fake.never())
        with login(fake.url) as command:
            command.says("Finding out")
            command.interrupt()
            command.end(timeout=8).expect(130)

        assert nothing_is_stored(world)

    def test_while_the_code_is_exchanged(self, fake: FakeServer, world: Path) -> None:
        fake.always("/token", fake.never())
        with login(fake.url) as command:
            command.type(approve(command.address(), follow=False))
            command.says("Getting the login")
            command.interrupt()
            command.end(timeout=8).expect(130)

        assert nothing_is_stored(world)

    def test_while_a_call_is_under_way(self, fake: FakeServer) -> None:
        """The login stays."""
        with login(fake.url) as command:
            approve(command.address())
            command.end().expect(0)
        asked = len(fake.asked("/mcp"))
        fake.always("/mcp", fake.never())
        with Running("call", fake.url, "echo", "text=hi") as call:
            until(lambda: len(fake.asked("/mcp")) > asked)
            call.interrupt()
            call.end(timeout=8).expect(130)

        run("token", fake.url).expect(0)

    def test_at_the_paste_prompt(self, demo: DemoServers, world: Path) -> None:
        with OnTerminal("login", demo.mcp_url, "--no-browser", "--port", "0") as terminal:
            terminal.address()
            terminal.shows("Paste the address here")
            assert not terminal.echoes(), "the pasted address holds a code"
            terminal.type("half an addr\x03")
            code = terminal.end()

            assert code == 130
            assert terminal.echoes()
            assert "half an addr" not in terminal.shown
            assert "Traceback" not in terminal.shown
            assert terminal.shown.rstrip().endswith("Cancelled.")
        assert nothing_is_stored(world)

    def test_in_the_demo(self) -> None:
        with OnTerminal("demo", "--no-browser") as terminal:
            terminal.shows("Press Ctrl-C to stop")
            terminal.type("\x03")
            assert terminal.end() in {0, 130}
            assert "Traceback" not in terminal.shown


@posix
class TestOnATerminal:
    def test_a_paste_at_the_prompt_signs_in_unseen(self, demo: DemoServers) -> None:
        with OnTerminal("login", demo.mcp_url, "--no-browser", "--port", "0") as terminal:
            answer = approve(terminal.address(), follow=False)
            terminal.shows("Paste the address here")
            terminal.type("a-bare-code\n")
            terminal.shows("alone is refused")
            terminal.shows("Paste the address here", times=2)
            terminal.type(f"{answer}\n")
            code = terminal.end()

            assert code == 0
            assert terminal.echoes()
            assert answer not in terminal.shown
            assert "a-bare-code" not in terminal.shown
            assert "Signed in" in terminal.shown

    def test_an_answer_at_the_listener_ends_the_prompt_too(self, demo: DemoServers) -> None:
        """The terminal must not stay silent because a prompt was still open."""
        with OnTerminal("login", demo.mcp_url, "--no-browser", "--port", "0") as terminal:
            address = terminal.address()
            terminal.shows("Paste the address here")
            approve(address)
            code = terminal.end()

            assert code == 0
            assert terminal.echoes()
            assert "Signed in" in terminal.shown

    def test_ctrl_d_at_the_prompt_cancels_nothing(self, demo: DemoServers) -> None:
        with OnTerminal("login", demo.mcp_url, "--no-browser", "--port", "0") as terminal:
            address = terminal.address()
            terminal.shows("Paste the address here")
            terminal.type("\x04")
            approve(address)

            assert terminal.end() == 0
            assert terminal.echoes()
