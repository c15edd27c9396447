"""Seeing what other processes do to the logins that panels show."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcpnb.panel.widget import Panel
    from mcpnb.session import Session

__all__ = ["add", "panels_of"]

_LOOK = 1.0
"""Seconds between two looks; each costs two calls of ``stat``."""
_AT_LEAST = 30.0
"""Seconds after which a panel is looked at in any case: a token's end changes no file."""

_panels: weakref.WeakSet[Any] = weakref.WeakSet()
_lock = threading.Lock()
_thread: threading.Thread | None = None


def add(panel: Panel) -> None:
    """Look after a panel for as long as it lives."""
    global _thread  # noqa: PLW0603  one thread for all panels
    with _lock:
        _panels.add(panel)
        if _thread is None or not _thread.is_alive():  # a fork has none
            _thread = threading.Thread(target=_run, name="mcpnb-watching", daemon=True)
            _thread.start()


def panels_of(session: Session) -> list[Panel]:
    """Give the panels that show the login of this session, of whatever connect() it came from."""
    with _lock:
        shown = list(_panels)
    return [panel for panel in shown if _login_of(panel.session) == _login_of(session)]


def _login_of(session: Session) -> tuple[object, ...]:
    # A login that one of them keeps elsewhere, in memory for one, is of no use to the other.
    return session.server, session.account, id(session.store)


def _run() -> None:
    paused = threading.Event()
    seen: weakref.WeakKeyDictionary[Any, tuple[object, float]] = weakref.WeakKeyDictionary()
    while not paused.wait(_LOOK):
        _look_around(seen)


def _look_around(seen: weakref.WeakKeyDictionary[Any, tuple[object, float]]) -> None:
    with _lock:
        shown = list(_panels)  # held for one look only: a panel that nobody has any more may go
    for panel in shown:
        if panel.live:
            with contextlib.suppress(Exception):  # a store that fails harms no other panel
                _look_at(panel, seen)


def _look_at(panel: Panel, seen: weakref.WeakKeyDictionary[Any, tuple[object, float]]) -> None:
    now, version = time.monotonic(), panel.session.version
    before, at = seen.get(panel, (None, 0.0))
    if version != before or now - at > _AT_LEAST:
        seen[panel] = (version, now)
        panel.refresh()
