"""Signing out: revoked, deleted, noticed by everybody, and not undone by a sibling."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.stores import FileStore
from tests.fakes.kernels import Kernel, disk_fills_up_at_refresh
from tests.fakes.people import HeldRoute, answer_of, connect, sign_in, until, waiting
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request
from tests.terminal import run
from tests.tokens.conftest import SharedLogin


def revoked(fake: FakeServer) -> list[str]:
    return [request.form["token"][0] for request in fake.asked("/revoke")]


def all_dead(fake: FakeServer) -> bool:
    return all(not grant.alive for grant, _ in fake.access.values())


def tokens_of(shared: SharedLogin) -> tuple[str, str]:
    """Give the tokens in the order in which they are revoked."""
    tokens = shared.record["tokens"]
    return tokens["refresh_token"], tokens["access_token"]


def is_stored(shared: SharedLogin) -> bool:
    return FileStore(shared.folder).keys("login") != []


class TestHere:
    def test_both_tokens_are_revoked_and_a_mark_is_left(self, shared: SharedLogin) -> None:
        session, tokens = shared.kernel(), tokens_of(shared)

        assert session.logout()

        assert revoked(shared.fake) == [*tokens]
        assert session.status == "none"
        with pytest.raises(errors.LoginRequired, match=r"You signed out of .* at "):
            session.headers()
        (mark,) = shared.folder.glob("login-*.mcpnb")
        assert set(json.loads(mark.read_bytes())) == {"format", "kind", "name", "deleted_at"}
        assert not is_stored(shared)
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
        shared = SharedLogin(fake, folder, kernel)

        assert not kernel().logout()

        assert not is_stored(shared)
        assert reply is not None or revoked(fake) == []

    def test_a_full_disk_does_not_keep_a_login(
        self, shared: SharedLogin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There is no room for the mark; the deletion needs none."""

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("mcpnb.storage.files.write_file", full)
        session = shared.kernel()
        session.logout()

        assert list(shared.folder.glob("login-*.mcpnb")) == []
        assert session.status == "none"

    def test_an_empty_secret_is_sent_to_those_that_want_one(
        self, fake: FakeServer, session: mcpnb.Session
    ) -> None:
        """Public clients have none, but the field is missed."""
        fake.revoke_wants_secret = True
        session.logout()
        assert all_dead(fake)
        assert not session.signed_in

    def test_a_malformed_store_key_does_not_keep_anybody_signed_in(
        self, shared: SharedLogin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MCPNB_STORE_KEY", "no key")
        assert "signed in" in repr(shared.kernel())
        shared.kernel().logout()
        monkeypatch.delenv("MCPNB_STORE_KEY")
        assert not shared.kernel().signed_in

    def test_what_cannot_be_deleted_is_revoked_all_the_same(
        self, shared: SharedLogin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise errors.StoreError("read-only")

        monkeypatch.setattr(FileStore, "delete", refuse)
        with pytest.raises(errors.StoreError, match="read-only"):
            shared.kernel().logout()
        assert len(revoked(shared.fake)) == 2


@contextmanager
def refreshing(sibling: mcpnb.Session, hanging: HeldRoute) -> Iterator[list[Exception | None]]:
    """Let a sibling refresh, and be answered at the end; give how it ended."""
    ended: list[Exception | None] = []

    def refresh() -> None:
        try:
            sibling.headers()
        except errors.McpnbError as error:
            ended.append(error)

    thread = threading.Thread(target=refresh)
    thread.start()
    hanging.reached()
    yield ended
    hanging.let_go()
    thread.join(20)


class TestOthers:
    def test_a_kernel_that_calls_notices_with_its_next_call(self, shared: SharedLogin) -> None:
        sibling = shared.kernel()
        assert sibling.call("echo", text="x").text == "x"

        shared.kernel().logout()

        with pytest.raises(errors.LoginRequired, match="You signed out"):
            sibling.call("echo", text="x")
        assert all_dead(shared.fake)

    def test_a_sibling_that_is_refreshing_is_waited_for(self, shared: SharedLogin) -> None:
        """And what it got is what is revoked."""
        shared.expire()
        sibling = shared.kernel()
        leaving = threading.Thread(target=shared.kernel().logout)
        with refreshing(sibling, HeldRoute(shared.fake, "/token")):
            leaving.start()
        leaving.join(20)

        assert not sibling.signed_in
        assert all_dead(shared.fake)
        assert not is_stored(shared)

    @pytest.mark.slow
    @pytest.mark.threat("late-refresh-after-a-sign-out")
    def test_a_sibling_that_hangs_cannot_bring_the_login_back(
        self, shared: SharedLogin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody waits for it for ever; its late result is revoked, and not stored."""
        monkeypatch.setattr("mcpnb.tokens.source._SIGN_OUT_PATIENCE", 0.1)
        shared.expire()
        fake, sibling = shared.fake, shared.kernel()
        with refreshing(sibling, HeldRoute(fake, "/token")) as ended:
            fake.always("/revoke", Reply(503))  # the first revocation is lost: the grant lives on
            shared.kernel().logout()
            assert not sibling.signed_in
            fake.restore("/revoke")

        assert isinstance(ended[0], errors.LoginRequired)
        until(lambda: all_dead(fake))
        assert not is_stored(shared)
        assert not sibling.signed_in

    def test_a_login_that_only_a_sibling_has_in_memory_is_revoked_by_it(
        self, shared: SharedLogin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its disk was full when the rotation came; then somebody else signed out."""
        shared.fake.rotation = "grace"  # so that revoking the old token does not end the new one
        shared.expire()
        sibling = shared.kernel()
        full = disk_fills_up_at_refresh(shared.fake, monkeypatch)
        newest = sibling.access_token()
        full.clear()
        shared.kernel().logout()

        assert not sibling.signed_in
        until(lambda: newest in revoked(shared.fake))


class TestEverything:
    """``mcpnb logout``, most of it with ``--all``."""

    @pytest.fixture
    def home(self, world: Path) -> Path:
        """Where commands keep logins."""
        return world / "mcpnb"

    @pytest.fixture
    def store(self, home: Path) -> FileStore:
        return FileStore(home)

    @pytest.fixture
    def login(self, fake: FakeServer, store: FileStore) -> mcpnb.Session:
        """Sign in at the fake."""
        session = connect(fake.url, store=store)
        sign_in(session)
        return session

    @pytest.mark.slow
    @pytest.mark.usefixtures("login")
    def test_all_logins_are_revoked_and_deleted(
        self, fake: FakeServer, fakes: Callable[[], FakeServer], store: FileStore
    ) -> None:
        """Also those that a later one has replaced; a broken configuration is no obstacle."""
        second = fakes()
        for server, account in ((fake, None), (second, "work"), (second, "home")):
            sign_in(connect(server.url, store=store, account=account))
        run("login", second.url, "--account", "work", "--begin").expect(0)
        config = store.folder.parent / "xdg" / "config" / "mcpnb"
        config.mkdir(parents=True)
        (config / "config.toml").write_text("[[[")

        done = run("logout", "--all").expect(0)

        assert done.err.count("revoked at the server") == 3
        assert done.err.count("Signed out of") == 3, "a pending and a stored login are one line"
        assert "(work)" in done.err
        assert store.keys("login") == []
        assert len(revoked(fake)) == 4
        assert all_dead(fake)
        assert all_dead(second)
        assert "nothing to do" in run("logout", "--all").expect(0).err

    @pytest.mark.slow
    @pytest.mark.usefixtures("login")
    def test_logins_whose_key_is_gone_are_deleted_and_it_is_said_that_nobody_was_told(
        self, fake: FakeServer, home: Path
    ) -> None:
        (home / "key").unlink()

        done = run("logout", fake.url).expect(0)

        assert "could not be read, so the server was not told" in done.err
        assert revoked(fake) == []
        assert FileStore(home).keys("login") == []
        assert "Not signed in" in run("logout", fake.url).expect(0).err

    @pytest.mark.slow
    @pytest.mark.usefixtures("login")
    def test_everything_includes_damaged_and_newer_records(self, home: Path) -> None:
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
        self, shared: SharedLogin, again: dict[str, Any]
    ) -> None:
        """In the store, both are encrypted."""
        first = tokens_of(shared)
        login, url = waiting(shared.kernel(), **again)
        login.submit(answer_of(url))
        login.wait(10)
        second = tokens_of(shared)
        assert revoked(shared.fake) == []
        (file,) = shared.folder.glob("login-*.mcpnb")
        assert not any(secret.encode() in file.read_bytes() for secret in first)

        assert shared.kernel().logout()

        assert revoked(shared.fake) == [*second, *first]
        assert all_dead(shared.fake)

    @pytest.mark.slow
    def test_refreshes_add_nothing_and_lose_nothing(self, shared: SharedLogin) -> None:
        first = tokens_of(shared)
        sign_in(shared.kernel())
        for _ in range(2):
            shared.expire()
            shared.kernel().access_token()
        newest = tokens_of(shared)

        assert shared.kernel().logout()

        assert revoked(shared.fake) == [*newest, *first]

    def test_it_is_said_if_the_server_confirms_but_one_of_them(self, shared: SharedLogin) -> None:
        first, _ = tokens_of(shared)
        sign_in(shared.kernel())
        honest = shared.fake.routes["/revoke"]

        def refuses_the_first(request: Request) -> Reply:
            return Reply(503) if request.form["token"] == [first] else honest(request)

        shared.fake.routes["/revoke"] = refuses_the_first

        assert not shared.kernel().logout()
        assert not is_stored(shared)

    def test_what_the_server_has_ended_is_not_kept(self, shared: SharedLogin) -> None:
        shared.expire()
        shared.fake.end()
        with pytest.raises(errors.LoginRequired):
            shared.kernel().access_token()

        sign_in(shared.kernel())

        assert shared.record["earlier"] == []

    def test_without_a_refresh_token_it_is_kept_while_its_access_token_lives(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        fake.token_changes = {"refresh_token": None}
        shared = SharedLogin(fake, folder, kernel)
        over = shared.access_token
        shared.expire()
        sign_in(kernel())
        alive = shared.access_token
        sign_in(kernel())

        assert kernel().logout()

        assert alive in revoked(fake)
        assert over not in revoked(fake)

    @pytest.mark.slow
    def test_the_newest_eight_are_kept(self, shared: SharedLogin) -> None:
        seen = []
        for _ in range(9):
            seen.append(tokens_of(shared)[0])
            sign_in(shared.kernel())

        kept = [one["tokens"]["refresh_token"] for one in shared.record["earlier"]]
        assert kept == seen[:-9:-1]

    @pytest.mark.threat("revocation-led-elsewhere")
    def test_each_is_revoked_where_it_was_granted_and_nowhere_else(
        self, shared: SharedLogin, fakes: Callable[[], FakeServer]
    ) -> None:
        """The server changed its authorization server in between, and all its metadata says so."""
        other, first = fakes(), tokens_of(shared)
        shared.fake.announce(revocation_endpoint=f"{other.base}/revoke")
        shared.fake.describe(authorization_servers=[other.base])
        sign_in(shared.kernel())
        second = tokens_of(shared)

        shared.kernel().logout()

        assert revoked(shared.fake) == [*first]
        assert revoked(other) == [*second]

    @pytest.mark.slow
    def test_a_server_that_is_slow_is_not_waited_for_once_for_each(
        self, shared: SharedLogin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mcpnb.tokens.refresh._REVOKING", 0.1)
        for _ in range(2):
            sign_in(shared.kernel())
        newest, pause = tokens_of(shared), threading.Event()

        def slow(_: Request) -> Reply:
            pause.wait(0.2)
            return Reply(200)

        shared.fake.routes["/revoke"] = slow

        assert not shared.kernel().logout()
        assert revoked(shared.fake) == [*newest]

    @pytest.mark.parametrize("damaged", [None, 7, "x", {"a": 1}, [7], [{}], [{"tokens": {}}]])
    def test_a_damaged_memory_of_them_is_no_reason_to_lose_the_login(
        self, shared: SharedLogin, damaged: object
    ) -> None:
        shared.change(earlier=damaged)
        assert shared.kernel().signed_in
        assert shared.kernel().logout()
