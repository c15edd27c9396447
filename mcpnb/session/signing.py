"""Signing in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mcpnb.errors import ConfigError
from mcpnb.models import Via, via_from
from mcpnb.protocol.scopes import scopes_from
from mcpnb.session.standing import Standing
from mcpnb.session.static import StaticToken
from mcpnb.tokens import TokenSource

if TYPE_CHECKING:
    from mcpnb.login import Login, Observer
    from mcpnb.session.person import Session

__all__ = ["SigningIn"]


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
            if before is not None and before.under_way and same and before.is_by(way):
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
        from mcpnb.pending import PendingLogins

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
            login.until("waiting")
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
        from mcpnb.pending import PendingLogins

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
