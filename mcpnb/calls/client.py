"""The signed-in client of the MCP SDK, with the headers and limits of its configuration."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

import httpx2
import mcp_types
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST, PARSE_ERROR, REQUEST_TIMEOUT

from mcpnb.calls.limits import bounded, bounded_validation, no_leftovers
from mcpnb.errors import (
    CallError,
    CallTimeout,
    ConfigError,
    McpnbError,
    ServerUnreachable,
    detached,
)
from mcpnb.oauth.http import ACCEPTED, reason
from mcpnb.oauth.models import Secret, ServerConfig
from mcpnb.oauth.urls import is_loopback_host, origin_of
from mcpnb.scrub import redact_logs
from mcpnb.text import quote
from mcpnb.tokens import Tokens
from mcpnb.tokens.auth import BearerAuth, Outcome, current_outcome
from mcpnb.tokens.static import HeadersHelper, helper_of
from mcpnb.version import __version__

# The SDK logs what it also raises, with its traceback. Where nobody configured logging, Python
# would print that into the cell. Whoever configures logging still gets every record.
logging.getLogger("mcp").addHandler(logging.NullHandler())
redact_logs("httpx2", "httpcore2.http11", "mcp.client.sse", "mcp.client.streamable_http")

P = ParamSpec("P")
T = TypeVar("T")

_CONNECT = 30.0
_READ = 300.0
# What a server of the older HTTP+SSE transport answers to a POST (specification, backwards
# compatibility): then its event stream is opened with a GET.
_NO_SUCH_POST = (400, 404, 405, 406, 415, 501)


async def _with_our_errors(call: Awaitable[T], server: str) -> T:
    """Await one call. What its own requests met with decides which error it raises."""
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


def _guarded(
    verb: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    @functools.wraps(verb)
    async def guarded(client: SignedInClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await _with_our_errors(verb(client, *args, **kwargs), client.mcpnb_server)

    return guarded


class SignedInClient(Client):
    """The SDK's client; its verbs raise mcpnb's errors."""

    def __init__(self, url: str, transport: Any, **options: Any) -> None:
        """Prepare a client of the server at `url`; see `mcp.Client`."""
        info = mcp_types.Implementation(name="mcpnb", version=__version__)
        super().__init__(transport, **{"client_info": info, **options})
        self.mcpnb_server = url

    call_tool = _guarded(Client.call_tool)
    complete = _guarded(Client.complete)
    get_prompt = _guarded(Client.get_prompt)
    list_prompts = _guarded(Client.list_prompts)
    list_resource_templates = _guarded(Client.list_resource_templates)
    list_resources = _guarded(Client.list_resources)
    list_tools = _guarded(Client.list_tools)
    read_resource = _guarded(Client.read_resource)


# Tools that configuration allows


def _may_use(config: ServerConfig, tool: str) -> bool:
    """Return whether a tool is allowed. What is denied is denied, also where it is allowed, too."""
    allowed = config.enabled_tools is None or tool in config.enabled_tools
    return allowed and tool not in config.disabled_tools


def require_usable(config: ServerConfig, tool: str) -> None:
    """Raise a `CallError` if configuration does not allow a tool. Nothing was sent."""
    if not _may_use(config, tool):
        denied = tool in config.disabled_tools
        why = "names it in disabled_tools" if denied else "does not name it in enabled_tools"
        raise CallError(
            f"The tool {quote(tool, 100)} of {config.url} may not be used: the configuration "
            f"{why} ({config.source})."
        )


def _limit_tools(session: Any, config: ServerConfig) -> None:
    """Let the SDK's session, which its client uses and everybody can reach, allow no other tool."""
    call, listing = session.call_tool, session.list_tools

    async def call_tool(name: str, *args: Any, **kwargs: Any) -> Any:
        require_usable(config, name)
        return await call(name, *args, **kwargs)

    async def list_tools(*args: Any, **kwargs: Any) -> Any:
        page = await listing(*args, **kwargs)
        tools = [tool for tool in page.tools if _may_use(config, str(tool.name))]
        return page if len(tools) == len(page.tools) else page.model_copy(update={"tools": tools})

    session.call_tool, session.list_tools = call_tool, list_tools


# Headers that configuration adds


