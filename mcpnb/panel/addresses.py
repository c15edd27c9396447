"""The address of a sign-in in a cell's output: only for as long as somebody has to open it."""

from __future__ import annotations

import sys
import threading
import uuid
from typing import TYPE_CHECKING, Any

from mcpnb.notebook import place
from mcpnb.panel.fallback import show

if TYPE_CHECKING:
    from mcpnb.login import Login

__all__ = ["passing"]


def passing(login: Login[Any], text: str = "") -> None:
    """Show a sign-in in the running cell: its address while an answer is awaited, then how it went.

    Notebook files keep what cells show, and who reads an address that is still waited for can have
    the person be signed in to somebody else's account.

    Args:
        login: The sign-in.
        text: What to say while an answer is awaited; left out: its `repr`, which has the address.
    """
    if place() == "terminal":
        sys.stdout.write(f"{text or repr(login)}\n")
        sys.stdout.flush()
        return
    name, changing, seen = f"mcpnb-{uuid.uuid4().hex}", threading.Lock(), ""

    def look() -> None:
        nonlocal seen
        with changing:
            now = text if text and login.state == "waiting" else repr(login)
            if now != seen:
                show({"text/plain": now}, display_id=name, update=bool(seen))
                seen = now

    look()
    # threat: address-in-a-saved-notebook
    login.on_change(lambda _: look())
    look()  # it may have ended in between
