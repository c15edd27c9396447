"""What scripts and other programs take from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcpnb.demo.servers import DemoServers
from mcpnb.stores import FileStore
from tests.fakes.people import connect, sign_in
from tests.fakes.server import FakeServer
from tests.terminal import run

posix = pytest.mark.skipif(sys.platform == "win32", reason="shells of POSIX")


@pytest.fixture
def signed_in(fake: FakeServer, world: Path) -> FakeServer:
    sign_in(connect(fake.url, store=FileStore(world / "mcpnb")))
    return fake


@pytest.mark.slow
def test_a_call_loads_no_grammar_that_it_does_not_need(world: Path) -> None:
    """Of jsonschema's, where Jupyter has installed it: 1.2 s of a process of two."""
    with DemoServers(auto_consent=True) as demo:
        sign_in(connect(demo.mcp_url, store=FileStore(world / "mcpnb")))
        done = run("call", demo.mcp_url, "whoami", PYTHONPROFILEIMPORTTIME="1")
    assert "ada" in done.out
    assert "jsonschema" in done.err
    assert "rfc3987_syntax.syntax_helpers" not in done.err


class TestToken:
    @pytest.mark.slow
    def test_it_stands_alone_on_stdout(self, signed_in: FakeServer) -> None:
        done = run("token", signed_in.url).expect(0)

        assert done.out.strip() in signed_in.access
        assert done.out.count("\n") == 1
        assert done.err == ""

    @pytest.mark.slow
    def test_other_clients_get_headers_as_they_want_them(self, signed_in: FakeServer) -> None:
        """Codex's http_headers_helper and Claude Code's headersHelper: an object of headers."""
        headers = json.loads(run("token", signed_in.url, "--header", "--json").expect(0).out)

        assert list(headers) == ["Authorization"]
        assert headers["Authorization"].removeprefix("Bearer ") in signed_in.access

    def test_the_help_has_the_line_for_each_client(self) -> None:
        said = run("token", "--help").expect(0).out

        assert 'http_headers_helper = "mcpnb token SERVER --header --json"' in said
        assert '"headersHelper": "mcpnb token SERVER --header --json"' in said

    @pytest.mark.slow
    def test_an_expired_one_is_renewed_first(self, signed_in: FakeServer, world: Path) -> None:
        store = FileStore(world / "mcpnb")
        (key,) = store.keys("login")
        record = store.read(key)
        assert record is not None
        record["tokens"] |= {"obtained_at": 1.0, "expires_at": 3601.0}
        store.write(key, record)

        fresh = run("token", signed_in.url).expect(0).out.strip()

        assert fresh != record["tokens"]["access_token"]
        assert len(signed_in.token_requests("refresh_token")) == 1

    def test_without_a_login_the_exit_code_says_so(self, fake: FakeServer) -> None:
        done = run("token", fake.url).expect(3)

        assert done.out == ""
        assert f"mcpnb login {fake.url}" in done.err


class TestWhatToRunNext:
    @pytest.mark.slow
    @pytest.mark.parametrize("account", [None, "spare"])
    def test_a_configured_server_is_named_as_it_was_asked_for(
        self, fake: FakeServer, tmp_path: Path, account: str | None
    ) -> None:
        """Of several accounts at one address the address alone is none."""
        file = tmp_path / "team.toml"
        file.write_text(
            "".join(
                f'[mcp_servers.{name}]\nurl = "{fake.url}"\naccount = "{name}"\n'
                for name in ("home", "work")
            )
        )
        more = ["--account", account] if account else []
        said = [" ".join(more)] if account else []
        for command in (["token", "work"], ["tools", "work"], ["call", "work", "echo", "text=x"]):
            done = run(*command, f"--config={file}", *more).expect(3)
            words = " ".join(["mcpnb login work", *said, f"--config {file}"])
            assert f"Run: {words}\n" in done.err

    @pytest.mark.slow
    def test_an_address_stays_one(self, fake: FakeServer) -> None:
        assert f"Run: mcpnb login {fake.url}\n" in run("token", f"{fake.url}#x").expect(3).err


