"""A stored login through time: other clocks, other kernels, other versions of mcpnb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path
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
from tests.fakes.kernels import Kernel, change, make_expired, make_stale, stored
from tests.fakes.people import refresh_tokens, sign_in, until
from tests.fakes.server import FakeServer


class TestTime:
    def test_a_clock_that_was_set_back_leads_to_a_refresh_and_no_waiting(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        """The record is from the future: when it ends, nobody knows."""
        sign_in(kernel())
        future = time.time() + 86_400
        change(folder, obtained_at=future, expires_at=future + 3600)

        session = kernel()
        assert session.call("echo", text="now").text == "now"

        until(lambda: stored(folder)["tokens"]["obtained_at"] < time.time())
        assert len(refresh_tokens(fake)) == 1

    def test_a_refresh_answer_without_lifetime_keeps_the_earlier_one(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        """Else nobody would refresh it before a call is refused."""
        sign_in(kernel())
        make_expired(folder)
        change(folder, obtained_at=time.time() - 1000, expires_at=time.time() - 900)
        fake.refresh_changes = {"expires_in": None}

        kernel().access_token()

        tokens = stored(folder)["tokens"]
        assert tokens["expires_at"] - tokens["obtained_at"] == pytest.approx(100, abs=1)

    def test_headers_wait_for_the_refresh_of_a_stale_token(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        """Whoever takes headers cannot ask for newer ones later; a call does not wait."""
        sign_in(kernel())
        for give in (lambda session: session.headers()["Authorization"], _bearer):
            make_stale(folder)
            old = stored(folder)["tokens"]["access_token"]
            assert give(kernel()).removeprefix("Bearer ") not in ("", old)
        assert len(refresh_tokens(fake)) == 2

    @pytest.mark.slow
    def test_kernels_begin_to_refresh_at_different_moments(
        self, kernel: Kernel, folder: Path
    ) -> None:
        """The first refreshes and the others find its token."""
        sign_in(kernel())
        record = LoginRecord.from_dict(stored(folder))
        here = fresh_until(record)
        code = (
            "import sys, json; from mcpnb.tokens.record import fresh_until; "
            "from mcpnb.oauth.credentials import LoginRecord; "
            "print(fresh_until(LoginRecord.from_dict(json.load(sys.stdin))))"
        )
        others = {
            float(
                subprocess.run(
                    [sys.executable, "-c", code],
                    input=json.dumps(stored(folder)),
                    capture_output=True,
                    text=True,
                    check=True,
                    env=dict(os.environ),
                ).stdout
            )
            for _ in range(3)
        }

        assert len(others | {here}) > 1
        expires = record.tokens.expires_at or 0.0
        assert all(expires - 320 <= moment <= expires - 150 for moment in others | {here})


def _bearer(session: mcpnb.Session) -> str:
    return session.access_token()


class TestFormats:
    def test_a_login_of_the_first_format_is_read_and_stored_in_the_newest(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        sign_in(kernel())
        record = stored(folder)
        for added in ("setback", "doubted_at"):
            del record[added]
        FileStore(folder).write(RecordName("login", fake.url), record | {"version": 1})

        assert kernel().call("echo", text="old").text == "old"
        now = time.time()
        record["tokens"] |= {"obtained_at": now - 3700, "expires_at": now - 100}
        FileStore(folder).write(RecordName("login", fake.url), record | {"version": 1})
        assert kernel().call("echo", text="refreshed").text == "refreshed"
        assert stored(folder)["version"] == 2

    @pytest.mark.parametrize("where", ["record", "file"])
    def test_a_newer_one_is_an_error_everywhere_and_nothing_replaces_it(
        self, fake: FakeServer, kernel: Kernel, folder: Path, where: str
    ) -> None:
        """Not a new sign-in either: the newer mcpnb still has the login."""
        sign_in(kernel())
        (file,) = folder.glob("login-*.mcpnb")
        if where == "record":
            FileStore(folder).write(RecordName("login", fake.url), stored(folder) | {"version": 3})
        else:
            file.write_bytes(file.read_bytes().replace(b'"format": 1', b'"format": 2'))
        before = file.read_bytes()

        session = kernel()
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
