"""The panel: an ipywidgets widget that shows one session."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anywidget

from mcpnb.environment import frontend
from mcpnb.errors import ConfigError, McpnbError
from mcpnb.login import SignInRequest
from mcpnb.login.loopback import Reply
from mcpnb.login.redirects import require_callback_page
from mcpnb.oauth.models import Via, callback_from
from mcpnb.oauth.urls import host_of
from mcpnb.panel import jupyter
from mcpnb.panel.outputs import Fallback, show
from mcpnb.panel.state import Extras, described
from mcpnb.text import redact, sanitize

if TYPE_CHECKING:
    from mcpnb.login import Login
    from mcpnb.session import Session


_choosing = threading.Lock()
_LISTED = 500
"""Tools that are shown; the call table of a server that has more is searched in code."""


class Panel(anywidget.AnyWidget):
    """Signs a session in with one click. It composes with other widgets, for example in a ``VBox``.

    Messages arrive on whatever thread the kernel chooses (measured: it changes with ipykernel's
    minor version), so each is handled in a thread of its own. Only the page's own code is a synced
    trait: programs that execute notebooks write every trait into the file (measured).
    """

    _esm = files("mcpnb.panel").joinpath("panel.js").read_text("utf-8")
    _css = files("mcpnb.panel").joinpath("panel.css").read_text("utf-8")

    def __init__(self, session: Session, *, via: Via | None = None) -> None:
        """Show a session. Nobody is contacted before the click.

        Args:
            session: The server to sign in to.
            via: How the authorization response comes back, if mcpnb should not choose; see
                `mcpnb.Session.login`.
        """
        self._views: dict[str, str | None] = {}  # what closes it, when it is collected, looks here
        chosen = None if via is None else callback_from(via)
        super().__init__()
        self.session = session
        self._callback = chosen
        self._extras = Extras()
        self._lock = threading.RLock()
        self._serial = 0
        self._sent: dict[str, Any] | None = None
        self._watched: Login[Session] | None = None
        self._heard = threading.Event()
        self._fallback = Fallback(session.name or redact(session.server))
        self.on_msg(self._receive)
        add(self)

    def __repr__(self) -> str:
        # Notebook files keep it: no account's name, and nothing that changes.
        return f"<Panel: sign in to {sanitize(host_of(self.session.server))}>"

    def _ipython_display_(self) -> None:
        bundle = self._repr_mimebundle_()
        data, _ = bundle if isinstance(bundle, tuple) else (bundle, None)
        show(data)
        self._fallback.show()

    @property
    def live(self) -> bool:
        """Whether a page shows it, as far as pages report it."""
        return bool(self._views)

    def close(self) -> None:
        """Remove it from every page."""
        self._views.clear()
        super().close()

    def answers(self, timeout: float) -> bool:
        """Return whether a page that shows it answers now, while a cell may be running.

        Args:
            timeout: Seconds to wait for the answer.
        """
        self._heard.clear()
        self.send({"kind": "ping"})
        return self._heard.wait(timeout)

    def refresh(self) -> None:
        """Send what has changed to every page that shows it."""
        with self._lock:
            if not self._views:
                return
            self._watch(self.session.latest_login)
            state = described(self.session, self._extras)
            if state != self._sent:
                self._tell(state)

    # Messages from the page

    def _receive(self, _: Any, message: Any, buffers: Any) -> None:
        if not isinstance(message, dict) or not isinstance(message.get("view"), str):
            return
        self._heard.set()
        view, number = message["view"][:100], message.get("id")
        if isinstance(number, int):
            self.send({"kind": "heard", "view": view, "id": number})
        kind = message.get("kind")
        # At once, in the order in which they came: threads overtake each other.
        if kind == "hello":
            self._views.setdefault(view, None)
        elif kind == "bye":
            self._views.pop(view, None)
        taken = {"hello": self._hello, "act": self._act}
        taken |= {"answer": self._answer, "paste": self._answer}
        if isinstance(kind, str) and kind in taken:
            self._elsewhere(taken[kind], view, message | {"secret": _secret(buffers)})

    def _elsewhere(self, work: Callable[..., object], *arguments: Any) -> None:
        """Handle a message in a thread of its own: it may wait for a server."""

        def run() -> None:
            try:
                work(*arguments)
            except McpnbError as error:
                self._change(note=str(error))
            except Exception as error:  # noqa: BLE001  a fault of ours must not end silently
                self._change(note=f"Unexpected {type(error).__name__} in the panel.")
            finally:
                with contextlib.suppress(Exception):
                    self.refresh()

        threading.Thread(target=run, name="mcpnb-panel", daemon=True).start()

    def _hello(self, view: str, message: dict[str, Any]) -> None:
        callback_page = self._page(message)
        with self._lock:
            if view in self._views:  # else it has gone since
                self._views[view] = callback_page
            self._fallback.vanish()
        self._go_on(callback_page)
        with self._lock:
            self._watch(self.session.latest_login)
            self._tell(described(self.session, self._extras))

    def _go_on(self, callback_page: str | None) -> None:
        """Resume a pending sign-in: begun before a restart, or in another notebook."""
        with contextlib.suppress(McpnbError):
            if not self.session.signed_in:
                self.session.resume(callback_page)

    def _page(self, message: dict[str, Any]) -> str | None:
        """Return the address of the callback page, if it is served and can be a redirect URI."""
        page = message.get("page")
        if not isinstance(page, dict):
            return None
        served = page.get("served") is True
        self._change(
            page_missing=isinstance(page.get("callback"), str) and not served,
            relayed_from=_host(page.get("origin")),
        )
        return require_callback_page(page.get("callback")) if served else None

    def _act(self, view: str, message: dict[str, Any]) -> None:
        acts: dict[str, Callable[[dict[str, Any], str | None], object]] = {
            "sign_in": self._sign_in,
            "another_account": functools.partial(self._begin, choose_account=True),
            "add_permissions": self._begin,
            "another_way": self._another_way,
            "cancel": self._cancel,
            "sign_out": self._sign_out,
            "tools": self._list_tools,
            "draw": self._draw,
            "install": self._install,
        }
        act = acts.get(str(message.get("action")))
        if act is None:
            return
        self._change(note="")
        callback_page = self._page(message) if "page" in message else self._views.get(view)
        act(message, callback_page)

    # What a person does

    def _sign_in(self, message: dict[str, Any], callback_page: str | None) -> None:
        if self.session.signed_in:
            return  # signed in elsewhere while the click was on its way
        with _choosing:  # where it is kept, and the sign-in that ends there
            self._keep(in_memory=message.get("memory_only") is True)
            self._begin(message, callback_page)

    def _keep(self, *, in_memory: bool) -> None:
        info = self.session.info()
        if in_memory == info.in_memory or not info.memory_is_a_choice:
            return
        login = self.session.latest_login
        if login is not None and login.under_way:
            raise ConfigError(
                "A sign-in is already under way, and its login would be saved elsewhere than you "
                "chose here. Cancel it first."
            )
        self.session.keep_in("memory" if in_memory else None)

    def _begin(
        self, message: dict[str, Any], callback_page: str | None, *, choose_account: bool = False
    ) -> None:
        given = message.get("via")
        chosen = callback_from(given) if given not in (None, "auto") else self._callback
        self._change(tools=None, tools_state="unknown", tools_text="")
        request = SignInRequest(
            callback=chosen or self.session.callback,
            page=callback_page,
            choose_account=choose_account,
        )
        login = self.session.sign_in(request)
        with self._lock:
            self._watch(login)

    def _another_way(self, message: dict[str, Any], callback_page: str | None) -> None:
        login = self.session.latest_login
        earlier = login.request if login is not None else SignInRequest()
        self.session.sign_in(
            SignInRequest(
                scopes=earlier.scopes,
                callback=callback_from(message.get("via")),
                page=callback_page,
                anew=True,
                choose_account=earlier.choose_account,
            )
        )

    def _cancel(self, _: dict[str, Any], __: str | None) -> None:
        login = self.session.latest_login
        if login is not None:
            login.cancel()

    def _sign_out(self, _: dict[str, Any], __: str | None) -> None:
        self._change(tools=None, tools_state="unknown", tools_text="")
        if not self.session.logout():
            self._change(
                note="The login is deleted here. The server did not confirm that it ended it."
            )

    def _draw(self, _: dict[str, Any], __: str | None) -> None:
        self._change(drawn=True)

    def _install(self, _: dict[str, Any], __: str | None) -> None:
        placed = jupyter.install()
        self._change(installed=str(placed.folder), page_missing=False)

    def _list_tools(self, _: dict[str, Any], __: str | None) -> None:
        if not self.session.signed_in:
            return
        self._change(tools_state="loading", tools_text="")
        self.refresh()
        try:
            found = self.session.tools()
        except Exception as error:  # noqa: BLE001  whatever it is, it does not go on loading
            said = error if isinstance(error, McpnbError) else f"Unexpected {type(error).__name__}."
            self._change(tools_state="failed", tools_text=sanitize(said, 400))
            return
        listed = tuple(
            (sanitize(tool.name, 100), sanitize(tool.description or "", 300))
            for tool in found[:_LISTED]
        )
        text = f"The first {_LISTED} of {len(found)}." if len(found) > _LISTED else ""
        self._change(tools=listed, tools_state="ready", tools_text=text)

    def _answer(self, view: str, message: dict[str, Any]) -> None:
        """Handle an authorization response, from the callback page or pasted."""
        login, text = self.session.latest_login, message["secret"]
        if login is not None and text is not None:
            reply = login.deliver(text)
        else:
            reply = Reply("refused", "No sign-in is waiting for an answer here (any more).")
        self.send(
            {
                "kind": "reply",
                "view": view,
                "id": message.get("id"),
                "outcome": reply.outcome,
                "title": reply.heading,
                "text": sanitize(reply.text, 600),
                "location": reply.location,
            }
        )

    # Messages to the page

    def _change(self, **known: Any) -> None:
        with self._lock:
            self._extras = replace(self._extras, **known)

    def _watch(self, login: Login[Session] | None) -> None:
        if login is not None and login is not self._watched:
            self._watched = login
            login.on_change(lambda _: self.refresh())

    def _tell(self, state: dict[str, Any]) -> None:
        self._serial += 1
        self._sent = state
        # threat: widget-state-leak
        self.send({"kind": "state", "state": state | {"serial": self._serial}})


def _host(origin: object) -> str:
    """Return the host of a page's origin, or an empty text if it is not one."""
    if not isinstance(origin, str) or len(origin) > 300:
        return ""
    try:
        return sanitize(urlsplit(origin).hostname or "", 100)
    except ValueError:
        return ""


