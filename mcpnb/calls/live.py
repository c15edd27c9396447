"""A client kept alive between calls, on the background loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from mcpnb.auth import BearerAuth, Outcome, current_outcome
from mcpnb.calls import background
from mcpnb.calls.connection import SignedInClient, connected
from mcpnb.calls.failures import translated
from mcpnb.errors import CallError, LoginRequired, McpnbError
from mcpnb.tokens import TokenSource

__all__ = ["LiveClient"]

T = TypeVar("T")
Operation = Callable[[SignedInClient], Awaitable[T]]

# The HTTP+SSE transport swallows a refused POST and leaves its caller waiting for an answer that
# cannot come; the refusal itself is known from the request. Seconds to let a real answer win.
_SWALLOWED = 0.5


class LiveClient:
    """One connection for all calls of a session, made at the first and again when it has died."""

    def __init__(self, source: TokenSource, auth: BearerAuth) -> None:
        self._source = source
        self._auth = auth
        self._client: SignedInClient | None = None
        self._owner: asyncio.Task[None] | None = None
        self._stop: asyncio.Event | None = None
        self._connecting: asyncio.Lock | None = None

    def start(self, operation: Operation[T]) -> Future[T]:
        """Begin one call; any thread may ask. The future raises our own errors."""
        return background.start(lambda: self._perform(operation))

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._client is not None:
            background.start(self._disconnect).result(timeout=10)

    async def _perform(self, operation: Operation[T]) -> T:
        await self._require_token()
        for attempt in (1, 2):
            client = await self._connected()
            outcome = Outcome()
            token = current_outcome.set(outcome)
            try:
                return await self._answered(operation(client), outcome)
            except Exception as error:
                dead = self._died(client, error, outcome)
                if dead:
                    await self._disconnect()
                if dead and attempt == 1 and outcome.status == 404:
                    continue  # the session is gone, so the call was not taken: once more, anew
                raise translated(error, outcome, self._source.server) from None
            finally:
                current_outcome.reset(token)
        raise AssertionError("unreachable")

    async def _require_token(self) -> None:
        """Refuse before anything is sent when a login is there but spent; an open server needs none."""
        if self._source.record() is not None and self._source.peek() is None:
            await asyncio.shield(asyncio.wrap_future(self._source.renewal()))

    async def _answered(self, call: Awaitable[T], outcome: Outcome) -> T:
        task = asyncio.ensure_future(call)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=_SWALLOWED)
                if outcome.error is not None and not task.done():
                    await asyncio.wait([task], timeout=_SWALLOWED)
                    if not task.done():
                        raise outcome.error
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=5)

    def _died(self, client: SignedInClient, error: Exception, outcome: Outcome) -> bool:
        if self._owner is None or self._owner.done() or self._client is not client:
            return self._client is client
        if isinstance(error, McpnbError):  # swallowed by the transport, whose writer ended with it
            return not isinstance(error, CallError) or isinstance(error, LoginRequired)
        return outcome.status == 404 or type(error).__module__.startswith("anyio")

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
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                owner.result()  # raises what went wrong
                raise CallError(f"No connection to {self._source.server}.")
            self._client = ready.result()
            return self._client

    async def _own(self, ready: asyncio.Future[SignedInClient], stop: asyncio.Event) -> None:
        """Enter and leave the client in one task: its cancel scopes demand it."""
        async with connected(self._source, self._auth, {}) as client:
            ready.set_result(client)
            await stop.wait()

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
