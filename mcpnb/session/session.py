"""What a person holds: one server, signed in or not."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shlex
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from mcpnb import views
from mcpnb.concurrency import ForkSafeLock, ProcessBound
from mcpnb.environment import comms_while_awaiting, frontend, stdin_allowed
from mcpnb.errors import (
    AnswerRefused,
    ConfigError,
    LoginRequired,
    LoginTimeout,
    McpnbError,
    NoSignInNeeded,
    StoreError,
    detached,
)
from mcpnb.oauth.models import ServerConfig, Via, via_from
from mcpnb.oauth.scopes import scopes_from
from mcpnb.scrub import scrub_class, scrub_traceback
from mcpnb.storage import MemoryStore, TokenStore, open_store
from mcpnb.text import quote, redact
from mcpnb.tokens import TokenSource, login_key
from mcpnb.tokens.static import StaticToken, source_of

if TYPE_CHECKING:
    from mcpnb.calls.client import SignedInClient
    from mcpnb.calls.live import LiveClient
    from mcpnb.calls.progress import Progress
    from mcpnb.calls.results import ResourceContents, ToolResult
    from mcpnb.calls.tools import Tools
    from mcpnb.doctor import Report, SignIn
    from mcpnb.login import Login, Observer
    from mcpnb.tokens.auth import BearerAuth
    from mcpnb.tokens.static import HeadersHelper

__all__ = ["Calling", "Session", "SigningIn", "Standing", "asked"]

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


class Calling(ProcessBound):
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
        from mcpnb.tokens.auth import BearerAuth

        self._require_enabled()
        source, helper = self._source, self._helper
        if isinstance(source, StaticToken):
            from mcpnb.tokens.auth import HelpedStaticAuth, StaticAuth

            return HelpedStaticAuth(source, helper) if helper else StaticAuth(source)
        if helper is not None:
            from mcpnb.tokens.auth import HelpedAuth

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
            redact = self._progress or line.report
            return self._blocking(self._calling(tool, {**(arguments or {}), **kw}, redact))

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
        from mcpnb.calls.results import all_pages

        return self._blocking(lambda client: all_pages(client.list_resources, "resources"))

    def read(self, uri: str) -> ResourceContents:
        """Read a resource."""
        from mcpnb.calls.results import read_resource

        return self._blocking(lambda client: read_resource(client, uri))

    async def aread(self, uri: str) -> ResourceContents:
        """Read a resource: the async twin of `read`."""
        from mcpnb.calls.results import read_resource

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
        from mcpnb.calls.client import connected

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
                f"{quote(self._config.name or self._config.url)} is disabled: "
                f"{self._config.source} says enabled = false."
            )

    def _require_usable(self) -> None:
        """Refuse before anything is sent what configuration rules out."""
        self._require_enabled()
        if isinstance(self._source, StaticToken):
            self._source.usable()

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
        from mcpnb.calls.live import result_of
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
            failure = detached(error)
        raise failure

    @property
    def login_command(self) -> str:
        """What to type on this machine to sign in; a label stays out of it, for files keep it."""
        return f"mcpnb login {shlex.quote(redact(self._config.url))}" + (
            " --account LABEL" if self._config.account else ""
        )

    def _invited(self, error: LoginRequired) -> Exception:
        """Show where to sign in, in a notebook, and say so."""
        where = "terminal" if isinstance(self._source, StaticToken) else frontend()
        if where == "notebook":
            where_it_is = views.room().offer(self)
            error.advise(f"Sign in in the panel {where_it_is}, then run this cell again.")
        elif where == "headless":
            error.advise(f"Sign in once, on this machine: {self.login_command}")
        return detached(error)

    def _calling(
        self, tool: str, arguments: dict[str, Any], told: Progress | None
    ) -> Callable[[SignedInClient], Coroutine[Any, Any, ToolResult]]:
        from mcpnb.calls.client import require_usable
        from mcpnb.calls.progress import Reports
        from mcpnb.calls.results import ToolResult, tool_error
        from mcpnb.calls.schema import as_json

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
        from mcpnb.calls.results import all_pages
        from mcpnb.calls.tools import Tool, Tools

        found = await all_pages(client.list_tools, "tools")
        self._live.listed(client)
        return Tools(Tool(raw, self.call, self.acall) for raw in found)


def _helper(config: ServerConfig) -> HeadersHelper | None:
    if config.headers_helper is None:
        return None
    from mcpnb.tokens.static import helper_of

    return helper_of(config)


class Standing(Calling):
    """The half of a session that is looked at."""

    @property
    def server(self) -> str:
        """The server's canonical URL."""
        return self._config.url

    @property
    def name(self) -> str | None:
        """What the configuration calls it, if it does."""
        return self._config.name

    @property
    def account(self) -> str | None:
        """The label of this login, where several are kept for one server."""
        return self._config.account

    @property
    def signed_in(self) -> bool:
        """Whether a login is at hand that works without a person, as far as this machine knows."""
        return self.status in ("authenticated", "expired", "bearer_token")

    @property
    def problem(self) -> ConfigError | None:
        """Why it cannot be used as it is configured: disabled, or its token is not there."""
        try:
            self._require_usable()
        except ConfigError as error:
            return error
        return None

    @property
    def status(self) -> str:
        """``authenticated``, ``expired`` (renews itself), ``reauth_required`` or ``none``.

        ``bearer_token`` where configuration has a token. Nobody is contacted for it.
        """
        if isinstance(self._source, StaticToken):
            return "bearer_token"
        record = self._source.record()
        if record is None:
            return "none"
        expires = record.tokens.expires_at
        if expires is None or expires > time.time():
            return "authenticated"
        forgotten = (
            record.refresh_failure is not None and record.refresh_failure.error == "invalid_client"
        )
        renewable = record.tokens.refresh_token is not None and not forgotten
        return "expired" if renewable else "reauth_required"

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that were granted."""
        record = self._source.record()
        return record.tokens.scopes if record else ()

    @property
    def store(self) -> TokenStore:
        """Where the login rests, or would."""
        return self._store

    @property
    def kept(self) -> str:
        """Where the login rests, or would, and what protects it, in a few words."""
        return self._store.kept(login_key(self._config.name_in_store, self._config.account))

    @property
    def issuer(self) -> str | None:
        """The authorization server: of the login, else the configured one, else not known yet."""
        record = self._source.record()
        return record.issuer if record else self._config.issuer

    @property
    def renews_itself(self) -> bool:
        """Whether the server gave something to renew the login with."""
        record = self._source.record()
        return record is not None and record.tokens.refresh_token is not None

    @property
    def expires_at(self) -> float | None:
        """When the access token ends, seconds since the epoch, where the server said so."""
        record = self._source.record()
        return record.tokens.expires_at if record else None

    @property
    def asks_for(self) -> tuple[str, ...]:
        """Scopes that were given or configured to be asked for; empty: the server names them."""
        return self._config.scopes or ()

    @property
    def wanted_scopes(self) -> tuple[str, ...]:
        """Scopes that a refused call needed, beyond those held."""
        return self._source.wanted or ()

    @property
    def latest_login(self) -> Login[Session] | None:
        """The sign-in of this session that was begun last, under way or ended."""
        return self._shared.login

    @property
    def version(self) -> object:
        """Changes when the login does, or a sign-in to it, in whatever process."""
        from mcpnb.login.pending import PendingLogins

        key = self._source.key
        return (self._store.version(key), PendingLogins(self._store, key).version)

    @property
    def in_memory(self) -> bool:
        """Whether the login is kept in this process only, or would be."""
        return isinstance(self._store, MemoryStore)

    @property
    def memory_is_a_choice(self) -> bool:
        """Whether the login could be kept elsewhere than in this process, too."""
        return not isinstance(self._shared.given_store, MemoryStore)

    def keep_in(self, store: str | TokenStore | None) -> None:
        """Keep the next login elsewhere: ``memory``, say, and it is gone with this process.

        Args:
            store: As in `mcpnb.connect`; `None`: where it was to be kept at first.

        Raises:
            ConfigError: Somebody is signed in: that login would be left behind.
        """
        if self.signed_in:
            raise ConfigError(
                f"You are signed in to {self.server}; the login is kept {self.kept}. Sign out "
                "before keeping another one elsewhere."
            )
        self._shared.store = self._shared.given_store if store is None else open_store(store)
        self._source.rest_in(self._shared.store)

    def __repr__(self) -> str:
        name = self._config.shown.partition("://")[2]
        label = f' ("{self.account}")' if self.account else ""
        return f"<Session {name}{label}, {self._state()}>"

    def _state(self) -> str:
        if not self._config.enabled:
            return "disabled"
        try:
            if isinstance(self._source, StaticToken):
                return f"no sign-in: uses {self._source.where}"
            record, status = self._source.record(), self.status
        except (ConfigError, StoreError) as error:
            what = "login not readable" if isinstance(error, StoreError) else "not usable"
            return f"{what}: {error}"
        if record is None:
            return "not signed in"
        if status == "reauth_required":
            return "login ended, sign in again"
        expires = record.tokens.expires_at
        left = "" if expires is None else f", {_duration(expires - time.time())}"
        renews = ", renews itself" if record.tokens.refresh_token else ""
        return f"signed in{left}{renews}, {self._store.protection(self._source.key)}"


def _duration(seconds: float) -> str:
    if seconds <= 0:
        return "token expired"
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds / size:.0f} {unit} left"
    return f"{seconds:.0f} s left"


class SigningIn(Standing):
    """The half of a session that a person signs in and out with."""

    def login(  # noqa: PLR0913  each an option of its own
        self,
        *,
        scopes: str | list[str] | tuple[str, ...] | None = None,
        device: bool = False,
        open_browser: bool = False,
        timeout: float = 300,
        via: Via | None = None,
        relay: str | None = None,
        anew: bool = False,
        choose_account: bool = False,
        observer: Observer | None = None,
    ) -> Login[Session]:
        """Start to sign in; returns at once. A sign-in under way is given again.

        Args:
            scopes: Scopes to ask for, beside those asked for before. Left out: those the server
                wanted for a refused call, else the configured, else the discovered ones.
            device: Sign in on another device, a phone for one, where the server offers it: the
                login's `url` and `user_code` say where and with what (RFC 8628).
            open_browser: Open the address in a browser on this machine.
            timeout: Seconds to wait for the person.
            via: How the answer comes back, where the choice is not to be mcpnb's: through a panel's
                page (``relay``), to a port of this machine (``loopback``), pasted by the person
                (``paste``), or not at all, from another device (``device``).
            relay: The address of a page that hands answers to a panel, where one is served.
            anew: Begin a new one also where an earlier one was left pending. One that a living
                process waits for is followed all the same.
            choose_account: Have the server ask who signs in; the new login takes the place of this
                one. For several at a time, see `mcpnb.connect(account=...)`.
            observer: Sees every step, secrets included; only with `anew`.
        """
        self._require_signing_in()
        from mcpnb.login import Login  # with the HTTP library: most sessions are signed in

        way = "device" if device else via_from(via or self._config.via)
        added = scopes_from(scopes)
        me = cast("Session", self)
        with self._shared.lock:
            before = self._shared.login
            same = added is None and not (anew or choose_account)
            if before is not None and before.under_way and same and before.started_via(way):
                return before
            login = self._shared.login = Login(
                me,
                self._config,
                self._source,
                scopes=added,
                via=way,
                relay=relay,
                open_browser=open_browser,
                timeout=timeout,
                after=before,
                anew=anew,
                choose_account=choose_account,
                observer=observer,
            )
        return login

    def resume(self, relay: str | None = None) -> Login[Session] | None:
        """Go on with a sign-in that was begun before, here or elsewhere. Nobody is contacted.

        Args:
            relay: As in `login`.

        Returns:
            It, or `None` where none is pending.
        """
        from mcpnb.login.pending import PendingLogins

        self._require_signing_in()
        me = cast("Session", self)
        with self._shared.lock:
            before = self._shared.login
            if before is not None and before.under_way:
                return before
            if PendingLogins(self._store, self._source.key).current() is None:
                return None
            from mcpnb.login import Login

            login = self._shared.login = Login(
                me, self._config, self._source, relay=relay, only_pending=True
            )
        return login

    def finish(self, text: str | None = None) -> Session:
        """Complete a sign-in that was begun earlier, also in a process that is no more.

        Args:
            text: The full address the browser ended at; asked for without echo when left out.

        Raises:
            LoginError: None is pending, or this is not its answer (`AnswerRefused`: try again).
        """
        self._require_signing_in()
        from mcpnb.login import Login

        login = Login(cast("Session", self), self._config, self._source, only_complete=True)
        try:
            login.wait_for("waiting")
            login.submit(text)
        finally:
            login.cancel()  # unless it has ended: what is pending stays pending
        return cast("Session", self)

    def _require_signing_in(self) -> None:
        self._require_usable()
        if isinstance(self._source, StaticToken):
            raise ConfigError(
                f"There is no sign-in to {self.server}: {self._source.where} is used instead."
            )

    def logout(self) -> bool:
        """Forget the login, and revoke it at the server (RFC 7009).

        So are those that it took the place of: at another sign-in, for another account or for more
        scopes. A sign-in under way ends, too, in whatever process it waits.

        Returns:
            Whether the server confirmed the revocation of all. It is forgotten here in any case.

        Raises:
            StoreError: It could not be deleted; it is revoked all the same.
        """
        from mcpnb.login.pending import PendingLogins

        with self._shared.lock:
            login = self._shared.login
            if login is not None and not login.under_way:
                login = self._shared.login = None  # how it ended is no news any more
        if login is not None:
            login.cancel()
        if self._shared.live is not None:
            self._shared.live.close()
        # A headers helper is not needed to forget a login, and its failure no reason to keep one.
        stored = TokenSource(self._config, self._store)
        PendingLogins(self._store, stored.key).drop()
        if self._helper is not None and stored.key in self._store.keys("login"):
            return stored.forget()
        return self._source.forget()


_PROMPT = "Paste the address here (or press Enter once a page says that you are signed in): "


def asked(session: Session) -> None:
    """Show the address to open, and ask for the one that the browser ends at.

    The answer may come by itself meanwhile, to a port of this machine; the prompt cannot be taken
    back then, so it says what to do. Without echo: JupyterLab keeps what is echoed (measured).

    Args:
        session: To sign in to.

    Raises:
        McpnbError: The sign-in failed.
    """
    login = session.login()
    try:
        login.wait_for("waiting")
    except NoSignInNeeded:
        return
    # threat: address-in-a-saved-notebook
    views.room().passing(
        login,
        f"To sign in to {redact(session.server)}, open:\n{login.url}\n"
        "After you approve, your browser may say this page can't be reached. That's expected. Copy "
        "the whole address from its address bar and paste it here.",
    )
    while login.state == "waiting":
        text = getpass.getpass(_PROMPT)
        if not text.strip():
            if login.state == "waiting":
                sys.stdout.write("Nothing has come back yet.\n")
            continue
        try:
            login.submit(text)
        except AnswerRefused as error:
            sys.stdout.write(f"Not used: {error}\n")


_POLL = 0.25
_PATIENCE = 8.0
"""Seconds until a panel that was just shown has to be heard of: a page has to load it first."""


@scrub_class
class Session(SigningIn):
    """One MCP server, to sign in to and to call. Thread-safe; made by `mcpnb.connect`."""

    def doctor(self, *, call: bool = False, sign_in: bool | SignIn = False) -> Report:
        """Explain why signing in does not work, step by step, and what to do.

        Nothing is changed, but for a sign-in that you ask for.

        Args:
            call: Send the stored token once, to see whether the server accepts it.
            sign_in: Really sign in, and explain every step. The address to open is printed; a
                function begins it, with the observer that it is given, and shows it in its own way.
        """
        from mcpnb.doctor import examine

        begin = sign_in if callable(sign_in) else self._shown_login if sign_in else None
        return examine(self._config, self._store, call=call, sign_in=begin)

    def _shown_login(self, observer: Observer) -> Login[Session]:
        login = self.login(anew=True, observer=observer)
        with contextlib.suppress(McpnbError):  # it is explained
            login.wait_for("waiting")
            views.room().passing(
                login,
                f"To sign in to {redact(self.server)}, open:\n{login.url}\n"
                f"The answer comes back to {login.redirect_uri}. If your browser cannot reach "
                "that, run this in a terminal beside, and paste the address that it ends at: "
                f"{self.login_command} --finish -",
            )
        return login

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
        earlier = self._earlier_login()
        if self._needs_a_panel():
            self._offered()
            self._meet(heard=views.room().hears(self, _PATIENCE))
        deadline = time.monotonic() + timeout
        paused = threading.Event()
        while not self._done(deadline, timeout, earlier):
            paused.wait(_POLL)
        return self

    async def ready(self, timeout: float = 300) -> Session:  # noqa: ASYNC109  the twin of wait()
        """Wait as `wait` does, without blocking the loop."""
        await self._settled()
        earlier = self._earlier_login()
        if self._needs_a_panel():
            self._offered()
            hears = views.room().hears
            heard = comms_while_awaiting() and await asyncio.to_thread(hears, self, _PATIENCE)
            self._meet(heard=heard)
        deadline = time.monotonic() + timeout
        while not self._done(deadline, timeout, earlier):  # noqa: ASYNC110  files have no events
            await asyncio.sleep(_POLL)
        return self

    def __await__(self) -> Generator[Any, None, Session]:
        """Sign in if need be, then go on: the line for “Run All”."""
        return self._signed_in().__await__()

    @scrub_traceback
    async def _signed_in(self) -> Session:
        await self._settled()
        if self.signed_in:
            return self
        if frontend() == "terminal":
            login = self.login()
            with contextlib.suppress(NoSignInNeeded):
                await asyncio.to_thread(login.until, "waiting")
            if login.state == "waiting":
                sys.stdout.write(f"To sign in to {redact(self.server)}, open:\n{login.url}\n")
        return await self.ready()

    def _needs_a_panel(self) -> bool:
        """Whether nothing else can bring an answer: no sign-in under way that goes on by itself."""
        if frontend() == "terminal" or self.signed_in:
            return False
        login = self.latest_login
        if login is None or login.state not in ("waiting", "exchanging"):
            return not self._needs_none()
        return not (login.is_follower or login.via in ("device", "loopback"))

    def _offered(self) -> None:
        """Show a panel, if anybody can click.

        Raises:
            LoginRequired: Nobody can.
        """
        if frontend() == "headless":
            raise LoginRequired(
                f"Not signed in to {self.server}, and nobody can be asked here. Sign in once, on "
                f"this machine: {self.login_command}",
                server=self.server,
            )
        views.room().offer(self)

    def _meet(self, *, heard: bool) -> None:
        """Make sure that an answer can arrive while the cell runs.

        Args:
            heard: Whether the panel can be heard meanwhile.

        Raises:
            LoginRequired: None can.
        """
        if heard:
            return
        if not stdin_allowed():
            raise LoginRequired(
                f"Not signed in to {self.server}. Sign in in the panel, then run this cell again: "
                "while a cell is running, this kernel does not hear the panel.",
                server=self.server,
            )
        asked(self)

    def _done(self, deadline: float, timeout: float, earlier: Login[Session] | None) -> bool:
        """Whether the wait has come to its good end."""
        if self.signed_in:
            return True
        login = self._shared.login
        news = login is not None and login is not earlier and not login.nothing_pending
        if login is not None and news and login.error is not None:
            if isinstance(login.error, NoSignInNeeded):
                return True
            raise login.error
        if time.monotonic() > deadline:
            raise LoginTimeout(
                f"Nobody has signed in to {self.server} within {timeout:.0f} seconds."
            )
        return False

    def _earlier_login(self) -> Login[Session] | None:
        """Give the sign-in that was cancelled before somebody began to wait: it is no news.

        Nor is one that failed, where a panel offers to try again.
        """
        login = self._shared.login
        old = ("cancelled",) if frontend() == "terminal" else ("cancelled", "failed")
        no_news = login is not None and login.state in old
        return login if no_news and not self._needs_none() else None

    def _needs_none(self) -> bool:
        """Whether the server was found to answer without a login."""
        login = self._shared.login
        return login is not None and isinstance(login.error, NoSignInNeeded)

    def _ipython_display_(self) -> None:
        views.room().display(self)

    # Tokens for clients of one's own

    def access_token(self) -> str:
        """Give a fresh access token, for what cannot take `auth`. Whoever has it can act as you.

        Raises:
            LoginRequired: Nobody is signed in.
        """
        self._require_usable()
        if isinstance(self._source, StaticToken):
            return self._source.token
        return self._source.get(eager=True).token.reveal()

    def headers(self) -> dict[str, str]:
        """Give a fresh ``Authorization`` header, for what takes headers only.

        Raises:
            LoginRequired: Nobody is signed in.
        """
        self._require_usable()
        if isinstance(self._source, StaticToken):
            return {"Authorization": self._source.authorization.reveal()}
        return {"Authorization": f"Bearer {self.access_token()}"}
