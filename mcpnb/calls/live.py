"""The connected client of a session, and the event loop of one daemon thread that it lives on."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mcpnb.calls.arguments import Verbatim
from mcpnb.calls.client import SignedInClient, connected, translate, within
from mcpnb.calls.progress import Progress, Reports
from mcpnb.calls.results import ResourceContents, ToolResult, tool_error
from mcpnb.calls.tools import Listing
from mcpnb.concurrency import ForkSafeLock, finished
from mcpnb.errors import CallError, CallTimeout, detached
from mcpnb.oauth.models import ServerConfig
from mcpnb.tokens import Tokens
from mcpnb.tokens.auth import BearerAuth, Outcome, current_outcome

if TYPE_CHECKING:
    import mcp_types


T = TypeVar("T")
Operation = Callable[[SignedInClient], Coroutine[Any, Any, T]]

_lock = ForkSafeLock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}


_closing: set[Future[None]] = set()


def _loop() -> asyncio.AbstractEventLoop:
    with _lock:
        loop = _loops.get(os.getpid())  # a fork has the parent's loop, without its thread
        if loop is None:
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            # A daemon thread stops with the process. One that is joined at exit, as anyio's is,
            # makes a second Ctrl-C print a traceback (measured).
            threading.Thread(target=loop.run_forever, name="mcpnb-calls", daemon=True).start()
        return loop


def result_of(future: Future[T]) -> T:
    """Wait for a result; an interrupt cancels the work, and the server is told so."""
    try:
        error = finished(future).exception()
    except KeyboardInterrupt:
        future.cancel()
        raise
    if error is not None:
        raise detached(error) if isinstance(error, Exception) else error
    return future.result()


# The HTTP+SSE transport swallows a refused POST and leaves its caller waiting for a response that
# cannot come. The refusal itself is known from the request. Seconds to let a real response win.
_SWALLOWED = 0.5


class _Swallowed(Exception):
    """The transport swallowed a refusal, and its caller would wait for ever."""


class LiveClient:
    """One connection for all calls of a session, made at the first call and again when it died."""

    def __init__(self, config: ServerConfig, source: Tokens, auth: BearerAuth) -> None:
        self.process = os.getpid()
        self._config = config
        self._source = source
        self._auth = auth
        self._client: SignedInClient | None = None
        self._owner: asyncio.Task[None] | None = None
        self._stop: asyncio.Event | None = None
        self._connecting = asyncio.Lock()
        self._listing: tuple[SignedInClient, asyncio.Future[Listing]] | None = None

    def start(self, operation: Operation[T], timeout: float | None = None) -> Future[T]:
        """Begin one call, from any thread; to cancel the future cancels the call.

        Args:
            operation: What to do with the connected client.
            timeout: Seconds for all of it, connecting included.
        """
        late = CallTimeout(
            f"{self._source.server} did not answer within {timeout or 0:g} seconds. "
            "The call may still be running there."
        )
        # Nothing is patched, and any thread or loop may do this: a widget's callback may come on
        # any (measured: it changes with ipykernel's minor version).
        return asyncio.run_coroutine_threadsafe(
            within(timeout, self._perform(operation), late), _loop()
        )

    def close(self) -> None:
        """End the connection, if there is one; return at once."""
        # Without the lock: a finalizer may run in the thread that has it.
        loop = _loops.get(os.getpid())
        if self._owner is not None and loop is not None and self.process == os.getpid():
            closing = asyncio.run_coroutine_threadsafe(self._disconnect(), loop)
            _closing.add(closing)  # a loop alone would let it be collected half-way
            closing.add_done_callback(_closing.discard)

    # Calls

    async def call_tool(
        self,
        client: SignedInClient,
        tool: str,
        arguments: dict[str, Any],
        *,
        timeout: float | None,  # noqa: ASYNC109  the SDK's own time-out of one request
        progress: Progress | None,
    ) -> ToolResult:
        """Call a tool with arguments in JSON's types, in either spelling of their names.

        Raises:
            TypeError: The tool's schema has no such argument; nothing was sent.
            ToolError: The tool reports an error.
            CallError: The server refused the call.
        """
        sent = await self._named(client, tool, arguments)
        call = partial(client.call_tool, tool, sent, read_timeout_seconds=timeout)
        failure: CallError
        try:
            if progress is None:
                raw = await call()
            else:
                reports = Reports(progress)
                raw = await reports.heard_during(call(progress_callback=reports.report))
        except CallError as error:
            if error.code is None:  # not the server's own words: they name no tool
                raise
            failure = error
        else:
            result = ToolResult(raw, name=tool)
            if not result.is_error:
                return result
            failure = tool_error(tool, result)
        if advice := await self._advice(client, tool):
            failure.args = (f"{failure} {advice}",)
        raise failure

    async def _named(
        self, client: SignedInClient, tool: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        listing = await self._listed_once(client)
        if isinstance(arguments, Verbatim):
            return arguments
        try:
            return listing.named(tool, arguments)
        except TypeError:  # perhaps the server has changed the tool since
            return (await self._listed_again(client)).named(tool, arguments)

    async def _advice(self, client: SignedInClient, tool: str) -> str:
        listing = await self._listed_once(client)
        if tool not in listing and not listing.complete:
            listing = await self._listed_again(client)
        return listing.advice(tool)

    async def tools(self, client: SignedInClient, **options: Any) -> list[mcp_types.Tool]:
        """List all tools. No call needs to list them after that."""
        tools = await _all_pages(partial(client.list_tools, **options), "tools")
        done: asyncio.Future[Listing] = asyncio.get_running_loop().create_future()
        done.set_result(Listing(tools, complete=True))
        self._listing = (client, done)
        return tools

    async def resources(self, client: SignedInClient) -> list[mcp_types.Resource]:
        """List all resources."""
        return await _all_pages(client.list_resources, "resources")

    async def read(self, client: SignedInClient, uri: str) -> ResourceContents:
        """Read one resource."""
        return ResourceContents(await client.read_resource(uri), uri)

    async def _listed_once(self, client: SignedInClient) -> Listing:
        """List the tools once for a connection, before its first call.

        The SDK validates results against the listed schemas, and fetches the list for every call
        that comes before it has one: 99 times for 100 parallel first calls (measured).
        """
        listing = self._listing
        if listing is None or listing[0] is not client:
            listing = self._listing = (client, asyncio.ensure_future(_first_page(client)))
        return await asyncio.shield(listing[1])

    async def _listed_again(self, client: SignedInClient) -> Listing:
        # In a task, and so in a context, of its own: what it meets is not the call's outcome.
        with contextlib.suppress(Exception):
            await asyncio.create_task(self._listed_anew(client))
        return await self._listed_once(client)

    async def _listed_anew(self, client: SignedInClient) -> None:
        current_outcome.set(Outcome())
        await self.tools(client, cache_mode="refresh")

    # The connection

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
                raise (outcome.error or CallError("The server refused the call.")) from None
            except Exception as error:  # noqa: BLE001  translated, whatever it is
                dead = self._died(client, outcome)
                if dead:
                    await self._disconnect()
                if dead and attempt == 1 and outcome.status == 404:
                    continue  # the session is gone and the call was not taken: connect again
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

    def _died(self, client: SignedInClient, outcome: Outcome) -> bool:
        """Return whether this client is still the one of all calls, and of no use any more."""
        ended = self._owner is None or self._owner.done()
        return self._client is client and (ended or outcome.over or outcome.status == 404)

    async def _connected(self) -> SignedInClient:
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
                owner.cancel()  # interrupted or timed out: nothing half-made stays
                raise
            # The call that meets a connection's end reports it; asyncio need not.
            owner.add_done_callback(lambda owner: owner.cancelled() or owner.exception())
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


async def _first_page(client: SignedInClient) -> Listing:
    current_outcome.set(Outcome())
    with contextlib.suppress(Exception):
        page = await client.list_tools()
        return Listing(page.tools, complete=not page.next_cursor)
    return Listing((), complete=False)


# A server that always names a further page would be asked for ever.
_PAGES = 200


async def _all_pages(fetch: Callable[..., Awaitable[Any]], member: str) -> list[Any]:
    """Return all items of a list, page by page, from a verb of the client that takes ``cursor``."""
    found: list[Any] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await fetch(cursor=cursor)
        found += getattr(page, member)
        cursor = page.next_cursor
        if not cursor:
            break
    return found
