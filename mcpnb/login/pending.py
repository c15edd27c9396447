"""A pending sign-in, stored encrypted so that any process can complete it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import get_args

from mcpnb.errors import StoreBusy, StoreError
from mcpnb.oauth.authorization import AuthorizationRequest, DeviceRequest
from mcpnb.oauth.credentials import checked, from_json, to_json
from mcpnb.oauth.models import Callback
from mcpnb.oauth.registration import GRANT
from mcpnb.storage import RecordName, TokenStore

PendingRequest = AuthorizationRequest | DeviceRequest

_FORMAT = 1
_LOCK_TIMEOUT = 10.0
_CLAIM_TIMEOUT = 0.5
"""Seconds: a sign-out of any server holds an idle lock file for a moment, as it removes it."""


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """One request that a person was shown, with everything that completes it."""

    request: PendingRequest
    expires_at: float
    """Seconds since the epoch."""
    port: int | None = None
    """The port that listens for the response here. Behind a proxy the redirect URI has another."""
    callback: Callback = "loopback"
    """How the response comes back: ``page``, ``loopback``, ``paste`` or ``device``."""
    retry_without_scopes: bool = False
    """Whether to ask once more without scopes if the server refuses them."""
    claimed_at: float | None = None
    """When a process began to exchange its code. A code is good once."""

    @property
    def on_device(self) -> bool:
        """Whether the person signs in on another device (RFC 8628)."""
        return isinstance(self.request, DeviceRequest)

    def is_for(self, request: PendingRequest) -> bool:
        """Return whether it holds this request."""
        return self.request.nonce == request.nonce


class PendingLogins:
    """The one pending sign-in of a server and account, shared by all who use the store."""

    def __init__(self, store: TokenStore, login: RecordName) -> None:
        """Refer to the pending sign-in for the record `login`."""
        self._store = store
        self._key = RecordName("pending", login.name)
        self._leader = RecordName("waiting", login.name)
        self._exchange = RecordName("exchanging", login.name)

    def leader_lock(self) -> AbstractContextManager[None]:
        """Hold the lock of the one process that waits for the browser. It is free if that one dies.

        Raises:
            StoreBusy: Another one does.
        """
        return self._store.lock(self._leader, 0)

    @property
    def version(self) -> object:
        """Changes with every change."""
        return self._store.version(self._key)

    def current(self) -> PendingLogin | None:
        """Return it, unless it has expired or cannot be read."""
        found = self._read()
        # threat: late-answer
        return found if found is not None and found.expires_at > time.time() else None

    def put(self, pending: PendingLogin) -> None:
        """Store it, replacing an earlier one.

        Raises:
            StoreError: It could not be stored.
        """
        with self._store.lock(self._key, _LOCK_TIMEOUT):
            self._write(pending)

    def replace(self, request: PendingRequest, by: PendingLogin) -> bool:
        """Replace it, unless another process ended or replaced it. Return whether it was replaced.

        Raises:
            StoreError: It could not be stored.
        """
        return self._change(request, lambda _: by)

    @contextlib.contextmanager
    def claimed(self, request: PendingRequest) -> Iterator[bool]:
        """Exchange its code inside this block. The value is whether this process may.

        A code is good once. The claim is a lock, which tells a slow process from a dead one.

        Raises:
            StoreError: The claim could not be stored.
        """
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._store.lock(self._exchange, _CLAIM_TIMEOUT))
            except StoreBusy:
                yield False
                return
            yield self._change(request, lambda found: replace(found, claimed_at=time.time()))

    def exchange_in_progress(self, pending: PendingLogin) -> bool:
        """Return whether a process is exchanging its code now."""
        if pending.claimed_at is None:
            return False
        try:
            with self._store.lock(self._exchange, 0):
                return False
        except StoreBusy:
            return True

    def is_claimed(self, request: PendingRequest) -> bool:
        """Return whether its login is still wanted: nobody ended the sign-in since the claim."""
        current = self._read()
        return current is not None and current.is_for(request) and current.claimed_at is not None

    def drop(self, request: PendingRequest | None = None, *, claimed: bool = True) -> None:
        """Forget it.

        Args:
            request: Only if it still holds this request. Left out: any.
            claimed: Also while its code is exchanged; that login is then not stored.
        """
        with contextlib.suppress(StoreError), self._store.lock(self._key, _LOCK_TIMEOUT):
            current = self._read()
            other = current is not None and request is not None and not current.is_for(request)
            if other or (current and not claimed and self.exchange_in_progress(current)):
                return
            self._store.delete(self._key)

    def _change(
        self, request: PendingRequest, change: Callable[[PendingLogin], PendingLogin]
    ) -> bool:
        with self._store.lock(self._key, _LOCK_TIMEOUT):
            current = self._read()
            if current is None or not current.is_for(request) or current.claimed_at is not None:
                return False
            self._write(change(current))
            return True

    def _write(self, pending: PendingLogin) -> None:
        record = {"format": _FORMAT, **to_json(pending)}
        record["via"] = record.pop("callback")
        self._store.write(self._key, record)

    def _read(self) -> PendingLogin | None:
        data = None
        with contextlib.suppress(StoreError):
            data = self._store.read(self._key)
        if data is None or data.get("format") != _FORMAT:
            return None
        via = data.get("via", "loopback")
        via = "page" if via == "relay" else via  # as earlier versions wrote it
        try:
            kind: type[PendingRequest] = AuthorizationRequest
            if data["request"].get("grant") == GRANT:
                kind = DeviceRequest
            return PendingLogin(
                from_json(kind, data["request"]),
                expires_at=checked(float, data.get("expires_at"), "expires_at"),
                port=checked(int | None, data.get("port"), "port"),
                callback=via if via in get_args(Callback) else "loopback",  # type: ignore[arg-type]
                retry_without_scopes=data["retry_without_scopes"] is True,
                claimed_at=checked(float | None, data.get("claimed_at"), "claimed_at"),
            )
        except (KeyError, TypeError, AttributeError):
            return None
