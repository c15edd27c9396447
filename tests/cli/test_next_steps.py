"""What the terminal says to do next, and that it says so on lines of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx2
import pytest

from mcpnb.stores import FileStore
from tests.fakes.people import answer_of, connect, sign_in
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply
from tests.login.test_device import OtherDevice
from tests.terminal import OnTerminal, run

pytestmark = pytest.mark.slow

posix = pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")

NOWHERE = "http://127.0.0.1:9/mcp"


def signed_in(fake: FakeServer, world: Path) -> None:
    sign_in(connect(fake.url, store=FileStore(world / "mcpnb")))


class TestWhy:
    """An error about a server leads to the doctor."""

    @pytest.mark.parametrize("command", [["login"], ["tools"], ["call", "search"]])
    def test_a_server_out_of_reach(self, command: list[str]) -> None:
        done = run(command[0], NOWHERE, *command[1:]).expect(1)
        assert f"\nWhy: mcpnb doctor {NOWHERE}\n" in done.err

    @pytest.mark.parametrize("command", [["login"], ["tools"]])
    def test_an_address_where_something_else_answers(
        self, fake: FakeServer, command: list[str]
    ) -> None:
        fake.routes["/mcp"] = lambda _: Reply(404, "nothing here")
        fake.metadata = fake.resource_metadata = None
        done = run(*command, fake.url).expect(1)
        assert f"\nWhy: mcpnb doctor {fake.url}\n" in done.err

    def test_the_server_is_named_as_it_was_asked_for(self, tmp_path: Path) -> None:
        """The doctor takes a store's name from nobody."""
        file = tmp_path / "team.toml"
        file.write_text(f'[mcp_servers.team]\nurl = "{NOWHERE}"\n')
        done = run("login", "team", "--config", str(file), "--store", "file").expect(1)
        assert f"\nWhy: mcpnb doctor team --config {file}\n" in done.err

    def test_what_is_no_servers_fault_does_not(self, fake: FakeServer, world: Path) -> None:
        signed_in(fake, world)
        assert "Why:" not in run("call", fake.url, "no_such_tool").err
        assert "Why:" not in run("token", "https://mcp.example/mcp").expect(3).err


class TestSignInRequired:
    def test_what_to_run_stands_on_one_line_alone(self, fake: FakeServer, world: Path) -> None:
        """Not in words for Python above it, too."""
        fake.tool_scopes, fake.lacking = {"echo": "admin"}, "403"
        signed_in(fake, world)
        for command in (["token", f"{fake.url}#x"], ["call", fake.url, "echo", "text=x"]):
            done = run(*command, "--account", "work") if "token" in command else run(*command)
            required, line = done.expect(3).err.splitlines()
            assert required.startswith("Sign-in required: ")
            assert required.endswith(".")
            assert "session.login" not in required
            assert "mcpnb login" not in required
            assert line.startswith("Run: mcpnb login ")


class TestDoctor:
    def test_its_commands_name_the_server_as_it_was_asked_for(
        self, fake: FakeServer, world: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "team.toml"
        file.write_text(f'[mcp_servers.team]\nurl = "{fake.url}"\naccount = "work"\n')
        sign_in(connect(fake.url, store=FileStore(world / "mcpnb"), account="work"))
        done = run("doctor", "team", "--config", str(file)).expect(0)
        assert f"to ask: mcpnb doctor team --config {file} --call\n" in done.out


class TestSigningOut:
    def test_a_sign_in_that_was_only_begun_is_forgotten(self, fake: FakeServer) -> None:
        for everywhere in (["--all"], [fake.url]):
            run("login", fake.url, "--begin", "--port", "0").expect(0)
            done = run("logout", *everywhere).expect(0)
            assert f"Not signed in to {fake.url}" in done.err
            assert "the sign-in that was begun is forgotten" in done.err
            assert "Signed out" not in done.err
            assert "nothing to do" in run("logout", *everywhere).expect(0).err

    @pytest.mark.parametrize("everywhere", [True, False])
    def test_without_the_servers_word_it_is_said_where_to_end_it(
        self, fake: FakeServer, world: Path, *, everywhere: bool
    ) -> None:
        signed_in(fake, world)
        fake.routes["/revoke"] = lambda _: Reply(500, "later")
        done = run("logout", "--all" if everywhere else fake.url).expect(0)
        assert "did not confirm that it is revoked: end it on the server's own account" in done.err


@posix
class TestPrompt:
    def test_what_is_said_meanwhile_stands_on_lines_of_its_own(self, fake: FakeServer) -> None:
        """And the prompt is there again after it, where an answer is still awaited."""
        fake.describe(scopes_supported=["odd"])
        fake.known_scopes = set()
        prompt = "Paste the address here: "
        with OnTerminal("login", fake.url, "--no-browser", "--port", "0") as terminal:
            first = terminal.address()
            terminal.shows(prompt)
            assert terminal.shown.count("mcpnb relay - where the browser is") == 1
            # The listener, not the person, brings on the second address.
            sent_on = httpx2.get(answer_of(first), trust_env=False, follow_redirects=False)
            terminal.shows(prompt, times=2)
            httpx2.get(answer_of(sent_on.headers["location"]), trust_env=False)
            terminal.shows("Signed in")
            assert terminal.end() == 0
        for line in terminal.shown.splitlines():
            assert not line.removeprefix(prompt) or not line.startswith(prompt), line
        assert "\n\n\n" not in terminal.shown

    def test_the_time_that_is_left_makes_room(self, fake: FakeServer) -> None:
        phone = OtherDevice(fake)
        with OnTerminal("login", fake.url, "--device") as terminal:
            terminal.shows("the code lasts")
            phone.decision = "agreed"
            terminal.shows("Signed in")
            assert terminal.end() == 0
        (line,) = (line for line in terminal.shown.split("\n") if "Getting the login" in line)
        assert line.rpartition("\r")[2] == "Getting the login ..."


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("127.0.0.1:8000/mcp", "http"), ("localhost/mcp", "http"), ("example.com/mcp", "https")],
)
def test_an_address_without_a_scheme_is_told_the_likely_one(typed: str, meant: str) -> None:
    assert f"Did you mean {meant}://" in run("tools", typed).expect(2).err
