"""What a person holds: one server, signed in or not."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from mcpnb import views
from mcpnb.discreet import discreet, discreet_class
from mcpnb.errors import LoginRequired, LoginTimeout, McpnbError, NoSignInNeeded, shown
from mcpnb.notebook import asks, hears_while_awaiting, place
from mcpnb.session.asking import asked
from mcpnb.session.signing import SigningIn
from mcpnb.session.static import StaticToken

if TYPE_CHECKING:
    from mcpnb.doctor import Report, SignIn
    from mcpnb.login import Login, Observer

__all__ = ["Session"]

_POLL = 0.25
_PATIENCE = 8.0
"""Seconds until a panel that was just shown has to be heard of: a page has to load it first."""


@discreet_class
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
            login.until("waiting")
            views.room().passing(
                login,
                f"To sign in to {shown(self.server)}, open:\n{login.url}\n"
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
            heard = hears_while_awaiting() and await asyncio.to_thread(hears, self, _PATIENCE)
            self._meet(heard=heard)
        deadline = time.monotonic() + timeout
        while not self._done(deadline, timeout, earlier):  # noqa: ASYNC110  files have no events
            await asyncio.sleep(_POLL)
        return self

    def __await__(self) -> Generator[Any, None, Session]:
        """Sign in if need be, then go on: the line for “Run All”."""
        return self._signed_in().__await__()

    @discreet
    async def _signed_in(self) -> Session:
        await self._settled()
        if self.signed_in:
            return self
        if place() == "terminal":
            login = self.login()
            with contextlib.suppress(NoSignInNeeded):
                await asyncio.to_thread(login.until, "waiting")
            if login.state == "waiting":
                sys.stdout.write(f"To sign in to {shown(self.server)}, open:\n{login.url}\n")
        return await self.ready()

    def _needs_a_panel(self) -> bool:
        """Whether nothing else can bring an answer: no sign-in under way that goes on by itself."""
        if place() == "terminal" or self.signed_in:
            return False
        login = self.latest_login
        if login is None or login.state not in ("waiting", "exchanging"):
            return not self._needs_none()
        return not (login.follows or login.via in ("device", "loopback"))

    def _offered(self) -> None:
        """Show a panel, if anybody can click.

        Raises:
            LoginRequired: Nobody can.
        """
        if place() == "headless":
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
        if not asks():
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
        news = login is not None and login is not earlier and not login.found_none
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
        old = ("cancelled",) if place() == "terminal" else ("cancelled", "failed")
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
