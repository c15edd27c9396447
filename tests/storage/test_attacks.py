"""Attacks on what lies on disk: links, swaps, old copies, other users' files, foreign keyrings."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpnb import errors
from mcpnb.stores import FileStore
from tests import figures
from tests.fakes.kernels import Kernel
from tests.fakes.people import answer_of, connect, refresh_tokens, sign_in, waiting
from tests.fakes.server import FakeServer
from tests.leaks.tracebacks import told_quickly
from tests.storage.records import KEY, RECORD, by_server, change, posix, record_file


@pytest.fixture(autouse=True)
def counted() -> None:
    figures.add("attacks tried")


@posix
@pytest.mark.threat("file-of-another-user")
@pytest.mark.parametrize("what", ["login-*.mcpnb", "key", "."])
def test_what_belongs_to_another_user_is_refused_and_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Whoever put it there could choose the tokens, or know the key."""
    FileStore(folder).write(KEY, RECORD)
    before = record_file(folder).read_bytes()
    inode = (folder if what == "." else next(folder.glob(what))).stat().st_ino

    def of_somebody_else(real: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def look(*given: Any, **more: Any) -> os.stat_result:
            found = real(*given, **more)
            if found.st_ino != inode:
                return found
            return os.stat_result((*found[:4], found.st_uid + 1, *found[5:]))

        return look

    for name in ("stat", "fstat"):
        monkeypatch.setattr(os, name, of_somebody_else(getattr(os, name)))
    store = FileStore(folder)
    with pytest.raises(errors.StoreError, match="belongs to user"):
        store.write(KEY, {"n": 2}) if what == "." else store.read(KEY)
    assert record_file(folder).read_bytes() == before


@posix
@pytest.mark.threat("symlink-in-the-store")
@pytest.mark.parametrize("what", ["login-*.mcpnb", "key", "login-*.lock"])
def test_no_link_in_the_folder_is_followed(folder: Path, tmp_path: Path, what: str) -> None:
    """Neither to read nor to write what it leads to."""
    store = FileStore(folder)
    with store.lock(KEY, 1):
        store.write(KEY, RECORD)
    (place,) = folder.glob(what)
    target = tmp_path / "of-somebody"
    shutil.copy(place, target)
    before = target.read_bytes()
    place.unlink()
    place.symlink_to(target)

    again = FileStore(folder)
    with pytest.raises(errors.StoreError), again.lock(KEY, 1):
        again.read(KEY)
    if what.endswith(".mcpnb"):  # a write takes the link's place, and leaves what it led to
        store.write(KEY, {"n": 2})
        assert not place.is_symlink()
        place.unlink()
        place.symlink_to(target)
        store.delete(KEY)
        assert not place.is_symlink()
    assert target.read_bytes() == before


@pytest.mark.threat("record-moved")
def test_a_login_of_another_server_is_not_used_for_this_one(
    fakes: Callable[[], FakeServer], folder: Path
) -> None:
    """The file moved, or its head rewritten to say what is awaited there: neither is opened."""
    mine, theirs = fakes(), fakes()
    for fake in (mine, theirs):
        sign_in(connect(fake.url, store=FileStore(folder)))
    files = by_server(folder, "login")
    seen = len(theirs.requests)

    shutil.copy(files[mine.url], files[theirs.url])
    with pytest.raises(errors.StoreError, match="holds another record"):
        connect(theirs.url, store=FileStore(folder)).call("echo")
    change(files[theirs.url], name=theirs.url)
    with pytest.raises(errors.StoreError, match="moved here from elsewhere"):
        connect(theirs.url, store=FileStore(folder)).call("echo")

    assert not any(request.bearer for request in theirs.requests[seen:])


@pytest.mark.threat("pending-sign-in-poisoned")
def test_a_pending_sign_in_that_somebody_put_there_is_not_completed(
    fakes: Callable[[], FakeServer], folder: Path
) -> None:
    """It has another server's endpoints, verifier and state: the code would go there."""
    mine, theirs = fakes(), fakes()
    urls = {}
    for fake in (mine, theirs):
        login, urls[fake.url] = waiting(connect(fake.url, store=FileStore(folder)))
        login.leave()
    files = by_server(folder, "pending")
    shutil.copy(files[theirs.url], files[mine.url])
    change(files[mine.url], name=mine.url)

    session = connect(mine.url, store=FileStore(folder))
    with pytest.raises(errors.McpnbError):
        session.finish(answer_of(urls[theirs.url]))
    login, url = waiting(session)
    login.cancel()

    assert url.startswith(mine.base)
    assert theirs.asked("/token") == mine.asked("/token") == []


@pytest.fixture
def rolled_back(folder: Path, tmp_path: Path) -> Callable[[], None]:
    """Return a function: at its first call it copies the folder, at the second it restores it."""
    backup = tmp_path / "backup"

    def copy_or_restore() -> None:
        if backup.exists():
            shutil.rmtree(folder)
            shutil.copytree(backup, folder)
        else:
            shutil.copytree(folder, backup)

    return copy_or_restore


@pytest.mark.threat("store-rolled-back")
def test_an_old_copy_of_the_folder_signs_nobody_in_again(
    fake: FakeServer, kernel: Kernel, rolled_back: Callable[[], None]
) -> None:
    """A backup of before the sign-out: what is in it was revoked at the server."""
    session = kernel()
    sign_in(session)
    rolled_back()
    assert session.logout()
    rolled_back()

    with pytest.raises(errors.LoginRequired):
        kernel().call("echo", text="hi")
    assert len(refresh_tokens(fake)) <= 1


@pytest.mark.slow
@pytest.mark.threat("store-rolled-back")
def test_an_old_copy_with_a_spent_refresh_token_is_a_clear_end(
    fake: FakeServer, kernel: Kernel, rolled_back: Callable[[], None]
) -> None:
    """The server takes its reuse for theft (RFC 9700 section 4.14.2); it is not tried twice."""
    sign_in(kernel())
    rolled_back()
    fake.expire()
    kernel().call("echo", text="rotates")
    rolled_back()
    fake.expire()

    for _ in range(2):
        with pytest.raises(errors.LoginRequired):
            kernel().call("echo", text="hi")
    assert len(refresh_tokens(fake)) == 2


@pytest.mark.threat("ciphertext-tampered")
def test_no_flipped_bit_of_a_sealed_record_goes_unnoticed(folder: Path) -> None:
    FileStore(folder).write(KEY, RECORD)
    file = record_file(folder)
    sealed = base64.b64decode(json.loads(file.read_text())["sealed"])

    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        change(file, sealed=base64.b64encode(changed).decode())
        with pytest.raises(errors.StoreError):
            FileStore(folder).read(KEY)


def test_no_frame_of_an_error_shows_the_key_of_all_logins(folder: Path) -> None:
    """Tracebacks with local variables are printed by IPython, rich and pytest."""
    FileStore(folder).write(KEY, RECORD)
    change(record_file(folder), more=1)
    with pytest.raises(errors.StoreError, match="damaged") as caught:
        FileStore(folder).read(KEY)
    shown = told_quickly(caught.value)
    assert repr((folder / "key").read_bytes()) not in shown


@pytest.mark.threat("nonce-reuse")
def test_no_two_writes_share_a_nonce(folder: Path) -> None:
    """Two messages under one nonce give away AES-GCM's authentication key (NIST SP 800-38D)."""
    store, nonces = FileStore(folder), set()
    for _ in range(50):
        store.write(KEY, RECORD)
        sealed = json.loads(record_file(folder).read_text())["sealed"]
        nonces.add(base64.b64decode(sealed)[:12])

    assert len(nonces) == 50


@pytest.mark.threat("keyring-plug-in")
def test_a_keyring_that_a_plug_in_brings_gets_no_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chosen by the environment or a `keyringrc.cfg`, it may write plain text all the same."""
    from keyring.backend import KeyringBackend

    kept: dict[tuple[str, str], str] = {}

    class Keyring(KeyringBackend):  # type: ignore[misc, no-untyped-call, unused-ignore]
        """Works as one should, and tells everybody."""

        priority = 99.0

        def get_password(self, service: str, username: str) -> str | None:
            return kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            kept[service, username] = password

    plug_in = types.ModuleType("greedy_keyring")
    vars(plug_in)["Keyring"] = Keyring
    monkeypatch.setitem(sys.modules, "greedy_keyring", plug_in)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "greedy_keyring.Keyring")

    with pytest.raises(errors.StoreError):
        FileStore(folder, key="keyring").write(KEY, RECORD)
    FileStore(folder, key="auto").write(KEY, RECORD)

    assert kept == {}
    assert (folder / "key").exists()


@pytest.mark.threat("pipe-in-the-store")
@posix
def test_a_pipe_in_a_records_place_does_not_hang(folder: Path) -> None:
    FileStore(folder).write(KEY, RECORD)
    file = record_file(folder)
    file.unlink()
    os.mkfifo(file)

    with pytest.raises(errors.StoreError, match="damaged"):
        FileStore(folder).read(KEY)
