"""What the ``Authorization`` header for one server comes from: a login, refreshed once for all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from mcpnb.concurrency import ForkSafeLock, ProcessBound, finished, in_background
from mcpnb.errors import CallError, LoginRequired, McpnbError, ScopeRefused, StoreError, detached
from mcpnb.oauth.credentials import LoginRecord
from mcpnb.oauth.models import ServerConfig
from mcpnb.oauth.scopes import covers
from mcpnb.storage import TokenStore
from mcpnb.text import quote, redact
from mcpnb.tokens.record import LOCK_TIMEOUT, AccessToken, StoredLogin, expired, fresh, login_key
from mcpnb.tokens.refresh import Refreshes, in_backoff, not_signed_in

UNAUTHORIZED, FORBIDDEN = 401, 403
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A 401 or 403 of the server, with all that decides what follows."""

    status: int
    scopes: tuple[str, ...] = ()
    """From the challenge (RFC 6750 section 3); empty where it names none."""
    lacks_scope: bool = False
    """The challenge says ``insufficient_scope``."""
    replayable: bool = True
    """The request can be sent once more."""
    in_call: bool = False
    """The request belongs to a call through the MCP SDK."""
    call_failed: bool = False
    """An earlier request of this call has met an error already."""
    not_resent: bool = False
    """There is a newer token, with which the request could not be sent once more."""


@dataclass
class _Memory:
    """What the server has responded to the tokens of one login, as far as this process knows."""

    rejected: set[int] = field(default_factory=set)
    """Generations: their expiry no longer counts."""
    accepted: int | None = None
    did_not_help: dict[tuple[int, frozenset[str]], float] = field(default_factory=dict)
    """When a refresh did not help, by the generation that was rejected after it, and scopes."""
    refused_at: dict[int, float] = field(default_factory=dict)
    """Of which sign-in a token was first refused with a status."""
    wanted: tuple[float, tuple[str, ...]] | None = None
    """The scopes that a call was refused for, after the sign-in of this time."""


_SIGN_OUT_PATIENCE = 5.0
_REJECTION_LASTS = 60.0
"""Seconds in which a login whose refresh did not help against a 401 is not refreshed for a 401
again, by any process."""
_NOTE_PATIENCE = 5.0
"""Seconds to wait with a note of what the server said, and drop it. Whoever holds the record's lock
for longer is refreshing: then the note is about a generation that is stored no more. If that
refresh fails instead, each sibling finds out by itself, at the cost of one refresh."""


