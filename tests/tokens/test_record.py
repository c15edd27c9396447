"""A stored login through time: other clocks, other kernels, other versions of mcpnb."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future
from threading import Event
from typing import Any, cast

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.oauth.credentials import LoginRecord
from mcpnb.oauth.models import ServerConfig
from mcpnb.stores import FileStore, MemoryStore, RecordName
from mcpnb.tokens import TokenSource
from mcpnb.tokens.record import fresh_until
from tests.fakes.people import until
from tests.fakes.server import FakeServer
from tests.tokens.conftest import SharedLogin


class TestTime:
    def test_a_clock_that_was_set_back_leads_to_a_refresh_and_no_waiting(
        self, shared: SharedLogin
    ) -> None:
        """The record is from the future: when it ends, nobody knows."""
        future = time.time() + 86_400
        shared.change(obtained_at=future, expires_at=future + 3600)

        assert shared.kernel().call("echo", text="now").text == "now"

        until(lambda: shared.record["tokens"]["obtained_at"] < time.time())
        assert len(shared.presented) == 1

    def test_a_refresh_answer_without_lifetime_keeps_the_earlier_one(
        self, shared: SharedLogin
    ) -> None:
        """Else nobody would refresh it before a call is refused."""
        shared.change(obtained_at=time.time() - 1000, expires_at=time.time() - 900)
        shared.fake.refresh_changes = {"expires_in": None}

        shared.kernel().access_token()

        tokens = shared.record["tokens"]
        assert tokens["expires_at"] - tokens["obtained_at"] == pytest.approx(100, abs=1)

    def test_headers_wait_for_the_refresh_of_a_stale_token(self, shared: SharedLogin) -> None:
        """Whoever takes headers cannot ask for newer ones later; a call does not wait."""
        for give in (lambda session: session.headers()["Authorization"], _bearer):
            shared.make_stale()
            old = shared.access_token
            assert give(shared.kernel()).removeprefix("Bearer ") not in ("", old)
        assert len(shared.presented) == 2

    def test_kernels_begin_to_refresh_at_different_moments(
        self, shared: SharedLogin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first refreshes and the others find its token."""
        record, moments = LoginRecord.from_dict(shared.record), set()
        for process in range(4):
            monkeypatch.setattr(os, "getpid", lambda number=process: number)
            moments.add(fresh_until(record))

        assert len(moments) == 4
        expires = record.tokens.expires_at or 0.0
        assert all(expires - 320 <= moment <= expires - 150 for moment in moments)


def _bearer(session: mcpnb.Session) -> str:
    return session.access_token()


class TestFormats:
    @pytest.mark.parametrize("where", ["record", "file"])
    def test_a_newer_one_is_an_error_everywhere_and_nothing_replaces_it(
        self, fake: FakeServer, shared: SharedLogin, where: str
    ) -> None:
        """Not a new sign-in either: the newer mcpnb still has the login."""
        (file,) = shared.folder.glob("login-*.mcpnb")
        if where == "record":
            newer = shared.record | {"version": 3}
            FileStore(shared.folder).write(RecordName("login", fake.url), newer)
        else:
            file.write_bytes(file.read_bytes().replace(b'"format": 1', b'"format": 2'))
        before = file.read_bytes()

        session = shared.kernel()
        with pytest.raises(errors.NewerFormat, match="Update mcpnb"):
            session.headers()
        login = session.login()
        with pytest.raises(errors.NewerFormat):
            login.wait(10)

        assert login.url is None
        assert file.read_bytes() == before
        assert "Update mcpnb" in repr(session)


def test_calls_that_come_at_once_look_at_the_store_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would else have a thread of its own begin to look."""
    source, go_on = TokenSource(ServerConfig("https://mcp.example/mcp"), MemoryStore()), Event()
    version = MemoryStore.version

    def slow(store: MemoryStore, key: RecordName) -> object:
        assert go_on.wait(10)
        return version(store, key)

    monkeypatch.setattr(MemoryStore, "version", slow)
    first, second = source.lookup_async(), source.lookup_async()
    go_on.set()

    assert first is second
    with pytest.raises(errors.LoginRequired):
        cast("Future[Any]", first.result(10)).result()
    assert source.lookup_async() is not first
