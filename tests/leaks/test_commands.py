"""Marked secrets are planted everywhere, every command is run, and every byte is searched.

What `demo`, `relay` and `jupyter` do beyond their usage is searched where they are tested.

What is searched: stdout, stderr, the argv of every process that a command starts, what `ps` shows
meanwhile, and the names and content of the files that are left. `token` and `relay` print one
secret, alone on stdout: that is what they are for.
"""

from __future__ import annotations

import base64
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mcpnb.cli.app import with_commands
from mcpnb.demo.browser import approve
from mcpnb.stores import FileStore
from tests.fakes.helper import Helper
from tests.fakes.people import answer_of, connect, free_port, posix, query_of, sign_in
from tests.fakes.secrets import Secrets, files_in
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply
from tests.leaks.planted import (
    command,
    into_the_environment,
    into_the_project,
    into_user_configuration,
    parrot,
)
from tests.terminal import Ended, OnTerminal, Running, run

pytestmark = pytest.mark.slow

STORE_KEY = base64.urlsafe_b64encode(b"pLanted-store-key-of-32-bytes-ok").decode()
PLANTED = {
    "MCPNB_STORE_KEY": STORE_KEY,
    "CLIENT_SECRET": "pLanted-client-secret",
    "BEARER": "pLanted-bearer-token",
    "HEADER": "pLanted-header-of-the-environment",
    "URL_KEY": "pLanted-key-in-the-address",
}
WRITTEN = "pLanted-header-in-the-file"
HELPED = "pLanted-header-of-the-helper"


def note(event: str, arguments: tuple[Any, ...]) -> None:
    """Note the argv of whatever is started, however it is, where `STARTED` says."""
    starts = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
    if event in starts and "STARTED" in os.environ:
        with open(os.environ["STARTED"], "a") as started:  # noqa: PTH123  of a bare interpreter
            started.write(f"{event} {arguments[:2]!r}\n")


@pytest.fixture(scope="module")
def audited() -> None:
    """Have what commands start in this process noted; there is no way to take the hook out."""
    sys.addaudithook(note)


@dataclass
class Planted:
    """A world full of secrets."""

    fake: FakeServer
    folder: Path
    servers: tuple[str, ...] = ("pre", "static", "headers", "keyed", "helped")
    secrets: Secrets = field(default_factory=Secrets)

    def search(self, done: Ended, *, allowed: str = "") -> None:
        """Look through what a command wrote and started.

        Args:
            done: The command.
            allowed: The one secret that it is there to print, on stdout.
        """
        started = self.folder / "started"
        texts = {
            "stdout": done.out.replace(allowed, "") if allowed else done.out,
            "stderr": done.err,
            "argv": started.read_text() if started.exists() else "",
        }
        assert "Traceback" not in done.err
        self.secrets.absent_from(texts)

    def search_files(self) -> None:
        """Look through the store: names, and the heads that are not encrypted."""
        self.secrets.absent_from(files_in(self.folder.parent / "mcpnb"))


