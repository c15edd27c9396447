"""The three ages of a token, scaled to its lifetime: fresh, stale (use it, and renew), expired."""

from __future__ import annotations

import os
import time
from functools import lru_cache

from mcpnb.oauth.credentials import LoginRecord

__all__ = ["CLOCKS_DIFFER", "expired", "fresh_from", "fresh_until", "stale"]

CLOCKS_DIFFER = 120.0
"""Seconds that two machines with one home folder may differ by."""


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


def fresh_from(record: LoginRecord) -> float:
    """The moment before which the token cannot have been obtained by this clock.

    One from the future is of a clock that was set back since: when it ends, nobody knows.
    """
    return record.tokens.obtained_at - CLOCKS_DIFFER


def fresh_until(record: LoginRecord) -> float:
    """The moment from which the token is stale: time to renew it, while it can still be used.

    A little different in each process: the first one renews, and the others find its token.
    """
    end, lifetime = _usable_until(record), record.tokens.lifetime or 0.0
    if record.tokens.refresh_token is None:
        return end
    return end - min(300.0, 0.2 * lifetime) * (1.0 - 0.5 * _jitter(os.getpid()))


@lru_cache(maxsize=2)
def _jitter(process: int) -> float:  # noqa: ARG001  the key: a fork has one of its own
    return int.from_bytes(os.urandom(4)) / 2**32


def stale(record: LoginRecord) -> bool:
    """Whether it is time to renew the token while it can still be used."""
    renewable = record.tokens.refresh_token is not None
    return renewable and not fresh_from(record) <= time.time() < fresh_until(record)


def expired(record: LoginRecord) -> bool:
    """Whether the token is too near its end to be sent."""
    return time.time() >= _usable_until(record)
