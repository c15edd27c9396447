"""The one daemon-thread event loop on which clients stay connected between cells."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from mcpnb.errors import bare
from mcpnb.locks import ForkSafeLock

__all__ = ["later", "result_of", "start"]

T = TypeVar("T")

_lock = ForkSafeLock()
_portals: dict[int, BlockingPortal] = {}
_loops: dict[int, asyncio.AbstractEventLoop] = {}
_tasks: set[asyncio.Task[object]] = set()


def start(function: Callable[[], Awaitable[T]]) -> Future[T]:
    """Run an async function on the background loop; cancelling the future cancels it there.

    Nothing is patched, and it does not matter which thread or loop asks: a widget's callback may
    come on any (measured: it changes with ipykernel's minor version).
    """
    return _portal().start_task_soon(function)


def later(function: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Run an async function on the background loop some time, from any thread, that one included.

    For finalizers: the garbage collector runs them wherever it happens to run.
    """
    loop = _loops.get(os.getpid())
    if loop is not None:
        loop.call_soon_threadsafe(_begin, loop, function)


def _begin(
    loop: asyncio.AbstractEventLoop, function: Callable[[], Coroutine[Any, Any, object]]
) -> None:
    task = loop.create_task(function())
    _tasks.add(task)  # the loop alone would let it be collected half-way
    task.add_done_callback(_tasks.discard)


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
            _loops[os.getpid()] = asyncio.get_running_loop()
            ready.set_result(portal)
            await portal.sleep_until_stopped()

    anyio.run(main, backend="asyncio")


def result_of(future: Future[T]) -> T:
    """Wait for a result; an interrupt cancels the work, and the server is told so."""
    try:
        # In slices: on Windows a wait without a time-out cannot be interrupted.
        while not future.done():
            concurrent.futures.wait([future], timeout=0.5)
        error = future.exception()
    except KeyboardInterrupt:
        future.cancel()
        raise
    if error is not None:
        raise bare(error) if isinstance(error, Exception) else error
    return future.result()
