"""How old a token is, scaled to its lifetime: fresh, stale (use it and refresh it), expired."""

from __future__ import annotations

import os
import time
from functools import lru_cache

from mcpnb.oauth.credentials import LoginRecord

CLOCKS_DIFFER = 120.0
"""Seconds by which the clocks of two machines that share a home folder may differ."""


def _usable_until(record: LoginRecord) -> float:
    """Return when the token must no longer be sent, a margin before its end.

    A call takes time, clocks differ, and servers count in whole seconds; some delete the refresh
    token when an expired access token is merely presented (measured). The margin is a twentieth of
    the lifetime, from one to ten seconds.
    """
    expires, lifetime = record.tokens.expires_at, record.tokens.lifetime
    if expires is None or lifetime is None:
        return float("inf")  # the server did not say: only a 401 tells
    return expires - min(10.0, max(0.05 * lifetime, min(1.0, lifetime / 2)))


def fresh_from(record: LoginRecord) -> float:
    """Return the moment before which this clock cannot have seen the token.

    A token from the future means that the clock was set back since: when it ends is unknown.
    """
    return record.tokens.obtained_at - CLOCKS_DIFFER


def fresh_until(record: LoginRecord) -> float:
    """Return when the token gets stale: time to refresh it, while it can still be used.

    It differs a little between processes: the first one refreshes, the others find its token.
    """
    end, lifetime = _usable_until(record), record.tokens.lifetime or 0.0
    if record.tokens.refresh_token is None:
        return end
    return end - min(300.0, 0.2 * lifetime) * (1.0 - 0.5 * _jitter(os.getpid()))


@lru_cache(maxsize=2)
def _jitter(process: int) -> float:  # noqa: ARG001  the key: a fork has a jitter of its own
    return int.from_bytes(os.urandom(4)) / 2**32


def stale(record: LoginRecord) -> bool:
    """Whether it is time to refresh the token while it can still be used."""
    refreshable = record.tokens.refresh_token is not None
    return refreshable and not fresh_from(record) <= time.time() < fresh_until(record)


def expired(record: LoginRecord) -> bool:
    """Whether the token is too near its end to be sent."""
    return time.time() >= _usable_until(record)
