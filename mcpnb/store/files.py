"""Records as encrypted files, one each."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mcpnb.errors import StoreError, StoreLocked
from mcpnb.store.base import Key, Record
from mcpnb.store.crypto import StoreKey, key_from_environment, key_from_file, make_key_file
from mcpnb.store.durable import write_file

__all__ = ["FileStore"]

_FORMAT = 1
_SUFFIX = ".mcpnb"
_KEY_LOCK = 10.0


class FileStore:
    """Keeps each record in a file of mode 0600, encrypted with AES-GCM.

    The head of a file (its kind, its name, the key's id) is authenticated with it, so that a record
    cannot be given another's place. A write is: temporary file, fsync, rename, fsync of the folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Use a folder; nothing is made or read before the first record.

        Args:
            folder: Made with mode 0700 when first needed.
        """
        self._folder = Path(folder)
        self._key: StoreKey | None = None
        self._paths: dict[Key, Path] = {}

    def __repr__(self) -> str:
        return f"<FileStore {self._folder}>"

    @property
    def folder(self) -> Path:
        """The folder that holds records and, without a better place, their key."""
        return self._folder

    @property
    def where(self) -> str:
        """See `TokenStore.where`."""
        key = self._key or key_from_environment()
        protection = key.where if key else "key in a file that only its permissions protect"
        return f"encrypted in {self._folder}, {protection}"

    def read(self, key: Key) -> Record | None:
        """See `TokenStore.read`."""
        head, sealed = self._load(self._path(key))
        if head is None:
            return None
        if (head.get("kind"), head.get("name")) != key:
            raise StoreError(
                f"The file {self._path(key)} holds another record. It was left as it is."
            )
        return self._open(head, sealed)

    def write(self, key: Key, record: Record) -> None:
        """See `TokenStore.write`."""
        store_key = self._store_key() or self._made_key()
        head = {"format": _FORMAT, "kind": key.kind, "name": key.name, "key_id": store_key.key_id}
        sealed = store_key.seal(json.dumps(record).encode(), _associated(head))
        text = json.dumps({**head, "sealed": base64.b64encode(sealed).decode()})
        self._replace(self._path(key), text.encode())

    def delete(self, key: Key) -> None:
        """See `TokenStore.delete`."""
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self._path(key)} cannot be deleted: {error.strerror}.") from None

    def keys(self, kind: str) -> list[Key]:
        """See `TokenStore.keys`. Damaged files are left out; `read` tells about them."""
        found = []
        for path in sorted(self._folder.glob(f"{kind}-*{_SUFFIX}")):
            with contextlib.suppress(StoreError):
                head, _ = self._load(path)
                if head is not None and head.get("kind") == kind:
                    found.append(Key(kind, str(head.get("name"))))
        return sorted(found)

    def version(self, key: Key) -> object:
        """See `TokenStore.version`."""
        try:
            stat = self._path(key).stat()
        except OSError:
            return None
        # A rename gives every write an inode of its own, also within one tick of the clock.
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    @contextmanager
    def lock(self, key: Key, timeout: float) -> Iterator[None]:
        """See `TokenStore.lock`. A holder that dies frees it: it is the kernel's lock."""
        self._make_folder()
        path = self._path(key).with_suffix(".lock")
        # Never the soft fallback: its marker survives a killed holder and blocks everybody.
        lock = FileLock(
            path, timeout=timeout, mode=0o600, poll_interval=0.02, fallback_to_soft=False
        )
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"Another program has held this login for more than {timeout:.0f} seconds ({path})."
            ) from None
        except (OSError, NotImplementedError) as error:
            raise StoreError(
                f"No lock can be had in {self._folder} ({error}). Without one, two programs could "
                "lose a login to each other: set MCPNB_HOME to a folder on a local disk, or use "
                "store=“memory”."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _path(self, key: Key) -> Path:
        path = self._paths.get(key)
        if path is None:  # remembered: it is asked for with every request, to notice siblings
            digest = hashlib.sha256(key.name.encode()).hexdigest()[:40]
            path = self._paths[key] = self._folder / f"{key.kind}-{digest}{_SUFFIX}"
        return path

    def _load(self, path: Path) -> tuple[dict[str, Any] | None, bytes]:
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None, b""
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}.") from None
        try:
            head = json.loads(text)
            sealed = base64.b64decode(head.pop("sealed"), validate=True)
            if head["format"] > _FORMAT:
                raise StoreError(
                    f"{path} was written by a newer mcpnb (format {head['format']}). Update "
                    "mcpnb; the file was left as it is."
                )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise StoreError(
                f"{path} is damaged. It was left as it is; sign out of that server and in again."
            ) from None
        return head, sealed

    def _open(self, head: dict[str, Any], sealed: bytes) -> Record:
        store_key = self._store_key()
        if store_key is None or store_key.key_id != head.get("key_id"):
            raise StoreLocked(
                f"The login for {head.get('name')!r} was stored with another key than the one at "
                "hand "
                f"({store_key.where if store_key else 'no key file, MCPNB_STORE_KEY not set'}). "
                "Give that key back, or sign out and in again."
            )
        record: Record = json.loads(store_key.open(sealed, _associated(head)))
        return record

    def _store_key(self) -> StoreKey | None:
        if self._key is None:
            self._key = key_from_environment() or key_from_file(self._key_file)
        return self._key

    def _made_key(self) -> StoreKey:
        # Under the lock, and read first: two first runs have to agree on one key.
        with self.lock(Key("key", "key"), timeout=_KEY_LOCK):
            self._key = key_from_file(self._key_file) or make_key_file(self._key_file)
        return self._key

    @property
    def _key_file(self) -> Path:
        return self._folder / "key"

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The folder {self._folder} cannot be made: {error.strerror}. Set MCPNB_HOME to "
                "one that can be written, or use store=“memory”."
            ) from None

    def _replace(self, path: Path, content: bytes) -> None:
        self._make_folder()
        try:
            write_file(path, content)
        except OSError as error:
            raise StoreError(
                f"{path} cannot be written: {error.strerror}. What was stored before is as it was."
            ) from None


def _associated(head: dict[str, Any]) -> bytes:
    return json.dumps(head, sort_keys=True).encode()