class TokenSource(ProcessBound):
    """The tokens of one login. Thread-safe; processes share it by the store.

    It is the one place that counts 401s: was this token rejected, and is another try worth it? What
    the server says of a token is stored with the login, so that siblings share it: when it rejected
    one, and when a refresh after that did not help. A response is judged in this order:

    - 401 or 403 with ``insufficient_scope``: sign in again for more scopes. A refresh cannot widen
      a login (RFC 6749 section 6). Refused for good if those scopes were asked for already.
    - 401 within a minute of a refresh that did not help, here or in a sibling: final. Whether the
      server rejects everything, or one tool says 401 for too little scope (measured), another token
      changes nothing.
    - Any other 401: refresh, or adopt a sibling's token, and send the request once more.
    - Final: the login has ended, or if it is that of a fresh sign-in, the server is at fault.
    """

    configured = None

    def __init__(self, config: ServerConfig, store: TokenStore) -> None:
        """Serve the login of `config`'s server and account from `store`."""
        self.server = config.url
        self.key = login_key(config.name_in_store, config.account)
        self._config = config
        self._lock = ForkSafeLock()
        self.rest_in(store)
        self._looks: dict[str, tuple[int, Future[Any]]] = {}
        self._refresh: tuple[tuple[int, int, bool], Future[AccessToken]] | None = None

    def __repr__(self) -> str:
        return f"<TokenSource {redact(self.server)}>"

    def rest_in(self, store: TokenStore) -> None:
        """Keep the next login in `store`. A login that exists stays where it is, unused."""
        self.store = store
        self._memory = _Memory()
        self._login = StoredLogin(self.key, store, self._revoke_later)
        self._refreshes = Refreshes(self._config, self._login, self._is_rejected)

    # What is stored

    def record(self) -> LoginRecord | None:
        """Return the login as it is stored now; a `StoreError` if it cannot be read."""
        return self._login.record()

    def load_or_none(self) -> LoginRecord | None:
        """Return the login, or `None` also if it cannot be read: to sign in again, and out."""
        try:
            return self.record()
        except StoreError:
            return None

    def cached(self) -> AccessToken | None:
        """Return the token if it is known without reading or waiting."""
        return self._login.cached()

    def usable(self) -> AccessToken | None:
        """Return the token if it can be used; refresh it in the background if it is stale."""
        if (token := self._login.cached()) is not None:
            return token
        record = self.record()
        if record is None or expired(record):
            return None
        stale = record.tokens.refresh_token is not None and not fresh(record)
        if stale and not (in_backoff(record) or self._refreshes.unwritable):
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
            return finished(self.refresh()).result()
        refresh = self._refresh
        if eager and refresh is not None and refresh[0][:2] == (os.getpid(), token.generation):
            with contextlib.suppress(McpnbError):  # then the stale one has to do
                return finished(refresh[1]).result()
        return token

    def lookup_async(self) -> Future[AccessToken | Future[AccessToken]]:
        """Look the token up in another thread: it, or the refresh that has to be waited for.

        It is looked up once for all who ask meanwhile.
        """
        return self._looked_up_once(self._usable_or_refresh)

    def _usable_or_refresh(self) -> AccessToken | Future[AccessToken]:
        return self.usable() or self.refresh()

    def _looked_up_once(self, look: Callable[[], T]) -> Future[T]:
        """Do it in another thread, or join the one that does it now."""
        # No lock: at the end of the process the work is done right here. At worst it is done twice.
        process, looking = self._looks.get(look.__name__, (0, None))
        if looking is None or process != os.getpid() or looking.done():
            looking = in_background(look)
            self._looks[look.__name__] = os.getpid(), looking
        return looking

    async def require(self) -> None:
        """Raise if there is a login, and it cannot be refreshed; an open server needs none."""
        if self.cached() is not None:
            return
        # Shielded: a caller that is cancelled cancels nobody else's refresh.
        looking = self._looked_up_once(self._refresh_if_spent)
        refresh = await asyncio.shield(asyncio.wrap_future(looking))
        if refresh is not None:
            await asyncio.shield(asyncio.wrap_future(refresh))

    def _refresh_if_spent(self) -> Future[AccessToken] | None:
        return self.refresh() if self.record() is not None and not self.usable() else None

    # Refreshing

    def refresh(self, generation: int | None = None) -> Future[AccessToken]:
        """Start the one refresh of a generation, or join it; a newer one is adopted instead.

        `None` stands for the generation that is stored.
        """
        record = self.record()
        future: Future[AccessToken] = Future()
        if record is None:
            future.set_exception(not_signed_in(self.server, self._login))
            return future
        newer = generation is None or record.generation > generation
        if newer and not expired(record):
            future.set_result(AccessToken.of(record))
            return future
        # The process: a fork has its parent's futures, and no thread that would finish them. The
        # rejection: a refresh begun before it may end with the very token that is rejected.
        seen = (os.getpid(), record.generation, self._is_rejected(record.generation))
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

    def _is_rejected(self, generation: int) -> bool:
        return generation in self._memory.rejected

    def after(self, sent: AccessToken, refusal: Refusal) -> AccessToken | Future[AccessToken]:
        """Return the token to try after a refusal: a sibling's newer one, or that of a refresh.

        It is `sent` itself if no other one may help. Raises a `StoreError` if the login cannot be
        read.
        """
        if not self._may_help(sent.generation, refusal):
            return sent
        self._memory.rejected.add(sent.generation)
        return self.refresh(sent.generation)

    def _may_help(self, generation: int, refusal: Refusal) -> bool:
        """Whether a refresh may help: else a server that rejects everything is asked for ever."""
        if (
            refusal.status != UNAUTHORIZED
            or (refusal.lacks_scope and refusal.scopes)
            # The SDK tries an older handshake after a refusal (measured). If the response to the
            # refresh was lost, this call would present the same refresh token again.
            or refusal.call_failed
            or self._lately_in_vain(generation, refusal.scopes)
        ):
            return False
        record = self.record()
        if record is None or record.generation != generation:
            return True
        # Refreshed after a rejection, here or by a sibling, and never accepted since?
        unproven = generation != self._memory.accepted and _lately(record.rejected_at or 0.0)
        return not (unproven or _lately(record.refresh_failed_at))

    def accepted(self, generation: int) -> None:
        """Note that the server has just accepted this generation; returns at once."""
        if generation != self._memory.accepted:
            self._memory.accepted = generation
            self._memory.refused_at.pop(UNAUTHORIZED, None)
            in_background(self._note, generation, rejected_at=None)

    def verdict(self, generation: int | None, refusal: Refusal) -> McpnbError | None:
        """Return what to tell of a final refusal; `generation` is `None` without a token.

        Raises:
            StoreError: The login cannot be read.
        """
        server, scopes = self.server, refusal.scopes
        if refusal.status == FORBIDDEN:
            return self._insufficient(scopes) if refusal.lacks_scope else None
        if generation is None:
            return LoginRequired(f"{server} wants a sign-in.", server=server, scopes=scopes)
        if refusal.not_resent:
            return LoginRequired(
                f"{server} rejected the token. It has been refreshed, but the body of this "
                "request cannot be sent twice: send the request again.",
                server=server,
            )
        if not self._lately_in_vain(generation, scopes):
            now = time.time()
            self._memory.did_not_help[generation, frozenset(scopes)] = now
            self._note(generation, refresh_failed_at=now)  # before anybody can try again
        record = self.record()
        beyond = record is not None and not set(scopes) <= set(record.tokens.scopes)
        if refusal.lacks_scope or beyond:
            return self._insufficient(scopes)
        self._memory.accepted = None
        if self._refused_before(UNAUTHORIZED):
            return CallError(
                f"{server} rejects the token although you have just signed in. Its audience "
                "or its clock may be wrong; `mcpnb discover` shows what the server asks for.",
                code=None,
            )
        return LoginRequired(
            f"{server} no longer accepts this login. Sign in again.", server=server
        )

    @property
    def wanted(self) -> tuple[str, ...] | None:
        """Scopes a call was refused for since the last sign-in; empty: none were named."""
        if self._memory.wanted is None:
            return None
        signed_in_at, scopes = self._memory.wanted
        record = self.load_or_none()
        return scopes if record is not None and record.signed_in_at == signed_in_at else None

    def _insufficient(self, scopes: tuple[str, ...]) -> McpnbError:
        """Return which scopes a call needs; permanently refused if they were asked for already.

        The specification demands such a memory: step-up must not go on forever.
        """
        record = self.record()
        if record is None:
            error = not_signed_in(self.server, self._login)
            error.scopes = scopes
            return error
        named = quote(" ".join(scopes)) if scopes else ""
        # threat: step-up-without-end
        if covers(record.requested_scopes, scopes) if scopes else self._refused_before(FORBIDDEN):
            return ScopeRefused(
                f"{self.server} refuses this call because a permission is missing"
                + (f" ({named})" if named else "")
                + ", although you signed in asking for it. Your account there may lack the right.",
                scopes=scopes,
            )
        missing = tuple(s for s in scopes if s not in record.tokens.scopes) or scopes
        self._memory.wanted = (record.signed_in_at, missing)
        return LoginRequired(
            f"{self.server} wants more permission for this call"
            + (f": {named}." if named else "."),
            server=self.server,
            scopes=missing,
            advice="Sign in again to add it: session.login(scopes=...), or mcpnb login --scopes.",
        )

    def _lately_in_vain(self, generation: int, scopes: tuple[str, ...]) -> bool:
        # Not `_lately`: a second rejection in this minute does not extend it.
        began = self._memory.did_not_help.get((generation, frozenset(scopes)), 0.0)
        return time.time() < began + _REJECTION_LASTS

    def _refused_before(self, status: int) -> bool:
        """Whether the server refused with this status at an earlier sign-in, too."""
        record = self.record()
        now = record.signed_in_at if record else 0.0
        return self._memory.refused_at.setdefault(status, now) < now

    def _note(self, generation: int, **facts: float | None) -> None:
        """Store what the server said of a generation, for siblings."""
        # If this fails, they find it out by themselves.
        with contextlib.suppress(McpnbError):
            record = self.record()
            if record is None or all(getattr(record, name) == facts[name] for name in facts):
                return
            with self.store.lock(self.key, _NOTE_PATIENCE):
                record = self.record()
                if record is not None and record.generation == generation:
                    self._login.write(replace(record, **facts))  # type: ignore[arg-type]

    # Signing in and out

    def store_login(self, record: LoginRecord, wanted: Callable[[], bool]) -> bool:
        """Put a new login in place of an earlier one, which it remembers for the sign-out.

        `wanted` is called under the lock: whether it is still to be stored. Return whether it was.

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

        Return whether the server confirmed the revocation of all of them.

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
            # it.
            try:
                self._login.delete()
            except StoreError as error:
                failure = error
        # threat: store-rolled-back
        revoked = record is not None and self._refreshes.revoke(record)
        if failure is not None:
            raise failure
        return revoked

    def _revoke_later(self, record: LoginRecord) -> None:
        in_background(self._refreshes.revoke, record)


def _lately(moment: float) -> bool:
    # A moment in the future means that the clock was set back since: it would last forever.
    # threat: rejected-token-replay
    return 0.0 <= time.time() - moment < _REJECTION_LASTS
