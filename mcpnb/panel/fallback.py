"""What stands beside a panel while no page has shown it: plain HTML, and useful by itself."""

from __future__ import annotations

import html
import shlex
import sys
import threading
import uuid
from typing import Any

__all__ = ["Fallback", "show"]

_PATIENCE = 2.0
"""Seconds in which a page usually shows a panel; what stands there for less would only flicker."""
_STYLE = (
    "font-size:13px;line-height:1.5;padding:.6em .8em;border:1px solid currentColor;"
    "border-radius:6px;max-width:46em;overflow-wrap:anywhere"
)


class Fallback:
    """An output of its own below the panel's; it vanishes as soon as a page shows the panel.

    Where kernel and Jupyter are in different environments, Jupyter may have nothing that shows the
    panel: then this is all that a person sees.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._name = f"mcpnb-{uuid.uuid4().hex}"
        self._lock = threading.Lock()
        self._shown = False
        self._needed = True

    def show(self) -> None:
        """Have it appear in the running cell, unless a page shows the panel in time."""
        with self._lock:
            self._shown = True
        self._put("", update=False)
        later = threading.Timer(_PATIENCE, self._appear)
        later.daemon = True
        later.start()

    def vanish(self) -> None:
        """Take it away: a page shows the panel."""
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
    """Put an output into the running cell, or change one that is there."""
    from IPython.display import display

    display(data, raw=True, **options)  # type: ignore[no-untyped-call]


def text(server: str) -> str:
    """Write it. Everything in it is known here: no server was asked.

    Args:
        server: The server's address, or its configured name.
    """
    where, word = html.escape(server), html.escape(shlex.quote(server))
    python = html.escape(shlex.quote(sys.executable))
    return (
        f'<div style="{_STYLE}"><strong>Sign in to {where}</strong>'
        "<p>If no panel is to be seen above, your Jupyter cannot show it: it runs in another "
        "environment than this kernel, or the cell is still running. Put the panel's part into "
        "your own Jupyter folder, once, with a cell of its own, and then reload the page:</p>"
        f"<pre>!{python} -m mcpnb jupyter</pre>"
        "<p>Or sign in without it, in a cell:</p>"
        f"<pre>import mcpnb\nlogin = mcpnb.connect({html.escape(repr(server))}).login()\n"
        "login.until(&quot;waiting&quot;)\nlogin           # shows the address to open\n"
        "login.submit()  # asks for the address that the browser ends at</pre>"
        "<p>Or in a terminal of the machine that this kernel runs on:</p>"
        f"<pre>mcpnb login {word}</pre></div>"
    )
