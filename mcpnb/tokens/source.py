"""What the ``Authorization`` header for one server comes from: a login, refreshed once for all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from mcpnb.concurrency import ForkSafeLock, ProcessBound, in_background
from mcpnb.errors import McpnbError, StoreError, detached
from mcpnb.oauth.credentials import LoginRecord
from mcpnb.oauth.models import ServerConfig
from mcpnb.storage import RecordName, TokenStore
from mcpnb.text import redact
from mcpnb.tokens.expiry import expired, stale
from mcpnb.tokens.record import LOCK_TIMEOUT, AccessToken, StoredLogin, login_key
from mcpnb.tokens.refresh import Refreshes, in_backoff, not_signed_in
from mcpnb.tokens.rejections import Refusal, Rejections

T = TypeVar("T")


class Tokens(Protocol):
    """What the ``Authorization`` header for one server comes from: a login, or configuration.

    On an event loop, use only `cached`, `lookup_async`, `require` and `accepted`. Others may run a
    command, or read the store, which takes seconds where a system keyring has to be unlocked.
    """

    server: str
    key: RecordName
    """Names the login's record, also of one that is not used."""

    @property
    def configured(self) -> str | None:
        """What configures the token, in a few words; `None` for a login that a person makes."""

    def cached(self) -> AccessToken | None:
        """Return the token if it is known without reading, running or waiting."""

    def lookup_async(self) -> Future[AccessToken | Future[AccessToken]]:
        """Look the token up in another thread: it, or the refresh that has to be waited for."""

    def get(self, *, eager: bool = False) -> AccessToken:
        """Return a usable token, refreshed if needed. Raises an `McpnbError` if there is none."""

    async def require(self) -> None:
        """Raise if a call cannot succeed: there is a login, and it cannot be refreshed."""

    def record(self) -> LoginRecord | None:
        """Return the stored login; always `None` where configuration gives the token."""

    @property
    def wanted(self) -> tuple[str, ...] | None:
        """Scopes a call was refused for since the last sign-in; empty: none were named."""

    def forget(self) -> bool:
        """Forget the stored login; return whether the server confirmed its revocation."""

    def should_refresh(self, generation: int, refusal: Refusal) -> bool:
        """Whether another token may help after this refusal."""

    def rejected(self, generation: int) -> Future[AccessToken]:
        """Start to get another token; the same generation again means that there is none."""

    def accepted(self, generation: int) -> None:
        """Note that the server has just accepted this generation."""

    def verdict(self, generation: int | None, refusal: Refusal) -> McpnbError | None:
        """Return what to tell of a final refusal; `generation` is `None` without a token."""


_SIGN_OUT_PATIENCE = 5.0


