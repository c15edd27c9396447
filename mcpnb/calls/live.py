"""The connected client and the event loop of one daemon thread that it lives on."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from mcpnb.calls.client import SignedInClient, connected
from mcpnb.calls.errors import translate
from mcpnb.concurrency import ForkSafeLock
from mcpnb.errors import CallError, CallTimeout, detached
from mcpnb.oauth.models import ServerConfig
from mcpnb.tokens import Tokens
from mcpnb.tokens.auth import BearerAuth, Outcome, current_outcome

__all__ = ["LiveClient", "later", "result_of", "start"]


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
        raise detached(error) if isinstance(error, Exception) else error
    return future.result()


Operation = Callable[[SignedInClient], Coroutine[Any, Any, T]]

# The HTTP+SSE transport swallows a refused POST and leaves its caller waiting for an answer that
# cannot come; the refusal itself is known from the request. Seconds to let a real answer win.
_SWALLOWED = 0.5


class LiveClient:
    """One connection for all calls of a session, made at the first and again when it has died."""

    def __init__(self, config: ServerConfig, source: Tokens, auth: BearerAuth) -> None:
        self.process = os.getpid()
        self._config = config
        self._source = source
        self._auth = auth
        self._client: SignedInClient | None = None
        self._owner: asyncio.Task[None] | None = None
        self._stop: asyncio.Event | None = None
        self._connecting: asyncio.Lock | None = None
        self._listing: tuple[SignedInClient, asyncio.Future[None]] | None = None

    def start(self, operation: Operation[T], timeout: float | None = None) -> Future[T]:
        """Begin one call; any thread may ask. The future raises our own errors.

        Args:
            operation: What to do with the connected client.
            timeout: Seconds for all of it, connecting included.
        """
        return start(lambda: self._within(timeout, operation))

    def close(self) -> None:
        """End the connection, if there is one; returns at once."""
        if self._owner is not None:
            later(self._disconnect)

    async def _within(self, seconds: float | None, operation: Operation[T]) -> T:
        try:
            async with asyncio.timeout(seconds) as limit:
                return await self._perform(operation)
        except TimeoutError:
            if not limit.expired():
                raise  # one of its parts: it says itself what took too long
        raise CallTimeout(
            f"{self._source.server} did not answer within {seconds:g} seconds. "
            "The call may still be running there."
        )

    async def _perform(self, operation: Operation[T]) -> T:
        await self._source.require()
        for attempt in (1, 2):
            client = await self._connected()
            outcome = Outcome()
            try:
                return await self._answered(operation(client), outcome)
            except _Swallowed:
                if self._client is client:
                    await self._disconnect()
                raise (outcome.error or CallError("The call was refused.")) from None
            except Exception as error:  # noqa: BLE001  translated, whatever it is
                dead = self._died(client, error, outcome)
                if dead:
                    await self._disconnect()
                if dead and attempt == 1 and outcome.status == 404:
                    continue  # the session is gone, so the call was not taken: once more, anew
                raise translate(error, outcome, self._source.server) from None
        raise AssertionError("unreachable")

    async def _answered(self, call: Coroutine[Any, Any, T], outcome: Outcome) -> T:
        # A context of its own needs no reset: what is never finished is collected in any context,
        # where a reset is an error.
        context = contextvars.copy_context()
        context.run(current_outcome.set, outcome)
        task = asyncio.create_task(call, context=context)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=_SWALLOWED)
                if outcome.error is not None and not task.done():
                    await asyncio.wait([task], timeout=_SWALLOWED)
                    if not task.done():
                        raise _Swallowed
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=5)

    def _died(self, client: SignedInClient, error: Exception, outcome: Outcome) -> bool:
        if self._owner is None or self._owner.done() or self._client is not client:
            return self._client is client
        return outcome.over or outcome.status == 404 or type(error).__module__.startswith("anyio")

    async def _connected(self) -> SignedInClient:
        if self._connecting is None:
            self._connecting = asyncio.Lock()
        async with self._connecting:
            if self._client is not None and self._owner is not None and not self._owner.done():
                return self._client
            ready: asyncio.Future[SignedInClient] = asyncio.get_running_loop().create_future()
            stop = asyncio.Event()
            owner = asyncio.create_task(self._own(ready, stop))
            self._owner, self._stop = owner, stop
            either: list[asyncio.Future[Any]] = [ready, owner]
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            except BaseException:
                # Interrupted or timed out: what was begun is not left behind.
                owner.cancel()
                raise
            owner.add_done_callback(_retrieved)
            if not ready.done():
                owner.result()  # raises what went wrong
                raise CallError(f"No connection to {self._source.server}.")
            self._client = ready.result()
            return self._client

    async def _own(self, ready: asyncio.Future[SignedInClient], stop: asyncio.Event) -> None:
        """Enter and leave the client in one task: its cancel scopes demand it."""
        async with connected(self._config, self._source, self._auth, {}) as client:
            ready.set_result(client)
            await stop.wait()

    async def list_once(self, client: SignedInClient) -> None:
        """List the tools once for a connection, before its first call.

        The SDK validates results against the listed schemas and fetches the list for every call
        that comes before it has one: 99 times for 100 parallel first calls (measured).
        """
        listing = self._listing
        if listing is None or listing[0] is not client:
            listing = self._listing = (client, asyncio.ensure_future(_listed(client)))
        await asyncio.shield(listing[1])

    def listed(self, client: SignedInClient) -> None:
        """Note that somebody has just listed all tools: no call needs to any more."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        self._listing = (client, done)

    async def _disconnect(self) -> None:
        owner, stop = self._owner, self._stop
        self._client = self._owner = self._stop = None
        if owner is None or stop is None:
            return
        stop.set()
        await asyncio.wait([owner], timeout=5)
        if not owner.done():
            owner.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await owner


def _retrieved(owner: asyncio.Task[None]) -> None:
    # How a connection ended is told by the call that met it, not by asyncio's own report.
    if not owner.cancelled():
        owner.exception()


class _Swallowed(Exception):
    """The transport keeps a refusal to itself, and its caller waiting."""


async def _listed(client: SignedInClient) -> None:
    # In a context of its own: what this request meets with is not the call's outcome.
    current_outcome.set(Outcome())
    with contextlib.suppress(Exception):
        await client.list_tools()
