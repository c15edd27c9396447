"""The memory of rejected tokens: the one place that counts 401s and decides what follows."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace

from mcpnb.concurrency import in_background
from mcpnb.errors import CallError, LoginRequired, McpnbError, ScopeRefused, StoreError
from mcpnb.oauth.scopes import covers
from mcpnb.text import quote
from mcpnb.tokens.record import StoredLogin
from mcpnb.tokens.refresh import not_signed_in

UNAUTHORIZED, FORBIDDEN = 401, 403


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


_REJECTION_LASTS = 60.0
"""Seconds in which a login whose refresh did not help against a 401 is not refreshed for a 401
again, by any process."""
_NOTE_PATIENCE = 5.0
"""Seconds to wait with such a note for a sibling; who waits longer is overtaken by its refresh."""


class Rejections:
    """The one place that counts 401s: was this token rejected, and is another try worth it?

    What the server says of a token is stored with the login, so that siblings share it: when it
    rejected one, and when a refresh after that did not help. A response is judged in this order:

    - 401 or 403 with ``insufficient_scope``: sign in again for more scopes. A refresh cannot widen
      a login (RFC 6749 section 6). Refused for good if those scopes were asked for already.
    - 401 within a minute of a refresh that did not help, here or in a sibling: final. Whether the
      server rejects everything, or one tool says 401 for too little scope (measured), another token
      changes nothing.
    - Any other 401: refresh, or adopt a sibling's token, and send the request once more.
    - Final: the login has ended, or if it is that of a fresh sign-in, the server is at fault.
    """

    def __init__(self, server: str, login: StoredLogin) -> None:
        """Remember what `server` says of the tokens of `login`."""
        self._server = server
        self._login = login
        self._rejected: set[int] = set()
        self._accepted: int | None = None
        self._did_not_help: dict[tuple[int, frozenset[str]], float] = {}
        self._refused_at: dict[int, float] = {}
        self._wanted: tuple[float, tuple[str, ...]] | None = None

    def reject(self, generation: int) -> None:
        """Note that the server rejects this generation: its expiry no longer counts."""
        self._rejected.add(generation)

    def is_rejected(self, generation: int) -> bool:
        """Whether the server has rejected this generation."""
        return generation in self._rejected

    def should_refresh(self, generation: int, refusal: Refusal) -> bool:
        """Whether a refresh may help after this refusal."""
        if (
            refusal.status != UNAUTHORIZED
            or (refusal.lacks_scope and refusal.scopes)
            # The SDK tries an older handshake after a refusal (measured). If the response to the
            # refresh was lost, this call would present the same refresh token again.
            or refusal.call_failed
            or self._lately_in_vain(generation, refusal.scopes)
        ):
            return False
        try:
            record = self._login.record()
        except StoreError:
            return True
        if record is None or record.generation != generation:
            return True
        # Refreshed after a rejection, here or by a sibling, and never accepted since?
        unproven = generation != self._accepted and _lately(record.rejected_at or 0.0)
        return not (unproven or _lately(record.refresh_failed_at))

    def accepted(self, generation: int) -> None:
        """Note that the server has just accepted this generation; returns at once."""
        if generation != self._accepted:
            self._accepted = generation
            self._refused_at.pop(UNAUTHORIZED, None)
            in_background(self._store, generation, rejected_at=None)

    def verdict(self, generation: int | None, refusal: Refusal) -> McpnbError | None:
        """Return what to tell of a final refusal.

        Args:
            generation: Of the token that was sent; `None` if none was.
            refusal: The last one.

        Raises:
            StoreError: The login cannot be read.
        """
        if refusal.status == FORBIDDEN:
            return self._insufficient(refusal.scopes) if refusal.lacks_scope else None
        if generation is None:
            message = f"{self._server} wants a sign-in."
            return LoginRequired(message, server=self._server, scopes=refusal.scopes)
        if refusal.not_resent:
            return LoginRequired(
                f"{self._server} rejected the token. It has been refreshed, but the body of this "
                "request cannot be sent twice: send the request again.",
                server=self._server,
            )
        if not self._lately_in_vain(generation, refusal.scopes):
            now = time.time()
            self._did_not_help[generation, frozenset(refusal.scopes)] = now
            self._store(generation, refresh_failed_at=now)  # before anybody can try again
        record = self._login.record()
        beyond = record is not None and not set(refusal.scopes) <= set(record.tokens.scopes)
        if refusal.lacks_scope or beyond:
            return self._insufficient(refusal.scopes)
        self._accepted = None
        if self._refused_before(UNAUTHORIZED):
            return CallError(
                f"{self._server} rejects the token although you have just signed in. Its audience "
                "or its clock may be wrong; `mcpnb discover` shows what the server asks for.",
                code=None,
            )
        return LoginRequired(
            f"{self._server} no longer accepts this login. Sign in again.", server=self._server
        )

    def wanted(self) -> tuple[str, ...] | None:
        """Return the scopes a call was refused for since the last sign-in; empty: none named."""
        if self._wanted is None:
            return None
        with contextlib.suppress(StoreError):
            record = self._login.record()
            if record is not None and record.signed_in_at == self._wanted[0]:
                return self._wanted[1]
        return None

    def _insufficient(self, scopes: tuple[str, ...]) -> McpnbError:
        """Return which scopes a call needs; permanently refused if they were asked for already.

        The specification demands such a memory: step-up must not go on forever.
        """
        record = self._login.record()
        if record is None:
            error = not_signed_in(self._server, self._login)
            error.scopes = scopes
            return error
        named = quote(" ".join(scopes)) if scopes else ""
        # threat: step-up-without-end
        if covers(record.requested_scopes, scopes) if scopes else self._refused_before(FORBIDDEN):
            return ScopeRefused(
                f"{self._server} refuses this call because a permission is missing"
                + (f" ({named})" if named else "")
                + ", although you signed in asking for it. Your account there may lack the right.",
                scopes=scopes,
            )
        missing = tuple(s for s in scopes if s not in record.tokens.scopes) or scopes
        self._wanted = (record.signed_in_at, missing)
        return LoginRequired(
            f"{self._server} wants more permission for this call"
            + (f": {named}." if named else "."),
            server=self._server,
            scopes=missing,
            advice="Sign in again to add it: session.login(scopes=...), or mcpnb login --scopes.",
        )

    def _lately_in_vain(self, generation: int, scopes: tuple[str, ...]) -> bool:
        # Not `_lately`: a second rejection in this minute does not extend it.
        began = self._did_not_help.get((generation, frozenset(scopes)), 0.0)
        return time.time() < began + _REJECTION_LASTS

    def _refused_before(self, status: int) -> bool:
        """Whether the server refused with this status at an earlier sign-in, too."""
        record = self._login.record()
        now = record.signed_in_at if record else 0.0
        return self._refused_at.setdefault(status, now) < now

    def _store(self, generation: int, **facts: float | None) -> None:
        """Store what the server said of a generation, for siblings."""
        # If this fails, they find it out by themselves.
        with contextlib.suppress(McpnbError):
            record = self._login.record()
            if record is None or all(getattr(record, name) == facts[name] for name in facts):
                return
            with self._login.store.lock(self._login.key, _NOTE_PATIENCE):
                record = self._login.record()
                if record is not None and record.generation == generation:
                    self._login.write(replace(record, **facts))  # type: ignore[arg-type]


def _lately(moment: float) -> bool:
    # A moment in the future means that the clock was set back since: it would last forever.
    # threat: rejected-token-replay
    return 0.0 <= time.time() - moment < _REJECTION_LASTS
