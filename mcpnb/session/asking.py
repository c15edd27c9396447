"""Asking for the answer in the cell itself, where the kernel hears nothing else meanwhile."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

from mcpnb import views
from mcpnb.errors import AnswerRefused, NoSignInNeeded, shown

if TYPE_CHECKING:
    from mcpnb.session.person import Session

__all__ = ["asked"]

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
        login.until("waiting")
    except NoSignInNeeded:
        return
    # threat: address-in-a-saved-notebook
    views.room().passing(
        login,
        f"To sign in to {shown(session.server)}, open:\n{login.url}\n"
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
