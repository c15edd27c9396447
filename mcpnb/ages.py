"""The three ages of a token, scaled to its lifetime: fresh, stale (use it, and renew), expired."""

from __future__ import annotations

import time

from mcpnb.models import LoginRecord

__all__ = ["expired", "fresh_until", "stale"]


def _margin(lifetime: float) -> float:
    """Seconds before its end from which a token is not sent any more.

    A call takes time, clocks differ, and servers count in whole seconds; some delete the refresh
    token when an expired access token is merely presented (measured). A twentieth of the lifetime:
    at least a second, at most ten.
    """
    return min(10.0, max(0.05 * lifetime, min(1.0, lifetime / 2)))


def _usable_until(record: LoginRecord) -> float:
    expires, lifetime = record.tokens.expires_at, record.tokens.lifetime
    if expires is None or lifetime is None:
        return float("inf")  # the server did not say: only a 401 tells
    return expires - _margin(lifetime)


def fresh_until(record: LoginRecord) -> float:
    """The moment from which the token is stale: time to renew it, while it can still be used."""
    end, lifetime = _usable_until(record), record.tokens.lifetime or 0.0
    return end - min(300.0, 0.2 * lifetime) if record.tokens.refresh_token else end


def stale(record: LoginRecord) -> bool:
    """Whether it is time to renew the token while it can still be used."""
    return record.tokens.refresh_token is not None and time.time() >= fresh_until(record)


def expired(record: LoginRecord) -> bool:
    """Whether the token is too near its end to be sent."""
    return time.time() >= _usable_until(record)
