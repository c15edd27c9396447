"""What is left on disk, and what the programs that we start are given: arguments, environment."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from mcpnb import errors
from mcpnb.login.pending import PendingLogins
from mcpnb.stores import FileStore
from tests.fakes.kernels import disk_fills_up_at_refresh
from tests.fakes.people import answer_of, connect, posix, until, waiting
from tests.fakes.secrets import Secrets, files_in
from tests.fakes.server import FakeServer
from tests.leaks.planted import into_user_configuration
from tests.terminal import Running, run

NOTE = """
import json, os, sys
given = [sys.argv, dict(os.environ), sys.stdin.read() if {stdin} else ""]
with open({file!r}, "a") as notes:
    notes.write(json.dumps(given) + "\\n")
sys.stdout.write({out!r})
"""


@pytest.fixture(autouse=True)
def temporary(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have temporary files lie where they are looked for."""
    folder = world / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@contextlib.contextmanager
def half_written(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have files not come into their places, as where the power fails: their drafts stay."""

    def fails(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fails)
        patch.setattr(Path, "unlink", fails)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("key", ["file", "environment"])
def test_no_file_holds_one_at_any_time(
    fake: FakeServer, world: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Store, home, runtime and temporary folders, names and contents; the key itself excepted."""
    store_key = "cExhbnRlZC1zdG9yZS1rZXktb2YtMzItYnl0ZXMtb2s="
    secrets = Secrets(fake)
    if key == "environment":
        monkeypatch.setenv("MCPNB_STORE_KEY", store_key)
        secrets.add("store key", store_key)
    seen: dict[str, bytes] = {}

    def look(when: str) -> None:
        seen.update({f"{when}: {name}": data for name, data in files_in(world).items()})

    store = FileStore(world / "mcpnb", key="auto")
    session = connect(fake.url, store=store, account="ada")
    login, url = waiting(session)
    look("waiting")
    login.submit(answer_of(url))
    look("signed in")
    fake.expire()
    session.tools()
    look("renewed")
    with half_written(monkeypatch), contextlib.suppress(errors.McpnbError):
        fake.expire()
        session.tools()
    look("half written")
    with monkeypatch.context() as patch:
        disk_fills_up_at_refresh(fake, patch)
        fake.expire()
        with contextlib.suppress(errors.McpnbError):
            session.tools()
    look("full")
    later, _ = waiting(session, anew=True)
    later.leave()
    look("left pending")
    assert PendingLogins(store, session.info().record_name).current() is not None
    session.logout()
    look("signed out")
    assert {"code", "verifier", "state", "access token"} <= secrets.kinds()
    assert any(name.startswith("half written") and ".new-" in name for name in seen)
    secrets.absent_from(seen)


def noting(folder: Path, name: str, out: str = "", *, stdin: bool = False) -> tuple[Path, Path]:
    """Make a program that notes what it is given; give it and its notes."""
    notes, program = folder / f"{name}.notes", folder / name
    program.write_text(f"#!{sys.executable}\n" + NOTE.format(file=str(notes), out=out, stdin=stdin))
    program.chmod(0o755)
    return program, notes


@posix
@pytest.mark.slow
def test_programs_that_are_started_are_given_none(
    fake: FakeServer, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the browser: `ps` shows its argument to everybody on this machine."""
    program, helped = noting(tmp_path, "helper", json.dumps({"X-Key": "pLanted-header"}))
    browser, opened = noting(tmp_path, "browser")
    monkeypatch.setenv("BROWSER", str(browser))
    helper = {"http_headers_helper": shlex.quote(str(program))}
    into_user_configuration(world, fake, helped=helper)
    session = connect("helped", store=FileStore(world / "mcpnb"))
    login = session.login(open_browser=True)
    login.wait_for("waiting", 10)
    url = str(login.url)
    until(opened.exists)
    login.submit(answer_of(url))
    session.call("echo", text="hi")
    run("call", "helped", "echo", "text=hi").expect(0)
    with Running("login", "helped", "--port", "0") as command:
        again = command.address()
        httpx2.get(answer_of(again), trust_env=False, timeout=10)
        command.end().expect(0)
    run("logout", "helped")

    assert len(helped.read_text().splitlines()) >= 2
    secrets = Secrets(fake, header="pLanted-header")
    places = {"the helper": helped.read_text(), "the browser": opened.read_text()}
    secrets.absent_from(places)
    assert "http://127.0.0.1" in opened.read_text()
