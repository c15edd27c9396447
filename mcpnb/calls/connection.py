"""One connected `mcp.Client`: which transport, which time-outs, whose errors."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

import httpx2
import mcp_types
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from mcpnb.auth import BearerAuth, Outcome, current_outcome
from mcpnb.calls.failures import leaf, translated
from mcpnb.errors import bare
from mcpnb.protocol.urls import is_loopback_host, origin_of
from mcpnb.tokens import TokenSource
from mcpnb.version import __version__

__all__ = ["SignedInClient", "connected"]

# The SDK logs what it also raises, traceback and all; where nobody configured logging, Python would
# print that into the cell. Whoever configures logging still gets every record.
logging.getLogger("mcp").addHandler(logging.NullHandler())

T = TypeVar("T")

_CONNECT = 30.0
_READ = 300.0
# What a server of the older HTTP+SSE transport answers to a POST (specification, backwards
# compatibility): then its event stream is opened with a GET.
_NO_SUCH_POST = (400, 404, 405, 406, 415, 501)
_VERBS = (
    "call_tool",
    "complete",
    "get_prompt",
    "list_prompts",
    "list_resource_templates",
    "list_resources",
    "list_tools",
    "read_resource",
)


class SignedInClient(Client):
    """The SDK's client, whose verbs raise our errors."""

    mcpnb_server: str = ""

    def __getattribute__(self, name: str) -> Any:
        """Guard the verbs; everything else is the SDK's own."""
        value = super().__getattribute__(name)
        if name not in _VERBS:
            return value

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            return await _guarded(value(*args, **kwargs), self.mcpnb_server)

        guarded.__name__, guarded.__doc__ = name, value.__doc__
        return guarded


async def _guarded(call: Awaitable[T], server: str) -> T:
    """Await one call; what it raises is told by what its own requests met with."""
    outer = current_outcome.get()
    outcome = Outcome() if outer is None else outer
    token = current_outcome.set(outcome)
    try:
        return await call
    except Exception as error:  # noqa: BLE001  translated, whatever it is
        failure = translated(error, outcome, server)
    finally:
        current_outcome.reset(token)
    raise bare(failure)


@contextlib.asynccontextmanager
async def connected(
    source: TokenSource, auth: BearerAuth, options: dict[str, Any]
) -> AsyncIterator[SignedInClient]:
    """Connect a client: streamable HTTP, or HTTP+SSE where the server knows no POST.

    Args:
        source: The login; an open server needs none.
        auth: Puts the token on.
        options: Keyword arguments of `mcp.Client`.

    Raises:
        LoginRequired: The server wants a sign-in.
        ServerUnreachable: It cannot be reached.
        CallError: It is no MCP server, or the conversation broke.
    """
    server = source.server
    if source.record() is not None and source.peek() is None:
        # A login that is there but spent: renewed, or refused before anything is sent.
        await asyncio.shield(asyncio.wrap_future(source.renewal()))
    async with contextlib.AsyncExitStack() as stack:
        client = await _guarded(_connect(stack, server, auth, options), server)
        try:
            yield client
        except Exception as error:
            # The caller's own errors pass as they are, an OSError of theirs too.
            if type(error).__module__.partition(".")[0] not in ("anyio", "httpx2", "mcp"):
                raise
            raise translated(error, Outcome(), server) from None


async def _connect(
    stack: contextlib.AsyncExitStack, server: str, auth: BearerAuth, options: dict[str, Any]
) -> SignedInClient:
    outcome = current_outcome.get() or Outcome()
    try:
        client = await stack.enter_async_context(_streamable(server, auth, options))
    except Exception:
        if outcome.error is not None or outcome.status not in _NO_SUCH_POST:
            raise
        post, outcome.status = outcome.status, 0
        try:
            client = await stack.enter_async_context(_events(server, auth, options))
        except Exception:
            # Not one of those either: what the POST said is the better explanation.
            outcome.status = post
            raise
    if outcome.error is not None:
        # Refused, and then the SDK tried an older handshake, which may have been let through: the
        # connection would be of the wrong kind.
        raise outcome.error
    return client


def _http(server: str, **given: Any) -> httpx2.AsyncClient:
    # A proxy's loopback is another machine, which would be given the token in clear.
    local = is_loopback_host(origin_of(server)[1])
    return httpx2.AsyncClient(trust_env=not local, **given)


@contextlib.asynccontextmanager
async def _streamable(
    server: str, auth: BearerAuth, options: dict[str, Any]
) -> AsyncIterator[SignedInClient]:
    timeout = httpx2.Timeout(_CONNECT, read=_READ)
    async with _http(server, auth=auth, timeout=timeout) as http:
        transport = streamable_http_client(server, http_client=http)
        async with _entered(transport, server, options) as client:
            yield client


@contextlib.asynccontextmanager
async def _events(
    server: str, auth: BearerAuth, options: dict[str, Any]
) -> AsyncIterator[SignedInClient]:
    transport = sse_client(
        server,
        auth=auth,
        timeout=_CONNECT,
        sse_read_timeout=_READ,
        httpx_client_factory=functools.partial(_http, server),
    )
    async with _entered(transport, server, {**options, "mode": "legacy"}) as client:
        yield client


@contextlib.asynccontextmanager
async def _entered(
    transport: Any, server: str, options: dict[str, Any]
) -> AsyncIterator[SignedInClient]:
    info = mcp_types.Implementation(name="mcpnb", version=__version__)
    client = SignedInClient(transport, **{"client_info": info, **options})
    client.mcpnb_server = server
    try:
        async with client:
            yield client
    except ExceptionGroup as group:
        # The SDK's task groups wrap whatever passes through them, the caller's own errors included.
        error = leaf(group)
        raise error from error.__cause__
