"""What a person holds: one server, signed in or not."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from mcpnb.errors import ConfigError, LoginTimeout, StoreError
from mcpnb.models import ServerConfig
from mcpnb.protocol.scopes import scopes_from
from mcpnb.session.calling import Calling
from mcpnb.session.static import StaticToken
from mcpnb.store import TokenStore
from mcpnb.tokens import TokenSource, login_key

if TYPE_CHECKING:
    from mcpnb.doctor import Report
    from mcpnb.login import Login
    from mcpnb.redirects import Via

__all__ = ["Session"]

_POLL = 0.5
_UNDER_WAY = ("discovering", "registering", "waiting", "exchanging")


class Session(Calling):
    """One MCP server, to sign in to and to call. Thread-safe; made by `mcpnb.connect`."""

    def __init__(self, config: ServerConfig, store: TokenStore) -> None:
        """Hold a server. Nobody is contacted.

        Args:
            config: The server and how to sign in to it.
            store: Where the login rests.
        """
        super().__init__(config, store)

    # Who and where

    @property
    def server(self) -> str:
        """The server's canonical URL."""
        return self._config.url

    @property
    def account(self) -> str | None:
        """The label of this login, where several are kept for one server."""
        return self._config.account

    @property
    def signed_in(self) -> bool:
        """Whether a login is at hand that works without a person, as far as this machine knows."""
        return self.status in ("authenticated", "expired", "bearer_token")

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
    def kept(self) -> str:
        """Where the login rests, or would, and what protects it, in a few words."""
        return self._store.kept(login_key(self._config.url, self._config.account))

    def keep_in(self, store: str | TokenStore) -> None:
        """Keep the next login elsewhere: ``memory``, say, and it is gone with this process.

        Args:
            store: As in `mcpnb.connect`.

        Raises:
            ConfigError: Somebody is signed in: that login would be left behind.
        """
        if self.signed_in:
            raise ConfigError(
                f"You are signed in to {self.server}; the login is kept {self.kept}. Sign out "
                "before keeping another one elsewhere."
            )
        from mcpnb.store import open_store

        self._shared.store = open_store(store)
        self._source.rest_in(self._shared.store)

    def __repr__(self) -> str:
        name = self.server.partition("://")[2]
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

    # Signing in and out

    def login(  # noqa: PLR0913  each an option of its own
        self,
        *,
        scopes: str | list[str] | tuple[str, ...] | None = None,
        device: bool = False,
        open_browser: bool = False,
        timeout: float = 300,
        via: Via = "auto",
        relay: str | None = None,
        anew: bool = False,
        choose_account: bool = False,
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
        """
        self._require_signing_in()
        from mcpnb.login import Login  # with the HTTP library: most sessions are signed in
        from mcpnb.redirects import via_from

        via = "device" if device else via_from(via)
        added = scopes_from(scopes)
        with self._shared.lock:
            before = self._shared.login
            same = (
                added is None
                and not (anew or choose_account)
                and via in ("auto", before.via if before else None)
            )
            if before is not None and same and before.state in _UNDER_WAY:
                return before
            login = self._shared.login = Login(
                self,
                self._config,
                self._source,
                scopes=added,
                via=via,
                relay=relay,
                open_browser=open_browser,
                timeout=timeout,
                after=before,
                anew=anew,
                choose_account=choose_account,
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

        login = Login(self, self._config, self._source, only_complete=True)
        try:
            login.until("waiting")
            login.submit(text)
        finally:
            login.cancel()  # unless it has ended: what is pending stays pending
        return self

    def _require_signing_in(self) -> None:
        self._require_usable()
        if isinstance(self._source, StaticToken):
            raise ConfigError(
                f"There is no sign-in to {self.server}: {self._source.where} is used instead."
            )

    def logout(self) -> bool:
        """Forget the login, and revoke it at the server (RFC 7009).

        A sign-in under way ends, too, in whatever process it waits.

        Returns:
            Whether the server confirmed the revocation. It is forgotten here in any case.

        Raises:
            StoreError: It could not be deleted; it is revoked all the same.
        """
        from mcpnb.pending import PendingLogins

        if (login := self._shared.login) is not None:
            login.cancel()
        if self._shared.live is not None:
            self._shared.live.close()
        # A headers helper is not needed to forget a login, and its failure no reason to keep one.
        stored = TokenSource(self._config, self._store)
        PendingLogins(self._store, stored.key).drop()
        if self._helper is not None and stored.key in self._store.keys("login"):
            return stored.forget()
        return self._source.forget()

    def doctor(self, *, call: bool = False) -> Report:
        """Explain why signing in does not work, step by step, and what to do. Nothing is changed.

        Args:
            call: Send the stored token once, to see whether the server accepts it.
        """
        from mcpnb.doctor import examine

        return examine(self._config, self._store, call=call)

    def wait(self, timeout: float = 300) -> Session:
        """Wait until somebody has signed in: here, in another notebook or in a terminal.

        Args:
            timeout: Seconds.

        Raises:
            LoginTimeout: Nobody has.
            McpnbError: The sign-in under way here failed.
        """
        deadline, earlier = time.monotonic() + timeout, self._cancelled_login()
        paused = threading.Event()
        while not self.signed_in:
            self._give_up(deadline, timeout, earlier)
            paused.wait(_POLL)
        return self

    async def ready(self, timeout: float = 300) -> Session:  # noqa: ASYNC109  the twin of wait()
        """Wait as `wait` does, without blocking the loop."""
        deadline, earlier = time.monotonic() + timeout, self._cancelled_login()
        await self._settled()
        while not self.signed_in:
            self._give_up(deadline, timeout, earlier)
            await asyncio.sleep(_POLL)
        return self

    def _cancelled_login(self) -> Login[Session] | None:
        """Give the sign-in that was cancelled before somebody began to wait: it is no news."""
        login = self._shared.login
        return login if login is not None and login.state == "cancelled" else None

    def _give_up(self, deadline: float, timeout: float, earlier: Login[Session] | None) -> None:
        login = self._shared.login
        if login is not None and login is not earlier and login.error is not None:
            raise login.error
        if time.monotonic() > deadline:
            raise LoginTimeout(
                f"Nobody has signed in to {self.server} within {timeout:.0f} seconds."
            )

    def __await__(self) -> Generator[Any, None, Session]:
        """Sign in if need be, then go on: the line for “Run All”."""
        return self._signed_in().__await__()

    async def _signed_in(self) -> Session:
        await self._settled()
        if not self.signed_in:
            login = self.login()
            await asyncio.to_thread(login.until, "waiting")
            if login.state == "waiting":
                sys.stdout.write(f"To sign in to {self.server}, open:\n{login.url}\n")
            await self.ready()
        return self

    # Tokens for clients of one's own

    def access_token(self) -> str:
        """Give a fresh access token, for what cannot take `auth`. Whoever has it can act as you.

        Raises:
            LoginRequired: Nobody is signed in.
        """
        self._require_usable()
        if isinstance(self._source, StaticToken):
            return self._source.token
        return self._source.fresh(eager=True).token.reveal()

    def headers(self) -> dict[str, str]:
        """Give a fresh ``Authorization`` header, for what takes headers only.

        Raises:
            LoginRequired: Nobody is signed in.
        """
        self._require_usable()
        if isinstance(self._source, StaticToken):
            return {"Authorization": self._source.authorization.reveal()}
        return {"Authorization": f"Bearer {self.access_token()}"}


def _duration(seconds: float) -> str:
    if seconds <= 0:
        return "token expired"
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds / size:.0f} {unit} left"
    return f"{seconds:.0f} s left"
