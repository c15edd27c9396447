"""What only a process of its own shows: bare environments, exit codes, pipes that close."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mcpnb.demo.servers import DemoServers
from mcpnb.stores import FileStore
from tests.fakes.people import connect, posix, sign_in
from tests.fakes.server import FakeServer
from tests.terminal import MCPNB, run

pytestmark = pytest.mark.slow


def bare(*arguments: str, code: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command without PATH, HOME, locale, terminal, and anything on stdin."""
    done = subprocess.run(
        [*MCPNB, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_each_way_to_end_has_its_exit_code(fake: FakeServer) -> None:
    """130 is in `test_sign_in.py`."""
    run("list").expect(0)
    run("tools", "http://127.0.0.1:9/mcp").expect(1)
    run("tools").expect(2)
    run("token", fake.url).expect(3)


def test_a_call_loads_no_grammar_that_it_does_not_need(world: Path) -> None:
    """Of jsonschema's, where Jupyter has installed it: 1.2 s of a process of two."""
    with DemoServers(auto_consent=True) as demo:
        sign_in(connect(demo.mcp_url, store=FileStore(world / "mcpnb")))
        done = run("call", demo.mcp_url, "whoami", PYTHONPROFILEIMPORTTIME="1")
    assert "ada" in done.out
    assert "jsonschema" in done.err
    assert "rfc3987_syntax.syntax_helpers" not in done.err


@pytest.mark.parametrize("arguments", [["list"], ["tools", "URL"], ["--help"]], ids=" ".join)
def test_a_reader_that_has_gone_is_no_traceback(
    signed_in: FakeServer, arguments: list[str]
) -> None:
    """As in `mcpnb tools ... | head -1`."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as gone:  # noqa: PTH123  a descriptor
        done = subprocess.run(
            [*MCPNB, *(signed_in.url if word == "URL" else word for word in arguments)],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode != 0
    assert done.stderr == ""


def test_a_call_works_with_an_empty_environment(signed_in: FakeServer, world: Path) -> None:
    """As `env -i` leaves it."""
    home = str(world / "mcpnb")
    done = bare("call", signed_in.url, "echo", "text=ä", code=0, MCPNB_HOME=home)

    assert done.stderr == ""
    assert done.stdout.strip() == "ä"


def test_no_command_needs_more_than_its_store(signed_in: FakeServer, world: Path) -> None:
    environment = {
        "MCPNB_HOME": str(world / "mcpnb"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }
    for command in (
        ("list", "--no-probe"),
        ("discover", signed_in.url),
        ("token", signed_in.url),
        ("tools", signed_in.url),
        ("doctor", signed_in.url),
        ("login", signed_in.url, "--begin"),
        ("logout", signed_in.url),
        ("logout", "--all"),
        ("trust",),
        ("--help",),
    ):
        bare(*command, code=0, **environment)


@posix
def test_a_home_that_cannot_be_written_prevents_only_signing_in(fake: FakeServer) -> None:
    """Not even root can make a folder there."""
    bare("list", "--no-probe", code=0, HOME="/proc/nowhere")
    bare("discover", fake.url, code=0, HOME="/proc/nowhere")
    failed = bare("login", fake.url, "--begin", code=1, HOME="/proc/nowhere")

    assert "MCPNB_HOME" in failed.stderr
    assert fake.asked("/authorize") == []


@posix
def test_a_store_that_can_only_be_read_serves_while_its_token_lives(
    signed_in: FakeServer, world: Path
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


def test_no_colour_is_no_escape(fake: FakeServer) -> None:
    done = run("login", fake.url, "--begin", "--qr", NO_COLOR="1", TERM="xterm").expect(0)

    assert "\x1b" not in done.err + done.out
