"""A sign-in that waits for its answer: kept encrypted, so that any process can complete it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, get_args

from mcpnb.errors import StoreBusy, StoreError
from mcpnb.oauth.authorization import AuthorizationRequest
from mcpnb.oauth.device import DeviceRequest
from mcpnb.oauth.models import Callback, number, number_or_none
from mcpnb.oauth.registration import GRANT
from mcpnb.storage import RecordName, TokenStore

__all__ = ["PendingLogin", "PendingLogins", "PendingRequest"]

PendingRequest = AuthorizationRequest | DeviceRequest


_FORMAT = 1
_LOCK_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """One request that a person was shown, with all that completes it."""

    request: PendingRequest
    expires_at: float
    """Seconds since the epoch."""
    port: int | None = None
    """Where the answer is listened for on this machine: behind a proxy the redirect tells not."""
    callback: Callback = "loopback"
    """How the response comes back: ``page``, ``loopback``, ``paste`` or ``device``."""
    retry_without_scopes: bool = False
    """Whether it may be asked once more without scopes, where the server refuses them."""
    claimed_at: float | None = None
    """When somebody began to exchange its code: a code is good once."""

    def is_for(self, request: PendingRequest) -> bool:
        """Whether it is this request's."""
        return self.request.nonce == request.nonce

    def lasting(self, seconds: float) -> PendingLogin:
        """Give it with a new end, so many seconds from now, but for one that the server set."""
        if isinstance(self.request, DeviceRequest):
            return self
        return replace(self, expires_at=time.time() + seconds)

    def without_scopes(self) -> PendingLogin:
        """Give it with a new request that leaves the scopes to the server."""
        if isinstance(self.request, DeviceRequest):
            return self
        return replace(self, request=self.request.without_scopes(), retry_without_scopes=False)


class PendingLogins:
    """The one pending sign-in of a server and account, shared by all who use the store."""

    def __init__(self, store: TokenStore, login: RecordName) -> None:
        """Look after the sign-in that leads to the record `login`."""
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
        """Give it, unless it has expired or cannot be read."""
        found = self._read()
        # threat: late-answer
        return found if found is not None and found.expires_at > time.time() else None

    def _read(self) -> PendingLogin | None:
        data = None
        with contextlib.suppress(StoreError):
            data = self._store.read(self._key)
        if data is None or data.get("format") != _FORMAT:
            return None
        via = data.get("via", "loopback")
        via = "page" if via == "relay" else via  # as earlier versions wrote it
        try:
            return PendingLogin(
                request=_request(data["request"]),
                expires_at=number(data, "expires_at"),
                port=number_or_none(data, "port"),
                callback=via if via in get_args(Callback) else "loopback",  # type: ignore[arg-type]
                retry_without_scopes=data["retry_without_scopes"] is True,
                claimed_at=number_or_none(data, "claimed_at"),
            )
        except (KeyError, TypeError, AttributeError):
            return None

    def put(self, pending: PendingLogin) -> None:
        """Store it in the place of an earlier one.

        Raises:
            StoreError: It could not be stored.
        """
        with self._store.lock(self._key, _LOCK_TIMEOUT):
            self._write(pending)

    def replace(self, request: PendingRequest, by: PendingLogin) -> bool:
        """Store another one in its place, unless it was ended or replaced; say whether.

        Raises:
            StoreError: It could not be stored.
        """
        with self._store.lock(self._key, _LOCK_TIMEOUT):
            current = self._read()
            ours = current is not None and current.is_for(request) and current.claimed_at is None
            if ours:
                self._write(by)
            return ours

    @contextlib.contextmanager
    def claimed(self, request: PendingRequest) -> Iterator[bool]:
        """Exchange its code within: a code is good once. Gives whether nobody else does, or did.

        The claim is a lock, so that one that dies with it is told from one that takes long.

        Raises:
            StoreError: That could not be stored.
        """
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._store.lock(self._exchange, 0))
            except StoreBusy:
                yield False
                return
            yield self._claim(request)

    def _claim(self, request: PendingRequest) -> bool:
        with self._store.lock(self._key, _LOCK_TIMEOUT):
            current = self._read()
            if current is None or not current.is_for(request) or current.claimed_at is not None:
                return False
            self._write(replace(current, claimed_at=time.time()))
            return True

    def exchange_in_progress(self, pending: PendingLogin) -> bool:
        """Whether somebody exchanges its code just now."""
        if pending.claimed_at is None:
            return False
        try:
            with self._store.lock(self._exchange, 0):
                return False
        except StoreBusy:
            return True

    def is_claimed(self, request: PendingRequest) -> bool:
        """Whether what its code brings is still wanted: nobody has ended it since the claim."""
        current = self._read()
        return current is not None and current.is_for(request) and current.claimed_at is not None

    def drop(self, request: PendingRequest | None = None, *, claimed: bool = True) -> None:
        """Forget it.

        Args:
            request: Only if it is still this one's; left out: whichever it is.
            claimed: Also while somebody exchanges its code, which is then in vain.
        """
        with contextlib.suppress(StoreError), self._store.lock(self._key, _LOCK_TIMEOUT):
            current = self._read()
            other = current is not None and request is not None and not current.is_for(request)
            if other or (current and not claimed and self.exchange_in_progress(current)):
                return
            self._store.delete(self._key)

    def _write(self, pending: PendingLogin) -> None:
        record = {
            "format": _FORMAT,
            "request": pending.request.to_dict(),
            "expires_at": pending.expires_at,
            "port": pending.port,
            "via": pending.callback,
            "retry_without_scopes": pending.retry_without_scopes,
            "claimed_at": pending.claimed_at,
        }
        self._store.write(self._key, record)


def _request(data: dict[str, Any]) -> PendingRequest:
    if data.get("grant") == GRANT:
        return DeviceRequest.from_dict(data)
    return AuthorizationRequest.from_dict(data)
