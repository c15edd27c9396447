"""What a session and its views share, and what is known of it at one moment."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mcpnb.concurrency import ForkSafeLock, ProcessBound
from mcpnb.errors import ConfigError, McpnbError, StoreError
from mcpnb.oauth.credentials import LoginRecord
from mcpnb.oauth.models import ServerConfig
from mcpnb.storage import MemoryStore, RecordName, TokenStore, open_store
from mcpnb.text import quote
from mcpnb.tokens import Tokens, TokenSource, login_key
from mcpnb.tokens.static import helper_of, source_of

if TYPE_CHECKING:
    from mcpnb.calls.live import LiveClient
    from mcpnb.login import Login
    from mcpnb.tokens.auth import BearerAuth


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What is known of a session at one moment. Nobody is contacted for it, and nothing is run.

    The panel, `repr`, the list of servers and the doctor all show this.
    """

    server: str
    """The canonical URL."""
    name: str | None
    """The name in the configuration, if it has one."""
    account: str | None
    """The label of this login, where one server has several."""
    record_name: RecordName
    """Names the login's record in the store."""
    status: str
    """``authenticated``, ``expired`` (it refreshes itself), ``reauth_required``, ``none``, or
    ``bearer_token`` where the configuration has a token."""
    enabled: bool = True
    """Whether the configuration lets it be used."""
    readable: bool = True
    """Whether the stored login, or that there is none, could be read."""
    problem: McpnbError | None = None
    """Why it cannot be used, or its login cannot be read or stored."""
    waits_for: str | None = None
    """The headers helper that has not run yet: whether it gives a token is not known."""
    token_source: str | None = None
    """What has the configured token, in a few words, where there is one."""
    issuer: str | None = None
    """The authorization server: of the login, else the configured one."""
    scopes: tuple[str, ...] = ()
    """The granted scopes."""
    requested_scopes: tuple[str, ...] = ()
    """Scopes that are given or configured; empty: the server names them."""
    wanted_scopes: tuple[str, ...] = ()
    """Scopes that a refused call needed, beyond the granted ones."""
    expires_at: float | None = None
    """When the access token expires, seconds since the epoch, where the server said so."""
    refreshes: bool = False
    """Whether there is a refresh token."""
    location: str = ""
    """Where the login is stored, or would be, and what protects it, in a few words."""
    protected_by: str = ""
    """The part of `location` that fits on a short line."""
    in_memory: bool = False
    """Whether the login is in this process only, or would be."""
    memory_is_a_choice: bool = False
    """Whether the login could be stored elsewhere than in this process, too."""

    @property
    def signed_in(self) -> bool:
        """Whether calls work without a person, as far as this machine knows."""
        return self.status in ("authenticated", "expired", "bearer_token")

    @property
    def summary(self) -> str:
        """The state in a few words, as `repr` shows it."""
        if not self.enabled:
            return "disabled"
        if self.problem is not None:
            what = "not usable" if self.readable else "login not readable"
            return f"{what}: {self.problem}"
        if self.token_source is not None:
            return f"no sign-in: uses {self.token_source}"
        if self.waits_for is not None and self.status == "none":
            return f"not asked yet: {self.waits_for} runs at the first call"
        if not self.signed_in:
            ended = self.status == "reauth_required"
            return "login ended, sign in again" if ended else "not signed in"
        left = "" if self.expires_at is None else f", {_left(self.expires_at - time.time())}"
        refreshes = ", renews itself" if self.refreshes else ""
        return f"signed in{left}{refreshes}, {self.protected_by}"


