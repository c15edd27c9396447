"""What a session calls, and how."""

from __future__ import annotations

import asyncio
import os
import shlex
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from mcpnb import views
from mcpnb.errors import ConfigError, LoginRequired, McpnbError, bare, quoted, shown
from mcpnb.locks import ForkSafeLock
from mcpnb.models import ServerConfig, Staying
from mcpnb.notebook import place
from mcpnb.session.static import StaticToken, source_of
from mcpnb.store import TokenStore
from mcpnb.tokens import TokenSource

if TYPE_CHECKING:
    from mcpnb.auth import BearerAuth
    from mcpnb.calls.connection import SignedInClient
    from mcpnb.calls.live import LiveClient
    from mcpnb.calls.progress import Progress
    from mcpnb.calls.results import ResourceContents, ToolResult
    from mcpnb.calls.tools import Tools
    from mcpnb.headers_helper import HeadersHelper
    from mcpnb.login import Login
    from mcpnb.session.person import Session

__all__ = ["Calling"]

T = TypeVar("T")


class _Shared:
    """What all views of a session have together."""

    def __init__(self, store: TokenStore) -> None:
        self.store = self.given_store = store
        self.lock = ForkSafeLock()
        self.login: Login[Session] | None = None
        self.live: LiveClient | None = None
        self.source_lock = ForkSafeLock()
        self.source: TokenSource | None = None


