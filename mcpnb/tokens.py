"""One login's fresh token, or `LoginRequired`.

Three ages of a token, scaled to its lifetime: *fresh* is used; *stale* is used, while one renewal
runs in the background; *expired*, or rejected by the server, is renewed once for everybody: lock,
re-read, adopt what a sibling got, else refresh, write, release.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

from mcpnb.ages import expired, fresh_until, stale
from mcpnb.errors import (
    CallError,
    GrantError,
    LoginRequired,
    McpnbError,
    ScopeRefused,
    ServerUnreachable,
    StoreError,
    bare,
    quoted,
)
from mcpnb.models import LoginRecord, Secret, ServerConfig, Tokens
from mcpnb.protocol.scopes import covers
from mcpnb.store import Key, TokenStore

__all__ = ["Held", "TokenSource", "login_key"]

_log = logging.getLogger(__name__)
_LOCK_TIMEOUT = 60.0
_RETRY_PAUSE = 0.5
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Held:
    """An access token and its generation."""

    token: Secret
    generation: int


def login_key(server: str, account: str | None) -> Key:
    """Name the record of one login."""
    return Key("login", f"{server}\n{account}" if account else server)


@lru_cache(maxsize=2)
def _workers(process: int) -> ThreadPoolExecutor:  # noqa: ARG001  the key: a fork has no threads
    # The interpreter joins these threads at exit, so a rotation under way is always written:
    # an unwritten one loses the login (measured).
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix="mcpnb-renewal")


class TokenSource:
    """The tokens of one login. Thread-safe, and shared with other processes by the store."""

    def __init__(self, config: ServerConfig, store: TokenStore) -> None:
        """Serve the login of `config`'s server and account from `store`."""
        self.server = config.url
        self.key = login_key(config.url, config.account)
        self.store = store
        self._config = config
        self._lock = threading.Lock()
        self._version: object = object()
        self._record: LoginRecord | None = None
        self._quick: tuple[object, float, Held] | None = None
        self._renewal: tuple[tuple[int, int], Future[Held]] | None = None
        self._rejected: set[tuple[int, frozenset[str]]] = set()
        self._doubted: set[int] = set()
        self._postponed: dict[int, float] = {}
        self._asked: dict[frozenset[str], float] = {}
        self._wanted: tuple[float, tuple[str, ...]] | None = None

    def __repr__(self) -> str:
        return f"<TokenSource {self.server}>"

    # What is held

    def record(self) -> LoginRecord | None:
        """Give the login as stored now, read again only after somebody wrote it.

        Raises:
            StoreError: It cannot be read.
        """
        version = self.store.version(self.key)
        with self._lock:
            if version != self._version or version is None:
                stored = self.store.read(self.key) if version is not None else None
                self._record = LoginRecord.from_dict(stored) if stored else None
                self._version = version
                self._quick = _quick(version, self._record)
            return self._record

    def readable(self) -> LoginRecord | None:
        """Give the login, or `None` also where it cannot be read: for signing in anew, and out."""
        try:
            return self.record()
        except StoreError:
            return None

    def peek(self) -> Held | None:
        """Give the token if it is usable; renew it in the background if it is stale."""
        quick = self._quick
        if quick and time.time() < quick[1] and self.store.version(self.key) == quick[0]:
            return quick[2]  # as it was, and fresh: every request comes by here
        record = self.record()
        if record is None:
            return None
        postponed = time.time() < self._postponed.get(record.generation, 0.0)
        if expired(record) and not postponed:
            return None
        if stale(record) and not postponed:
            self.renewal(record.generation)
        return Held(record.tokens.access_token, record.generation)

    def fresh(self) -> Held:
        """Give a usable token, renewed if need be.

        Raises:
            LoginRequired: There is no login, or it cannot be renewed.
            ServerUnreachable: The authorization server cannot be reached now; the login is kept.
            GrantError: It cannot renew now; the login is kept.
        """
        held = self.peek()
        return held if held is not None else self.renewal().result()

    # Renewing

    def renewal(self, generation: int | None = None) -> Future[Held]:
        """Start the one renewal of a generation, or join it.

        Args:
            generation: What the caller held; a newer one is adopted instead. `None`: what is
            stored.
        """
        record = self.record()
        if record is None:
            return _failed(self._missing())
        newer = generation is None or record.generation > generation
        if newer and not expired(record):
            return _done(Held(record.tokens.access_token, record.generation))
        # With the process: a fork has its parent's futures, and nobody who would finish them.
        seen = (os.getpid(), record.generation)
        with self._lock:
            if self._renewal is None or self._renewal[0] != seen or self._renewal[1].done():
                self._renewal = (seen, _workers(seen[0]).submit(self._renew, seen[1]))
            return self._renewal[1]

    def rejected(self, generation: int) -> Future[Held]:
        """After a 401: a sibling's newer token, else one renewal.

        Ask `worth_renewing` first: a generation that was renewed and rejected all the same is not
        renewed again, or a server that rejects everything would be asked without end.
        """
        self._doubted.add(generation)
        return self.renewal(generation)

    def worth_renewing(self, generation: int, scopes: tuple[str, ...]) -> bool:
        """Whether a renewal may help after a 401 that names these scopes."""
        return (generation, frozenset(scopes)) not in self._rejected

    def renewed_in_vain(self, generation: int, scopes: tuple[str, ...]) -> None:
        """Remember that the server rejects this generation although it was just renewed."""
        self._rejected.add((generation, frozenset(scopes)))

    def _renew(self, seen: int) -> Held:
        failure: Exception
        try:
            return self._renew_or_adopt(seen)
        except McpnbError as error:
            failure = bare(error)
        except Exception as error:  # noqa: BLE001  a foreign store's, say: never into the SDK
            failure = StoreError(f"Unexpected {type(error).__name__} while renewing the login.")
        raise failure

    def _renew_or_adopt(self, seen: int) -> Held:
        with self.store.lock(self.key, _LOCK_TIMEOUT):
            record = self.record()
            if record is None:
                raise self._missing()
            if record.generation == seen or expired(record):
                record = self._refreshed_or_kept(record)
        return Held(record.tokens.access_token, record.generation)

    def _refreshed_or_kept(self, record: LoginRecord) -> LoginRecord:
        """Renew, or keep a token that still lives when that cannot be done now.

        Whether or not the server processed a lost request: the access token serves as long as it
        lives, and then there is one more try.
        """
        try:
            return self._refreshed(record)
        except (GrantError, ServerUnreachable, StoreError):
            lives = (record.tokens.expires_at or 0.0) > time.time()
            if not lives or record.generation in self._doubted:
                raise
            self._postponed[record.generation] = record.tokens.expires_at or 0.0
            return record

    def _refreshed(self, record: LoginRecord) -> LoginRecord:
        if record.tokens.refresh_token is None:
            raise LoginRequired(
                f"The login for {self.server} has ended: its token expired or was rejected, and "
                "the server gave nothing to renew it with. Sign in again.",
                server=self.server,
            )
        # Before the old refresh token is given away: can the new one be written at all?
        self.store.write(self.key, record.to_dict())
        try:
            tokens = self._ask(record)
        except GrantError as error:
            if error.error == "invalid_grant":
                self._end(record)
                raise LoginRequired(
                    f"The authorization server {quoted(record.issuer)} ended the login for "
                    f"{self.server} ({error}). Sign in again.",
                    server=self.server,
                ) from None
            if error.error == "invalid_client" and record.registration.method == "dcr":
                # The server has forgotten this client: the next sign-in makes a new one.
                self.store.delete(Key("client", record.registration.name))
                self._end(record)
                raise LoginRequired(
                    f"The authorization server {quoted(record.issuer)} no longer knows this client "
                    f"({error}). Sign in again.",
                    server=self.server,
                ) from None
            raise
        renewed = record.renewed(tokens)
        try:
            self.store.write(self.key, renewed.to_dict())
        except StoreError as error:
            # The old one is spent, so this process at least goes on with the new one.
            _log.warning("The renewed login is kept in memory only: %s", error)
            version = self.store.version(self.key)
            with self._lock:
                self._record, self._version = renewed, version
                self._quick = _quick(version, renewed)
        return renewed

    def _ask(self, record: LoginRecord) -> Tokens:
        from mcpnb import grants  # with the HTTP library: a fresh token needs neither
        from mcpnb.http import Http

        http = Http(self.server, allow_private=self._config.allow_private_network)
        try:
            try:
                return grants.refresh(record, http)
            except (GrantError, ServerUnreachable) as error:
                pause = _not_processed(error)
                if pause is None:
                    raise
                threading.Event().wait(pause)
                return grants.refresh(record, http)
        finally:
            http.close()

    def _end(self, record: LoginRecord) -> None:
        """Keep the record, without what the server declared dead: it says who ended the login."""
        tokens = replace(record.tokens, refresh_token=None)
        if record.generation in self._doubted:  # the server rejects the access token, too
            tokens = replace(tokens, expires_at=tokens.obtained_at)
        ended = replace(record, tokens=tokens)
        self.store.write(self.key, ended.to_dict())

    # What to say

    def _missing(self, scopes: tuple[str, ...] = ()) -> LoginRequired:
        return LoginRequired(
            f"Not signed in to {self.server}. Sign in first: session.login(), or mcpnb login.",
            server=self.server,
            scopes=scopes,
        )

    def refused(self) -> McpnbError:
        """Say that the server rejects a token that should be good."""
        again = self._asked_before(frozenset({"401"}))
        if again:
            return CallError(
                f"{self.server} rejects the token although you have just signed in. Its audience "
                "or its clock may be wrong; `mcpnb discover` shows what the server asks for.",
                code=None,
            )
        return LoginRequired(
            f"{self.server} no longer accepts this login. Sign in again.", server=self.server
        )

    def accepted(self) -> None:
        """Forget earlier rejections: the server has just accepted a token."""
        if self._asked:
            self._asked.pop(frozenset({"401"}), None)

    def insufficient(self, scopes: tuple[str, ...]) -> McpnbError:
        """Say which scopes a call wants beyond those held; permanently refused the second time.

        Args:
            scopes: From the challenge; may be empty, or name what is held already.
        """
        record = self.record()
        if record is None:
            return self._missing(scopes)
        named = " ".join(scopes)
        if (
            covers(record.requested_scopes, scopes)
            if scopes
            else self._asked_before(frozenset({"403"}))
        ):
            return ScopeRefused(
                f"{self.server} refuses this call for want of permission"
                + (f" ({quoted(named)})" if named else "")
                + ", although you signed in asking for it. Your account there may lack the right.",
                scopes=scopes,
            )
        missing = tuple(s for s in scopes if s not in record.tokens.scopes) or scopes
        self._wanted = (record.signed_in_at, missing)
        return LoginRequired(
            f"{self.server} wants more permission for this call"
            + (f": {quoted(named)}" if named else "")
            + ". Sign in again to add it: session.login(scopes=...), or mcpnb login --scopes.",
            server=self.server,
            scopes=missing,
        )

    @property
    def wanted(self) -> tuple[str, ...] | None:
        """Scopes a call was refused for since the last sign-in; empty: none were named."""
        record = self.readable()
        if self._wanted is None or record is None or record.signed_in_at != self._wanted[0]:
            return None
        return self._wanted[1]

    def _asked_before(self, what: frozenset[str]) -> bool:
        # Memory of failed elevations (specification, step-up): asked for at an earlier sign-in.
        record = self.record()
        now = record.signed_in_at if record else 0.0
        with self._lock:
            return self._asked.setdefault(what, now) < now

    # Signing out

    def forget(self) -> bool:
        """Revoke at the server, then forget.

        Returns:
            Whether the server confirmed the revocation.
        """
        with self.store.lock(self.key, _LOCK_TIMEOUT):
            record = self.readable()
            # Forgotten first: whatever the network does, this machine no longer holds the login.
            self.store.delete(self.key)
        if record is None:  # nothing there, or nothing that could be read
            return False
        from mcpnb import grants
        from mcpnb.http import Http

        http = Http(self.server, allow_private=self._config.allow_private_network)
        with contextlib.closing(http):
            return grants.revoke(record, http)


def _not_processed(error: McpnbError) -> float | None:
    """Seconds before a second try of a refresh that was not processed, else `None`."""
    if isinstance(error, ServerUnreachable):
        return None if error.sent else _RETRY_PAUSE
    if isinstance(error, GrantError) and error.status in (429, 503) and not error.error:
        return min(error.retry_after or _RETRY_PAUSE, _LONGEST_PAUSE)
    return None


def _quick(version: object, record: LoginRecord | None) -> tuple[object, float, Held] | None:
    if record is None or version is None:
        return None
    held = Held(record.tokens.access_token, record.generation)
    return version, fresh_until(record), held


def _done(held: Held) -> Future[Held]:
    future: Future[Held] = Future()
    future.set_result(held)
    return future


def _failed(error: McpnbError) -> Future[Held]:
    future: Future[Held] = Future()
    future.set_exception(error)
    return future
