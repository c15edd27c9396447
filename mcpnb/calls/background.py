"""The one daemon-thread event loop on which clients stay connected between cells."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

import anyio
from anyio.from_thread import BlockingPortal

__all__ = ["result_of", "start"]

T = TypeVar("T")

_lock = threading.Lock()
_portals: dict[int, BlockingPortal] = {}


def start(function: Callable[[], Awaitable[T]]) -> Future[T]:
    """Run an async function on the background loop; cancelling the future cancels it there.

    Nothing is patched, and it does not matter which thread or loop asks: a widget's callback may
    come on any (measured: it changes with ipykernel's minor version).
    """
    return _portal().start_task_soon(function)


def _portal() -> BlockingPortal:
    # One per process: a forked child has none of its parent's threads.
    with _lock:
        portal = _portals.get(os.getpid())
        if portal is None:
            ready: Future[BlockingPortal] = Future()
            # Not anyio's own start_blocking_portal: it ends the portal when its context manager is
            # collected, which at interpreter exit prints a traceback (measured). A daemon thread
            # simply stops with the process.
            threading.Thread(target=_run, args=(ready,), name="mcpnb-calls", daemon=True).start()
            portal = _portals[os.getpid()] = ready.result()
        return portal


def _run(ready: Future[BlockingPortal]) -> None:
    async def main() -> None:
        async with BlockingPortal() as portal:
            ready.set_result(portal)
            await portal.sleep_until_stopped()

    anyio.run(main, backend="asyncio")


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