@pytest.fixture
def planted(
    fake: FakeServer, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, audited: None
) -> Planted:
    """Configure a server for each way in which a secret comes in, and sign in to all of them."""
    del audited
    into_the_environment(monkeypatch, PLANTED)
    folder = world / "audited"
    folder.mkdir()
    head, foot = "from __future__ import annotations\nimport os, sys", "sys.addaudithook(note)"
    (folder / "sitecustomize.py").write_text(f"{head}\n{inspect.getsource(note)}\n{foot}\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("STARTED", str(folder / "started"))
    port = free_port()
    helper = Helper(tmp_path)
    helper.says(**{"X-Key": HELPED})
    fake.clients["own"] = {
        "client_id": "own",
        "client_secret": PLANTED["CLIENT_SECRET"],
        "redirect_uris": [f"http://127.0.0.1:{port}/callback"],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    fake.announce(
        token_endpoint_auth_methods_supported=["none", "client_secret_basic"],
        device_authorization_endpoint=f"{fake.base}/device_authorization",
    )
    own = {"client_id": "own", "client_secret_env_var": "CLIENT_SECRET", "issuer": fake.base}
    into_user_configuration(
        world,
        fake,
        pre={"account": "pre", "oauth": {**own, "callback_port": port}},
        static={"bearer_token_env_var": "BEARER"},
        headers={
            "account": "headers",
            "http_headers": {"X-Written": WRITTEN},
            "env_http_headers": {"X-Env": "HEADER"},
        },
        helped={"account": "helped", "http_headers_helper": helper.command},
    )
    into_the_project(world, "keyed", f"{fake.base}/mcp?key=${{URL_KEY}}")
    store = FileStore(world / "mcpnb", key="auto")
    for name in ("pre", "headers", "keyed", "helped"):
        callback = {"callback_port": None} if name == "pre" else {}
        sign_in(connect(name, store=store, **callback))
    known = Secrets(fake).add("planted", *PLANTED.values(), WRITTEN, HELPED)
    return Planted(fake, folder, secrets=known)


TALK: dict[str, list[str]] = {
    "login": ["--begin", "--json"],
    "tools": [],
    "call": ["echo", "text=hi"],
    "token": [],
    "discover": [],
    "doctor": ["--call"],
}
"""Commands that ask a server something, and what stands behind its name."""
OTHERS = [
    "add another --url http://127.0.0.1:9/mcp",
    "client-metadata --url https://example.com/mcpnb.json",
    "demo --help",
    "jupyter --help",
    "relay https://as.example/authorize?response_type=code",
    "tools pre --json",
    "token pre --header",
    "get pre --json",
    "--help",
    "--version",
]
LAST = ("logout", "get", "remove")
"""Those end a login, or change a file, of a server; then follows what ends all."""


def fail_all(fake: FakeServer) -> None:
    """Have every endpoint repeat what it was sent, in an error."""
    for path in ("/token", "/revoke", "/register", "/device_authorization"):
        fake.routes[path] = partial(parrot, error="invalid_grant")


def parrot_all(fake: FakeServer) -> None:
    fail_all(fake)
    fake.expire()


def go_away(fake: FakeServer) -> None:
    fake.always("/mcp", Reply(drop=True))
    for path in ("/token", "/revoke"):
        fake.always(path, Reply(drop=True))


STATES: dict[str, Callable[[FakeServer], None]] = {
    "well": lambda _: None,
    "expired": FakeServer.expire,
    "ended": FakeServer.end,
    "parrots": parrot_all,
    "gone": go_away,
}


def test_every_command_is_run_here() -> None:
    """A new one has to be added above."""
    others = {line.split()[0] for line in [*OTHERS, "list", "trust"]}
    assert set(with_commands().commands) <= {*TALK, *LAST, *others}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("state", STATES)
def test_no_command_shows_one_whatever_the_server_does(planted: Planted, state: str) -> None:
    """Each for each server; what no server has a part in is run once."""
    STATES[state](planted.fake)
    for server in planted.servers:
        for name, rest in TALK.items():
            # One that starts a program, and one that says most, as processes of their own, too.
            process = server == "helped" and name in ("call", "doctor")
            one_command(planted, name, server, *rest, process=process)
    one_command(planted, "list")
    one_command(planted, "list", "--json")
    one_command(planted, "doctor", "--json")
    for line in OTHERS if state == "well" else ():
        one_command(planted, *line.split())
    planted.search_files()
    for server in planted.servers:
        for name in LAST if state == "well" else ["logout"]:
            one_command(planted, name, server)
    one_command(planted, "trust", "--withdraw")
    one_command(planted, "logout", "--all")
    planted.search_files()


def one_command(planted: Planted, *words: str, process: bool = False) -> None:
    done = (run if process else command)(*words)
    allowed = done.out.strip().removeprefix("Authorization: Bearer ") if words[0] == "token" else ""
    planted.search(done, allowed=allowed)


@pytest.mark.parametrize("server", ["headers", "keyed", "pre"])
def test_no_sign_in_shows_one(planted: Planted, server: str) -> None:
    """The whole of it, through pipes; the address that is opened says for which server it is."""
    with Running("login", server, "--no-browser", here=server != "pre") as command:
        address = command.address()
        answer = answer_of(address)
        (code,) = query_of(answer)["code"]
        planted.secrets.add("code", code)
        command.type(answer.replace("state=", "state=x"))
        command.says("Not used")
        command.type(code)
        command.says("alone is refused")
        command.type(answer)
        done = command.end().expect(0)

    planted.search(Ended(done.code, done.out, done.err.replace(address, "")))
    planted.search_files()


@pytest.mark.parametrize("fault", ["denied", "parrots", "gone"])
def test_no_failed_sign_in_shows_one(planted: Planted, fault: str) -> None:
    fake, words = planted.fake, ("login", "keyed", "--no-browser", "--port", "0")
    with Running(*words, here=fault != "parrots") as command:
        address = command.address()
        if fault == "denied":
            fake.authorize_error = {"error": "access_denied", "error_description": "never"}
        elif fault == "parrots":
            fail_all(fake)
        else:
            fake.always("/token", Reply(drop=True))
        command.type(approve(address, follow=False))
        done = command.end().expect(1)

    planted.search(Ended(done.code, done.out, done.err.replace(address, "")))


@posix
def test_ps_shows_none_while_a_sign_in_waits(planted: Planted) -> None:
    """Nor does the terminal, after the paste."""
    with OnTerminal("login", "keyed", "--no-browser", "--port", "0") as terminal:
        answer = answer_of(terminal.address())
        planted.secrets.add("code", query_of(answer)["code"][0])
        terminal.shows("Paste the address here: ")
        terminal.type(answer[:40])
        listed = subprocess.run(
            ["ps", "-A", "-ww", "-o", "args="],  # noqa: S607  the one of this machine
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        terminal.type(f"{answer[40:]}\n")
        assert terminal.end() == 0
        shown = re.sub(r"^http\S+/authorize\?\S+$", "", terminal.shown, flags=re.MULTILINE)

    planted.search(Ended(0, listed, shown))
    assert "mcpnb login keyed" in listed


@posix
@pytest.mark.parametrize("wrong", ["short", "other"])
def test_no_trouble_with_the_store_shows_one(
    planted: Planted, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    other = base64.urlsafe_b64encode(os.urandom(32)).decode()
    key = "pLanted-short-key" if wrong == "short" else other
    planted.secrets.add("store key", key)
    monkeypatch.setenv("MCPNB_STORE_KEY", key)
    for words in (["token", "headers"], ["list"], ["doctor", "headers"], ["logout", "headers"]):
        one_command(planted, *words)


def test_what_is_searched_for_is_really_there(planted: Planted) -> None:
    """Or finding nothing would mean nothing."""
    fake = planted.fake
    for server in planted.servers:
        # The fake has no use for the configured token; whoever is signed in is served.
        for how in (command, run) if server == "helped" else (command,):
            how("call", server, "echo", "text=x").expect(1 if server == "static" else 0)
    sent: list[Any] = [dict(request.headers) | {"t": request.target} for request in fake.requests]
    everything = json.dumps(sent) + " ".join(planted.secrets.known())
    for secret in (*PLANTED.values(), WRITTEN, HELPED):
        assert secret in everything
    assert fake.access
    assert fake.refresh
    started = (planted.folder / "started").read_text()
    assert started.count("give.py") >= 2, "started in this process, and in one of its own"
