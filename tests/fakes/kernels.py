"""Kernels that share one login: sessions with nothing in common but a folder, and what is in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mcpnb
from mcpnb.errors import StoreError
from mcpnb.stores import FileStore, RecordName
from tests.fakes.processes import age
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request

Kernel = Callable[..., mcpnb.Session]
"""Opens a session as a kernel of its own would."""


def stored(folder: Path) -> dict[str, Any]:
    """Give the one stored login."""
    store = FileStore(folder)
    record = store.read(store.keys("login")[0])
    assert record is not None
    return record


def change(folder: Path, **changes: Any) -> None:
    """Change members of the stored login, or of its tokens."""
    store = FileStore(folder)
    (key,) = store.keys("login")
    with store.lock(key, 5):
        record = stored(folder)
        for name, value in changes.items():
            place = record["tokens"] if name in record["tokens"] else record
            assert name in place, f"a stored login has no {name}"
            place[name] = value
        store.write(key, record)


def make_stale(folder: Path) -> None:
    """Leave twenty seconds of an hour: usable, and time to refresh."""
    age(FileStore(folder), 20, of=3600)


def make_expired(folder: Path) -> None:
    """Let its hour be over."""
    age(FileStore(folder), -100, of=3600)


def disk_fills_up_at_refresh(fake: FakeServer, patch: pytest.MonkeyPatch) -> threading.Event:
    """Let no write succeed from the moment a refresh arrives at the server.

    Returns:
        Set while the disk is full.
    """
    full, honest, write = threading.Event(), fake.routes["/token"], FileStore.write

    def fills_up(request: Request) -> Reply:
        full.set()
        return honest(request)

    def write_unless_full(store: FileStore, key: RecordName, record: dict[str, Any]) -> None:
        if full.is_set():
            raise StoreError("No space left on device.")
        write(store, key, record)

    fake.routes["/token"] = fills_up
    patch.setattr(FileStore, "write", write_unless_full)
    return full
