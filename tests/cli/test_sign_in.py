"""`mcpnb login` through pipes: addresses out, answers in, and every way it can end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from mcpnb.demo.browser import approve
from mcpnb.demo.servers import DemoServers
from mcpnb.stores import FileStore
from tests.fakes.people import free_port, until
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, html
from tests.terminal import ADDRESS, Running, invoke

LONG = "x" * 6_000


def login(url: str, *more: str) -> Running:
    return Running("login", url, "--no-browser", "--port", "0", *more, here=True)


class TestThroughPipes:
    def test_the_address_stands_alone_and_the_listener_takes_the_answer(
        self, demo: DemoServers, store: FileStore
    ) -> None:
        with login(demo.mcp_url) as command:
            address = command.address()
            assert command.is_running
            assert store.keys("login") == []
            callback = approve(address)
            done = command.end().expect(0)

        assert done.out == "", "stdout is for data"
        assert f"Signed in to {demo.mcp_url}" in done.err
        assert "Paste" not in done.err, "no prompt where there is no terminal"
        assert [line for line in done.err.splitlines() if ADDRESS.match(line)] == [address]
        record = store.read(store.keys("login")[0])
        assert record is not None
        for secret in (
            parse_qs(urlsplit(callback).query)["code"][0],
            record["tokens"]["access_token"],
            record["tokens"]["refresh_token"],
        ):
            assert secret not in done.err

    def test_a_pasted_line_signs_in_however_long_it_is(self, demo: DemoServers) -> None:
        with login(demo.mcp_url) as command:
            answer = approve(command.address(), follow=False)
            command.type("")
            command.type(f"  {answer}&more={LONG}  ")
            done = command.end().expect(0)

        assert "Signed in" in done.err
        assert answer not in done.err

    def test_a_wrong_paste_is_told_and_the_wait_goes_on(
        self, demo: DemoServers, store: FileStore
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
            assert store.keys("login") == []
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

    @pytest.mark.slow
    def test_the_end_of_input_cancels_nothing(self, demo: DemoServers) -> None:
        words = ("login", demo.mcp_url, "--no-browser", "--port", "0")
        with Running(*words, stdin=subprocess.DEVNULL) as command:
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
        invoke("call", demo.mcp_url, "publish", "title=Fog").expect(0)

    def test_a_login_in_memory_ends_with_the_command(self, demo: DemoServers, world: Path) -> None:
        with login(demo.mcp_url, "--store", "memory") as command:
            approve(command.address())
            command.end().expect(0)

        assert not (world / "mcpnb").exists() or not any((world / "mcpnb").iterdir())
        invoke("token", demo.mcp_url).expect(3)

    @pytest.mark.slow
    def test_without_a_browser_to_open_the_address_is_given(self, demo: DemoServers) -> None:
        """A machine without one is no reason to fail."""
        with Running("login", demo.mcp_url, "--port", "0") as command:
            approve(command.address())
            command.end().expect(0)


class TestFailures:
    """Exit 1, one clear error, no traceback, nothing stored."""

    def test_a_declined_consent(self, demo: DemoServers, store: FileStore) -> None:
        with login(demo.mcp_url) as command:
            approve(command.address(), deny=True)
            done = command.end().expect(1)

        assert "Error: The sign-in was declined" in done.err
        assert "Signed in" not in done.err
        assert store.keys("login") == []

    def test_nobody_comes_in_time(self, demo: DemoServers, store: FileStore) -> None:
        words = ("login", demo.mcp_url, "--no-browser", "--port", "0", "--timeout", "1")

        done = invoke(*words).expect(1)
        assert "Error: The browser brought no response within 1 s." in done.err
        assert "A server that shows its own error page never sends one." in done.err
        assert store.keys("login") == []

    def test_a_code_that_is_not_accepted(self, fake: FakeServer, store: FileStore) -> None:
        fake.always("/token", Reply(400, {"error": "invalid_grant"}))
        with login(fake.url) as command:
            approve(command.address())
            assert "invalid_grant" in command.end().expect(1).err

        assert store.keys("login") == []

    @pytest.mark.parametrize("command", ["login", "discover"])
    @pytest.mark.parametrize(
        "reply",
        [None, html("Welcome to our shop"), html("Not here", 404), Reply(500, "down")],
        ids=["out of reach", "a web page", "nothing", "down"],
    )
    def test_what_is_no_mcp_server(
        self, fake: FakeServer, store: FileStore, command: str, reply: Reply | None
    ) -> None:
        fake.metadata = fake.resource_metadata = None
        if reply is not None:
            fake.always("/mcp", reply)
        server = f"http://127.0.0.1:{free_port()}/mcp" if reply is None else fake.url
        done = invoke(command, server).expect(1)

        assert done.out == ""
        assert "Error: " in done.err
        told_why = f"\nWhy: mcpnb doctor {server}\n" in done.err
        assert told_why is (command == "login"), "discover has looked already"
        assert fake.asked("/register") == []
        assert store.keys("login") == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
class TestCtrlC:
    """130 and nothing stored, at once, and not when a server has timed out."""

    @pytest.mark.parametrize(
        ("path", "stage"), [("/mcp", "Finding out"), ("/token", "Getting the login")]
    )
    def test_while_a_server_does_not_answer(
        self, fake: FakeServer, store: FileStore, path: str, stage: str
    ) -> None:
        fake.always(path, fake.never())
        with Running("login", fake.url, "--no-browser", "--port", "0") as command:
            if path == "/token":
                command.type(approve(command.address(), follow=False))
            command.says(stage)
            command.interrupt()
            command.end(timeout=15).expect(130)

        assert store.keys("login") == []

    def test_while_a_call_is_under_way(self, signed_in: FakeServer) -> None:
        """The login stays."""
        asked = len(signed_in.asked("/mcp"))
        signed_in.always("/mcp", signed_in.never())
        with Running("call", signed_in.url, "echo", "text=hi") as call:
            until(lambda: len(signed_in.asked("/mcp")) > asked)
            call.interrupt()
            call.end(timeout=15).expect(130)

        invoke("token", signed_in.url).expect(0)
