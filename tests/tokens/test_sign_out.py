"""Signing out: revoked, deleted, noticed by everybody, and not undone by a sibling."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.stores import FileStore, RecordName
from tests.fakes.kernels import Kernel, disk_fills_up_at_refresh, make_expired
from tests.fakes.people import connect, sign_in, until, waiting
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request
from tests.terminal import run

CALLER = """
import sys, mcpnb
from mcpnb.stores import FileStore
session = mcpnb.connect(sys.argv[1], store=FileStore(sys.argv[2]))
for number in range(1000000):
    try:
        session.call("echo", text="x")
    except mcpnb.LoginRequired as error:
        print(error, flush=True)
        break
    if number == 0:
        print("calling", flush=True)
"""


def revoked(fake: FakeServer) -> list[str]:
    return [request.form["token"][0] for request in fake.asked("/revoke")]


def all_dead(fake: FakeServer) -> bool:
    return all(not grant.alive for grant, _ in fake.access.values())


class TestHere:
    def test_both_tokens_are_revoked_and_a_mark_is_left(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        session = kernel()
        sign_in(session)
        store = FileStore(folder)
        record = store.read(RecordName("login", fake.url))
        assert record is not None
        tokens = record["tokens"]

        assert session.logout()

        assert revoked(fake) == [tokens["refresh_token"], tokens["access_token"]]
        assert session.status == "none"
        with pytest.raises(errors.LoginRequired, match=r"You signed out of .* at "):
            session.headers()
        (mark,) = folder.glob("login-*.mcpnb")
        assert set(json.loads(mark.read_bytes())) == {"format", "kind", "name", "deleted_at"}
        assert store.keys("login") == []

    @pytest.mark.slow
    def test_a_login_after_it_is_like_the_first(self, kernel: Kernel) -> None:
        session = kernel()
        sign_in(session)
        session.logout()

        sign_in(session)

        assert session.call("echo", text="again").text == "again"

    def test_a_server_that_cannot_be_reached_keeps_nobody_signed_in(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        session = kernel()
        sign_in(session)
        fake.always("/revoke", Reply(drop=True))

        assert not session.logout()

        assert session.status == "none"
        assert FileStore(folder).keys("login") == []

    def test_a_full_disk_does_not_keep_a_login(
        self, kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There is no room for the mark; the deletion needs none."""
        session = kernel()
        sign_in(session)

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("mcpnb.storage.files.write_file", full)
        session.logout()

        assert list(folder.glob("login-*.mcpnb")) == []
        assert session.status == "none"


class TestOthers:
    @pytest.mark.slow
    def test_a_kernel_that_calls_notices_with_its_next_call(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        sign_in(kernel())
        child = subprocess.Popen(
            [sys.executable, "-c", CALLER, fake.url, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "calling\n"

        kernel().logout()

        out, err = child.communicate(timeout=20)
        assert "You signed out" in out, err
        assert all_dead(fake)

    def test_a_sibling_that_is_refreshing_is_waited_for(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        """And what it got is what is revoked."""
        sign_in(kernel())
        make_expired(folder)
        arrived, go_on = threading.Event(), threading.Event()
        honest = fake.routes["/token"]

        def slow(request: Request) -> Reply:
            arrived.set()
            go_on.wait(10)
            return honest(request)

        fake.routes["/token"] = slow
        sibling = kernel()
        refreshing = threading.Thread(target=_headers, args=(sibling,))
        refreshing.start()
        assert arrived.wait(10)
        leaving = threading.Thread(target=kernel().logout)
        leaving.start()
        go_on.set()
        refreshing.join(20)
        leaving.join(20)

        assert not sibling.signed_in
        assert all_dead(fake)
        assert FileStore(folder).keys("login") == []

    @pytest.mark.slow
    @pytest.mark.threat("late-refresh-after-a-sign-out")
    def test_a_sibling_that_hangs_cannot_bring_the_login_back(
        self,
        fake: FakeServer,
        kernel: Kernel,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Nobody waits for it for ever; its late result is revoked, and not stored."""
        monkeypatch.setattr("mcpnb.tokens.source._SIGN_OUT_PATIENCE", 0.1)
        sign_in(kernel())
        make_expired(folder)
        arrived, go_on = threading.Event(), threading.Event()
        honest = fake.routes["/token"]

        def hangs(request: Request) -> Reply:
            arrived.set()
            go_on.wait(20)
            return honest(request)

        fake.routes["/token"] = hangs
        sibling, failed = kernel(), []
        refreshing = threading.Thread(target=lambda: failed.append(_headers(sibling)))
        refreshing.start()
        assert arrived.wait(10)

        fake.always("/revoke", Reply(503))  # the first revocation is lost: the grant lives on
        kernel().logout()
        assert not sibling.signed_in
        fake.restore("/revoke")
        go_on.set()
        refreshing.join(20)

        assert isinstance(failed[0], errors.LoginRequired)
        until(lambda: all_dead(fake))
        assert FileStore(folder).keys("login") == []
        assert not sibling.signed_in

    def test_a_login_that_only_a_sibling_has_in_memory_is_revoked_by_it(
        self, fake: FakeServer, kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its disk was full when the rotation came; then somebody else signed out."""
        fake.rotation = "grace"  # so that revoking the old token does not end the new one
        sign_in(kernel())
        make_expired(folder)
        sibling = kernel()
        full = disk_fills_up_at_refresh(fake, monkeypatch)
        newest = sibling.access_token()
        full.clear()
        kernel().logout()

        assert not sibling.signed_in
        until(lambda: newest in revoked(fake))


def _headers(session: mcpnb.Session) -> Exception | None:
    try:
        session.headers()
    except errors.McpnbError as error:
        return error
    return None


class TestEverything:
    @pytest.mark.slow
    def test_all_logins_are_revoked_and_deleted(
        self, fakes: Callable[[], FakeServer], world: Path
    ) -> None:
        store = FileStore(world / "mcpnb")
        first, second = fakes(), fakes()
        for fake, account in ((first, None), (second, "work"), (second, "home")):
            sign_in(connect(fake.url, store=store, account=account))

        done = run("logout", "--all").expect(0)

        assert done.err.count("revoked at the server") == 3
        assert "(work)" in done.err
        assert store.keys("login") == []
        assert all_dead(first)
        assert all_dead(second)
        assert "nothing to do" in run("logout", "--all").expect(0).err

    @pytest.mark.slow
    def test_sign_ins_under_way_end_too(self, fake: FakeServer, world: Path) -> None:
        login, _ = waiting(connect(fake.url, store=FileStore(world / "mcpnb")))

        run("logout", "--all").expect(0)

        with pytest.raises(errors.LoginCancelled):
            login.wait(10)

    @pytest.mark.slow
    def test_logins_whose_key_is_gone_are_deleted_and_it_is_said_that_nobody_was_told(
        self, fake: FakeServer, world: Path
    ) -> None:
        home = world / "mcpnb"
        sign_in(connect(fake.url, store=FileStore(home)))
        (home / "key").unlink()

        done = run("logout", fake.url).expect(0)

        assert "could not be read, so the server was not told" in done.err
        assert revoked(fake) == []
        assert FileStore(home).keys("login") == []
        assert "Not signed in" in run("logout", fake.url).expect(0).err

    @pytest.mark.parametrize(
        "wrong",
        [(), ("--all", "https://mcp.example/mcp"), ("--all", "--account", "work")],
    )
    def test_it_has_to_be_clear_what_to_sign_out_of(self, wrong: tuple[str, ...]) -> None:
        assert "SERVER, or --all" in run("logout", *wrong).expect(2).err
