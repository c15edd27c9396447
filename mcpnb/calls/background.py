"""The one daemon-thread event loop on which clients stay connected between cells."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

__all__ = ["result_of", "start"]

T = TypeVar("T")

_lock = threading.Lock()
# With the context manager that made it: collected, it would end the portal.
_portals: dict[int, tuple[BlockingPortal, AbstractContextManager[BlockingPortal]]] = {}


def start(function: Callable[[], Awaitable[T]]) -> Future[T]:
    """Run an async function on the background loop; cancelling the future cancels it there.

    Nothing is patched, and it does not matter which thread or loop asks: a widget's callback may come
    on any (measured: it changes with ipykernel's minor version).
    """
    return _portal().start_task_soon(function)


def _portal() -> BlockingPortal:
    # One per process: a forked child has none of its parent's threads.
    with _lock:
        if os.getpid() not in _portals:
            manager = start_blocking_portal("asyncio", name="mcpnb-calls")
            _portals[os.getpid()] = (manager.__enter__(), manager)
        return _portals[os.getpid()][0]


def result_of(future: Future[T]) -> T:
    """Wait for a result; an interrupt cancels the work, which tells the server (MCP cancellation)."""
    try:
        # In slices: on Windows a wait without a time-out cannot be interrupted.
        while not future.done():
            concurrent.futures.wait([future], timeout=0.5)
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        raise
