"""One stored login, read again only after it was written, and how old its token is."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from mcpnb.concurrency import ForkSafeLock, per_process
from mcpnb.errors import StoreError
from mcpnb.oauth.credentials import LoginRecord
from mcpnb.oauth.models import Secret
from mcpnb.scrub import scrub_traceback
from mcpnb.storage import RecordName, TokenStore

_log = logging.getLogger(__name__)

LOCK_TIMEOUT = 60.0
"""Seconds to wait for a sibling that refreshes; its requests take less."""
CLOCKS_DIFFER = 120.0
"""Seconds by which the clocks of two machines that share a home folder may differ."""
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


# How old a token is, scaled to its lifetime: fresh, stale (use it and refresh it), expired.


def _usable_until(record: LoginRecord) -> float:
    """Return when the token must no longer be sent, a margin before its end.

    A call takes time, clocks differ, and servers count in whole seconds; some delete the refresh
    token when an expired access token is merely presented (measured). The margin is a twentieth of
    the lifetime, from one to ten seconds.
    """
    expires, lifetime = record.tokens.expires_at, record.tokens.lifetime
    if expires is None or lifetime is None:
        return float("inf")  # the server did not say: only a 401 tells
    return expires - min(10.0, max(0.05 * lifetime, min(1.0, lifetime / 2)))


def fresh_until(record: LoginRecord) -> float:
    """Return when the token gets stale: time to refresh it, while it can still be used.

    It differs a little between processes: the first one refreshes, the others find its token.
    """
    end, lifetime = _usable_until(record), record.tokens.lifetime or 0.0
    if record.tokens.refresh_token is None:
        return end
    return end - min(300.0, 0.2 * lifetime) * (1.0 - 0.5 * _jitter())


@per_process
def _jitter() -> float:
    return int.from_bytes(os.urandom(4)) / 2**32


def fresh(record: LoginRecord) -> bool:
    """Whether the token can be used and need not be refreshed.

    A token from the future means that the clock was set back since: when it ends is unknown.
    """
    return record.tokens.obtained_at - CLOCKS_DIFFER <= time.time() < fresh_until(record)


def expired(record: LoginRecord) -> bool:
    """Whether the token is too near its end to be sent."""
    return time.time() >= _usable_until(record)


def login_key(server: str, account: str | None) -> RecordName:
    """Return the name of one login's record."""
    # threat: answer-to-another-account, token-of-another-account
    return RecordName("login", f"{server}\n{account}" if account else server)


def client_key(issuer: str, redirect_uri: str | None) -> RecordName:
    """Return the name of a client's record; without a redirect URI, it is for the device grant."""
    # threat: registration-of-another-issuer, registration-of-another-redirect
    return RecordName("client", f"{issuer}\n{redirect_uri or 'device'}")


class StoredLogin:
    """The record of one login. Thread-safe; to write it, hold its lock in the store.

    Every method but `cached` raises a `StoreError` where the store cannot be read, or not written.
    """

    def __init__(
        self, key: RecordName, store: TokenStore, ended_elsewhere: Callable[[LoginRecord], object]
    ) -> None:
        """Read nothing yet.

        `ended_elsewhere` is called with a login that exists only in memory, after somebody else
        signed out of it in the store.
        """
        self.key = key
        self.store = store
        self._ended_elsewhere = ended_elsewhere
        self._lock = ForkSafeLock()
        self._last: tuple[object, LoginRecord | None] = object(), None
        """The version that was last read or written, and its record. Replaced as one."""
        self._unsaved = False

    def cached(self) -> AccessToken | None:
        """Return the token if it is fresh and nobody wrote since. Takes no lock, reads no record.

        Every request asks here first, also on an event loop.
        """
        version, record = self._last
        if (
            record is not None
            and version is not None
            and not self._unsaved
            and fresh(record)
            and self.store.version(self.key) == version
        ):
            return AccessToken.of(record)
        return None

    @scrub_traceback
    def record(self) -> LoginRecord | None:
        """Return the login as it is stored now."""
        version = self.store.version(self.key)
        gone: LoginRecord | None = None
        with self._lock:
            last, record = self._last
            if version != last or version is None:
                stored = self.store.read(self.key) if version is not None else None
                found = LoginRecord.from_dict(stored) if stored else None
                if self._unsaved and record is not None and not _older(found, record):
                    gone, self._unsaved = (record if found is None else None), False
                record = record if self._unsaved else found
                self._last = version, record
        if gone is not None:
            self._ended_elsewhere(gone)
        return record

    def reload(self) -> LoginRecord | None:
        """Return the login as it is on disk, whatever its version: shared disks cache versions."""
        with self._lock:
            self._last = object(), self._last[1]
        return self.record()

    @scrub_traceback
    def write(self, record: LoginRecord) -> None:
        """Store the login in place of the earlier one."""
        self.store.write(self.key, record.to_dict())
        version = self.store.version(self.key)
        with self._lock:
            self._unsaved, self._last = False, (version, record)

    def writing(self) -> AbstractContextManager[None]:
        """Hold the lock of all writes: for a read and a write that belong together."""
        return self.store.lock(RecordName("commit", self.key.name), _COMMIT_TIMEOUT)

    def replace(self, marked: LoginRecord, record: LoginRecord) -> bool:
        """Store a login in place of exactly `marked`, and of nothing newer; return whether it was.

        A sign-out does not wait forever for the record's lock. The lock taken here is held for a
        moment only, and never during a request.
        """
        with self.writing():
            found = self.reload()
            # threat: late-refresh-after-a-sign-out
            if found is None or _identity(found) != _identity(marked):
                return False
            self.write(record)
            return True

    def delete(self) -> None:
        """Delete the login and leave a tombstone."""
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
            self._unsaved, self._last = True, (version, record)
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
