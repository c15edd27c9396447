"""What is pasted at a prompt arrives whole, and the terminal is given back as it was."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from mcpnb.demo.browser import approve
from mcpnb.demo.servers import DemoServers
from tests.fakes.people import until
from tests.login.test_relay import CODE, STATE, authorization, browse, callback
from tests.terminal import OnTerminal, Running, run

__all__ = ["callback"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX"),
]

LONG = "x" * 6_000
"""Longer than the 4,095 characters that Linux keeps of a line, and macOS' 1,023."""
PROMPT = "Paste the address here: "

# What a shell does with a job: only one that somebody waits for can be stopped.
SHELL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-m", "mcpnb", *sys.argv[1:]])
go_on = {signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, go_on)
while True:
    _, status = os.waitpid(child, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
    os.tcsetpgrp(0, os.getpid())
    print("[stopped]", flush=True)
    signal.sigwait(go_on)
    os.tcsetpgrp(0, child)
    os.killpg(child, signal.SIGCONT)
"""


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoServers]:
    with DemoServers() as servers:
        yield servers


def login(url: str, **given: str) -> OnTerminal:
    return OnTerminal("login", url, "--no-browser", "--port", "0", **given)


class TestALongLine:
    def test_signs_in(self, demo: DemoServers) -> None:
        with login(demo.mcp_url) as terminal:
            answer = approve(terminal.address(), follow=False)
            terminal.shows(PROMPT)
            terminal.type(f"{answer}&more={LONG}\n")

            assert terminal.end() == 0
            assert terminal.is_as_usual()
            assert "Signed in" in terminal.shown
            assert LONG[:50] not in terminal.shown

    def test_completes_a_sign_in_that_was_begun(self, demo: DemoServers) -> None:
        begun = run("login", demo.mcp_url, "--begin").expect(0)
        answer = approve(begun.out.strip(), follow=False)
        with OnTerminal("login", demo.mcp_url, "--finish", "-") as terminal:
            terminal.shows(PROMPT)
            terminal.type(f"{answer}&more={LONG}\n")

            assert terminal.end() == 0
            assert terminal.is_as_usual()
            assert LONG[:50] not in terminal.shown

    def test_is_relayed(self, callback: str) -> None:
        """Here it is shown: it is the address that a sign-in begins with."""
        url = f"{authorization(callback)}&claims={LONG}"
        with OnTerminal("relay", "-", "--no-browser", PATH="/no/clipboard") as terminal:
            terminal.shows("Paste the address that the other machine printed: ")
            terminal.type(f"{url}\n")
            terminal.shows("where it is caught")
            browse(f"{callback}?code={CODE}&state={STATE}")

            assert terminal.end() == 0
            assert terminal.is_as_usual()
            assert terminal.shown.count(url) == 2, "as it was typed, and to open"

    def test_comes_through_a_pipe_as_before(self, demo: DemoServers) -> None:
        with Running("login", demo.mcp_url, "--no-browser", "--port", "0") as command:
            command.type(f"{approve(command.address(), follow=False)}&more={LONG}")
            command.end().expect(0)


class TestEditing:
    def test_what_is_erased_is_gone(self, demo: DemoServers) -> None:
        """By letter, an umlaut included, and the whole line."""
        with login(demo.mcp_url) as terminal:
            answer = approve(terminal.address(), follow=False)
            terminal.shows(PROMPT)
            terminal.type("nonsense\x15")
            terminal.type(f"{answer[:40]}äö\x7f\x7f{answer[40:]}\n")

            assert terminal.end() == 0

    def test_two_lines_pasted_at_once_are_two(self, demo: DemoServers) -> None:
        with login(demo.mcp_url) as terminal:
            answer = approve(terminal.address(), follow=False)
            terminal.shows(PROMPT)
            terminal.type(f"a-bare-code\n{answer}&more={LONG}\n")

            assert terminal.end() == 0
            assert "alone is refused" in terminal.shown

    def test_what_is_typed_at_the_relays_prompt_is_shown_as_it_is_erased(self) -> None:
        with OnTerminal("relay", "-", "--no-browser") as terminal:
            terminal.shows("printed: ")
            terminal.type("ab\x7f\x1b[31mc\n")

            assert terminal.end() == 2
            assert "ab\b \b[31mc" in terminal.shown
            assert "\x1b" not in terminal.shown


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

    def test_an_end_in_time(self, demo: DemoServers) -> None:
        with OnTerminal(
            "login", demo.mcp_url, "--no-browser", "--port", "0", "--timeout", "1"
        ) as terminal:
            assert terminal.end() == 1
            assert terminal.is_as_usual()

    def test_being_stopped_and_going_on(self, demo: DemoServers) -> None:
        """As with Ctrl-Z and fg: a long paste after that still arrives, and unseen."""
        with login(demo.mcp_url, launcher=SHELL) as terminal:
            answer = approve(terminal.address(), follow=False)
            terminal.shows(PROMPT)
            until(lambda: not terminal.is_as_usual())
            terminal.type("\x1a")
            terminal.shows("[stopped]")
            assert terminal.is_as_usual()
            terminal.signal(signal.SIGUSR1)
            until(lambda: not terminal.is_as_usual())
            terminal.type(f"{answer}&more={LONG}\n")

            assert terminal.end() == 0
            assert terminal.is_as_usual()
            assert LONG[:50] not in terminal.shown