def own_headers(config: ServerConfig) -> list[Callable[[Any], Awaitable[None]]]:
    """Return the request hooks that put the configured headers on requests to the server's origin.

    A hook sees each request, redirected ones included. Those to another origin lose the headers
    that the HTTP library has copied from the first. What a helper prints replaces what is written
    in the configuration.
    """
    headers, helper = _written(config), helper_of(config)
    if not headers and helper is None:
        return []
    own = origin_of(config.url)
    put_before: set[str] = set()

    async def put_on(request: Any) -> None:
        # threat: header-forwarding
        is_own = origin_of(str(request.url)) == own
        given = headers | (await _helped(helper) if helper is not None else {})
        for name in put_before - set(given):
            request.headers.pop(name, None)  # a helper that ran once more prints it no longer
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
        variable = os.environ.get(header.variable or "")
        value = header.value or (Secret(variable) if variable else None)
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
    # It ran before the connection was made. Where it did not, it must not run on the loop.
    given = helper.known
    if given is None:
        given = await asyncio.to_thread(helper.printed)
    return {n: value for n, value in given.headers.items() if n.lower() != "authorization"}


# Connecting


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
    await source.require()
    async with contextlib.AsyncExitStack() as stack:
        connecting = _with_our_errors(_connect(stack, config, auth, options), config.url)
        late = ServerUnreachable(
            f"{config.url} was not ready within {config.startup_timeout or 0:g} seconds "
            f"(startup_timeout_sec in {config.source}).",
            sent=True,
        )
        client = await within(config.startup_timeout, connecting, late)
        bounded_validation(client.session)
        if config.enabled_tools is not None or config.disabled_tools:
            _limit_tools(client.session, config)
        try:
            yield client
        except Exception as error:
            # The caller's own errors pass as they are, also an OSError.
            if _library_of(error) not in ("anyio", "httpx2", "mcp"):
                raise
            raise translate(error, Outcome(), config.url) from None


async def within(seconds: float | None, work: Awaitable[T], too_late: McpnbError) -> T:
    """Await something; raise `too_late` after so many seconds."""
    try:
        async with asyncio.timeout(seconds) as limit:
            return await work
    except TimeoutError:
        if not limit.expired():
            raise  # of one of its parts, which says what took too long
    raise too_late


async def _connect(
    stack: contextlib.AsyncExitStack,
    config: ServerConfig,
    auth: BearerAuth,
    options: dict[str, Any],
) -> SignedInClient:
    outcome = current_outcome.get() or Outcome()
    try:
        client = await stack.enter_async_context(_client(config, auth, options))
    except Exception:
        if outcome.error is not None or outcome.status not in _NO_SUCH_POST:
            raise
        post, outcome.status = outcome.status, 0
        try:
            # The SDK waits for ever where a stream names an endpoint that it refuses (measured).
            # threat: sse-endpoint-elsewhere
            async with asyncio.timeout(_CONNECT):
                client = await stack.enter_async_context(_client(config, auth, options, sse=True))
        except Exception:
            # Not one of those either: the response to the POST is the better explanation.
            outcome.status = post
            raise
    if outcome.error is not None:
        # The server refused, and then perhaps accepted the SDK's older handshake: the connection
        # would be of the wrong kind.
        raise outcome.error
    return client


@contextlib.asynccontextmanager
async def _client(
    config: ServerConfig, auth: BearerAuth, options: dict[str, Any], *, sse: bool = False
) -> AsyncIterator[SignedInClient]:
    async with contextlib.AsyncExitStack() as stack:
        transport: Any
        if sse:
            options = {**options, "mode": "legacy"}
            transport = sse_client(
                config.url,
                auth=auth,
                timeout=_CONNECT,
                sse_read_timeout=_READ,
                httpx_client_factory=functools.partial(_http, config),
            )
        else:
            timeout = httpx2.Timeout(_CONNECT, read=_READ)
            http = await stack.enter_async_context(_http(config, auth=auth, timeout=timeout))
            transport = streamable_http_client(config.url, http_client=http)
        try:
            client = SignedInClient(config.url, transport, **options)
            async with client:
                yield client
        except ExceptionGroup as group:
            # The SDK's task groups wrap whatever passes through them, also the caller's errors.
            error = _leaf(group)
            raise error from error.__cause__


