"""The signed-in client of the MCP SDK, with the headers and limits of its configuration."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
import mcp_types
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from mcpnb.calls.errors import leaf, translate
from mcpnb.calls.limits import bounded, bounded_validation, no_leftovers
from mcpnb.errors import CallError, ConfigError, ServerUnreachable, detached
from mcpnb.oauth.http import ACCEPTED
from mcpnb.oauth.models import Secret, ServerConfig
from mcpnb.oauth.urls import is_loopback_host, origin_of
from mcpnb.scrub import redact_logs
from mcpnb.text import quote
from mcpnb.tokens import Tokens
from mcpnb.tokens.auth import BearerAuth, Outcome, current_outcome
from mcpnb.version import __version__

if TYPE_CHECKING:
    from mcp_types import ListToolsResult

    from mcpnb.tokens.static import HeadersHelper

__all__ = ["SignedInClient", "connected", "may_use", "only_usable", "own_headers", "require_usable"]


def own_headers(config: ServerConfig) -> list[Callable[[Any], Awaitable[None]]]:
    """Give the request hooks that put the configured headers on what goes to the server's origin.

    A hook sees each request, redirected ones included: those to another origin lose the headers
    again that the HTTP library has copied from the first. What a helper gives takes the place of
    what is written down.
    """
    headers, helper = _written(config), _helper(config)
    if not headers and helper is None:
        return []
    own = origin_of(config.url)
    put_before: set[str] = set()

    async def put_on(request: Any) -> None:
        # threat: header-forwarding
        is_own = origin_of(str(request.url)) == own
        given = headers | (await _helped(helper) if helper is not None else {})
        for name in put_before - set(given):
            request.headers.pop(name, None)  # given no more, by a helper that ran once more
        put_before.update(given)
        for name, value in given.items():
            if is_own:
                request.headers[name] = value.reveal()
            else:
                request.headers.pop(name, None)

    return [put_on]


def _written(config: ServerConfig) -> dict[str, Secret]:
    headers = {}
    for header in config.headers:
        if header.name.lower() == "authorization":
            continue  # takes the place of a token, and goes where that goes
        value = header.value or _set(header.variable or "")
        if value is None:
            warnings.warn(
                f"The header {header.name} is not sent to {config.shown}: the environment variable "
                f"{header.variable} is not set ({config.source}).",
                stacklevel=3,
            )
        elif not (value.reveal().isascii() and value.reveal().isprintable()):
            raise ConfigError(
                f"The environment variable {header.variable} has characters that no header has "
                f"({config.source})."
            )
        else:
            headers[header.name] = value
    return headers


async def _helped(helper: HeadersHelper) -> dict[str, Secret]:
    # It ran before the connection was made; where it did not, it must not run on the loop.
    given = helper.known
    if given is None:
        given = await asyncio.to_thread(helper.headers)
    return {name: value for name, value in given.items() if name.lower() != "authorization"}


def _helper(config: ServerConfig) -> HeadersHelper | None:
    if config.headers_helper is None:
        return None
    from mcpnb.tokens.static import helper_of

    return helper_of(config)


def _set(variable: str) -> Secret | None:
    value = os.environ.get(variable)
    return Secret(value) if value else None


def may_use(config: ServerConfig, tool: str) -> bool:
    """Whether a tool is allowed; what is denied is denied, also where it is allowed, too."""
    allowed = config.enabled_tools is None or tool in config.enabled_tools
    return allowed and tool not in config.disabled_tools


def require_usable(config: ServerConfig, tool: str) -> None:
    """Refuse a tool that configuration does not allow.

    Raises:
        CallError: It does not. Nothing was sent.
    """
    if not may_use(config, tool):
        key = "disabled_tools" if tool in config.disabled_tools else "enabled_tools"
        said = "names it in" if key == "disabled_tools" else "does not name it in"
        raise CallError(
            f"The tool {quote(tool, 100)} of {config.url} may not be used: the configuration "
            f"{said} {key} ({config.source})."
        )


def only_usable(config: ServerConfig, page: ListToolsResult) -> ListToolsResult:
    """Leave out of a list what may not be used."""
    kept = [tool for tool in page.tools if may_use(config, str(tool.name))]
    return page if len(kept) == len(page.tools) else page.model_copy(update={"tools": kept})


# The SDK logs what it also raises, traceback and all; where nobody configured logging, Python would
# print that into the cell. Whoever configures logging still gets every record.
logging.getLogger("mcp").addHandler(logging.NullHandler())
redact_logs("httpx2", "httpcore2.http11", "mcp.client.sse", "mcp.client.streamable_http")

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

    mcpnb_config: ServerConfig = ServerConfig(url="")

    def __getattribute__(self, name: str) -> Any:
        """Guard the verbs; everything else is the SDK's own."""
        value = super().__getattribute__(name)
        if name not in _VERBS:
            return value
        config = self.mcpnb_config

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            if name == "call_tool":
                require_usable(config, str(args[0] if args else kwargs.get("name", "")))
            answer = await _guarded(value(*args, **kwargs), config.url)
            return only_usable(config, answer) if name == "list_tools" else answer

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
        failure = translate(error, outcome, server)
    finally:
        # What a loop leaves unfinished is collected in any context, which has nothing to reset.
        with contextlib.suppress(ValueError):
            current_outcome.reset(token)
    raise detached(failure)


