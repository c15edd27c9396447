"""What a server refused although a token was sent: what to say, and when to stop asking."""

from __future__ import annotations

import contextlib

from mcpnb.errors import CallError, LoginRequired, McpnbError, ScopeRefused, StoreError, quoted
from mcpnb.locks import ForkSafeLock
from mcpnb.models import LoginRecord
from mcpnb.protocol.scopes import covers
from mcpnb.tokens.stored import StoredLogin

__all__ = ["Refusals"]


class Refusals:
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
                + (f" ({quoted(named)})" if named else "")
                + ", although you signed in asking for it. Your account there may lack the right.",
                scopes=scopes,
            )
        missing = tuple(s for s in scopes if s not in record.tokens.scopes) or scopes
        self._wanted = (record.signed_in_at, missing)
        return LoginRequired(
            f"{self._server} wants more permission for this call"
            + (f": {quoted(named)}." if named else "."),
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
