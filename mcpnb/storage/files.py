"""Records as encrypted files, one each."""

# ruff: noqa: D102  `TokenStore` documents its methods

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mcpnb.concurrency import ProcessBound, file_lock
from mcpnb.errors import NewerFormat, StoreBusy, StoreError
from mcpnb.storage.atomic import TEMPORARY, check_folder, read_file, remove_file, write_file
from mcpnb.storage.base import Record, RecordName
from mcpnb.storage.keys import KeyChoice, StoreKey, StoreKeys
from mcpnb.text import sanitize

_FORMAT = 1
_SUFFIX, _LOCK_SUFFIX = ".mcpnb", ".lock"
_KEY_LOCK_TIMEOUT = 10.0
_TOMBSTONES_STAY = 30 * 86_400.0
_LEFTOVERS_STAY = 3600.0
_END_OF_TIME = 1e12
"""Seconds since the epoch. No time beyond this was ever written here."""
_NONCE_BYTES = 12

Head = dict[str, Any]
"""What a file says of its record in clear; empty where there is no file."""


class FileStore(ProcessBound):
    """A store of files of mode 0600, one for each record, encrypted with AES-GCM.

    The head of a file (kind, name, key id) is authenticated with it, so that a record cannot be put
    in another's place.
    """

    def __init__(self, folder: str | os.PathLike[str], *, key: KeyChoice = "file") -> None:
        """Use a folder; nothing is created or read before the first record.

        Args:
            folder: Created with mode 0700 when first needed.
            key: Where the key is: only in the system's ``keyring``; in ``MCPNB_STORE_KEY``, else in
                a ``file`` next to the records; or ``auto``, the keyring if there is a usable one.
        """
        self._folder = Path(folder)
        self._keys = StoreKeys(
            self._folder, key, lambda: self.lock(RecordName("key", "key"), _KEY_LOCK_TIMEOUT)
        )
        self._paths: dict[RecordName, Path] = {}
        self._checked = False

    def __repr__(self) -> str:
        return f"<FileStore {self.folder}>"

    @property
    def folder(self) -> Path:
        """The folder of the records and, without a better place, of their key."""
        return self._folder

    def location(self, key: RecordName) -> str:
        return f"encrypted in {self.folder}, {self.protected_by(key)}"

    def protected_by(self, key: RecordName) -> str:
        """See `TokenStore.protected_by`. Only the file's head is read for it, and no key."""
        with contextlib.suppress(StoreError):
            head, _ = _load(self._path(key))
            if "where" in head:
                return sanitize(head["where"], 80)
        return self._keys.where

    def read(self, key: RecordName) -> Record | None:
        path = self._path(key)
        head, sealed = _load(path)
        if not head:
            return None
        # threat: record-moved
        if RecordName(str(head.get("kind")), str(head.get("name"))) != key:
            raise StoreError(f"The file {path} holds another record. It was left unchanged.")
        if "deleted_at" in head:
            return None
        what, where = sanitize(key.name.partition("\n")[0]), sanitize(head.get("where", ""), 80)
        store_key = self._keys.opening(str(head.get("key_id")), what=what, where=where)
        plain = _open(store_key, sealed, head)
        record: Record | None = None
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(plain)
        if not isinstance(record, dict):
            raise StoreError(
                f"The file {path} holds something else than a record. It was left unchanged. Sign "
                "out of that server and in again."
            )
        return record

    def write(self, key: RecordName, record: Record) -> None:
        self._make_folder()
        before: Head = {}
        try:
            before, _ = _load(self._path(key))
        except NewerFormat:
            raise
        except StoreError:
            pass  # a file that cannot be read is replaced
        store_key = self._keys.sealing(str(before["key_id"]) if "key_id" in before else None)
        head = {
            **_head(key),
            "key_id": store_key.key_id,
            "where": store_key.where,
        }
        # threat: plain-text-at-rest
        sealed = _seal(store_key, json.dumps(record).encode(), head)
        self._replace(key, {**head, "sealed": base64.b64encode(sealed).decode()})

    def delete(self, key: RecordName, *, leave_tombstone: bool = False) -> None:
        """See `TokenStore.delete`. No key is needed for it."""
        path = self._path(key)
        if not path.exists() and not path.is_symlink():
            return
        if leave_tombstone:
            with contextlib.suppress(OSError):  # no reason to keep a login
                self._sweep()
            with contextlib.suppress(StoreError):  # on a full disk, a deletion still works
                self._replace(key, {**_head(key), "deleted_at": time.time()})
                return
        _remove(path)

    def deleted_at(self, key: RecordName) -> float | None:
        with contextlib.suppress(StoreError):
            return _tombstone_time(_load(self._path(key))[0])
        return None

    def keys(self, kind: str) -> list[RecordName]:
        """See `TokenStore.keys`. Damaged files are left out; see `damaged`."""
        return sorted(
            RecordName(kind, str(head.get("name")))
            for _, head, _ in self._heads(kind)
            if head.get("kind") == kind and "deleted_at" not in head
        )

    def damaged(self, kind: str) -> list[str]:
        return [str(error) for _, _, error in self._heads(kind) if error is not None]

    def clear(self, kind: str) -> None:
        for path, head, _ in self._heads(kind):
            if "deleted_at" not in head:
                _remove(path)

    def version(self, key: RecordName) -> object:
        try:
            stat = self._path(key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return error.errno  # not “no record”: reading it says what is wrong
        # A rename gives every write a new inode, also within one tick of the clock.
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    @contextmanager
    def lock(self, key: RecordName, timeout: float) -> Iterator[None]:
        """See `TokenStore.lock`. It is freed when its holder dies."""
        self._make_folder()
        path = self._path(key).with_suffix(_LOCK_SUFFIX)
        try:
            lock = file_lock(path, timeout)
        except TimeoutError:
            raise StoreBusy(
                f"Another program has held this login for more than {timeout:.0f} seconds ({path})."
            ) from None
        except OSError as error:
            raise StoreError(
                f"No lock can be had in {self.folder} ({error}). Without one, two programs could "
                "lose a login to each other. Set MCPNB_HOME to a folder on a local disk, or use "
                "store=“memory”."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _path(self, key: RecordName) -> Path:
        path = self._paths.get(key)
        if path is None:  # cached: every request looks for a change by another process
            digest = hashlib.sha256(key.name.encode()).hexdigest()[:40]
            path = self._paths[key] = self.folder / f"{key.kind}-{digest}{_SUFFIX}"
        return path

    def _heads(self, kind: str) -> Iterator[tuple[Path, Head, StoreError | None]]:
        """Yield every file of a kind with its head, or with the reason why it has none."""
        for path in sorted(self.folder.glob(f"{kind}-*{_SUFFIX}")):
            try:
                head, _ = _load(path)
            except StoreError as error:
                yield path, {}, error
            else:
                if head:
                    yield path, head, None

    def _make_folder(self) -> None:
        try:
            # threat: readable-by-others
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._checked:
                check_folder(self.folder)
                self._remove_half_written()
                self._checked = True
        except OSError as error:
            raise StoreError(
                f"The folder {self.folder} cannot be used: {error.strerror}. Set MCPNB_HOME to "
                "one that can be written, or use store=“memory”."
            ) from None

    def _replace(self, key: RecordName, content: Head) -> None:
        path = self._path(key)
        try:
            write_file(path, json.dumps(content).encode())
        except OSError as error:
            raise StoreError(
                f"{path} cannot be written: {error.strerror}. The earlier record is unchanged."
            ) from None

    def _remove_half_written(self) -> None:
        """Remove what killed writers left: sealed records, and perhaps the key."""
        for path in self.folder.glob(f"{TEMPORARY}*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - _LEFTOVERS_STAY:
                    path.unlink()

    def _sweep(self) -> None:
        """Remove old tombstones, and locks of records that are gone."""
        for path, head, _ in self._heads("*"):
            if _is_old(head):
                # Only under its lock: a sibling may be signing in to that server.
                with contextlib.suppress(OSError, StoreError), _held(path):
                    if _is_old(_load(path)[0]):
                        path.unlink()
        for path in self.folder.glob(f"*{_LOCK_SUFFIX}"):
            # Only by its holder, and never one that is held: whoever waits for it opens it anew for
            # each try, and filelock drops a lock on a file that was unlinked in between.
            if not path.with_suffix(_SUFFIX).exists():
                with contextlib.suppress(OSError), _held(path):
                    path.unlink()  # Windows refuses: there the file stays


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a record's lock. Raises an `OSError` if somebody else does."""
    lock = file_lock(path.with_suffix(_LOCK_SUFFIX), 0)
    try:
        yield
    finally:
        lock.release()


# The format of a file


def _head(key: RecordName) -> Head:
    return {"format": _FORMAT, "kind": key.kind, "name": key.name}


def _load(path: Path) -> tuple[Head, bytes]:
    """Return the head of a file, and its sealed record, which a tombstone has not."""
    try:
        text, _ = read_file(path)
    except FileNotFoundError:
        return {}, b""
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        head: Head = json.loads(text)
        if head["format"] > _FORMAT:
            raise NewerFormat(
                f"{path} was written by a newer mcpnb (format {head['format']!r:.20}). Update "
                "mcpnb; the file was left unchanged."
            )
        sealed = b""
        if "deleted_at" not in head:
            sealed = base64.b64decode(head.pop("sealed"), validate=True)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise StoreError(
            f"{path} is damaged. It was left unchanged. Sign out of that server and in again."
        ) from None
    return head, sealed


def _tombstone_time(head: Head) -> float | None:
    at = head.get("deleted_at")
    return float(at) if isinstance(at, int | float) and abs(at) < _END_OF_TIME else None


def _is_old(head: Head) -> bool:
    """Whether it is a tombstone that nobody needs any more."""
    at = _tombstone_time(head)
    return at is not None and at < time.time() - _TOMBSTONES_STAY


def _seal(key: StoreKey, plain: bytes, head: Head) -> bytes:
    """Encrypt, and authenticate together with the head, under a fresh nonce."""
    # threat: nonce-reuse
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key.value).encrypt(nonce, plain, _associated(head))


def _open(key: StoreKey, sealed: bytes, head: Head) -> bytes:
    nonce, encrypted = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return AESGCM(key.value).decrypt(nonce, encrypted, _associated(head))
    except (InvalidTag, ValueError):
        # threat: ciphertext-tampered
        raise StoreError(
            "A stored login is damaged or was moved here from elsewhere. It was left "
            "unchanged. Sign out of that server and in again."
        ) from None


def _associated(head: Head) -> bytes:
    # threat: record-moved, head-tampered, pending-sign-in-poisoned
    return json.dumps(head, sort_keys=True).encode()


def _remove(path: Path) -> None:
    try:
        remove_file(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be deleted: {error.strerror}.") from None