@contextlib.asynccontextmanager
async def connected(
    config: ServerConfig, source: Tokens, auth: BearerAuth, options: dict[str, Any]
) -> AsyncIterator[SignedInClient]:
    """Connect a client: streamable HTTP, or HTTP+SSE where the server knows no POST.

    Args:
        config: The server, and what configuration says of calls.
        source: The login; an open server needs none.
        auth: Puts the token on.
        options: Keyword arguments of `mcp.Client`.

    Raises:
        LoginRequired: The server wants a sign-in.
        ServerUnreachable: It cannot be reached.
        CallError: It is no MCP server, or the conversation broke.
    """
    server = config.url
    await source.require()
    async with contextlib.AsyncExitStack() as stack:
        client = await _in_time(config, _connect(stack, config, auth, options))
        bounded_validation(client.session)
        if config.enabled_tools is not None or config.disabled_tools:
            _limit(client.session, config)
        try:
            yield client
        except Exception as error:
            # The caller's own errors pass as they are, an OSError of theirs too.
            if type(error).__module__.partition(".")[0] not in ("anyio", "httpx2", "mcp"):
                raise
            raise translate(error, Outcome(), server) from None


def _limit(session: Any, config: ServerConfig) -> None:
    """Have the SDK's own session, which everybody can reach, allow no more than its client does."""
    call, listing = session.call_tool, session.list_tools

    async def call_tool(name: str, *args: Any, **kwargs: Any) -> Any:
        require_usable(config, name)
        return await call(name, *args, **kwargs)

    async def list_tools(*args: Any, **kwargs: Any) -> Any:
        return only_usable(config, await listing(*args, **kwargs))

    session.call_tool, session.list_tools = call_tool, list_tools


async def _in_time(config: ServerConfig, connecting: Awaitable[T]) -> T:
    seconds = config.startup_timeout
    try:
        async with asyncio.timeout(seconds) as limit:
            return await _guarded(connecting, config.url)
    except TimeoutError:
        if not limit.expired():
            raise  # one of its parts: it says itself what took too long
    raise ServerUnreachable(
        f"{config.url} was not ready within {seconds:g} seconds (startup_timeout_sec in "
        f"{config.source}).",
        sent=True,
    )


async def _connect(
    stack: contextlib.AsyncExitStack,
    config: ServerConfig,
    auth: BearerAuth,
    options: dict[str, Any],
) -> SignedInClient:
    outcome = current_outcome.get() or Outcome()
    try:
        client = await stack.enter_async_context(_streamable(config, auth, options))
    except Exception:
        if outcome.error is not None or outcome.status not in _NO_SUCH_POST:
            raise
        post, outcome.status = outcome.status, 0
        try:
            # The SDK waits for ever where a stream names an endpoint that it refuses (measured).
            # threat: sse-endpoint-elsewhere
            async with asyncio.timeout(_CONNECT):
                client = await stack.enter_async_context(_events(config, auth, options))
        except Exception:
            # Not one of those either: what the POST said is the better explanation.
            outcome.status = post
            raise
    if outcome.error is not None:
        # Refused, and then the SDK tried an older handshake, which may have been let through: the
        # connection would be of the wrong kind.
        raise outcome.error
    return client


def _http(config: ServerConfig, **given: Any) -> httpx2.AsyncClient:
    # A proxy's loopback is another machine, which would be given the token in clear.
    local = is_loopback_host(origin_of(config.url)[1])
    hooks: dict[str, list[Any]] = {"request": [*own_headers(config)], "response": [bounded]}
    # threat: proxy-sees-loopback
    http = httpx2.AsyncClient(trust_env=not local, event_hooks=hooks, **given)
    http.headers["Accept-Encoding"] = ACCEPTED
    http.event_hooks["request"].append(no_leftovers(http))
    return http


@contextlib.asynccontextmanager
async def _streamable(
    config: ServerConfig, auth: BearerAuth, options: dict[str, Any]
) -> AsyncIterator[SignedInClient]:
    timeout = httpx2.Timeout(_CONNECT, read=_READ)
    async with _http(config, auth=auth, timeout=timeout) as http:
        transport = streamable_http_client(config.url, http_client=http)
        async with _entered(transport, config, options) as client:
            yield client


@contextlib.asynccontextmanager
async def _events(
    config: ServerConfig, auth: BearerAuth, options: dict[str, Any]
) -> AsyncIterator[SignedInClient]:
    transport = sse_client(
        config.url,
        auth=auth,
        timeout=_CONNECT,
        sse_read_timeout=_READ,
        httpx_client_factory=functools.partial(_http, config),
    )
    async with _entered(transport, config, {**options, "mode": "legacy"}) as client:
        yield client


@contextlib.asynccontextmanager
async def _entered(
    transport: Any, config: ServerConfig, options: dict[str, Any]
) -> AsyncIterator[SignedInClient]:
    info = mcp_types.Implementation(name="mcpnb", version=__version__)
    client = SignedInClient(transport, **{"client_info": info, **options})
    client.mcpnb_config = config
    try:
        async with client:
            yield client
    except ExceptionGroup as group:
        # The SDK's task groups wrap whatever passes through them, the caller's own errors included.
        error = leaf(group)
        raise error from error.__cause__
