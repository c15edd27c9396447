"""The three ages of a token, scaled to its lifetime: fresh, stale (use it, and renew), expired."""

from __future__ import annotations

import time

from mcpnb.models import LoginRecord

__all__ = ["expired", "stale"]


def _margin(lifetime: float) -> float:
    """Seconds before its end from which a token is not sent any more.

    A call takes time, clocks differ, and servers count in whole seconds; some delete the refresh
    token when an expired access token is merely presented (measured). A twentieth of the lifetime:
    at least a second, at most ten.
    """
    return min(10.0, max(0.05 * lifetime, min(1.0, lifetime / 2)))


def _left(record: LoginRecord) -> float:
    expires = record.tokens.expires_at
    return float("inf") if expires is None else expires - time.time()


def expired(record: LoginRecord) -> bool:
    """Whether the token is too near its end to be sent."""
    return _left(record) <= _margin(record.tokens.lifetime or 0.0)


def stale(record: LoginRecord) -> bool:
    """Whether it is time to renew the token while it can still be used."""
    lifetime = record.tokens.lifetime or 0.0
    early = _margin(lifetime) + min(300.0, 0.2 * lifetime)
    return record.tokens.refresh_token is not None and _left(record) <= early
