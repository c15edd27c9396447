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

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.stores import FileStore, RecordName
from tests import figures
from tests.fakes.kernels import Kernel
from tests.fakes.people import answer_of, connect, refresh_tokens, sign_in, waiting
from tests.fakes.server import FakeServer

posix = pytest.mark.skipif(os.name != "posix", reason="links and users of POSIX")

KEY = RecordName("login", "https://mcp.example/mcp")
RECORD = {"refresh_token": "s3cret"}


def files(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"{kind}-*.mcpnb"))


@posix
@pytest.mark.threat("file-of-another-user")
@pytest.mark.parametrize("what", ["login-*.mcpnb", "key"])
def test_a_file_of_another_user_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Whoever put it there could choose the tokens, or know the key."""
    figures.add("attacks tried")
    FileStore(folder).write(KEY, RECORD)
    (planted,) = folder.glob(what)
    inode, real = planted.stat().st_ino, os.fstat

    def of_somebody_else(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        if found.st_ino != inode:
            return found
        return os.stat_result((*found[:4], found.st_uid + 1, *found[5:]))

    monkeypatch.setattr("mcpnb.storage.atomic.os.fstat", of_somebody_else)

    with pytest.raises(errors.StoreError, match="belongs to user"):
        FileStore(folder).read(KEY)


@posix
@pytest.mark.threat("symlink-in-the-store")
@pytest.mark.parametrize("what", ["login-*.mcpnb", "key", "login-*.lock"])
def test_no_link_in_the_folder_is_followed(folder: Path, tmp_path: Path, what: str) -> None:
    """Neither to read nor to write what it leads to."""
    figures.add("attacks tried")
    store = FileStore(folder)
    with store.lock(KEY, 1):
        store.write(KEY, RECORD)
    (place,) = folder.glob(what)
    target = tmp_path / "of-somebody"
    shutil.copy(place, target)
    before = target.read_bytes()
    place.unlink()
    place.symlink_to(target)

    with pytest.raises(errors.StoreError):
        _locked_and_read(FileStore(folder))
    if what.endswith(".mcpnb"):  # a write takes the link's place, and leaves what it led to
        store.write(KEY, {"n": 2})
        assert not place.is_symlink()
        place.unlink()
        place.symlink_to(target)
        store.delete(KEY)
        assert not place.is_symlink()
    assert target.read_bytes() == before


def _locked_and_read(store: FileStore) -> None:
    with store.lock(KEY, 1):
        store.read(KEY)


@pytest.mark.threat("record-moved")
def test_a_login_of_another_server_is_not_used_for_this_one(
    fakes: Callable[[], FakeServer], folder: Path
) -> None:
    """The file moved, or its head rewritten to say what is awaited there: neither is opened."""
    figures.add("attacks tried")
    mine, theirs = fakes(), fakes()
    for fake in (mine, theirs):
        sign_in(connect(fake.url, store=FileStore(folder)))
    by_server = {json.loads(f.read_text())["name"]: f for f in files(folder, "login")}
    moved = json.loads(by_server[mine.url].read_text())
    seen = len(theirs.requests)

    for content in (moved, moved | {"name": theirs.url}):
        by_server[theirs.url].write_text(json.dumps(content))
        with pytest.raises(errors.StoreError):
            connect(theirs.url, store=FileStore(folder)).call("echo")

    assert not any(request.bearer for request in theirs.requests[seen:])


@pytest.mark.threat("pending-sign-in-poisoned")
def test_a_pending_sign_in_that_somebody_put_there_is_not_completed(
    fakes: Callable[[], FakeServer], folder: Path
) -> None:
    """It has another server's endpoints, verifier and state: the code would go there."""
    figures.add("attacks tried")
    mine, theirs = fakes(), fakes()
    urls = {}
    for fake in (mine, theirs):
        login, urls[fake.url] = waiting(connect(fake.url, store=FileStore(folder)))
        login.leave()
    by_server = {json.loads(f.read_text())["name"]: f for f in files(folder, "pending")}
    planted = json.loads(by_server[theirs.url].read_text()) | {"name": mine.url}
    by_server[mine.url].write_text(json.dumps(planted))

    session = connect(mine.url, store=FileStore(folder))
    with pytest.raises(errors.McpnbError):
        session.finish(answer_of(urls[theirs.url]))
    login, url = waiting(session)
    login.cancel()

    assert url.startswith(mine.base)
    assert theirs.asked("/token") == mine.asked("/token") == []


