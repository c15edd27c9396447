"""The calls of one session: each waits in its thread, or is awaited, on one live connection."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from mcpnb.concurrency import ForkSafeLock
from mcpnb.errors import LoginRequired, McpnbError, detached
from mcpnb.oauth.models import ServerConfig

if TYPE_CHECKING:
    from mcpnb.calls.client import SignedInClient
    from mcpnb.calls.live import LiveClient
    from mcpnb.calls.progress import Progress
    from mcpnb.calls.results import ResourceContents, ToolResult
    from mcpnb.calls.tools import Tools
    from mcpnb.tokens import Tokens
    from mcpnb.tokens.auth import BearerAuth


T = TypeVar("T")
Operation = Callable[["SignedInClient"], Coroutine[Any, Any, T]]


class Credentialed(Protocol):
    """What calls need of a session's credential."""

    @property
    def source(self) -> Tokens:
        """Where tokens come from."""

    @property
    def auth(self) -> BearerAuth:
        """Attaches them."""

    async def settle(self) -> None:
        """Run what has to run before there is a source."""

    def require_usable(self) -> None:
        """Refuse what the configuration rules out."""

    def require_enabled(self) -> None:
        """Refuse a server that is disabled."""


class Connection:
    """The one live client that all views of a session share, made at the first call."""

    def __init__(self, config: ServerConfig, credential: Credentialed) -> None:
        self._config = config
        self._credential = credential
        self._lock = ForkSafeLock()
        self._live: LiveClient | None = None

    @property
    def live(self) -> LiveClient:
        """The client of this process."""
        with self._lock:
            live = self._live
            if live is None or live.process != os.getpid():  # a fork has none of its connections
                from mcpnb.calls.live import LiveClient  # loads the SDK: half a second

                credential = self._credential
                live = self._live = LiveClient(self._config, credential.source, credential.auth)
                # The connection does not outlive the last view of the session.
                weakref.finalize(self, live.close).atexit = False
            return live

    def close(self) -> None:
        """Close it, if there is one; the next call connects again."""
        if self._live is not None:
            self._live.close()


class Calls:
    """Calls with certain options; `with_options` returns others on the same connection."""

    def __init__(  # noqa: PLR0913  two are options
        self,
        config: ServerConfig,
        credential: Credentialed,
        connection: Connection,
        invite: Callable[[LoginRequired], object],
        *,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Connect to nobody.

        Args:
            config: The server and the tools that may be used.
            credential: Where tokens come from.
            connection: The live client.
            invite: Shows a person where to sign in, and adds the advice to the error.
            timeout: Seconds for one call; `None` for the client's own.
            progress: Called with ``(progress, total, message)`` as the server reports.
        """
        self._config = config
        self._credential = credential
        self._connection = connection
        self._invite = invite
        self._timeout = timeout
        self._progress = progress

    def with_options(self, timeout: float | None, progress: Progress | None) -> Self:
        """Return calls with other options where they are given."""
        return type(self)(
            self._config,
            self._credential,
            self._connection,
            self._invite,
            timeout=self._timeout if timeout is None else timeout,
            progress=self._progress if progress is None else progress,
        )

    def call(self, tool: str, arguments: dict[str, Any] | None = None, /, **kw: Any) -> ToolResult:
        """Call a tool and wait; see `mcpnb.Session.call`."""
        from mcpnb.calls.progress import ProgressLine

        with ProgressLine(tool) as line:
            report = self._progress or line.report
            return self._blocking(self._calling(tool, arguments, kw, report))

    async def acall(
        self, tool: str, arguments: dict[str, Any] | None = None, /, **kw: Any
    ) -> ToolResult:
        """Call a tool; see `mcpnb.Session.acall`."""
        return await self._awaiting(self._calling(tool, arguments, kw, self._progress))

    def tools(self) -> Tools:
        """List the tools and wait."""
        return self._blocking(self._listing)

    async def atools(self) -> Tools:
        """List the tools."""
        return await self._awaiting(self._listing)

    def resources(self) -> list[Any]:
        """List the resources and wait."""
        from mcpnb.calls.results import all_pages

        return self._blocking(lambda client: all_pages(client.list_resources, "resources"))

    def read(self, uri: str) -> ResourceContents:
        """Read a resource and wait."""
        from mcpnb.calls.results import read_resource

        return self._blocking(lambda client: read_resource(client, uri))

    async def aread(self, uri: str) -> ResourceContents:
        """Read a resource."""
        from mcpnb.calls.results import read_resource

        return await self._awaiting(lambda client: read_resource(client, uri))

    def _blocking(self, operation: Operation[T]) -> T:
        self._credential.require_usable()
        from mcpnb.calls.live import result_of
        from mcpnb.calls.progress import StoppedByListener

        failure: BaseException
        try:
            return result_of(self._connection.live.start(operation, self._timeout))
        except LoginRequired as error:
            self._invite(error)
            failure = detached(error)
        except StoppedByListener as stopped:
            failure = stopped.reason
        raise failure

    async def _awaiting(self, operation: Operation[T]) -> T:
        self._credential.require_enabled()
        await self._credential.settle()
        self._credential.require_usable()
        from mcpnb.calls.progress import StoppedByListener

        failure: BaseException
        try:
            return await asyncio.wrap_future(self._connection.live.start(operation, self._timeout))
        except LoginRequired as error:
            self._invite(error)
            failure = detached(error)
        except StoppedByListener as stopped:
            failure = stopped.reason
        except McpnbError as error:
            failure = detached(error)
        raise failure

    def _calling(
        self,
        tool: str,
        arguments: dict[str, Any] | None,
        named: dict[str, Any],
        report: Progress | None,
    ) -> Operation[ToolResult]:
        from mcpnb.calls.arguments import as_json
        from mcpnb.calls.client import require_usable

        require_usable(self._config, tool)
        sent = as_json(tool, arguments or {}, named)
        return lambda client: self._connection.live.call_tool(
            client, tool, sent, timeout=self._timeout, progress=report
        )

    async def _listing(self, client: SignedInClient) -> Tools:
        from mcpnb.calls.results import all_pages
        from mcpnb.calls.tools import Tool, Tools

        found = await all_pages(client.list_tools, "tools")
        self._connection.live.listed(client, found)
        return Tools(Tool(raw, self.call, self.acall) for raw in found)
