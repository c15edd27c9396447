"""What a server says, in a command that people copy; and what stays in a notebook's file."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcpnb.cli.app import say
from mcpnb.oauth.challenge import Challenge
from mcpnb.oauth.client import read_tokens
from mcpnb.oauth.models import AuthorizationServer
from mcpnb.oauth.registration import from_response
from mcpnb.oauth.scopes import as_option
from mcpnb.stores import FileStore
from tests.fakes.notebooks import Notebook
from tests.fakes.people import answer_of, connect, posix, query_of, sign_in, until, waiting
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request
from tests.terminal import invoke

COMMANDS = "x;touch${IFS}a $(touch${IFS}b) `touch${IFS}c` |touch${IFS}d 'e"
"""Scopes, each of them (RFC 6749 section 3.3)."""
HOSTILE = f"{COMMANDS} \x1b]0;owned\x07 \x1b[2K f\x9bg"
ISSUER = "https://as.example"
SERVER = AuthorizationServer(
    issuer=ISSUER, authorization_endpoint=f"{ISSUER}/a", token_endpoint=f"{ISSUER}/t"
)


def obeyed(line: str, folder: Path) -> list[str]:
    """Have a shell run a line; give the words that ``mcpnb`` would be called with."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"mcpnb() {{ printf '%s\\n' \"$@\"; }}\n{line}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert list(folder.iterdir()) == [], "something else was run, too"
    return done.stdout.splitlines()


class TestSuggestedCommands:
    @pytest.mark.slow
    @posix
    @pytest.mark.threat("command-in-a-scope", "terminal-escapes")
    def test_a_scope_is_no_command_to_whoever_follows_the_hint(
        self, fake: FakeServer, world: Path, tmp_path: Path
    ) -> None:
        sign_in(connect(fake.url, store=FileStore(world / "mcpnb")))
        fake.tool_scopes = {"echo": "more"}
        fake.names_scope = HOSTILE
        said = invoke("call", fake.url, "echo", "text=x").expect(3).err

        [line] = [line for line in said.splitlines() if line.startswith("Run: ")]
        assert "\x1b" not in said
        assert "\x07" not in said
        folder = tmp_path / "empty"
        folder.mkdir()
        scopes = ",".join(COMMANDS.split())
        words = obeyed(line.removeprefix("Run: "), folder)
        assert words == ["login", fake.url, "--scopes", scopes]

    @pytest.mark.threat("command-in-a-scope")
    def test_nor_in_what_the_doctor_says(self, fake: FakeServer) -> None:
        session = connect(fake.url)
        sign_in(session)
        honest = fake.routes["/mcp"]
        challenge = f'Bearer error="insufficient_scope", scope="{HOSTILE}"'

        def refuses(request: Request) -> Reply:
            return (
                Reply(403, {}, {"WWW-Authenticate": challenge})
                if request.bearer
                else honest(request)
            )

        fake.routes["/mcp"] = refuses
        fix = session.doctor(call=True)["call"].fix or ""
        words = shlex.split(fix.removesuffix("."))
        assert words[words.index("--scopes") + 1 :] == [",".join(COMMANDS.split())]
        assert fix.isprintable()

    def test_nor_in_an_address(self) -> None:
        session = connect("https://mcp.example.com/mcp;touch$IFS")
        assert shlex.split(session.login_command) == ["mcpnb", "login", session.server]

    def test_a_usual_scope_is_written_plainly(self) -> None:
        assert as_option(["read", "files:write"]) == "--scopes read,files:write"


def of_a_challenge(scope: str) -> tuple[str, ...] | None:
    return Challenge("bearer", {"scope": scope}).scopes


def of_a_token(scope: str) -> tuple[str, ...] | None:
    document = {"access_token": "a", "token_type": "Bearer", "scope": scope}
    return read_tokens(document, now=0, asked=()).scopes or None


def of_a_registration(scope: str) -> tuple[str, ...] | None:
    body = {"client_id": "c", "scope": scope}
    return from_response(201, body, asked={"redirect_uris": []}, server=SERVER).scopes


@pytest.mark.threat("command-in-a-scope", "scopes-that-are-none")
@pytest.mark.parametrize("scopes", [of_a_challenge, of_a_token, of_a_registration])
def test_scopes_that_a_server_names_are_tokens_and_fit_into_an_address(
    scopes: Callable[[str], tuple[str, ...] | None],
) -> None:
    none = '\x1b]0;x\x07 a"b a\\b \u202e é'
    assert scopes(f"read {none} read") == ("read",)
    assert scopes(none) is None
    assert scopes(f"{'x' * 9_000} read") == ("read",)
    found = scopes(" ".join(f"scope-{number:04}" for number in range(3_000))) or ()
    assert 0 < len(found) <= 200
    assert len(" ".join(found)) < 6_000


@pytest.mark.threat("terminal-escapes")
def test_no_line_of_the_terminal_moves_its_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever was forgotten on the way there."""
    say("one\x1b[2K\rtwo\nthree\x07\u202efour\u2028")
    assert capsys.readouterr().err == "one [2K two\nthree  four \n"


@pytest.mark.threat("terminal-escapes")
def test_an_address_is_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"https://as.example/authorize?scope={'x' * 20_000}"
    say(url)
    assert capsys.readouterr().err == f"{url}\n"


class TestAddressesInCells:
    """A notebook's file keeps what cells show: the address goes once nobody has to open it."""

    @staticmethod
    def is_kept(notebook: Notebook, url: str) -> bool:
        """Whether the file has what a thief of the answer needs."""
        [state] = query_of(url)["state"]
        return state in str(notebook.kept)

    @pytest.fixture
    def notebook(self, monkeypatch: pytest.MonkeyPatch) -> Notebook:
        return Notebook(monkeypatch, hears=False)

    @pytest.mark.threat("address-in-a-saved-notebook")
    @pytest.mark.parametrize("end", ["signed in", "cancelled"])
    def test_of_a_sign_in_that_is_displayed(
        self, fake: FakeServer, notebook: Notebook, end: str
    ) -> None:
        login, url = waiting(connect(fake.url))
        login._ipython_display_()
        assert notebook.address(fake.base) == url
        if end == "signed in":
            login.submit(answer_of(url))
        else:
            login.cancel()

        until(lambda: not self.is_kept(notebook, url))
        [shown] = notebook.kept.values()
        until(lambda: end in str(notebook.kept))
        assert set(shown) == {"text/plain"}

    @pytest.mark.slow
    @pytest.mark.threat("address-in-a-saved-notebook")
    def test_of_the_line_that_asks_in_the_cell(
        self, fake: FakeServer, notebook: Notebook, capsys: pytest.CaptureFixture[str]
    ) -> None:
        session = connect(fake.url, callback_port=None, via="paste")
        opened: list[str] = []

        def paste() -> str:
            opened.append(notebook.address(fake.base))
            assert self.is_kept(notebook, opened[0])
            return answer_of(opened[0])

        notebook.typed = [paste]
        session.wait(timeout=20)

        until(lambda: not self.is_kept(notebook, opened[0]))
        assert "state=" not in capsys.readouterr().out

    @pytest.mark.threat("address-in-a-saved-notebook")
    def test_of_a_sign_in_that_is_explained(
        self, fake: FakeServer, notebook: Notebook, capsys: pytest.CaptureFixture[str]
    ) -> None:
        session = connect(fake.url)
        with ThreadPoolExecutor(1) as pool:
            report = pool.submit(session.doctor, sign_in=True)
            until(lambda: bool(notebook.kept))
            url = notebook.address(fake.base)
            assert session.latest_login is not None
            session.latest_login.submit(answer_of(url))
            report.result(20)

        until(lambda: not self.is_kept(notebook, url))
        assert "state=" not in capsys.readouterr().out

    def test_at_a_terminal_it_is_printed(
        self, fake: FakeServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        login, url = waiting(connect(fake.url))
        login._ipython_display_()
        login.cancel()
        assert re.fullmatch(
            rf"<Login to \S+, waiting>\nopen: {re.escape(url)}\n", capsys.readouterr().out
        )
