"""How a login stands: who, where, until when. Nobody is contacted for any of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcpnb.errors import ConfigError, StoreError
from mcpnb.session.calling import Calling
from mcpnb.session.static import StaticToken
from mcpnb.store import MemoryStore, TokenStore, open_store
from mcpnb.tokens import login_key

if TYPE_CHECKING:
    from mcpnb.login import Login
    from mcpnb.session.person import Session

__all__ = ["Standing"]


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
        forgotten = record.setback is not None and record.setback.error == "invalid_client"
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
        from mcpnb.pending import PendingLogins

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
