"""`mcpnb relay`, what a person gives it and is offered: addresses, prompts, the clipboard."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpnb.errors import ConfigError
from mcpnb.login.relay import Relay
from tests.login.test_relay import CODE, STATE, authorization, browse, callback, relay
from tests.terminal import OnTerminal, run

__all__ = ["callback"]

posix = pytest.mark.skipif(sys.platform == "win32", reason="terminals and scripts of POSIX")

LOOPBACK = "http://127.0.0.1:27182/callback"


def refusal(url: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Relay(url, print)
    return str(caught.value)


class TestAddresses:
    """What cannot be relayed is explained before a browser opens, and without showing it again."""

    @pytest.mark.parametrize(
        ("redirect_uri", "told"),
        [
            ("https://hub.example/callback", "“hub.example”, not to this machine: nothing needs"),
            ("http://192.0.2.1:27182/callback", "nothing needs to be relayed"),
            ("http://127.0.0.1.evil.example/callback", "nothing needs to be relayed"),
            ("com.example.app:/callback", "“com.example.app:/callback”, not to this machine"),
            ("http://[::1]:27182/callback", "from its address bar"),
            ("http://127.0.0.2:27182/callback", "from its address bar"),
            ("https://127.0.0.1:27182/callback", "from its address bar"),
            ("http://127.0.0.1:0/callback", "from its address bar"),
            ("http://me:word@127.0.0.1:27182/callback", "from its address bar"),
            ("http://127.0.0.1:27182/callback#part", "from its address bar"),
            ("http://127.0.0.1:70000/callback", "No answer can come"),
            ("http://127.0.0.1:27182/call back", "No answer can come"),
            ("http://[127.0.0.1/callback", "No answer can come"),
        ],
    )
    def test_only_an_answer_to_loopback_is_relayed(self, redirect_uri: str, told: str) -> None:
        assert told in refusal(authorization(redirect_uri))

    @pytest.mark.parametrize(
        ("url", "told"),
        [
            ("", "No address was given"),
            ("linear", "no address to sign in at"),
            ("https://mcp.example.com/mcp", "not the address of a sign-in that has begun"),
            (authorization(LOOPBACK).partition("&")[0], "put it in quotes"),
            (authorization(LOOPBACK, state=None), "not whole: state missing"),
            (authorization(LOOPBACK, state=""), "not whole: state missing"),
            (authorization(None), "not whole: redirect_uri missing"),
            (authorization(LOOPBACK, response_type="token"), "Only a code can be relayed"),
            (authorization(LOOPBACK) + "&state=again", "not a readable address"),
            (authorization(LOOPBACK).replace("&state", "\n&state"), "no space or line break"),
            (authorization(LOOPBACK) + "&x=\x1b[31m", "not a readable address"),
            (authorization(LOOPBACK) + "&x=\udcff", "not a readable address"),
            (authorization(LOOPBACK) + "&x" * 20_000, "not a readable address"),
            (authorization(LOOPBACK).replace("https", "http"), "plain http"),
            (authorization(LOOPBACK).replace("https", "javascript"), "no address to sign in at"),
            (authorization(LOOPBACK).replace("as.", "as@as."), "no address to sign in at"),
            (f"{LOOPBACK}?code={CODE}&state={STATE}", "the answer already: paste it"),
        ],
        ids=range(17),
    )
    def test_what_is_no_authorization_url_is_named(self, url: str, told: str) -> None:
        said = refusal(url)

        assert told in said
        assert STATE not in said
        assert CODE not in said
        assert said.isprintable()

    @pytest.mark.slow
    @given(st.text() | st.text().map(lambda text: authorization(text, state=text or "x")))
    def test_no_text_is_a_surprise(self, text: str) -> None:
        """Fuzzed: it is taken or explained."""
        with contextlib.suppress(ConfigError):
            Relay(text, print)

    @pytest.mark.slow
    @given(st.text())
    def test_no_cut_and_no_addition_is_a_surprise(self, text: str) -> None:
        whole = authorization(LOOPBACK)
        for url in (whole[: len(text) * 7], text + whole, whole + text):
            with contextlib.suppress(ConfigError):
                Relay(url, print)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "arguments",
        [
            ["https://mcp.example.com/mcp"],
            [authorization("https://hub.example/callback")],
            ["-"],
            [],
            [authorization(LOOPBACK), "--timeout", "soon"],
        ],
        ids=range(5),
    )
    def test_it_is_a_usage_error(self, arguments: list[str]) -> None:
        done = run("relay", *arguments).expect(2)

        assert done.out == ""
        assert STATE not in done.err


@pytest.fixture
def clipboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing but a clipboard tool; gives what it was told and copied."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tool(folder / "xclip", f'echo "$@" >{tmp_path}/told; exec /bin/cat >{tmp_path}/copied')
    monkeypatch.setenv("PATH", str(folder))
    return tmp_path


def tool(path: Path, does: str) -> None:
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o700)


@posix
@pytest.mark.slow
class TestTheClipboard:
    def test_the_line_is_copied_on_stdin_and_never_in_a_command_line(
        self, clipboard: Path, callback: str
    ) -> None:
        with relay(callback, "--copy") as command:
            command.address()
            browse(f"{callback}?code={CODE}&state={STATE}")
            done = command.end().expect(0)

        assert done.out == f"{callback}?code={CODE}&state={STATE}\n"
        assert done.err.endswith("Copied.\n")
        assert (clipboard / "copied").read_text() == done.out.rstrip("\n")
        assert (clipboard / "told").read_text() == "-selection clipboard\n"

    def test_through_pipes_nobody_is_asked_and_nothing_is_copied(
        self, clipboard: Path, callback: str
    ) -> None:
        with relay(callback) as command:
            command.address()
            browse(f"{callback}?code={CODE}&state={STATE}")
            command.end().expect(0)

        assert not (clipboard / "copied").exists()

    def test_a_tool_that_fails_leads_to_the_next(self, clipboard: Path, callback: str) -> None:
        """As `wl-copy` does where there is no Wayland."""
        tool(clipboard / "bin" / "wl-copy", "exit 1")
        with relay(callback, "--copy") as command:
            command.address()
            browse(f"{callback}?code={CODE}&state={STATE}")
            command.end().expect(0)

        assert (clipboard / "copied").exists()

    @pytest.mark.parametrize("there", [False, True])
    def test_what_cannot_be_copied_is_still_printed(
        self, clipboard: Path, callback: str, *, there: bool
    ) -> None:
        (clipboard / "bin" / "xclip").unlink()
        if there:
            tool(clipboard / "bin" / "xsel", "exit 1")
        with relay(callback, "--copy") as command:
            command.address()
            browse(f"{callback}?code={CODE}&state={STATE}")
            done = command.end().expect(0)

        assert CODE in done.out
        assert ("could not be copied" if there else "Nothing to copy it with") in done.err
        assert "copy it yourself" in done.err

    @pytest.mark.parametrize(
        ("typed", "copied"), [("\n", True), ("y\n", True), ("n\n", False), ("\x04", False)]
    )
    def test_on_a_terminal_it_is_offered(
        self, clipboard: Path, callback: str, typed: str, *, copied: bool
    ) -> None:
        line = f"{callback}?code={CODE}&state={STATE}"
        with OnTerminal("relay", authorization(callback), "--no-browser") as terminal:
            terminal.address()
            browse(line)
            terminal.shows("Copy it? [Y/n] ")
            terminal.type(typed)
            assert terminal.end() == 0
            assert line in terminal.shown.splitlines()
        assert (clipboard / "copied").exists() == copied

    def test_without_a_tool_nothing_is_offered(self, clipboard: Path, callback: str) -> None:
        (clipboard / "bin" / "xclip").unlink()
        with OnTerminal("relay", "-", "--no-browser") as terminal:
            terminal.shows("Paste the address that the other machine printed: ")
            terminal.type(authorization(callback) + "\n")
            terminal.shows("where it is caught")
            browse(f"{callback}?code={CODE}&state={STATE}")
            assert terminal.end() == 0
            assert "Copy it?" not in terminal.shown

    def test_ctrl_c_while_it_waits_or_asks_is_130(self, clipboard: Path, callback: str) -> None:
        del clipboard
        for answered in (False, True):
            with OnTerminal("relay", authorization(callback), "--no-browser") as terminal:
                terminal.address()
                if answered:
                    browse(f"{callback}?code={CODE}&state={STATE}")
                    terminal.shows("Copy it? [Y/n] ")
                terminal.type("\x03")
                assert terminal.end() == 130, terminal.shown
                assert "Traceback" not in terminal.shown
