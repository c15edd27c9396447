"""Wait in a cell until somebody has signed in, and only for what can arrive there."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import sys
import threading
import time
from typing import TYPE_CHECKING

from mcpnb.environment import comms_while_awaiting, frontend, stdin_allowed
from mcpnb.errors import AnswerRefused, LoginRequired, LoginTimeout, NoSignInNeeded
from mcpnb.text import redact
from mcpnb.ui import UI

if TYPE_CHECKING:
    from mcpnb.login import Login
    from mcpnb.session.session import Session


_POLL = 0.25
_PATIENCE = 8.0
"""Seconds until a panel that was just shown has to answer: a page has to load it first."""
_PROMPT = "Paste the address here (or press Enter once a page says that you are signed in): "


class SignInWait:
    """One wait of one session: in a thread, or awaited."""

    def __init__(self, session: Session, ui: UI, timeout: float) -> None:
        """Wait for nothing yet; then for so many seconds, for the session to be signed in."""
        self._session = session
        self._ui = ui
        self._timeout = timeout
        self._deadline = 0.0
        self._no_news: Login[Session] | None = None

    def run(self) -> None:
        """Wait as `mcpnb.Session.wait` does."""
        if self._needs_a_panel():
            self._show_panel()
            self._ensure_response(heard=self._ui.is_responsive(self._session, _PATIENCE))
        self._deadline = time.monotonic() + self._timeout
        paused = threading.Event()
        while not self._is_done():
            paused.wait(_POLL)

    async def run_async(self) -> None:
        """Wait as `mcpnb.Session.ready` does, without blocking the loop."""
        if await asyncio.to_thread(self._needs_a_panel):
            self._show_panel()
            heard = comms_while_awaiting() and await asyncio.to_thread(
                self._ui.is_responsive, self._session, _PATIENCE
            )
            self._ensure_response(heard=heard)
        self._deadline = time.monotonic() + self._timeout
        while not await asyncio.to_thread(self._is_done):  # noqa: ASYNC110  files have no events
            await asyncio.sleep(_POLL)

    def _needs_a_panel(self) -> bool:
        """Return whether no sign-in goes on by itself; note the one that ended before this wait."""
        session, login = self._session, self._session.latest_login
        in_terminal = frontend() == "terminal"
        if login is not None and isinstance(login.error, NoSignInNeeded):
            return False
        # How a sign-in ended before the wait began is no news. A panel offers to try again.
        if login is not None and (
            login.state == "cancelled" or (login.state == "failed" and not in_terminal)
        ):
            self._no_news = login
        if in_terminal or session.signed_in:
            return False
        if login is None or login.state not in ("waiting", "exchanging"):
            return True
        now = login.now
        comes_here = now.pending is not None and now.pending.callback in ("device", "loopback")
        return not (now.is_follower or comes_here)

    def _show_panel(self) -> None:
        """Show a panel, or raise `LoginRequired` if nobody can click."""
        session = self._session
        if frontend() == "headless":
            raise LoginRequired(
                f"Not signed in to {session.server}, and nobody can be asked here. Sign in once, "
                f"on this machine: {session.login_command}",
                server=session.server,
            )
        self._ui.show_panel(session)

    def _ensure_response(self, *, heard: bool) -> None:
        """Make sure that an authorization response can arrive while the cell runs.

        Raises:
            LoginRequired: The panel is not `heard` meanwhile, and nobody can be asked to paste one.
        """
        if heard:
            return
        if not stdin_allowed():
            raise LoginRequired(
                f"Not signed in to {self._session.server}. Sign in with the panel, then run this "
                "cell again: while a cell is running, this kernel does not hear the panel.",
                server=self._session.server,
            )
        self._ask_for_response()

    def _ask_for_response(self) -> None:
        """Show the address to open, and ask for the one that the browser ends at.

        The response may come by itself meanwhile, to a port of this machine. The prompt cannot be
        taken back then, so it says what to do. Without echo: JupyterLab saves it (measured).

        Raises:
            McpnbError: The sign-in failed.
        """
        login = self._session.login()
        try:
            login.wait_for("waiting")
        except NoSignInNeeded:
            return
        # threat: address-in-a-saved-notebook
        self._ui.show_login_url(
            login,
            f"To sign in to {redact(self._session.server)}, open:\n{login.url}\n"
            "After you approve, your browser may say this page can't be reached. That's expected. "
            "Copy the whole address from its address bar and paste it here.",
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

    def _is_done(self) -> bool:
        """Return whether the wait has come to its good end.

        Raises:
            LoginTimeout: Nobody has signed in in time.
            McpnbError: The sign-in failed.
        """
        if self._session.signed_in:
            return True
        login = self._session.latest_login
        if login is not None and login.error is not None:
            if isinstance(login.error, NoSignInNeeded):
                return True
            if login is not self._no_news and not login.now.nothing_pending:
                raise login.error
        if time.monotonic() > self._deadline:
            raise LoginTimeout(
                f"Nobody has signed in to {self._session.server} within "
                f"{self._timeout:.0f} seconds."
            )
        return False


async def tell_terminal(session: Session) -> None:
    """Start a sign-in in a plain script, and print the address to open."""
    login = await asyncio.to_thread(session.login)
    with contextlib.suppress(NoSignInNeeded):
        await asyncio.to_thread(login.wait_for, "waiting")
    if login.state == "waiting":
        sys.stdout.write(f"To sign in to {redact(session.server)}, open:\n{login.url}\n")