@pytest.mark.threat("store-rolled-back")
def test_an_old_copy_of_the_folder_signs_nobody_in_again(
    fake: FakeServer, kernel: Kernel, folder: Path, tmp_path: Path
) -> None:
    """A backup of before the sign-out: what is in it was revoked at the server."""
    figures.add("attacks tried")
    session = kernel()
    sign_in(session)
    backup = tmp_path / "backup"
    shutil.copytree(folder, backup)
    assert session.logout()
    shutil.rmtree(folder)
    shutil.copytree(backup, folder)

    with pytest.raises(errors.LoginRequired):
        kernel().call("echo", text="hi")
    assert len(refresh_tokens(fake)) <= 1


@pytest.mark.slow
@pytest.mark.threat("store-rolled-back")
def test_an_old_copy_with_a_spent_refresh_token_is_a_clear_end(
    fake: FakeServer, kernel: Kernel, folder: Path, tmp_path: Path
) -> None:
    """The server takes its reuse for theft (RFC 9700 section 4.14.2); it is not tried twice."""
    figures.add("attacks tried")
    sign_in(kernel())
    backup = tmp_path / "backup"
    shutil.copytree(folder, backup)
    fake.expire()
    kernel().call("echo", text="rotates")
    shutil.rmtree(folder)
    shutil.copytree(backup, folder)
    fake.expire()

    for _ in range(2):
        with pytest.raises(errors.LoginRequired):
            kernel().call("echo", text="hi")
    assert len(refresh_tokens(fake)) == 2


@pytest.mark.threat("ciphertext-tampered")
def test_no_flipped_bit_of_a_sealed_record_goes_unnoticed(folder: Path) -> None:
    figures.add("attacks tried")
    FileStore(folder).write(KEY, RECORD)
    (file,) = files(folder, "login")
    head = json.loads(file.read_text())
    sealed = base64.b64decode(head["sealed"])

    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        file.write_text(json.dumps(head | {"sealed": base64.b64encode(changed).decode()}))
        with pytest.raises(errors.StoreError):
            FileStore(folder).read(KEY)


@pytest.mark.threat("nonce-reuse")
def test_no_two_writes_share_a_nonce(folder: Path) -> None:
    """Two messages under one nonce give away AES-GCM's authentication key (NIST SP 800-38D)."""
    figures.add("attacks tried")
    store, nonces = FileStore(folder), set()
    for _ in range(50):
        store.write(KEY, RECORD)
        (file,) = files(folder, "login")
        nonces.add(base64.b64decode(json.loads(file.read_text())["sealed"])[:12])

    assert len(nonces) == 50


@pytest.mark.threat("keyring-plug-in")
def test_a_keyring_that_a_plug_in_brings_gets_no_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chosen by the environment or a `keyringrc.cfg`, it may write plain text all the same."""
    from keyring.backend import KeyringBackend

    figures.add("attacks tried")
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


@posix
@pytest.mark.threat("readable-by-others")
def test_nothing_in_the_folder_is_anybody_elses_to_read(
    fake: FakeServer, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records, locks, key and marks, whatever the umask says."""
    figures.add("attacks tried")
    monkeypatch.setenv("MCPNB_HOME", str(world / "made" / "anew"))
    before = os.umask(0)
    try:
        session = mcpnb.connect(fake.url, store="file", callback_port=0)
        sign_in(session)
        session.logout()
    finally:
        os.umask(before)

    place = world / "made" / "anew"
    assert place.stat().st_mode & 0o777 == 0o700
    assert {f.stat().st_mode & 0o777 for f in place.rglob("*") if f.is_file()} == {0o600}
    assert any(f.suffix == ".lock" for f in place.iterdir())
