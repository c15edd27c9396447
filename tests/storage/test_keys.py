"""The key of stored records: where it is taken from, and what happens without it."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from mcpnb import errors
from mcpnb.stores import FileStore
from tests.storage.records import KEY, RECORD, posix


def encoded(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode()


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key in the environment."""
    secret = encoded(b"\xff" * 32)
    monkeypatch.setenv("MCPNB_STORE_KEY", secret)
    return secret


def test_without_anything_better_the_key_is_a_file(folder: Path) -> None:
    """And the store says so plainly."""
    store = FileStore(folder)
    store.write(KEY, RECORD)

    assert len((folder / "key").read_bytes()) == 32
    assert "only its permissions protect" in store.protected_by(KEY)


def test_the_environments_key_is_used_and_no_file_is_made(
    folder: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come without its padding."""
    store = FileStore(folder)
    store.write(KEY, RECORD)

    assert not (folder / "key").exists()
    assert "MCPNB_STORE_KEY" in store.protected_by(KEY)
    assert given not in store.protected_by(KEY) + repr(store)
    monkeypatch.setenv("MCPNB_STORE_KEY", given.rstrip("="))
    assert FileStore(folder).read(KEY) == RECORD


@pytest.mark.threat("store-key-shown")
@pytest.mark.parametrize("bad", ["short", encoded(b"x" * 31), encoded(b"x" * 33), "é" * 43, "!"])
def test_a_malformed_key_is_a_clear_error_that_does_not_repeat_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    """And nothing is written with some other key instead."""
    monkeypatch.setenv("MCPNB_STORE_KEY", bad)
    with pytest.raises(errors.ConfigError, match="32 bytes in base64url") as caught:
        FileStore(folder).write(KEY, RECORD)

    assert len(bad) < 5 or bad not in str(caught.value)
    assert list(folder.glob("*.mcpnb")) == []


@pytest.mark.parametrize("now", [encoded(os.urandom(32)), ""], ids=["another", "none"])
def test_a_login_of_another_key_is_locked_and_not_lost(
    folder: Path, given: str, monkeypatch: pytest.MonkeyPatch, now: str
) -> None:
    """It opens again once the key is back; until then nobody is told to sign in again."""
    FileStore(folder).write(KEY, RECORD)
    monkeypatch.setenv("MCPNB_STORE_KEY", now)

    with pytest.raises(errors.StoreLocked, match=r"mcp\.example.*another key"):
        FileStore(folder).read(KEY)
    assert FileStore(folder).keys("login") == [KEY]

    monkeypatch.setenv("MCPNB_STORE_KEY", given)
    assert FileStore(folder).read(KEY) == RECORD


def test_a_lost_key_file_locks_what_was_sealed_with_it(folder: Path) -> None:
    FileStore(folder).write(KEY, RECORD)
    (folder / "key").unlink()

    with pytest.raises(errors.StoreLocked, match="There is no key file"):
        FileStore(folder).read(KEY)


@pytest.mark.threat("key-file-open-to-others")
@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_file_open_to_others_is_refused(folder: Path, mode: int) -> None:
    """With the command that mends it."""
    FileStore(folder).write(KEY, RECORD)
    (folder / "key").chmod(mode)

    with pytest.raises(errors.StoreError, match="chmod 600"):
        FileStore(folder).read(KEY)

    (folder / "key").chmod(0o600)
    assert FileStore(folder).read(KEY) == RECORD


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_key_file_is_a_clear_error_and_is_not_replaced(
    folder: Path, content: bytes
) -> None:
    FileStore(folder).write(KEY, RECORD)
    (folder / "key").write_bytes(content)

    with pytest.raises(errors.StoreError, match="damaged"):
        FileStore(folder).read(KEY)
    with pytest.raises(errors.StoreError, match="damaged"):
        FileStore(folder).write(KEY, RECORD)
    assert (folder / "key").read_bytes() == content