def _secret(buffers: Any) -> str | None:
    """Return the text of a message's buffer: ipykernel logs contents at DEBUG (measured)."""
    try:
        return bytes(buffers[0]).decode()
    except (IndexError, TypeError, ValueError):
        return None


_LOOK = 1.0
"""Seconds between two looks; each costs two calls of ``stat``."""
_AT_LEAST = 30.0
"""Seconds after which a panel is refreshed in any case: a token's end changes no file."""

_panels: weakref.WeakSet[Any] = weakref.WeakSet()
_lock = threading.Lock()
_thread: threading.Thread | None = None


def add(panel: Panel) -> None:
    """Refresh a panel when its login changes elsewhere, as long as it exists."""
    global _thread  # noqa: PLW0603  one thread for all panels
    with _lock:
        _panels.add(panel)
        if _thread is None or not _thread.is_alive():  # a fork has none
            _thread = threading.Thread(target=_run, name="mcpnb-watching", daemon=True)
            _thread.start()


def panels_of(session: Session) -> list[Panel]:
    """Return the panels that show the login of this session, from whatever connect()."""
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


_SLICE = 0.25


def show_session(session: Session) -> None:
    """Show a session in the running cell: as a panel where somebody can click, else as a line."""
    where = frontend()
    if where == "notebook":
        Panel(session)._ipython_display_()
    elif where == "headless":
        # The file keeps it: no account's name.
        state = (
            "signed in" if session.signed_in else f"not signed in; once: {session.login_command}"
        )
        sys.stdout.write(f"<Session {sanitize(host_of(session.server))}, {state}>\n")
    else:
        sys.stdout.write(f"{session!r}\n")


def show_panel(session: Session) -> str:
    """Show a panel unless a live one is on the page.

    Returns:
        Where it is, in a word: ``above`` or ``below``.
    """
    live = [panel for panel in panels_of(session) if panel.live]
    if live:
        for panel in live:
            panel.refresh()
        return "above"
    show_session(session)
    return "below"


def is_responsive(session: Session, timeout: float) -> bool:
    """Return whether a panel of this session answers while the cell is running.

    Args:
        session: Shown by it.
        timeout: Seconds to wait for the answer; a page has to load a new panel first.
    """
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0 and (panels := panels_of(session)):
        if any(panel.answers(min(left, _SLICE)) for panel in panels):
            return True
    return False
