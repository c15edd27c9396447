"""Outputs next to the widget: the HTML fallback, and the address of a sign-in."""

from __future__ import annotations

import html
import shlex
import sys
import threading
import uuid
from typing import TYPE_CHECKING, Any

from mcpnb.environment import frontend

if TYPE_CHECKING:
    from mcpnb.login import Login


_PATIENCE = 2.0
"""Seconds in which a page usually shows a panel; what stands there for less would only flicker."""
_STYLE = (
    "font:13px/1.5 system-ui,sans-serif;padding:.8em 1em;border-radius:10px;max-width:44em;"
    "border:1px solid rgba(128,128,128,.45);overflow-wrap:anywhere"
)
_CODE = (
    "font:12px/1.5 ui-monospace,monospace;margin:.3em 0 .8em;padding:.5em .7em;border-radius:6px;"
    "background:rgba(128,128,128,.14);white-space:pre-wrap"
)


class Fallback:
    """A second output below the panel. It disappears as soon as a page shows the panel.

    If kernel and Jupyter are in different environments, Jupyter may not be able to show the panel:
    then this is all that a person sees.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._name = f"mcpnb-{uuid.uuid4().hex}"
        self._lock = threading.Lock()
        self._shown = False
        self._needed = True

    def show(self) -> None:
        """Show it in the running cell, unless a page shows the panel in time."""
        with self._lock:
            self._shown = True
        self._put("", update=False)
        later = threading.Timer(_PATIENCE, self._appear)
        later.daemon = True
        later.start()

    def vanish(self) -> None:
        """Remove it: a page shows the panel."""
        with self._lock:
            vanishes, self._needed = self._shown and self._needed, False
            if vanishes:
                self._put("", update=True)

    def _appear(self) -> None:
        with self._lock:  # until it is there: else what takes it away could come before it
            if self._needed:
                self._put(text(self._server), update=True)

    def _put(self, content: str, *, update: bool) -> None:
        show({"text/html": content, "text/plain": ""}, display_id=self._name, update=update)


def show(data: Any, **options: Any) -> None:
    """Display an output in the running cell, or update one that is there."""
    from IPython.display import display

    display(data, raw=True, **options)  # type: ignore[no-untyped-call]


def text(server: str) -> str:
    """Return its HTML. Everything in it is known here: no server was asked.

    Args:
        server: The server's address, or its configured name.
    """
    parts = [
        # threat: fallback-markup
        f"<strong>Sign in to {html.escape(server)}</strong>",
        _said(
            "If you see no panel above, your Jupyter cannot show it: it is in another environment "
            "than this kernel, or the cell is still running. Run this once, in a cell of its own. "
            "It copies the panel's part into your Jupyter folder. Then reload the page:"
        ),
        _typed(f"!{shlex.quote(sys.executable)} -m mcpnb jupyter"),
        _said("Or sign in without the panel, in a cell:"),
        _typed(
            f"import mcpnb\nlogin = mcpnb.connect({server!r}).login()\n"
            'login.wait_for("waiting")\nlogin           # shows the address to open\n'
            "login.submit()  # asks for the address that the browser ends at"
        ),
        _said("Or sign in from a terminal on the kernel's machine:"),
        # threat: fallback-markup
        _typed(f"mcpnb login {shlex.quote(server)}"),
    ]
    return f'<div style="{_STYLE}">{"".join(parts)}</div>'


def _said(words: str) -> str:
    return f'<p style="margin:.4em 0">{html.escape(words)}</p>'


def _typed(code: str) -> str:
    return f'<pre style="{_CODE}">{html.escape(code)}</pre>'


def show_login_url(login: Login[Any], text: str = "") -> None:
    """Show a sign-in in the running cell: its address while a response is awaited, then its end.

    Notebook files keep the output of cells. Whoever reads an address while a response is awaited
    can sign the person in to another account.

    Args:
        login: The sign-in.
        text: The text while a response is awaited; left out: its `repr`, which has the address.
    """
    if frontend() == "terminal":
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
