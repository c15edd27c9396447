"""When a session is shown, and as what."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from mcpnb.errors import plain
from mcpnb.notebook import place
from mcpnb.panel.watching import panels_of
from mcpnb.panel.widget import Panel
from mcpnb.protocol.urls import host_of

if TYPE_CHECKING:
    from mcpnb.session import Session

__all__ = ["display", "hears", "offer"]

_SLICE = 0.25


def display(session: Session) -> None:
    """Show a session in the running cell: as a panel where somebody can click, else as a line."""
    where = place()
    if where == "notebook":
        Panel(session)._ipython_display_()
    elif where == "headless":
        # The file keeps it: no account's name.
        state = (
            "signed in" if session.signed_in else f"not signed in; once: {session.login_command}"
        )
        sys.stdout.write(f"<Session {plain(host_of(session.server))}, {state}>\n")
    else:
        sys.stdout.write(f"{session!r}\n")


def offer(session: Session) -> str:
    """Show a panel unless a live one is on the page.

    Returns:
        Where it is, in a word: ``above`` or ``below``.
    """
    live = [panel for panel in panels_of(session) if panel.live]
    if live:
        for panel in live:
            panel.refresh()
        return "above"
    display(session)
    return "below"


def hears(session: Session, timeout: float) -> bool:
    """Whether a panel of this session answers while the cell is running.

    Args:
        session: Shown by it.
        timeout: Seconds to wait for its word; a page has to load a panel that is new.
    """
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0 and (panels := panels_of(session)):
        if any(panel.answers(min(left, _SLICE)) for panel in panels):
            return True
    return False
