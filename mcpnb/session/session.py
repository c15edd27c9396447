"""What a person holds: one server, signed in or not."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from mcpnb import ui as front
from mcpnb.concurrency import ProcessBound
from mcpnb.environment import frontend
from mcpnb.errors import ConfigError, LoginRequired, McpnbError, detached
from mcpnb.oauth.models import Callback, ServerConfig, Via, callback_from
from mcpnb.oauth.scopes import scopes_from
from mcpnb.scrub import scrub_class, scrub_traceback
from mcpnb.session.state import SessionInfo, Shared
from mcpnb.session.wait import SignInWait, tell_terminal
from mcpnb.storage import TokenStore
from mcpnb.text import redact
from mcpnb.ui import UI

if TYPE_CHECKING:
    from mcpnb.calls.client import SignedInClient
    from mcpnb.calls.progress import Progress
    from mcpnb.calls.results import ResourceContents, ToolResult
    from mcpnb.calls.tools import Tools
    from mcpnb.doctor import Report, SignIn
    from mcpnb.login import Login, Observer, SignInRequest
    from mcpnb.tokens import TokenSource
    from mcpnb.tokens.auth import BearerAuth


T = TypeVar("T")
Operation = Callable[["SignedInClient"], Coroutine[Any, Any, T]]


@scrub_class
class Session(ProcessBound):
    """One MCP server, to sign in to and to call. Thread-safe; made by `mcpnb.connect`."""

    def __init__(self, config: ServerConfig, store: TokenStore, ui: UI | None = None) -> None:
        """Contact nobody. The login is in `store`, or will be; `ui` shows it."""
        self._config = config
        self._ui = ui or front.default
        self._shared = Shared(config, store)
        self._timeout = config.tool_timeout
        self._progress: Progress | None = None

    def __repr__(self) -> str:
        name = self._config.shown.partition("://")[2]
        label = f' ("{self.account}")' if self.account else ""
        return f"<Session {name}{label}, {self.info().summary}>"

    def _ipython_display_(self) -> None:
        self._ui.show_session(self)

    # What is known

    @property
    def server(self) -> str:
        """The server's canonical URL."""
        return self._config.url

    @property
    def name(self) -> str | None:
        """The server's name in the configuration, if it has one."""
        return self._config.name

    @property
    def account(self) -> str | None:
        """The label of this login, where several are stored for one server."""
        return self._config.account

    @property
    def callback(self) -> Callback:
        """How authorization responses come back where a sign-in does not choose."""
        return self._config.callback

    def info(self) -> SessionInfo:
        """Return all that is known at this moment. Nobody is contacted, no command is run."""
        return self._shared.info()

    @property
    def status(self) -> str:
        """``authenticated``, ``expired`` (it refreshes itself), ``reauth_required`` or ``none``.

        ``bearer_token`` where configuration has a token. Nobody is contacted for it.

        Raises:
            StoreError: The login cannot be read.
            ConfigError: The headers helper failed.
        """
        return self._decided().status

    def _decided(self) -> SessionInfo:
        self._shared.source  # noqa: B018  a headers helper runs first
        return self._readable()

    def _readable(self) -> SessionInfo:
        info = self.info()
        if info.problem is not None and not info.readable:
            raise info.problem
        return info

    @property
    def signed_in(self) -> bool:
        """Whether calls work without a person, as far as this machine knows."""
        return self._decided().signed_in

    @property
    def problem(self) -> ConfigError | None:
        """Why it cannot be used as it is configured: disabled, or its token is not there."""
        try:
            self._shared.require_usable()
        except ConfigError as error:
            return error
        return None

    @property
    def scopes(self) -> tuple[str, ...]:
        """The granted scopes. Raises as `status`."""
        return self._readable().scopes

    @property
    def issuer(self) -> str | None:
        """The authorization server of the login, else the configured one. Raises as `status`."""
        return self._readable().issuer

    @property
    def expires_at(self) -> float | None:
        """When the access token expires, seconds since the epoch, if known. Raises as `status`."""
        return self._readable().expires_at

    @property
    def store(self) -> TokenStore:
        """Where the login is stored, or would be."""
        return self._shared.store

    @property
    def version(self) -> object:
        """Changes when the login does, or a sign-in to it, in whatever process."""
        from mcpnb.login.pending import PendingLogins

        store, key = self.store, self._shared.source.key
        return (store.version(key), PendingLogins(store, key).version)

    @property
    def latest_login(self) -> Login[Session] | None:
        """The sign-in of this session that was started last, under way or ended."""
        return self._shared.latest_login

    @property
    def login_command(self) -> str:
        """What to type on this machine to sign in. Files keep it, so it has no account's label."""
        account = " --account LABEL" if self.account else ""
        return f"mcpnb login {shlex.quote(redact(self.server))}{account}"

    def doctor(self, *, call: bool = False, sign_in: bool | SignIn = False) -> Report:
        """Explain why signing in does not work, step by step, and what to do.

        Nothing is changed, except by a sign-in that you ask for.

        Args:
            call: Send the stored token once, to see whether the server accepts it.
            sign_in: Really sign in, and explain every step. The address to open is printed. A
                function starts the sign-in, with the observer that it is given, and shows it in
                its own way.
        """
        from mcpnb.doctor import examine

        begin = sign_in if callable(sign_in) else self._observed_login if sign_in else None
        return examine(self._config, self.store, call=call, sign_in=begin)

    def _observed_login(self, observer: Observer) -> Login[Session]:
        from mcpnb.login import SignInRequest

        request = SignInRequest(callback=self.callback, anew=True)
        login = self.sign_in(request, observer=observer)
        with contextlib.suppress(McpnbError):  # the report explains it
            login.wait_for("waiting")
            self._ui.show_login_url(
                login,
                f"To sign in to {redact(self.server)}, open:\n{login.url}\n"
                f"The response comes back to {login.redirect_uri}. If your browser cannot reach "
                "that address, run this in a terminal and paste the address at which it ends: "
                f"{self.login_command} --finish -",
            )
        return login

    # Signing in and out

    def login(  # noqa: PLR0913  each an option of its own
        self,
        *,
        scopes: str | list[str] | tuple[str, ...] | None = None,
        device: bool = False,
        open_browser: bool = False,
        timeout: float = 300,
        via: Via | None = None,
        choose_account: bool = False,
    ) -> Login[Session]:
        """Start to sign in; returns at once. Returns the sign-in under way if there is one.

        Args:
            scopes: Scopes to add to those requested before. Left out: those that the
                server wanted for a refused call, else the configured, else the discovered ones.
            device: Sign in on another device, for example a phone, where the server offers it: the
                login's `url` and `user_code` say where and with what (RFC 8628).
            open_browser: Open the address in a browser on this machine.
            timeout: Seconds to wait for the person.
            via: How the authorization response comes back: through a panel's page (``page``), to a
                port of this machine (``loopback``), pasted by the person (``paste``), or not at
                all, from another device (``device``).
            choose_account: Have the server ask who signs in; the new login takes the place of this
                one. For several at a time, see `mcpnb.connect(account=...)`.
        """
        from mcpnb.login import SignInRequest

        return self.sign_in(
            SignInRequest(
                scopes=scopes_from(scopes),
                callback="device" if device else callback_from(via or self.callback),
                open_browser=open_browser,
                timeout=timeout,
                choose_account=choose_account,
            )
        )

    def sign_in(
        self, request: SignInRequest, *, observer: Observer | None = None
    ) -> Login[Session]:
        """Start a sign-in as a panel, a terminal and the doctor do; see `login`.

        The observer sees every step, secrets included.
        """
        source = self._shared.require_login()
        with self._shared.login_lock:
            before = self.latest_login
            if (
                before is not None
                and before.under_way
                and request.scopes is None
                and request.may_resume
                and before.started_via(request.callback)
            ):
                return before
            self._shared.latest_login = login = self._begin(request, source, observer, after=before)
            return login

    def _begin(
        self,
        request: SignInRequest,
        source: TokenSource,
        observer: Observer | None = None,
        after: Login[Session] | None = None,
    ) -> Login[Session]:
        from mcpnb.login import Deps, Login  # with the HTTP library: most sessions are signed in

        deps = Deps.of(self._config, source, observer)
        return Login(self, request, deps, self._ui, after=after)

    def resume(self, page: str | None = None) -> Login[Session] | None:
        """Go on with a sign-in that was begun before, here or elsewhere, if one is pending.

        Nobody is contacted.

        Args:
            page: The address of a page that hands responses to a panel, where one is served.
        """
        from mcpnb.login import SignInRequest
        from mcpnb.login.pending import PendingLogins

        source = self._shared.require_login()
        with self._shared.login_lock:
            login = self.latest_login
            if login is None or not login.under_way:
                if PendingLogins(self.store, source.key).current() is None:
                    return None
                login = self._begin(SignInRequest(page=page, only_resume=True), source)
                self._shared.latest_login = login
            return login

    def finish(self, text: str | None = None) -> Session:
        """Complete a sign-in that was begun earlier, also in a process that has ended.

        Args:
            text: The full address the browser ended at; asked for without echo when left out.

        Raises:
            LoginError: None is pending, or this is not its response (`AnswerRefused`: try again).
        """
        from mcpnb.login import Deps, complete

        complete(Deps.of(self._config, self._shared.require_login(), None), text)
        return self

    def logout(self) -> bool:
        """Forget the login, and revoke it at the server (RFC 7009).

        So are the logins that it replaced, for another account or for more scopes. A sign-in under
        way ends, too, in whatever process it waits.

        Returns:
            Whether the server confirmed the revocation of all. It is forgotten here in any case.

        Raises:
            StoreError: It could not be deleted; it is revoked all the same.
        """
        from mcpnb.login.pending import PendingLogins

        with self._shared.login_lock:
            login = self.latest_login
            if login is not None and not login.under_way:
                login = self._shared.latest_login = None  # how it ended is no news any more
        if login is not None:
            login.cancel()
        self._shared.disconnect()
        # A headers helper is not needed to forget a login, and its failure no reason to keep one.
        stored = self._shared.stored_login
        PendingLogins(self.store, stored.key).drop()
        if self._shared.helper and stored.key not in self.store.keys("login"):
            return self._shared.source.forget()
        return stored.forget()

    def keep_in(self, store: str | TokenStore | None) -> None:
        """Store the next login elsewhere: in ``memory``, for example, until this process ends.

        Args:
            store: As in `mcpnb.connect`; `None`: where it was to be stored at first.

        Raises:
            ConfigError: Somebody is signed in: that login would be left behind.
        """
        if self.signed_in:
            raise ConfigError(
                f"You are signed in to {self.server}; the login is kept {self.info().location}. "
                "Sign out before keeping another one elsewhere."
            )
        self._shared.keep_in(store)

    # Waiting until somebody has signed in

    def wait(self, timeout: float = 300) -> Session:
        """Wait until somebody has signed in: here, in another notebook or in a terminal.

        In a cell only for what can arrive while it runs: where the kernel does not hear the panel
        meanwhile, the address that the browser ends at is asked for instead.

        Args:
            timeout: Seconds.

        Raises:
            LoginTimeout: Nobody has.
            LoginRequired: Nobody can be asked here.
            McpnbError: The sign-in under way here failed.
        """
        SignInWait(self, self._ui, timeout).run()
        return self

    async def ready(self, timeout: float = 300) -> Session:  # noqa: ASYNC109  the twin of wait()
        """Wait as `wait` does, without blocking the loop."""
        await self._shared.settle()
        await SignInWait(self, self._ui, timeout).run_async()
        return self

    def __await__(self) -> Generator[Any, None, Session]:
        """Sign in if need be, then go on: the line for “Run All”."""
        return self._signed_in().__await__()

    @scrub_traceback
    async def _signed_in(self) -> Session:
        await self._shared.settle()
        if await asyncio.to_thread(lambda: self.signed_in):
            return self
        if frontend() == "terminal":
            await tell_terminal(self)
        return await self.ready()

    # Calling

    def options(self, *, timeout: float | None = None, progress: Progress | None = None) -> Self:
        """Return a view of this session whose calls have other options.

        Args:
            timeout: Seconds for one call.
            progress: Called with ``(progress, total, message)`` as the server reports. What it
                raises ends the call and is raised by it.
        """
        view = type(self).__new__(type(self))
        vars(view).update(
            vars(self),
            _timeout=self._timeout if timeout is None else timeout,
            _progress=progress or self._progress,
        )
        return view

    def call(self, tool: str, arguments: dict[str, Any] | None = None, /, **kw: Any) -> ToolResult:
        """Call a tool and wait for its result.

        Args:
            tool: Its name at the server.
            arguments: Its arguments; those given by name come on top.
            **kw: Arguments by name.

        Raises:
            TypeError: The tool has no such argument; nothing was sent.
            LoginRequired: Somebody has to sign in; `scopes` names what is missing.
            ToolError: The tool reports an error.
            CallError: The call failed.
            ServerUnreachable: The server cannot be reached.
        """
        from mcpnb.calls.progress import ProgressLine

        with ProgressLine(tool) as line:
            report = self._progress or line.report
            return self._wait_for(self._tool_call(tool, arguments, kw, report))

    async def acall(
        self, tool: str, arguments: dict[str, Any] | None = None, /, **kw: Any
    ) -> ToolResult:
        """Call a tool: the async twin of `call`."""
        return await self._await(self._tool_call(tool, arguments, kw, self._progress))

    def tools(self) -> Tools:
        """List the server's tools, all pages: a table to look at, callables to use."""
        return self._wait_for(self._list_tools)

    async def atools(self) -> Tools:
        """List the server's tools: the async twin of `tools`."""
        return await self._await(self._list_tools)

    def resources(self) -> list[Any]:
        """List the server's resources, all pages, as the SDK's own values."""
        return self._wait_for(self._shared.live.resources)

    def read(self, uri: str) -> ResourceContents:
        """Read a resource."""
        return self._wait_for(lambda client: self._shared.live.read(client, uri))

    async def aread(self, uri: str) -> ResourceContents:
        """Read a resource: the async twin of `read`."""
        return await self._await(lambda client: self._shared.live.read(client, uri))

    def client(self, **options: Any) -> AbstractAsyncContextManager[SignedInClient]:
        """Return the whole MCP SDK client, signed in, for the loop it is used on.

        Args:
            **options: Keyword arguments of `mcp.Client`, such as ``elicitation_callback``.
        """
        self._shared.require_enabled()
        if self._shared.known_source is not None:
            self._shared.require_usable()
        return self._client(options)

    @asynccontextmanager
    async def _client(self, options: dict[str, Any]) -> AsyncIterator[SignedInClient]:
        # A headers helper may take seconds: not on this loop.
        await self._shared.settle()
        self._shared.require_usable()
        from mcpnb.calls.client import connected

        async with connected(self._config, self._shared.source, self.auth, options) as client:
            yield client

    def _tool_call(
        self,
        tool: str,
        arguments: dict[str, Any] | None,
        named: dict[str, Any],
        progress: Progress | None,
    ) -> Operation[ToolResult]:
        from mcpnb.calls.arguments import as_json
        from mcpnb.calls.client import require_usable

        require_usable(self._config, tool)
        sent, timeout = as_json(tool, arguments or {}, named), self._timeout
        return lambda client: self._shared.live.call_tool(
            client, tool, sent, timeout=timeout, progress=progress
        )

    async def _list_tools(self, client: SignedInClient) -> Tools:
        from mcpnb.calls.tools import Tool, Tools

        found = await self._shared.live.tools(client)
        return Tools(Tool(raw, self.call, self.acall) for raw in found)

    def _wait_for(self, operation: Operation[T]) -> T:
        """Do something with the connected client, and wait for it."""
        self._shared.require_usable()
        from mcpnb.calls.live import result_of

        try:
            return result_of(self._shared.live.start(operation, self._timeout))
        except McpnbError as error:
            failure = self._failure(error)
        raise failure

    async def _await(self, operation: Operation[T]) -> T:
        """Do something with the connected client: the async twin of `_wait_for`."""
        self._shared.require_enabled()
        await self._shared.settle()
        self._shared.require_usable()
        try:
            return await asyncio.wrap_future(self._shared.live.start(operation, self._timeout))
        except McpnbError as error:
            failure = self._failure(error)
        raise failure

    def _failure(self, error: McpnbError) -> BaseException:
        """Return what to raise for a failed call."""
        from mcpnb.calls.progress import StoppedByListener

        if isinstance(error, StoppedByListener):
            return error.reason
        if isinstance(error, LoginRequired):
            self._invite(error)
        return detached(error)

    def _invite(self, error: LoginRequired) -> None:
        """Show where to sign in, in a notebook, and add what to do to the error."""
        source = self._shared.known_source
        where = "terminal" if source is not None and source.configured else frontend()
        if where == "notebook":
            position = self._ui.show_panel(self)
            error.advise(f"Sign in with the panel {position}, then run this cell again.")
        elif where == "headless":
            error.advise(f"Sign in once, on this machine: {self.login_command}")

    # Tokens for clients of one's own

    @property
    def auth(self) -> BearerAuth:
        """An `httpx.Auth` and `httpx2.Auth` in one, for sync and async clients.

        It attaches the token for this server's origin only.
        """
        self._shared.require_enabled()
        return self._shared.auth

    def access_token(self) -> str:
        """Return a fresh access token, for what cannot take `auth`. Whoever has it can act as you.

        Raises:
            LoginRequired: Nobody is signed in.
        """
        self._shared.require_usable()
        token = self._shared.source.get(eager=True)
        if not token.scheme:
            raise ConfigError(
                f"The configured Authorization header for {self.server} is no bearer token: use "
                "headers()."
            )
        return token.token.reveal()

    def headers(self) -> dict[str, str]:
        """Return a fresh ``Authorization`` header, for what takes headers only.

        Raises:
            LoginRequired: Nobody is signed in.
        """
        self._shared.require_usable()
        return {"Authorization": self._shared.source.get(eager=True).authorization}
