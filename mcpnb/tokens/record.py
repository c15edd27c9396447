"""One stored login, read again only after it was written."""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from mcpnb.concurrency import ForkSafeLock
from mcpnb.errors import StoreError
from mcpnb.oauth.credentials import LoginRecord
from mcpnb.oauth.models import Secret
from mcpnb.scrub import scrub_traceback
from mcpnb.storage import RecordName, TokenStore
from mcpnb.tokens.expiry import fresh_from, fresh_until

_log = logging.getLogger(__name__)

LOCK_TIMEOUT = 60.0
"""Seconds to wait for a sibling that refreshes; its request may take half of that."""
_SAVE_AGAIN = 5.0
_COMMIT_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token and its generation."""

    token: Secret
    generation: int
    scheme: str = "Bearer "
    """What stands before the token in the header. Empty: a configured header of another scheme."""

    @classmethod
    def of(cls, record: LoginRecord) -> AccessToken:
        """Return the token of a stored login."""
        return cls(record.tokens.access_token, record.generation)

    @property
    def authorization(self) -> str:
        """The value of the ``Authorization`` header."""
        return f"{self.scheme}{self.token.reveal()}"


@dataclass(frozen=True, slots=True)
class _Cached:
    """A token, and what shows without a lock that it is fresh."""

    version: object
    begins: float
    ends: float
    value: AccessToken


def login_key(server: str, account: str | None) -> RecordName:
    """Return the name of one login's record."""
    # threat: answer-to-another-account, token-of-another-account
    return RecordName("login", f"{server}\n{account}" if account else server)


class StoredLogin:
    """The record of one login. Thread-safe; to write it, hold its lock in the store."""

    def __init__(
        self, key: RecordName, store: TokenStore, ended_elsewhere: Callable[[LoginRecord], object]
    ) -> None:
        """Read nothing yet.

        Args:
            key: Names the record.
            store: Holds it.
            ended_elsewhere: Called with a login that exists only in memory, after somebody else
                signed out of it in the store.
        """
        self.key = key
        self.store = store
        self._ended_elsewhere = ended_elsewhere
        self._commit = RecordName("commit", key.name)
        self._lock = ForkSafeLock()
        self._version: object = object()
        self._record: LoginRecord | None = None
        self._unsaved = False
        self._cached: _Cached | None = None

    def cached(self) -> AccessToken | None:
        """Return the token if it is fresh and nobody wrote since. Takes no lock, reads no record.

        Every request asks here first, also on an event loop.
        """
        cached = self._cached
        if (
            cached is not None
            and cached.begins <= time.time() < cached.ends
            and self.store.version(self.key) == cached.version
        ):
            return cached.value
        return None

    @scrub_traceback
    def record(self) -> LoginRecord | None:
        """Return the login as it is stored now.

        Raises:
            StoreError: It cannot be read.
        """
        version = self.store.version(self.key)
        gone: LoginRecord | None = None
        with self._lock:
            if version != self._version or version is None:
                stored = self.store.read(self.key) if version is not None else None
                found = LoginRecord.from_dict(stored) if stored else None
                if self._unsaved and self._record is not None and not _older(found, self._record):
                    gone, self._unsaved = (self._record if found is None else None), False
                self._take(version, self._record if self._unsaved else found)
            record = self._record
        if gone is not None:
            self._ended_elsewhere(gone)
        return record

    def reload(self) -> LoginRecord | None:
        """Return the login as it is on disk, whatever its version: shared disks cache versions.

        Raises:
            StoreError: It cannot be read.
        """
        with self._lock:
            self._version = object()
        return self.record()

    @scrub_traceback
    def write(self, record: LoginRecord) -> None:
        """Store the login in place of the earlier one.

        Raises:
            StoreError: It could not be written.
        """
        self.store.write(self.key, record.to_dict())
        version = self.store.version(self.key)
        with self._lock:
            self._unsaved = False
            self._take(version, record)

    def writing(self) -> AbstractContextManager[None]:
        """Hold the lock of all writes: for a read and a write that belong together.

        Raises:
            StoreBusy: Somebody holds it for longer than a write takes.
        """
        return self.store.lock(self._commit, _COMMIT_TIMEOUT)

    def replace(self, marked: LoginRecord, record: LoginRecord) -> bool:
        """Store a login in place of exactly `marked`, and of nothing newer; return whether it was.

        A sign-out does not wait forever for the record's lock. The lock taken here is held for a
        moment only, and never during a request.

        Raises:
            StoreError: It could not be written.
        """
        with self.writing():
            found = self.reload()
            # threat: late-refresh-after-a-sign-out
            if found is None or _identity(found) != _identity(marked):
                return False
            self.write(record)
            return True

    def delete(self) -> None:
        """Delete the login and leave a tombstone.

        Raises:
            StoreError: It could not be deleted.
        """
        with contextlib.ExitStack() as locks:
            with contextlib.suppress(StoreError):  # without locks there is nobody to wait for
                locks.enter_context(self.writing())
            with self._lock:
                self._unsaved = False
            self.store.delete(self.key, leave_tombstone=True)

    def keep_in_memory(self, record: LoginRecord, error: StoreError) -> None:
        """Use a login that could not be written: the one it replaces is spent.

        Writing is tried again until it succeeds, and once more when the process ends.
        """
        _log.warning("The refreshed login is kept in memory only: %s", error)
        version = self.store.version(self.key)
        with self._lock:
            self._unsaved = True
            self._take(version, record)
        threading.Thread(target=self._save_in_time, name="mcpnb-save", daemon=True).start()
        atexit.register(self._save)

    def _save_in_time(self) -> None:
        pause = threading.Event()
        while self._unsaved:
            pause.wait(_SAVE_AGAIN)
            self._save()
        atexit.unregister(self._save)

    def _save(self) -> None:
        if not self._unsaved:
            return
        try:
            with self.store.lock(self.key, _COMMIT_TIMEOUT):
                record = self.record()  # by now, perhaps a sibling's
                if record is not None:
                    self.write(record)
        except StoreError as error:
            _log.warning("The refreshed login is still kept in memory only: %s", error)

    def _take(self, version: object, record: LoginRecord | None) -> None:
        self._version, self._record = version, record
        if record is None or version is None or self._unsaved:
            self._cached = None
        else:
            token = AccessToken.of(record)
            self._cached = _Cached(version, fresh_from(record), fresh_until(record), token)


def _older(found: LoginRecord | None, ours: LoginRecord) -> bool:
    """Whether the stored login is of the same sign-in as ours, and from before it."""
    return (
        found is not None
        and found.signed_in_at == ours.signed_in_at
        and found.generation < ours.generation
        and (found.refresh_failure is None or found.refresh_failure.kind != "ended")
    )


def _identity(record: LoginRecord) -> tuple[object, ...]:
    """Return what tells one state of a login from every other, whatever touched its file."""
    return record.signed_in_at, record.generation, record.refresh_failure
