"""One login's tokens: fresh, shared by all threads and processes, refreshed once."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from mcpnb.concurrency import ForkSafeLock, ProcessBound, in_background
from mcpnb.errors import CallError, LoginRequired, McpnbError, ScopeRefused, StoreError, detached
from mcpnb.oauth.credentials import LoginRecord
from mcpnb.oauth.models import ServerConfig
from mcpnb.oauth.scopes import covers
from mcpnb.storage import RecordName, TokenStore
from mcpnb.text import quote, redact
from mcpnb.tokens.expiry import expired, stale
from mcpnb.tokens.record import LOCK_TIMEOUT, AccessToken, StoredLogin, login_key
from mcpnb.tokens.refresh import Refreshes, in_backoff

__all__ = ["Rejections", "TokenSource"]


class Rejections:
    """The memory of refused calls of one login (specification: step-up must not go on for ever)."""

    def __init__(self, server: str, login: StoredLogin) -> None:
        """Remember what `server` refuses."""
        self._server = server
        self._login = login
        self._lock = ForkSafeLock()
        self._asked: dict[frozenset[str], float] = {}
        self._wanted: tuple[float, tuple[str, ...]] | None = None

    def refused(self) -> McpnbError:
        """Say that the server rejects a token that should be good."""
        again = self._asked_before(frozenset({"401"}))
        if again:
            return CallError(
                f"{self._server} rejects the token although you have just signed in. Its audience "
                "or its clock may be wrong; `mcpnb discover` shows what the server asks for.",
                code=None,
            )
        return LoginRequired(
            f"{self._server} no longer accepts this login. Sign in again.", server=self._server
        )

    def accepted(self) -> None:
        """Forget earlier rejections: the server has just accepted a token."""
        self._asked.pop(frozenset({"401"}), None)

    def insufficient(self, record: LoginRecord, scopes: tuple[str, ...]) -> McpnbError:
        """Say which scopes a call wants beyond those held; permanently refused the second time.

        Args:
            record: The login.
            scopes: From the challenge; may be empty, or name what is held already.
        """
        named = " ".join(scopes)
        if (
            # threat: step-up-without-end
            covers(record.requested_scopes, scopes)
            if scopes
            else self._asked_before(frozenset({"403"}))
        ):
            return ScopeRefused(
                f"{self._server} refuses this call for want of permission"
                + (f" ({quote(named)})" if named else "")
                + ", although you signed in asking for it. Your account there may lack the right.",
                scopes=scopes,
            )
        missing = tuple(s for s in scopes if s not in record.tokens.scopes) or scopes
        self._wanted = (record.signed_in_at, missing)
        return LoginRequired(
            f"{self._server} wants more permission for this call"
            + (f": {quote(named)}." if named else "."),
            server=self._server,
            scopes=missing,
            advice="Sign in again to add it: session.login(scopes=...), or mcpnb login --scopes.",
        )

    def wanted(self) -> tuple[str, ...] | None:
        """Scopes a call was refused for since the last sign-in; empty: none were named."""
        if self._wanted is None:
            return None
        with contextlib.suppress(StoreError):
            record = self._login.record()
            if record is not None and record.signed_in_at == self._wanted[0]:
                return self._wanted[1]
        return None

    def _asked_before(self, what: frozenset[str]) -> bool:
        # Memory of failed elevations (specification, step-up): asked for at an earlier sign-in.
        record = self._login.record()
        now = record.signed_in_at if record else 0.0
        with self._lock:
            return self._asked.setdefault(what, now) < now


_SIGN_OUT_PATIENCE = 5.0
_DOUBT_LASTS = 60.0
"""Seconds in which a login that was renewed after a rejection, and rejected again, is not renewed
for that once more, by any process."""


class TokenSource(ProcessBound):
    """The tokens of one login. Thread-safe, and shared with other processes by the store."""

    def __init__(self, config: ServerConfig, store: TokenStore) -> None:
        """Serve the login of `config`'s server and account from `store`."""
        self.server = config.url
        self.key = login_key(config.name_in_store, config.account)
        self._config = config
        self._lock = ForkSafeLock()
        self.rest_in(store)
        self._look: tuple[int, Future[AccessToken | None]] | None = None
        self._renewal: tuple[tuple[int, int, bool], Future[AccessToken]] | None = None
        self._in_vain: dict[tuple[int, frozenset[str]], float] = {}
        self._accepted: int | None = None

    def __repr__(self) -> str:
        return f"<TokenSource {redact(self.server)}>"

    def rest_in(self, store: TokenStore) -> None:
        """Keep the next login in `store`. One that is kept already stays where it is, unused."""
        self.store = store
        config = self._config
        self._first = login_key(config.url, config.account) if config.hidden else None
        self._former = self._first
        self._login = StoredLogin(self.key, store, self._ended_elsewhere)
        self._renewals = Refreshes(self._config, self._login)
        self._refusals = Rejections(self._config.url, self._login)

    # What is held

    def record(self) -> LoginRecord | None:
        """Give the login as stored now, read again only after somebody wrote it.

        Raises:
            StoreError: It cannot be read.
        """
        if self._former is not None:
            self._adopt(self._former)
        return self._login.record()

    def load_or_none(self) -> LoginRecord | None:
        """Give the login, or `None` also where it cannot be read: for signing in anew, and out."""
        try:
            return self.record()
        except StoreError:
            return None

    def cached(self) -> AccessToken | None:
        """Give the token if it is fresh and nobody wrote since; nothing is read for it."""
        return self._login.cached()

    def lookup_async(self) -> Future[AccessToken | None]:
        """Do what `peek` does, in another thread, once for all who ask meanwhile."""
        look = self._look
        if look is None or look[0] != os.getpid() or look[1].done():
            look = self._look = (os.getpid(), in_background(self.usable))
        return look[1]

    def usable(self) -> AccessToken | None:
        """Give the token if it is usable; renew it in the background if it is stale."""
        if (held := self._login.cached()) is not None:
            return held
        record = self.record()
        if record is None or expired(record):
            return None
        if stale(record) and not (in_backoff(record) or self._renewals.unwritable):
            self.refresh(record.generation)
        return _held(record)

    def get(self, *, eager: bool = False) -> AccessToken:
        """Give a usable token, renewed if need be.

        Args:
            eager: Wait for the renewal of a stale token, too: for who cannot come back for a
                newer one.

        Raises:
            LoginRequired: There is no login, or it cannot be renewed.
            ServerUnreachable: The authorization server cannot be reached now; the login is kept.
            GrantError: It cannot renew now; the login is kept.
        """
        held = self.usable()
        if held is None:
            return self.refresh().result()
        renewal = self._renewal
        if eager and renewal is not None and renewal[0][:2] == (os.getpid(), held.generation):
            with contextlib.suppress(McpnbError):  # then the stale one has to do
                return renewal[1].result()
        return held

    # Renewing

    def refresh(self, generation: int | None = None) -> Future[AccessToken]:
        """Start the one renewal of a generation, or join it.

        Args:
            generation: What the caller held; a newer one is adopted instead. `None`: what is
            stored.
        """
        record = self.record()
        if record is None:
            return _failed(self._renewals.missing())
        newer = generation is None or record.generation > generation
        if newer and not expired(record):
            return _done(_held(record))
        # With the process: a fork has its parent's futures, and nobody who would finish them. With
        # the doubt: one that was begun before it may end with the very token that is rejected.
        seen = (os.getpid(), record.generation, self._renewals.is_rejected(record.generation))
        with self._lock:
            if self._renewal is None or self._renewal[0] != seen or self._renewal[1].done():
                future = in_background(self._renew, record.generation, time.time())
                self._renewal = (seen, future)
            return self._renewal[1]

    def _renew(self, seen: int, since: float) -> AccessToken:
        failure: Exception
        try:
            return _held(self._renewals.renew(seen, since))
        except McpnbError as error:
            failure = detached(error)
        except Exception as error:  # noqa: BLE001  a foreign store's, say: never into the SDK
            failure = StoreError(f"Unexpected {type(error).__name__} while renewing the login.")
        raise failure

    # What the server says of a token

    def rejected(self, generation: int) -> Future[AccessToken]:
        """After a 401: a sibling's newer token, else one renewal.

        Ask `worth_renewing` first: a generation that was renewed and rejected all the same is not
        renewed again, or a server that rejects everything would be asked without end.
        """
        self._renewals.mark_rejected(generation)
        return self.refresh(generation)

    def should_refresh(self, generation: int, scopes: tuple[str, ...]) -> bool:
        """Whether a renewal may help after a 401 that names these scopes.

        Not within a minute of one that did not: whether the server rejects everything, or one tool
        says 401 for too little scope (measured), another token changes nothing.
        """
        now = time.time()
        if now < self._in_vain.get((generation, frozenset(scopes)), 0.0) + _DOUBT_LASTS:
            return False
        record = self.load_or_none()
        if record is None or record.generation != generation:
            return True
        if _lately(record.refresh_failed_at):
            return False
        if generation == self._accepted:
            return True
        # Renewed after a rejection, here or by a sibling, and never accepted since.
        return record.rejected_at is None or not _lately(record.rejected_at)

    def refresh_did_not_help(self, generation: int, scopes: tuple[str, ...]) -> None:
        """Note that the server rejects this generation although it was just renewed."""
        now, said = time.time(), (generation, frozenset(scopes))
        if now < self._in_vain.get(said, 0.0) + _DOUBT_LASTS:
            return  # rejected again, and not renewed in between: the minute runs from the first
        self._in_vain[said] = now
        in_background(self._note, generation, refresh_failed_at=now)

    def accepted(self, generation: int) -> None:
        """Note that the server has just accepted this generation."""
        if generation == self._accepted:
            return
        self._accepted = generation
        self._refusals.accepted()
        record = self.load_or_none()
        if record is not None and record.rejected_at is not None:
            in_background(self._note, generation, rejected_at=None)

    def _note(self, generation: int, **facts: float | None) -> None:
        """Store what the server said of a generation, for siblings."""
        with (
            contextlib.suppress(McpnbError),  # then they find it out by themselves
            self.store.lock(self.key, LOCK_TIMEOUT),
        ):
            record = self.record()
            if record is not None and record.generation == generation:
                self._login.write(replace(record, **facts))  # type: ignore[arg-type]

    def refused(self) -> McpnbError:
        """Say that the server rejects a token that should be good."""
        self._accepted = None
        return self._refusals.refused()

    def insufficient(self, scopes: tuple[str, ...]) -> McpnbError:
        """Say which scopes a call wants beyond those held.

        Args:
            scopes: From the challenge; may be empty, or name what is held already.
        """
        record = self.record()
        if record is not None:
            return self._refusals.insufficient(record, scopes)
        missing = self._renewals.missing()
        missing.scopes = scopes
        return missing

    @property
    def wanted(self) -> tuple[str, ...] | None:
        """Scopes a call was refused for since the last sign-in; empty: none were named."""
        return self._refusals.wanted()

    # Signing in and out

    def store_login(self, record: LoginRecord, wanted: Callable[[], bool]) -> bool:
        """Put a new login in the place of an earlier one, which it remembers for the sign-out.

        Args:
            record: The login.
            wanted: Asked under the lock: whether it is still to be stored.

        Returns:
            Whether it was.

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
        """Forget the login, then revoke it at the server, and those that it took the place of.

        Returns:
            Whether the server confirmed the revocation of all of them.

        Raises:
            StoreError: It could not be deleted; it is revoked all the same.
        """
        failure: StoreError | None = None
        with contextlib.ExitStack() as held:
            # A sibling that hangs does not keep anybody signed in: it finds the mark, and revokes
            # what it gets.
            with contextlib.suppress(StoreError):
                held.enter_context(self.store.lock(self.key, _SIGN_OUT_PATIENCE))
            record = self.load_or_none()
            # Forgotten first: whatever the network does, this machine holds it no longer. And first
            # what could not be read here and so not be moved: who can may be moving it just now.
            for delete in (self._forget_former, self._login.delete):
                try:
                    delete()
                except StoreError as error:
                    failure = error
        # threat: store-rolled-back
        revoked = record is not None and self._renewals.revoke(record)
        if failure is not None:
            raise failure
        return revoked

    def _forget_former(self) -> None:
        if self._first is not None:
            self.store.delete(self._first)

    def _adopt(self, former: RecordName) -> None:
        """Move a login to its name from the one that it had at first, with the secret in clear."""
        if self.store.version(former) is not None and self.store.read(former) is not None:
            # Not the lock of the new name: who asks may hold it. That of its writes is free, or
            # soon is.
            with self.store.lock(former, LOCK_TIMEOUT), self._login.writing():
                found, ended = self.store.read(former), self.store.deleted_at(self.key)
                if found is not None and ended is None and self.store.read(self.key) is None:
                    self.store.write(self.key, found)
                self.store.delete(former)
        self._former = None

    def _ended_elsewhere(self, record: LoginRecord) -> None:
        self._renewals.revoke_later(record)


def _lately(moment: float) -> bool:
    # A moment in the future is of a clock that was set back since: it would last for ever.
    # threat: rejected-token-replay
    return 0.0 <= time.time() - moment < _DOUBT_LASTS


def _held(record: LoginRecord) -> AccessToken:
    return AccessToken(record.tokens.access_token, record.generation)


def _done(held: AccessToken) -> Future[AccessToken]:
    future: Future[AccessToken] = Future()
    future.set_result(held)
    return future


def _failed(error: LoginRequired) -> Future[AccessToken]:
    future: Future[AccessToken] = Future()
    future.set_exception(error)
    return future