def _http(config: ServerConfig, **given: Any) -> httpx2.AsyncClient:
    # A proxy's loopback is another machine, which would be given the token in clear.
    local = is_loopback_host(origin_of(config.url)[1])
    hooks: dict[str, list[Any]] = {"request": [*own_headers(config)], "response": [bounded]}
    # threat: proxy-sees-loopback
    http = httpx2.AsyncClient(trust_env=not local, event_hooks=hooks, **given)
    http.headers["Accept-Encoding"] = ACCEPTED
    http.event_hooks["request"].append(no_leftovers(http))
    return http


# From what the SDK raises to mcpnb's own errors, never an ``ExceptionGroup``

# The SDK answers in the server's place where no response came, or one that it cannot read.
_OF_THE_SDK = (
    (CONNECTION_CLOSED, "Connection"),
    (CONNECTION_CLOSED, "SSE"),
    (INVALID_REQUEST, "Unexpected"),
    (PARSE_ERROR, "Failed"),
)


def _leaf(error: Exception) -> Exception:
    """Return the error that a group was made of; of several, one of mcpnb's first."""
    while isinstance(error, ExceptionGroup):
        ours = error.subgroup(McpnbError)
        error = (ours or error).exceptions[0]
    return error


def translate(raised: Exception, outcome: Outcome, server: str) -> Exception:
    """Return the error to raise for a failed call.

    Args:
        raised: What the SDK raised.
        outcome: What the requests of this call met with: a refused sign-in explains the rest.
        server: Its address, for the message.
    """
    error = _leaf(raised)
    if isinstance(error, McpnbError):
        return error
    if outcome.error is not None:
        return outcome.error
    if isinstance(error, MCPError):
        return _rpc(error, outcome, server)
    return _broken(error, server) or error


def _rpc(error: MCPError, outcome: Outcome, server: str) -> McpnbError:
    if error.code == REQUEST_TIMEOUT:
        return _too_late(server)
    if outcome.status >= 400:
        why = f"HTTP {outcome.status}"
        if error.message != "Server returned an error response":
            why += f", {quote(error.message)}"
        advice = " Try again later." if outcome.status >= 500 else ""
        return CallError(f"{server} refused the call: {why}.{advice}", code=error.code)
    if (error.code, error.message.partition(" ")[0]) in _OF_THE_SDK:
        outcome.over = outcome.over or error.message == "Connection closed"
        return _cut_off(server) if error.code == CONNECTION_CLOSED else _not_mcp(server)
    return CallError(f"{server} reports an error: {quote(error.message)}.", code=error.code)


def _broken(error: Exception, server: str) -> McpnbError | None:
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return _too_late(server)
    if isinstance(error, httpx2.SSEError | httpx2.DecodingError) or _is_misshapen_result(error):
        return _not_mcp(server)
    if isinstance(error, httpx2.ReadError | httpx2.WriteError | httpx2.ProtocolError):
        return _cut_off(server)
    if isinstance(error, httpx2.HTTPError | OSError):
        return _unreachable(error, server)
    if _library_of(error) in ("anyio", "mcp", "pydantic", "pydantic_core"):
        why = quote(str(error) or type(error).__name__, 160)
        return CallError(f"The connection to {server} failed: {why}.")
    return None  # not of the connection: a sampling callback's, for example


def _is_misshapen_result(error: Exception) -> bool:
    # pydantic's ValidationError is pydantic_core's (measured). One of …Params is of the caller.
    if _library_of(error) != "pydantic_core":
        return False
    model = getattr(error, "title", None)
    return model is not None and not model.endswith("Params")


def _library_of(error: Exception) -> str:
    return type(error).__module__.partition(".")[0]


def _unreachable(error: Exception, server: str) -> McpnbError:
    if not isinstance(error, httpx2.HTTPStatusError):
        return ServerUnreachable(f"{server} cannot be reached: {reason(error)}.", sent=True)
    status = error.response.status_code
    if status in (404, 405, 410):
        return CallError(f"There is no MCP server at {quote(server)} (HTTP {status}).")
    return CallError(f"{server} answered HTTP {status}.")


def _too_late(server: str) -> CallTimeout:
    return CallTimeout(f"{server} did not answer in time. The call may still be running there.")


def _cut_off(server: str) -> ServerUnreachable:
    return ServerUnreachable(
        f"The connection to {server} broke before the response arrived. The server may have made "
        "the call all the same. Try again.",
        sent=True,
    )


def _not_mcp(server: str) -> CallError:
    return CallError(
        f"The response of {server} is not valid MCP. Try again. If it happens again, the server or "
        "a proxy in front of it is at fault."
    )