class TokenSource(ProcessBound):
    """The tokens of one login (see `Tokens`). Thread-safe; processes share it by the store."""

    configured = None

    def __init__(self, config: ServerConfig, store: TokenStore) -> None:
        """Serve the login of `config`'s server and account from `store`."""
        self.server = config.url
        self.key = login_key(config.name_in_store, config.account)
        self._config = config
        self._lock = ForkSafeLock()
        self.rest_in(store)
        self._running: dict[str, tuple[int, Future[Any]]] = {}
        self._refresh: tuple[tuple[int, int, bool], Future[AccessToken]] | None = None

    def __repr__(self) -> str:
        return f"<TokenSource {redact(self.server)}>"

    def rest_in(self, store: TokenStore) -> None:
        """Keep the next login in `store`. A login that exists stays where it is, unused."""
        self.store = store
        config = self._config
        self._first = login_key(config.url, config.account) if config.hidden else None
        self._former = self._first
        self._login = StoredLogin(self.key, store, self._revoke_later)
        self._rejections = Rejections(config.url, self._login)
        self._refreshes = Refreshes(config, self._login, self._rejections.is_rejected)

    # What is stored

    def record(self) -> LoginRecord | None:
        """Return the login as it is stored now, read again only after it was written.

        Raises:
            StoreError: It cannot be read.
        """
        if self._former is not None:
            self._adopt(self._former)
        return self._login.record()

    def load_or_none(self) -> LoginRecord | None:
        """Return the login, or `None` also if it cannot be read: to sign in again, and out."""
        try:
            return self.record()
        except StoreError:
            return None

    def cached(self) -> AccessToken | None:
        """See `Tokens.cached`."""
        return self._login.cached()

    def usable(self) -> AccessToken | None:
        """Return the token if it can be used; refresh it in the background if it is stale."""
        if (token := self._login.cached()) is not None:
            return token
        record = self.record()
        if record is None or expired(record):
            return None
        if stale(record) and not (in_backoff(record) or self._refreshes.unwritable):
            self.refresh(record.generation)
        return AccessToken.of(record)

    def get(self, *, eager: bool = False) -> AccessToken:
        """Return a usable token, refreshed if needed.

        Args:
            eager: Also wait for the refresh of a stale token. For callers that cannot ask again
                later.

        Raises:
            LoginRequired: There is no login, or it cannot be refreshed.
            ServerUnreachable: The authorization server cannot be reached now; the login is kept.
            GrantError: The authorization server refuses for now; the login is kept.
        """
        token = self.usable()
        if token is None:
            return self.refresh().result()
        refresh = self._refresh
        if eager and refresh is not None and refresh[0][:2] == (os.getpid(), token.generation):
            with contextlib.suppress(McpnbError):  # then the stale one has to do
                return refresh[1].result()
        return token

    def lookup_async(self) -> Future[AccessToken | Future[AccessToken]]:
        """See `Tokens.lookup_async`; looked up once for all who ask meanwhile."""
        return self._once("lookup", lambda: self.usable() or self.refresh())

    async def require(self) -> None:
        """See `Tokens.require`; an open server needs no login."""
        if self.cached() is not None:
            return
        # Shielded: a caller that is cancelled cancels nobody else's look or refresh.
        look = self._once("require", self._refresh_if_spent)
        refresh = await asyncio.shield(asyncio.wrap_future(look))
        if refresh is not None:
            await asyncio.shield(asyncio.wrap_future(refresh))

    def _refresh_if_spent(self) -> Future[AccessToken] | None:
        spent = self.record() is not None and self.usable() is None
        return self.refresh() if spent else None

    def _once(self, name: str, work: Callable[[], T]) -> Future[T]:
        # No lock: at the end of the process the work is done right here. At worst it is done twice.
        process, running = self._running.get(name, (0, None))
        if running is None or process != os.getpid() or running.done():
            running = in_background(work)
            self._running[name] = (os.getpid(), running)
        return running

    # Refreshing

    def refresh(self, generation: int | None = None) -> Future[AccessToken]:
        """Start the one refresh of a generation, or join it.

        Args:
            generation: What the caller has; a newer one is adopted instead. `None`: what is stored.
        """
        record = self.record()
        future: Future[AccessToken]
        if record is None:
            future = Future()
            future.set_exception(not_signed_in(self.server, self._login))
            return future
        newer = generation is None or record.generation > generation
        if newer and not expired(record):
            future = Future()
            future.set_result(AccessToken.of(record))
            return future
        # The process: a fork has its parent's futures, and no thread that would finish them. The
        # rejection: a refresh begun before it may end with the very token that is rejected.
        seen = (os.getpid(), record.generation, self._rejections.is_rejected(record.generation))
        with self._lock:
            if self._refresh is None or self._refresh[0] != seen or self._refresh[1].done():
                future = in_background(self._refreshed, record.generation, time.time())
                self._refresh = (seen, future)
            return self._refresh[1]

    def _refreshed(self, seen: int, since: float) -> AccessToken:
        failure: Exception
        try:
            return AccessToken.of(self._refreshes.refresh(seen, since))
        except McpnbError as error:
            failure = detached(error)
        except Exception as error:  # noqa: BLE001  a foreign store's, say: never into the SDK
            failure = StoreError(f"Unexpected {type(error).__name__} while refreshing the login.")
        raise failure

    # What the server says of a token

    def should_refresh(self, generation: int, refusal: Refusal) -> bool:
        """See `Rejections.should_refresh`."""
        return self._rejections.should_refresh(generation, refusal)

    def rejected(self, generation: int) -> Future[AccessToken]:
        """After a 401, adopt a sibling's newer token, else start the one refresh.

        Ask `should_refresh` first: a server that rejects everything would be asked without end.
        """
        self._rejections.reject(generation)
        return self.refresh(generation)

    def accepted(self, generation: int) -> None:
        """See `Rejections.accepted`."""
        self._rejections.accepted(generation)

    def verdict(self, generation: int | None, refusal: Refusal) -> McpnbError | None:
        """See `Rejections.verdict`."""
        return self._rejections.verdict(generation, refusal)

    @property
    def wanted(self) -> tuple[str, ...] | None:
        """See `Rejections.wanted`."""
        return self._rejections.wanted()

    # Signing in and out

    def store_login(self, record: LoginRecord, wanted: Callable[[], bool]) -> bool:
        """Put a new login in place of an earlier one, which it remembers for the sign-out.

        Args:
            record: The login.
            wanted: Called under the lock: whether it is still to be stored.

        Returns:
            Whether it was stored.

        Raises:
            StoreError: It could not be written.
        """
        with self.store.lock(self.key, LOCK_TIMEOUT):
            if not wanted():
                return False
            record = record.in_place_of(self.load_or_none(), time.time())
            with self._login.writing():
                self._login.write(record)
            return True

    def forget(self) -> bool:
        """Forget the login, then revoke it at the server, and those that it replaced.

        Returns:
            Whether the server confirmed the revocation of all of them.

        Raises:
            StoreError: It could not be deleted; it is revoked all the same.
        """
        failure: StoreError | None = None
        with contextlib.ExitStack() as locks:
            # A sibling that hangs keeps nobody signed in: it finds the tombstone, and revokes what
            # it gets.
            with contextlib.suppress(StoreError):
                locks.enter_context(self.store.lock(self.key, _SIGN_OUT_PATIENCE))
            record = self.load_or_none()
            # Forgotten before it is revoked: whatever the network does, this machine no longer has
            # it. And first the one that could not be read here and so not be moved: a process that
            # can read it may be moving it just now.
            for delete in (self._forget_former, self._login.delete):
                try:
                    delete()
                except StoreError as error:
                    failure = error
        # threat: store-rolled-back
        revoked = record is not None and self._refreshes.revoke(record)
        if failure is not None:
            raise failure
        return revoked

    def _revoke_later(self, record: LoginRecord) -> None:
        self._refreshes.revoke_later(record)

    def _forget_former(self) -> None:
        if self._first is not None:
            self.store.delete(self._first)

    def _adopt(self, former: RecordName) -> None:
        """Move a login to its name from its first name, which has the secret in clear."""
        if self.store.version(former) is not None and self.store.read(former) is not None:
            # Not the lock of the new name: the caller may hold it. The lock of its writes is free,
            # or soon is.
            with self.store.lock(former, LOCK_TIMEOUT), self._login.writing():
                found, ended = self.store.read(former), self.store.deleted_at(self.key)
                if found is not None and ended is None and self.store.read(self.key) is None:
                    self.store.write(self.key, found)
                self.store.delete(former)
        self._former = None
