"""What a person holds: one server, signed in or not."""

from __future__ import annotations

import asyncio
import copy
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from mcpnb.errors import LoginTimeout, McpnbError, StoreError, bare
from mcpnb.models import ServerConfig
from mcpnb.protocol.scopes import scopes_from
from mcpnb.store import TokenStore
from mcpnb.tokens import TokenSource

if TYPE_CHECKING:
    from mcpnb.auth import BearerAuth
    from mcpnb.calls.connection import SignedInClient
    from mcpnb.calls.live import LiveClient
    from mcpnb.calls.results import ResourceContents, ToolResult
    from mcpnb.calls.tools import Tools
    from mcpnb.login import Login

__all__ = ["Session"]

T = TypeVar("T")
Progress = Callable[[float, float | None, str | None], object]
_POLL = 0.5
_UNDER_WAY = ("discovering", "registering", "waiting", "exchanging")


class _Shared:
    """What all views of a session have together."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.login: Login[Session] | None = None
        self.live: LiveClient | None = None


class Session:
    """One MCP server, to sign in to and to call. Thread-safe; made by `mcpnb.connect`."""

    def __init__(self, config: ServerConfig, store: TokenStore) -> None:
        """Hold a server. Nobody is contacted.

        Args:
            config: The server and how to sign in to it.
            store: Where the login rests.
        """
        self._config = config
        self._store = store
        self._source = TokenSource(config, store)
        self._shared = _Shared()
        self._timeout: float | None = config.tool_timeout
        self._progress: Progress | None = None

    # Who and where

    @property
    def server(self) -> str:
        """The server's canonical URL."""
        return self._source.server

    @property
    def account(self) -> str | None:
        """The label of this login, where several are kept for one server."""
        return self._config.account

    @property
    def signed_in(self) -> bool:
        """Whether a login is at hand that works without a person, as far as this machine knows."""
        return self.status in ("authenticated", "expired")

    @property
    def status(self) -> str:
        """``authenticated``, ``expired`` (renews itself), ``reauth_required`` or ``none``.

        Nobody is contacted for it.
        """
        record = self._source.record()
        if record is None:
            return "none"
        expires = record.tokens.expires_at
        if expires is None or expires > time.time():
            return "authenticated"
        return "expired" if record.tokens.refresh_token else "reauth_required"

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that were granted."""
        record = self._source.record()
        return record.tokens.scopes if record else ()

    @property
    def kept(self) -> str:
        """Where the login rests and what protects it, in a few words."""
        return self._store.where

    def __repr__(self) -> str:
        name = self.server.partition("://")[2]
        label = f' ("{self.account}")' if self.account else ""
        return f"<Session {name}{label}, {self._state()}>"

    def _state(self) -> str:
        try:
            record, status = self._source.record(), self.status
        except StoreError as error:
            return f"login not readable: {error}"
        if record is None:
            return "not signed in"
        if status == "reauth_required":
            return "login ended, sign in again"
        expires = record.tokens.expires_at
        left = "" if expires is None else f", {_duration(expires - time.time())}"
        renews = ", renews itself" if record.tokens.refresh_token else ""
        return f"signed in{left}{renews}, {self._store.where}"

    # Signing in and out

    def login(
        self,
        *,
        scopes: str | list[str] | tuple[str, ...] | None = None,
        open_browser: bool = False,
        timeout: float = 300,
    ) -> Login[Session]:
        """Start to sign in; returns at once. A sign-in under way is given again.

        Args:
            scopes: Scopes to ask for, beside those asked for before. Left out: those the server
                wanted for a refused call, else the configured, else the discovered ones.
            open_browser: Open the address in a browser on this machine.
            timeout: Seconds to wait for the person.
        """
        from mcpnb.login import Login  # with the HTTP library: most sessions are signed in

        added = scopes_from(scopes)
        record = self._source.readable()
        with self._shared.lock:
            before = self._shared.login
            if before is not None and added is None and before.state in _UNDER_WAY:
                return before
            config = self._config
            if added is None:
                added = self._source.wanted
            if added is not None and record is None:
                config, added = replace(config, scopes=added), None
            login = self._shared.login = Login(
                self,
                config,
                self._source,
                scopes=added,
                open_browser=open_browser,
                timeout=timeout,
                after=before,
            )
        return login

    def logout(self) -> bool:
        """Revoke the login at the server (RFC 7009), then forget it.

        Returns:
            Whether the server confirmed the revocation. It is forgotten here in any case.
        """
        if (login := self._shared.login) is not None:
            login.cancel()
        if self._shared.live is not None:
            self._shared.live.close()
        return self._source.forget()

    def wait(self, timeout: float = 300) -> Session:
        """Wait until somebody has signed in: here, in another notebook or in a terminal.

        Args:
            timeout: Seconds.

        Raises:
            LoginTimeout: Nobody has.
            McpnbError: The sign-in under way here failed.
        """
        deadline = time.monotonic() + timeout
        paused = threading.Event()
        while not self.signed_in:
            self._give_up(deadline, timeout)
            paused.wait(_POLL)
        return self

    async def ready(self, timeout: float = 300) -> Session:  # noqa: ASYNC109  the twin of wait()
        """Wait as `wait` does, without blocking the loop."""
        deadline = time.monotonic() + timeout
        while not self.signed_in:
            self._give_up(deadline, timeout)
            await asyncio.sleep(_POLL)
        return self

    def _give_up(self, deadline: float, timeout: float) -> None:
        login = self._shared.login
        if login is not None and login.error is not None and login.state in ("failed", "cancelled"):
            raise login.error
        if time.monotonic() > deadline:
            raise LoginTimeout(
                f"Nobody has signed in to {self.server} within {timeout:.0f} seconds."
            )

    def __await__(self) -> Generator[Any, None, Session]:
        """Sign in if need be, then go on: the line for “Run All”."""
        return self._signed_in().__await__()

    async def _signed_in(self) -> Session:
        if not self.signed_in:
            login = self.login()
            await asyncio.to_thread(login.until, "waiting")
            if login.state == "waiting":
                sys.stdout.write(f"To sign in to {self.server}, open:\n{login.url}\n")
            await self.ready()
        return self

    # Tokens for clients of one's own

    @cached_property
    def auth(self) -> BearerAuth:
        """An `httpx.Auth` and `httpx2.Auth` in one, for sync and async clients.

        It gives the token to this server's origin only.
        """
        from mcpnb.auth import BearerAuth

        return BearerAuth(self._source)

    def access_token(self) -> str:
        """Give a fresh access token, for what cannot take `auth`. Whoever has it can act as you.

        Raises:
            LoginRequired: Nobody is signed in.
        """
        return self._source.fresh(eager=True).token.reveal()

    def headers(self) -> dict[str, str]:
        """Give a fresh ``Authorization`` header, for what takes headers only.

        Raises:
            LoginRequired: Nobody is signed in.
        """
        return {"Authorization": f"Bearer {self.access_token()}"}

    # Calls

    def options(self, *, timeout: float | None = None, progress: Progress | None = None) -> Session:
        """Give a view of this session whose calls have other options.

        Args:
            timeout: Seconds for one call.
            progress: Called with ``(progress, total, message)`` as the server reports.
        """
        view = copy.copy(self)
        own = {"_timeout": timeout, "_progress": progress}
        vars(view).update({name: value for name, value in own.items() if value is not None})
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
        from mcpnb.calls.connection import connected

        return connected(self._source, self.auth, options)

    @property
    def _live(self) -> LiveClient:
        with self._shared.lock:
            live = self._shared.live
            if live is None or live.process != os.getpid():  # a fork has none of its connections
                from mcpnb.calls.live import LiveClient  # loads the SDK: half a second

                live = self._shared.live = LiveClient(self._source, self.auth)
                # The connection does not outlive the last view of the session.
                weakref.finalize(self._shared, live.close).atexit = False
            return live

    def _blocking(self, operation: Callable[[SignedInClient], Coroutine[Any, Any, T]]) -> T:
        from mcpnb.calls.background import result_of

        return result_of(self._live.start(operation, self._timeout))

    async def _awaiting(self, operation: Callable[[SignedInClient], Coroutine[Any, Any, T]]) -> T:
        try:
            return await asyncio.wrap_future(self._live.start(operation, self._timeout))
        except McpnbError as error:
            failure = error
        raise bare(failure)

    def _calling(
        self, tool: str, arguments: dict[str, Any], told: Progress | None
    ) -> Callable[[SignedInClient], Coroutine[Any, Any, ToolResult]]:
        from mcpnb.calls.arguments import as_json
        from mcpnb.calls.results import ToolResult, tool_error

        sent = as_json(tool, arguments)

        async def report(progress: float, total: float | None, message: str | None) -> None:
            if told is not None:
                told(progress, total, message)

        async def operation(client: SignedInClient) -> ToolResult:
            await self._live.list_once(client)
            raw = await client.call_tool(
                tool,
                sent,
                read_timeout_seconds=self._timeout,
                progress_callback=report if told is not None else None,
            )
            result = ToolResult(raw, name=tool)
            if result.is_error:
                raise tool_error(tool, result)
            return result

        return operation

    async def _listing(self, client: SignedInClient) -> Tools:
        from mcpnb.calls.reading import all_pages
        from mcpnb.calls.tools import Tool, Tools

        found = await all_pages(client.list_tools, "tools")
        return Tools(Tool(raw, self.call, self.acall) for raw in found)


def _duration(seconds: float) -> str:
    if seconds <= 0:
        return "token expired"
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds / size:.0f} {unit} left"
    return f"{seconds:.0f} s left"
