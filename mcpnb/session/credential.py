"""Where a session's tokens come from, and where its login is stored."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcpnb.concurrency import ForkSafeLock, ProcessBound
from mcpnb.errors import ConfigError
from mcpnb.oauth.models import ServerConfig
from mcpnb.storage import MemoryStore, TokenStore, open_store
from mcpnb.text import quote
from mcpnb.tokens import Tokens, TokenSource
from mcpnb.tokens.static import helper_of, source_of

if TYPE_CHECKING:
    from mcpnb.tokens.auth import BearerAuth


class Credential(ProcessBound):
    """The tokens of one session and all its views. Thread-safe.

    With a headers helper it is not known before the command has run whether there is a login at
    all: the first who needs a token waits for it.
    """

    def __init__(self, config: ServerConfig, store: TokenStore) -> None:
        """Contact nobody and run nothing."""
        self._config = config
        self._store = self._chosen_store = store
        self._helper = helper_of(config)
        self._lock = ForkSafeLock()
        self._source: Tokens | None = None
        if self._helper is None:
            self._source = source_of(config, store, None)
        self._auth: BearerAuth | None = None

    @property
    def store(self) -> TokenStore:
        """Where the login is stored, or would be."""
        return self._store

    @property
    def in_memory(self) -> bool:
        """Whether the login is in this process only, or would be."""
        return isinstance(self._store, MemoryStore)

    @property
    def memory_is_a_choice(self) -> bool:
        """Whether the login could be stored elsewhere than in this process, too."""
        return not isinstance(self._chosen_store, MemoryStore)

    @property
    def is_known(self) -> bool:
        """Whether no headers helper has to run before a token can be had."""
        return self._source is not None

    @property
    def source(self) -> Tokens:
        """The source of tokens; where a headers helper decides, it runs first.

        Raises:
            ConfigError: The helper failed. It runs again for the next caller.
        """
        if self._source is None:
            with self._lock:
                if self._source is None:
                    self._source = source_of(self._config, self._store, self._helper)
        return self._source

    @property
    def login(self) -> Tokens:
        """The stored login, whatever a headers helper prints or fails to print."""
        return self.source if self._helper is None else TokenSource(self._config, self._store)

    @property
    def has_helper(self) -> bool:
        """Whether ``http_headers_helper`` is configured."""
        return self._helper is not None

    @property
    def auth(self) -> BearerAuth:
        """The one `httpx.Auth` for all who call this server."""
        if self._auth is None:
            # Loads the HTTP libraries: most terminal commands need none.
            from mcpnb.tokens.auth import BearerAuth

            source = self.source
            with self._lock:
                if self._auth is None:
                    self._auth = BearerAuth(source, self._helper)
        return self._auth

    async def settle(self) -> None:
        """Run a headers helper that has not run: in a thread, never on the event loop."""
        if self._source is None:
            await asyncio.to_thread(lambda: self.source)

    def require_enabled(self) -> None:
        """Refuse a server that is disabled.

        Raises:
            ConfigError: The configuration disables it.
        """
        config = self._config
        if not config.enabled:
            raise ConfigError(
                f"{quote(config.name or config.url)} is disabled: "
                f"{config.source} says enabled = false."
            )

    def require_usable(self) -> None:
        """Refuse what the configuration rules out, before anything is sent.

        Raises:
            ConfigError: The server is disabled, or its configured token is not there.
        """
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
        self._store = self._chosen_store if store is None else open_store(store)
        if isinstance(self._source, TokenSource):
            self._source.rest_in(self._store)