class TestBareEnvironments:
    @pytest.mark.slow
    def test_everything_works_with_an_empty_environment(
        self, signed_in: FakeServer, world: Path
    ) -> None:
        """As `env -i` leaves it: no PATH, no HOME, no locale."""
        done = subprocess.run(
            [sys.executable, "-m", "mcpnb", "call", signed_in.url, "echo", "text=ä"],
            env={"MCPNB_HOME": str(world / "mcpnb")},
            capture_output=True,
            timeout=30,
            check=False,
        )

        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode().strip() == "ä"

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "command",
        [
            ("list", "--no-probe"),
            ("discover", "URL"),
            ("token", "URL"),
            ("tools", "URL"),
            ("call", "URL", "echo", "text=x"),
            ("doctor", "URL"),
            ("login", "URL", "--begin"),
            ("logout", "URL"),
            ("logout", "--all"),
            ("trust",),
            ("--help",),
        ],
        ids=" ".join,
    )
    def test_no_command_needs_more_than_its_store(
        self, signed_in: FakeServer, world: Path, command: tuple[str, ...]
    ) -> None:
        """No PATH, no HOME, no locale, no terminal, nothing on stdin."""
        done = subprocess.run(
            [sys.executable, "-m", "mcpnb", *(signed_in.url if c == "URL" else c for c in command)],
            env={
                "MCPNB_HOME": str(world / "mcpnb"),
                "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=world / "work",
        )

        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.slow
    @posix
    @pytest.mark.parametrize(
        ("command", "code"),
        [(("list", "--no-probe"), 0), (("discover", "URL"), 0), (("login", "URL", "--begin"), 1)],
        ids=["list", "discover", "login"],
    )
    def test_a_home_that_cannot_be_written_stands_only_in_the_way_of_signing_in(
        self, fake: FakeServer, command: tuple[str, ...], code: int
    ) -> None:
        """Not even root can make a folder there."""
        done = subprocess.run(
            [sys.executable, "-m", "mcpnb", *(fake.url if c == "URL" else c for c in command)],
            env={"HOME": "/proc/nowhere"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "MCPNB_HOME" in done.stderr or code == 0
        assert fake.asked("/authorize") == []

    @pytest.mark.slow
    @posix
    def test_a_store_that_can_only_be_read_serves_while_its_token_lives(
        self, signed_in: FakeServer, world: Path
    ) -> None:
        """Root may write all the same; then this only shows that nothing was."""
        home = world / "mcpnb"
        before = {path: path.stat().st_mtime_ns for path in home.iterdir()}
        home.chmod(0o500)
        try:
            run("token", signed_in.url).expect(0)
        finally:
            home.chmod(0o700)

        assert {path: path.stat().st_mtime_ns for path in home.iterdir()} == before

    @pytest.mark.slow
    def test_no_colour_is_no_escape(self, fake: FakeServer) -> None:
        done = run("login", fake.url, "--begin", "--qr", NO_COLOR="1", TERM="xterm").expect(0)

        assert "\x1b" not in done.err + done.out


class TestClientMetadata:
    def test_the_document_names_its_own_address(self) -> None:
        url = "https://example.com/mcpnb.json"

        document = json.loads(run("client-metadata", "--url", url).expect(0).out)

        assert document["client_id"] == url
        assert document["client_name"]
        assert "http://127.0.0.1:27182/callback" in document["redirect_uris"]
        assert "refresh_token" in document["grant_types"]

    def test_a_callback_address_of_ones_own_is_added(self) -> None:
        own = "https://hub.example.com/callback"
        done = run("client-metadata", "--url", "https://e.com/c.json", "--callback-url", own)

        assert own in json.loads(done.expect(0).out)["redirect_uris"]

    @pytest.mark.parametrize("wrong", ["nonsense", "http://example.com/x", "https://example.com/"])
    def test_an_address_that_cannot_be_a_client_id_is_refused(self, wrong: str) -> None:
        assert "https address with a path" in run("client-metadata", "--url", wrong).expect(2).err


@posix
def test_a_shell_completes_commands(world: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mcpnb"],
        env=os.environ
        | {"_MCPNB_COMPLETE": "bash_complete", "COMP_WORDS": "mcpnb lo", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=world,
    )

    assert done.stdout.split() == ["plain,login", "plain,logout"]
