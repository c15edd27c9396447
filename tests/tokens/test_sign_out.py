"""Signing out: revoked, deleted, noticed by everybody, and not undone by a sibling."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.stores import FileStore, RecordName
from tests.fakes.kernels import Kernel, change, disk_fills_up_at_refresh, make_expired, stored
from tests.fakes.people import answer_of, connect, sign_in, until, waiting
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


def tokens_of(folder: Path) -> tuple[str, str]:
    tokens = stored(folder)["tokens"]
    return tokens["refresh_token"], tokens["access_token"]


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

    @pytest.mark.parametrize(
        "reply",
        [Reply(drop=True), Reply(500, "no"), Reply(404), Reply(400, {"error": "x"}), None],
    )
    def test_a_server_that_cannot_revoke_keeps_nobody_signed_in(
        self, fake: FakeServer, kernel: Kernel, folder: Path, reply: Reply | None
    ) -> None:
        """Forgotten here, whatever happens there. `None`: it has no such endpoint."""
        if reply is None:
            fake.announce(revocation_endpoint=None)
        else:
            fake.always("/revoke", reply)
        session = kernel()
        sign_in(session)

        assert not session.logout()

        assert session.status == "none"
        assert FileStore(folder).keys("login") == []
        assert reply is not None or revoked(fake) == []

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

    def test_an_empty_secret_is_sent_to_those_that_want_one(self, fake: FakeServer) -> None:
        """Public clients have none, but the field is missed."""
        fake.revoke_wants_secret = True
        session = connect(fake.url)
        sign_in(session)
        [grant] = {id(g): g for g in fake.refresh.values()}.values()

        session.logout()

        assert not grant.alive
        assert not session.signed_in

    def test_a_malformed_store_key_does_not_keep_anybody_signed_in(
        self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = kernel()
        sign_in(session)
        monkeypatch.setenv("MCPNB_STORE_KEY", "no key")

        assert "signed in" in repr(kernel())
        kernel().logout()

        monkeypatch.delenv("MCPNB_STORE_KEY")
        assert not kernel().signed_in

    def test_what_cannot_be_deleted_is_revoked_all_the_same(
        self, fake: FakeServer, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = kernel()
        sign_in(session)

        def refuse(*_: object, **__: object) -> None:
            raise errors.StoreError("read-only")

        monkeypatch.setattr(FileStore, "delete", refuse)
        with pytest.raises(errors.StoreError, match="read-only"):
            session.logout()

        assert len(revoked(fake)) == 2


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

    @pytest.mark.slow
    def test_everything_includes_damaged_and_newer_records(
        self, fake: FakeServer, world: Path
    ) -> None:
        home = world / "mcpnb"
        sign_in(connect(fake.url, store=FileStore(home)))
        (file,) = home.glob("login-*.mcpnb")
        (home / "login-damaged.mcpnb").write_text("what")
        newer = file.read_text().replace('"format": 1', '"format": 9')
        (home / "login-newer.mcpnb").write_text(newer)
        assert "damaged" in run("list").expect(0).err

        done = run("logout", "--all").expect(0)

        assert "revoked at the server" in done.err
        assert done.err.count("could not be read") == 2
        assert [f for f in home.glob("login-*.mcpnb") if "deleted_at" not in f.read_text()] == []

    @pytest.mark.slow
    def test_a_pending_and_a_stored_login_are_one_line(self, fake: FakeServer, world: Path) -> None:
        store = FileStore(world / "mcpnb")
        sign_in(connect(fake.url, store=store))
        run("login", fake.url, "--begin").expect(0)

        assert run("logout", "--all").expect(0).err.count("Signed out of") == 1

    @pytest.mark.slow
    def test_a_broken_configuration_is_no_reason_to_stay_signed_in(
        self, fake: FakeServer, world: Path
    ) -> None:
        sign_in(connect(fake.url, store=FileStore(world / "mcpnb")))
        config = world / "xdg" / "config" / "mcpnb"
        config.mkdir(parents=True)
        (config / "config.toml").write_text("[[[")

        run("logout", "--all").expect(0)

        assert all_dead(fake)

    @pytest.mark.parametrize(
        "wrong",
        [(), ("--all", "https://mcp.example/mcp"), ("--all", "--account", "work")],
    )
    def test_it_has_to_be_clear_what_to_sign_out_of(self, wrong: tuple[str, ...]) -> None:
        assert "SERVER, or --all" in run("logout", *wrong).expect(2).err


class TestReplacedLogins:
    """Alive at the server until the sign-out, and not after it."""

    @pytest.mark.parametrize("again", [{"choose_account": True}, {"scopes": ("write",)}, {}])
    def test_it_ends_with_the_login_that_took_its_place(
        self, fake: FakeServer, kernel: Kernel, folder: Path, again: dict[str, Any]
    ) -> None:
        sign_in(kernel())
        first = tokens_of(folder)
        login, url = waiting(kernel(), **again)
        login.submit(answer_of(url))
        login.wait(10)
        second = tokens_of(folder)
        assert revoked(fake) == []

        assert kernel().logout()

        assert revoked(fake) == [*second, *first]
        assert all_dead(fake)

    @pytest.mark.slow
    def test_refreshes_add_nothing_and_lose_nothing(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        sign_in(kernel())
        first = tokens_of(folder)
        sign_in(kernel())
        for _ in range(2):
            make_expired(folder)
            kernel().access_token()
        newest = tokens_of(folder)

        assert kernel().logout()

        assert revoked(fake) == [*newest, *first]

    def test_it_is_said_if_the_server_confirms_but_one_of_them(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        sign_in(kernel())
        first, _ = tokens_of(folder)
        sign_in(kernel())
        honest = fake.routes["/revoke"]

        def refuses_the_first(request: Request) -> Reply:
            return Reply(503) if request.form["token"] == [first] else honest(request)

        fake.routes["/revoke"] = refuses_the_first

        assert not kernel().logout()
        assert FileStore(folder).keys("login") == []

    def test_what_the_server_has_ended_is_not_kept(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        sign_in(kernel())
        make_expired(folder)
        fake.end()
        with pytest.raises(errors.LoginRequired):
            kernel().access_token()

        sign_in(kernel())

        assert stored(folder)["earlier"] == []

    def test_without_a_refresh_token_it_is_kept_while_its_access_token_lives(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        fake.token_changes = {"refresh_token": None}
        sign_in(kernel())
        over = stored(folder)["tokens"]["access_token"]
        make_expired(folder)
        sign_in(kernel())
        alive = stored(folder)["tokens"]["access_token"]
        sign_in(kernel())

        assert kernel().logout()

        assert alive in revoked(fake)
        assert over not in revoked(fake)

    @pytest.mark.slow
    def test_the_newest_eight_are_kept(self, kernel: Kernel, folder: Path) -> None:
        seen = []
        for _ in range(10):
            sign_in(kernel())
            seen.append(tokens_of(folder)[0])

        kept = [one["tokens"]["refresh_token"] for one in stored(folder)["earlier"]]
        assert kept == seen[-2:-10:-1]

    def test_each_is_revoked_where_it_was_granted_and_nowhere_else(
        self, fakes: Callable[[], FakeServer], folder: Path
    ) -> None:
        """The server changed its authorization server in between."""
        fake, other = fakes(), fakes()
        sign_in(connect(fake.url, store=FileStore(folder)))
        first = tokens_of(folder)
        fake.describe(authorization_servers=[other.base])
        sign_in(connect(fake.url, store=FileStore(folder)))
        second = tokens_of(folder)

        connect(fake.url, store=FileStore(folder)).logout()

        assert revoked(fake) == [*first]
        assert revoked(other) == [*second]

    @pytest.mark.slow
    def test_a_server_that_is_slow_is_not_waited_for_once_for_each(
        self, fake: FakeServer, kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mcpnb.tokens.refresh._REVOKING", 0.1)
        for _ in range(3):
            sign_in(kernel())
        newest, pause = tokens_of(folder), threading.Event()

        def slow(_: Request) -> Reply:
            pause.wait(0.2)
            return Reply(200)

        fake.routes["/revoke"] = slow

        assert not kernel().logout()
        assert revoked(fake) == [*newest]

    def test_they_are_stored_encrypted(self, kernel: Kernel, folder: Path) -> None:
        sign_in(kernel())
        first = tokens_of(folder)
        sign_in(kernel())

        (file,) = folder.glob("login-*.mcpnb")
        assert not any(secret.encode() in file.read_bytes() for secret in first)

    @pytest.mark.parametrize("damaged", [None, 7, "x", {"a": 1}, [7], [{}], [{"tokens": {}}]])
    def test_a_damaged_memory_of_them_is_no_reason_to_lose_the_login(
        self, kernel: Kernel, folder: Path, damaged: object
    ) -> None:
        sign_in(kernel())
        change(folder, earlier=damaged)

        assert kernel().signed_in
        assert kernel().logout()

    @pytest.mark.slow
    def test_the_sign_out_of_everything_ends_them_too(self, fake: FakeServer, world: Path) -> None:
        for _ in range(2):
            sign_in(connect(fake.url, store=FileStore(world / "mcpnb")))

        done = run("logout", "--all").expect(0)

        assert "revoked at the server" in done.err
        assert len(revoked(fake)) == 4
        assert all_dead(fake)
