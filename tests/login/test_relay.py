"""`mcpnb relay`: the browser is on this machine, and the sign-in waits on another one."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest

from mcpnb.errors import ConfigError
from mcpnb.login.relay import Relay
from tests.fakes.people import browse, free_port, posix
from tests.fakes.server import FakeServer
from tests.terminal import MCPNB, Running, invoke, run

STATE = "state-of-the-sign-in"
CODE = "code-that-came"
LOOPBACK = "http://127.0.0.1:27182/callback"


def authorization(redirect_uri: str | None, **changes: str | None) -> str:
    """An authorization URL as the other machine prints it; `None` leaves a parameter out."""
    asked: dict[str, str | None] = {
        "response_type": "code",
        "client_id": "client",
        "redirect_uri": redirect_uri,
        "state": STATE,
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    } | changes
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return f"https://as.example/authorize?{query}"


@pytest.fixture
def callback() -> str:
    return f"http://127.0.0.1:{free_port()}/callback"


def relay(redirect_uri: str, *more: str) -> Running:
    return Running("relay", authorization(redirect_uri), "--no-browser", *more, here=True)


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
        done = invoke("relay", *arguments).expect(2)

        assert done.out == ""
        assert STATE not in done.err


class TestTheAnswer:
    def test_it_is_printed_alone_as_the_line_to_paste(self, callback: str) -> None:
        line = f"{callback}?code={CODE}&state={STATE}&iss=https%3A%2F%2Fas.example"
        with relay(callback) as command:
            address = command.address()
            page = browse(line)
            done = command.end().expect(0)

        assert address == authorization(callback)
        assert done.out == line + "\n", "stdout is for data"
        assert "Paste this line where the sign-in waits" in done.err
        assert f"leads to as.example. After you approve, the browser goes to {callback}" in done.err
        assert CODE not in done.err
        assert page.status_code == 200
        assert "<h1>The answer was caught</h1>" in page.text
        assert "You are not signed in yet." in page.text
        assert "Signed in<" not in page.text
        assert CODE not in page.text

    def test_what_is_not_awaited_is_ignored_and_the_wait_goes_on(self, callback: str) -> None:
        """Told once for each reason, however often it comes, and without repeating any of it."""
        with relay(callback) as command:
            command.address()
            for forged in (
                "?code=forged&state=forged",
                "?error=access_denied&state=forged",
                "?code=forged",
                "",
                f"?state={STATE}",
                f"?code=forged&code=again&state={STATE}",
                f"?code=forged&state={STATE}&state={STATE}",
                f"?code=forged&state={STATE}" + "&a=1" * 100,
                f"?code=forged&state={STATE}&" + "x" * 20_000,
            ):
                page = browse(callback + forged)
                assert page.status_code == 400, forged[:60]
                assert "Not the expected response" in page.text
            assert browse(callback.replace("/callback", "/favicon.ico")).status_code == 404
            line = f"{callback}?code={CODE}&state={STATE}"
            assert browse(line, Host="evil.example").status_code == 421
            assert command.is_running
            browse(line)
            done = command.end().expect(0)

        assert done.out == line + "\n"
        notes = [text for text in done.err.splitlines() if "was ignored" in text]
        assert len(notes) == len(set(notes)) == 3
        assert "forged" not in done.err

    def test_a_refusal_is_a_line_to_paste_too_and_exit_1(self, callback: str) -> None:
        """The other side knows what to say about it, and stops waiting."""
        line = f"{callback}?error=access_denied%1B%5B31m&state={STATE}"
        with relay(callback) as command:
            command.address()
            page = browse(line)
            done = command.end().expect(1)

        assert done.out == line + "\n"
        assert "the server answered “access_denied" in done.err
        assert "\x1b" not in done.err
        assert "The sign-in was not approved." in page.text

    @pytest.mark.parametrize("path", ["", "/", "/callback/a-part-per-issuer", "/callback?x=1"])
    def test_path_and_query_of_the_redirect_are_kept(self, path: str) -> None:
        redirect_uri = f"http://localhost:{free_port()}{path}"
        mark = "&" if "?" in path else "?"
        with relay(redirect_uri) as command:
            command.address()
            browse(
                f"{redirect_uri}{mark}code={CODE}&state={STATE}".replace("localhost", "127.0.0.1")
            )
            done = command.end().expect(0)

        assert done.out == f"{redirect_uri}{mark}code={CODE}&state={STATE}\n"


class TestNobodyComes:
    def test_in_time(self, callback: str) -> None:
        done = invoke("relay", authorization(callback), "--no-browser", "--timeout", "1").expect(1)

        assert done.out == ""
        assert "Error: The browser brought no response within 1 s." in done.err

    @posix
    @pytest.mark.slow
    def test_ctrl_c_is_130(self, callback: str) -> None:
        with Running("relay", authorization(callback), "--no-browser") as command:
            command.address()
            command.interrupt()
            done = command.end().expect(130)

        assert done.out == ""

    def test_a_port_in_use_is_named_and_no_other_is_taken(self, callback: str) -> None:
        port = int(callback.rpartition(":")[2].partition("/")[0])
        with socket.create_server(("127.0.0.1", port)):
            done = invoke("relay", authorization(callback), "--no-browser").expect(1)

        assert f"Port {port} of this machine cannot be listened on" in done.err
        assert "Close what uses it" in done.err
        assert "To sign in, open" not in done.err, "nobody is sent to sign in for nothing"


class TestFewNeeds:
    def test_the_address_can_come_from_stdin(self, callback: str) -> None:
        """So that it stays out of the shell's history."""
        with Running("relay", "-", "--no-browser", here=True) as command:
            command.type("")
            command.type(f"  {authorization(callback)} ")
            assert command.address() == authorization(callback)
            browse(f"{callback}?code={CODE}&state={STATE}")
            command.end().expect(0)

    @pytest.mark.slow
    def test_an_empty_environment_and_no_home_do(self, callback: str, tmp_path: Path) -> None:
        with subprocess.Popen(
            [*MCPNB, "relay", authorization(callback), "--no-browser"],
            env={},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            assert any("where this command waits" in line for line in process.stderr)
            browse(f"{callback}?code={CODE}&state={STATE}")
            out, err = process.communicate(timeout=20)

        assert (process.returncode, out) == (0, f"{callback}?code={CODE}&state={STATE}\n"), err
        assert list(tmp_path.iterdir()) == [], "nothing is stored"

    @posix
    @pytest.mark.slow
    @pytest.mark.threat("authorization-url-in-a-process-list")
    def test_the_browser_is_opened_and_no_command_line_holds_code_or_state(
        self, fake: FakeServer, callback: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake.clients["client"] = {"redirect_uris": [callback]}
        browser, seen = tmp_path / "browser", tmp_path / "seen"
        browser.write_text(
            f"#!{sys.executable}\nimport pathlib, sys, urllib.request\n"
            f"pathlib.Path({str(seen)!r}).write_text(repr(sys.argv))\n"
            "urllib.request.urlopen(sys.argv[1], timeout=10).read()\n"
        )
        browser.chmod(0o700)
        monkeypatch.setenv("BROWSER", f"{browser} %s")
        address = authorization(callback).replace("https://as.example", fake.base)
        done = run("relay", address).expect(0)

        [code] = fake.codes
        assert done.out.startswith(f"{callback}?")
        assert code in done.out
        assert f"{callback.removesuffix('/callback')}/go/" in seen.read_text()
        assert code not in seen.read_text()
        assert STATE not in seen.read_text()
