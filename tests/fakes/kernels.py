"""Kernels that share one login: sessions with nothing in common but a folder, and what is in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mcpnb
from mcpnb.stores import FileStore

__all__ = ["Kernel", "change", "make_expired", "make_stale", "stored"]

Kernel = Callable[..., mcpnb.Session]
"""Opens a session as a kernel of its own would."""


def stored(folder: Path) -> dict[str, Any]:
    """Give the one stored login."""
    store = FileStore(folder)
    record = store.read(store.keys("login")[0])
    assert record is not None
    return record


def change(folder: Path, **changes: Any) -> None:
    """Change the stored login, and its tokens where the names are theirs."""
    store = FileStore(folder)
    (key,) = store.keys("login")
    with store.lock(key, 5):
        record = stored(folder)
        for name, value in changes.items():
            (record["tokens"] if name in record["tokens"] else record)[name] = value
        store.write(key, record)


def make_stale(folder: Path) -> None:
    """Leave twenty seconds of an hour: usable, and time to renew."""
    now = time.time()
    change(folder, obtained_at=now - 3580, expires_at=now + 20)


def make_expired(folder: Path) -> None:
    """Let its hour be over."""
    now = time.time()
    change(folder, obtained_at=now - 3700, expires_at=now - 100)