class Shared(ProcessBound):
    """What a session and all its views share: tokens, connection and sign-in. Thread-safe.

    With a headers helper it is not known before the command has run whether there is a login at
    all: the first who needs a token waits for it.

    Attributes:
        config: The server.
        store: Where the login is stored, or would be.
        helper: The ``http_headers_helper``, if one is configured.
        known_source: The source of tokens; `None` until a headers helper has run.
        login_lock: Taken to start a sign-in, or to forget the last one.
        latest_login: The sign-in that was started last.
    """

    def __init__(self, config: ServerConfig, store: TokenStore) -> None:
        """Contact nobody and run nothing."""
        self.config = config
        self.store = self._chosen_store = store
        self.helper = helper_of(config)
        self.login_lock = ForkSafeLock()
        self.latest_login: Login[Any] | None = None
        self._lock = ForkSafeLock()
        self.known_source = None if self.helper else source_of(config, store, None)
        self._auth: BearerAuth | None = None
        self._live: LiveClient | None = None

    # Tokens

    @property
    def source(self) -> Tokens:
        """The source of tokens; where a headers helper decides, it runs first.

        Raises:
            ConfigError: The helper failed. It runs again for the next caller.
        """
        if self.known_source is None:
            with self._lock:
                if self.known_source is None:
                    self.known_source = source_of(self.config, self.store, self.helper)
        return self.known_source

    @property
    def stored_login(self) -> Tokens:
        """The stored login, whatever a headers helper prints or fails to print."""
        return TokenSource(self.config, self.store) if self.helper else self.source

    @property
    def auth(self) -> BearerAuth:
        """The one `httpx.Auth` for all who call this server."""
        from mcpnb.tokens.auth import BearerAuth  # loads the HTTP libraries

        source = self.source
        with self._lock:
            self._auth = self._auth or BearerAuth(source, self.helper)
        return self._auth

    async def settle(self) -> None:
        """Run a headers helper that has not run: in a thread, never on the event loop."""
        if self.known_source is None:
            await asyncio.to_thread(lambda: self.source)

    def require_enabled(self) -> None:
        """Raise a `ConfigError` if the configuration disables the server."""
        if not self.config.enabled:
            raise ConfigError(
                f"{quote(self.config.name or self.config.url)} is disabled: "
                f"{self.config.source} says enabled = false."
            )

    def require_usable(self) -> None:
        """Raise a `ConfigError` if the server is disabled, or its configured token is not there."""
        self.require_enabled()
        if self.source.configured:
            self.source.get()

    def require_login(self) -> TokenSource:
        """Return the source of a login that somebody can sign in to.

        Raises:
            ConfigError: The configuration rules it out, or gives a token instead.
        """
        self.require_usable()
        source = self.source
        if not isinstance(source, TokenSource):
            raise ConfigError(
                f"There is no sign-in to {source.server}: {source.configured} is used instead."
            )
        return source

    def keep_in(self, store: str | TokenStore | None) -> None:
        """Store the next login elsewhere; see `mcpnb.Session.keep_in`."""
        self.store = self._chosen_store if store is None else open_store(store)
        if isinstance(self.known_source, TokenSource):
            self.known_source.rest_in(self.store)

    # The connection

    @property
    def live(self) -> LiveClient:
        """The client of this process; it connects at the first call."""
        source, auth = self.source, self.auth
        with self._lock:
            live = self._live
            if live is None or live.process != os.getpid():  # a fork has none of its connections
                from mcpnb.calls.live import LiveClient  # loads the SDK: half a second

                live = self._live = LiveClient(self.config, source, auth)
                # The connection does not outlive the last view of the session.
                weakref.finalize(self, live.close).atexit = False
            return live

    def disconnect(self) -> None:
        """Close the connection, if there is one; the next call connects again."""
        if self._live is not None:
            self._live.close()

    # What is known

    def info(self) -> SessionInfo:
        """Return what is known of the session. Nobody is contacted for it, and nothing is run."""
        config, source = self.config, self.known_source
        info = SessionInfo(
            server=config.url,
            name=config.name,
            account=config.account,
            record_name=login_key(config.name_in_store, config.account),
            status="none",
            enabled=config.enabled,
            issuer=config.issuer,
            requested_scopes=config.scopes or (),
            in_memory=isinstance(self.store, MemoryStore),
            memory_is_a_choice=not isinstance(self._chosen_store, MemoryStore),
            waits_for=None if source else f"http_headers_helper in {config.source}",
        )
        try:
            self.require_enabled()
            if source and source.configured:
                source.get()
        except ConfigError as error:
            info = replace(info, problem=error)  # its login is shown, and can be signed out of
        if source and source.configured:
            return replace(info, status="bearer_token", token_source=source.configured)
        source = source or self.stored_login
        try:
            record = source.record()
        except (ConfigError, StoreError) as error:  # a ConfigError: MCPNB_STORE_KEY is no key
            return replace(info, problem=error, readable=False)
        info = replace(info, wanted_scopes=source.wanted or ())
        try:
            location = self.store.location(info.record_name)
            protected_by = self.store.protected_by(info.record_name)
            info = replace(info, location=location, protected_by=protected_by)
        except (ConfigError, StoreError) as error:
            info = replace(info, problem=error)
        if record is None:
            return info
        return replace(
            info,
            status=_status(record),
            issuer=record.issuer,
            scopes=record.tokens.scopes,
            expires_at=record.tokens.expires_at,
            refreshes=record.tokens.refresh_token is not None,
        )


def _status(record: LoginRecord) -> str:
    expires = record.tokens.expires_at
    if expires is None or expires > time.time():
        return "authenticated"
    failure = record.refresh_failure
    forgotten = failure is not None and failure.error == "invalid_client"
    refreshes = record.tokens.refresh_token is not None and not forgotten
    return "expired" if refreshes else "reauth_required"


def _left(seconds: float) -> str:
    if seconds <= 0:
        return "token expired"
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds / size:.0f} {unit} left"
    return f"{seconds:.0f} s left"
