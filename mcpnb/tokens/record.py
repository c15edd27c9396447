"""One login as it is stored, read again only after somebody wrote it."""

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

__all__ = ["LOCK_TIMEOUT", "AccessToken", "StoredLogin", "login_key"]

_log = logging.getLogger(__name__)

LOCK_TIMEOUT = 60.0
"""Seconds to wait for a sibling that renews; its request is bounded by half of it."""
_SAVE_AGAIN = 5.0
_COMMIT_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token and its generation."""

    token: Secret
    generation: int


@dataclass(frozen=True, slots=True)
class _Quick:
    """What is needed to give a fresh token without a lock."""

    version: object
    begins: float
    ends: float
    held: AccessToken


def login_key(server: str, account: str | None) -> RecordName:
    """Name the record of one login."""
    # threat: answer-to-another-account, token-of-another-account
    return RecordName("login", f"{server}\n{account}" if account else server)


class StoredLogin:
    """The record of one login. Thread-safe; who writes holds the record's lock."""

    def __init__(
        self, key: RecordName, store: TokenStore, ended_elsewhere: Callable[[LoginRecord], object]
    ) -> None:
        """Nothing is read yet.

        Args:
            key: Names the record.
            store: Holds it.
            ended_elsewhere: Told of a login that is only in memory, and was signed out of in the
                store by somebody else.
        """
        self.key = key
        self.store = store
        self._ended_elsewhere = ended_elsewhere
        self._commit = RecordName("commit", key.name)
        self._lock = ForkSafeLock()
        self._version: object = object()
        self._record: LoginRecord | None = None
        self._unsaved = False
        self._quick: _Quick | None = None

    def cached(self) -> AccessToken | None:
        """Give the token if it is fresh and nobody wrote since: every request comes by here."""
        quick = self._quick
        if (
            quick is not None
            and quick.begins <= time.time() < quick.ends
            and self.store.version(self.key) == quick.version
        ):
            return quick.held
        return None

    @scrub_traceback
    def record(self) -> LoginRecord | None:
        """Give the login as stored now.

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

    @scrub_traceback
    def write(self, record: LoginRecord) -> None:
        """Store the login in the place of the earlier one.

        Raises:
            StoreError: It could not be written.
        """
        self.store.write(self.key, record.to_dict())
        version = self.store.version(self.key)
        with self._lock:
            self._unsaved = False
            self._take(version, record)

    def writing(self) -> AbstractContextManager[None]:
        """Hold what nobody writes without: for a look and a write that belong together.

        Raises:
            StoreBusy: Somebody holds it for longer than a write takes.
        """
        return self.store.lock(self._commit, _COMMIT_TIMEOUT)

    def replace(self, marked: LoginRecord, record: LoginRecord) -> bool:
        """Store a login in the place of just that one, and of nothing newer; say whether.

        Who signs out does not wait for ever for the record's lock: this one is held for a moment
        only, and never over a request.

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
        """Delete it, and leave a mark.

        Raises:
            StoreError: It could not be deleted.
        """
        with contextlib.ExitStack() as held:
            with contextlib.suppress(StoreError):  # without locks there is nobody to wait for
                held.enter_context(self.writing())
            with self._lock:
                self._unsaved = False
            self.store.delete(self.key, leave_tombstone=True)

    def keep_in_memory(self, record: LoginRecord, error: StoreError) -> None:
        """Go on with a login that could not be written: what it replaces is spent.

        It is tried again until it is written, and once more as the process ends.
        """
        _log.warning("The renewed login is kept in memory only: %s", error)
        version = self.store.version(self.key)
        with self._lock:
            self._unsaved = True
            self._take(version, record)
        threading.Thread(target=self._save_in_time, name="mcpnb-saving", daemon=True).start()
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
                record = self.record()  # a sibling's, by now, perhaps
                if record is not None:
                    self.write(record)
        except StoreError as error:
            _log.warning("The renewed login is still kept in memory only: %s", error)

    def reload(self) -> LoginRecord | None:
        """Give the login as it is on disk, whatever its version says: shared disks cache that.

        Raises:
            StoreError: It cannot be read.
        """
        with self._lock:
            self._version = object()
        return self.record()

    def _take(self, version: object, record: LoginRecord | None) -> None:
        self._version, self._record = version, record
        if record is None or version is None or self._unsaved:
            self._quick = None
        else:
            held = AccessToken(record.tokens.access_token, record.generation)
            self._quick = _Quick(version, fresh_from(record), fresh_until(record), held)


def _older(found: LoginRecord | None, ours: LoginRecord) -> bool:
    """Whether the stored one is from before ours, and of the same sign-in."""
    return (
        found is not None
        and found.signed_in_at == ours.signed_in_at
        and found.generation < ours.generation
        and (found.refresh_failure is None or found.refresh_failure.kind != "ended")
    )


def _identity(record: LoginRecord) -> tuple[object, ...]:
    """What tells one state of a login from every other, whatever touched its file."""
    return record.signed_in_at, record.generation, record.refresh_failure