class Calling(Staying):
    """The half of a session that calls the server."""

    def __init__(self, config: ServerConfig, store: TokenStore) -> None:
        self._config = config
        self._helper = _helper(config)
        self._shared = _Shared(store)
        if self._helper is None:
            self._shared.source = source_of(config, store, None)
        self._timeout: float | None = config.tool_timeout
        self._progress: Progress | None = None

    @property
    def _store(self) -> TokenStore:
        return self._shared.store

    @property
    def _source(self) -> TokenSource:
        """Where tokens come from; with a headers helper, the first to ask waits until it ran.

        Raises:
            ConfigError: The helper failed. It is run again for who asks next.
        """
        shared = self._shared
        if shared.source is None:
            with shared.source_lock:
                if shared.source is None:
                    shared.source = source_of(self._config, self._store, self._helper)
        return shared.source

    async def _settled(self) -> None:
        """Have a headers helper run that has not: not on this loop."""
        if self._shared.source is None:
            await asyncio.to_thread(lambda: self._source)

    @cached_property
    def auth(self) -> BearerAuth:
        """An `httpx.Auth` and `httpx2.Auth` in one, for sync and async clients.

        It gives the token to this server's origin only.
        """
        from mcpnb.auth import BearerAuth

        self._require_enabled()
        source, helper = self._source, self._helper
        if isinstance(source, StaticToken):
            from mcpnb.session.static_auth import HelpedStaticAuth, StaticAuth

            return HelpedStaticAuth(source, helper) if helper else StaticAuth(source)
        if helper is not None:
            from mcpnb.session.static_auth import HelpedAuth

            return HelpedAuth(source, helper)
        return BearerAuth(source)

    def options(self, *, timeout: float | None = None, progress: Progress | None = None) -> Self:
        """Give a view of this session whose calls have other options.

        Args:
            timeout: Seconds for one call.
            progress: Called with ``(progress, total, message)`` as the server reports. What it
                raises ends the call and is raised by it.
        """
        view = type(self).__new__(type(self))
        own = {"_timeout": timeout, "_progress": progress}
        given = {name: value for name, value in own.items() if value is not None}
        vars(view).update(vars(self) | given)
        return view

    def call(self, tool: str, arguments: dict[str, Any] | None = None, /, **kw: Any) -> ToolResult:
        """Call a tool and wait for its result.

        Args:
            tool: Its name at the server.
            arguments: Its arguments; those given by name come on top.
            **kw: Arguments by name.

        Raises:
            LoginRequired: Somebody has to sign in; `scopes` names what is missing.
            ToolError: The tool reports an error.
            CallError: The call failed.
            ServerUnreachable: The server cannot be reached.
        """
        from mcpnb.calls.progress import ProgressLine

        with ProgressLine(tool) as line:
            shown = self._progress or line.report
            return self._blocking(self._calling(tool, {**(arguments or {}), **kw}, shown))

    async def acall(
        self, tool: str, arguments: dict[str, Any] | None = None, /, **kw: Any
    ) -> ToolResult:
        """Call a tool: the async twin of `call`."""
        return await self._awaiting(
            self._calling(tool, {**(arguments or {}), **kw}, self._progress)
        )

    def tools(self) -> Tools:
        """List the server's tools, all pages: a table to look at, callables to use."""
        return self._blocking(self._listing)

    async def atools(self) -> Tools:
        """List the server's tools: the async twin of `tools`."""
        return await self._awaiting(self._listing)

    def resources(self) -> list[Any]:
        """List the server's resources, all pages, as the SDK's own values."""
        from mcpnb.calls.reading import all_pages

        return self._blocking(lambda client: all_pages(client.list_resources, "resources"))

    def read(self, uri: str) -> ResourceContents:
        """Read a resource."""
        from mcpnb.calls.reading import read_resource

        return self._blocking(lambda client: read_resource(client, uri))

    async def aread(self, uri: str) -> ResourceContents:
        """Read a resource: the async twin of `read`."""
        from mcpnb.calls.reading import read_resource

        return await self._awaiting(lambda client: read_resource(client, uri))

    def client(self, **options: Any) -> AbstractAsyncContextManager[SignedInClient]:
        """Give the whole MCP SDK client, signed in, for the loop it is used on.

        Args:
            **options: Keyword arguments of `mcp.Client`, such as ``elicitation_callback``.
        """
        self._require_enabled()
        if self._shared.source is None:
            return self._settled_client(options)
        self._require_usable()
        from mcpnb.calls.connection import connected

        return connected(self._config, self._source, self.auth, options)

    @asynccontextmanager
    async def _settled_client(self, options: dict[str, Any]) -> AsyncIterator[SignedInClient]:
        """Have the headers helper run first, which may take seconds: not on this loop."""
        await self._settled()
        async with self.client(**options) as client:
            yield client

    def _require_enabled(self) -> None:
        if not self._config.enabled:
            raise ConfigError(
                f"{quoted(self._config.name or self._config.url)} is disabled: "
                f"{self._config.source} says enabled = false."
            )

    def _require_usable(self) -> None:
        """Refuse before anything is sent what configuration rules out."""
        self._require_enabled()
        if isinstance(self._source, StaticToken):
            self._source.peek()

    @property
    def _live(self) -> LiveClient:
        with self._shared.lock:
            live = self._shared.live
            if live is None or live.process != os.getpid():  # a fork has none of its connections
                from mcpnb.calls.live import LiveClient  # loads the SDK: half a second

                live = self._shared.live = LiveClient(self._config, self._source, self.auth)
                # The connection does not outlive the last view of the session.
                weakref.finalize(self._shared, live.close).atexit = False
            return live

    def _blocking(self, operation: Callable[[SignedInClient], Coroutine[Any, Any, T]]) -> T:
        self._require_usable()
        from mcpnb.calls.background import result_of
        from mcpnb.calls.progress import StoppedByListener

        failure: BaseException
        try:
            return result_of(self._live.start(operation, self._timeout))
        except LoginRequired as error:
            failure = self._invited(error)
        except StoppedByListener as stopped:
            failure = stopped.reason
        raise failure

    async def _awaiting(self, operation: Callable[[SignedInClient], Coroutine[Any, Any, T]]) -> T:
        self._require_enabled()
        await self._settled()
        self._require_usable()
        from mcpnb.calls.progress import StoppedByListener

        try:
            return await asyncio.wrap_future(self._live.start(operation, self._timeout))
        except LoginRequired as error:
            failure: BaseException = self._invited(error)
        except StoppedByListener as stopped:
            failure = stopped.reason
        except McpnbError as error:
            failure = bare(error)
        raise failure

    @property
    def login_command(self) -> str:
        """What to type on this machine to sign in; a label stays out of it, for files keep it."""
        return f"mcpnb login {shlex.quote(shown(self._config.url))}" + (
            " --account LABEL" if self._config.account else ""
        )

    def _invited(self, error: LoginRequired) -> Exception:
        """Show where to sign in, in a notebook, and say so."""
        where = "terminal" if isinstance(self._source, StaticToken) else place()
        if where == "notebook":
            where_it_is = views.room().offer(self)
            error.advise(f"Sign in in the panel {where_it_is}, then run this cell again.")
        elif where == "headless":
            error.advise(f"Sign in once, on this machine: {self.login_command}")
        return bare(error)

    def _calling(
        self, tool: str, arguments: dict[str, Any], told: Progress | None
    ) -> Callable[[SignedInClient], Coroutine[Any, Any, ToolResult]]:
        from mcpnb.calls.arguments import as_json
        from mcpnb.calls.configured import require_usable
        from mcpnb.calls.progress import Reports
        from mcpnb.calls.results import ToolResult, tool_error

        require_usable(self._config, tool)
        sent = as_json(tool, arguments)

        async def operation(client: SignedInClient) -> ToolResult:
            await self._live.list_once(client)
            called = partial(client.call_tool, tool, sent, read_timeout_seconds=self._timeout)
            if told is None:
                raw = await called()
            else:
                reports = Reports(told)
                raw = await reports.heard_during(called(progress_callback=reports.report))
            result = ToolResult(raw, name=tool)
            if result.is_error:
                raise tool_error(tool, result)
            return result

        return operation

    async def _listing(self, client: SignedInClient) -> Tools:
        from mcpnb.calls.reading import all_pages
        from mcpnb.calls.tools import Tool, Tools

        found = await all_pages(client.list_tools, "tools")
        self._live.listed(client)
        return Tools(Tool(raw, self.call, self.acall) for raw in found)


def _helper(config: ServerConfig) -> HeadersHelper | None:
    if config.headers_helper is None:
        return None
    from mcpnb.headers_helper import helper_of

    return helper_of(config)
