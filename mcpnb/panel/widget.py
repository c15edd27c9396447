"""The panel: an ipywidgets widget that shows one session, and what stands in for it."""

from __future__ import annotations

import contextlib
import html
import shlex
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anywidget

from mcpnb.environment import frontend, user_data_folder
from mcpnb.errors import ConfigError, McpnbError
from mcpnb.login import SignInRequest
from mcpnb.login.loopback import Reply
from mcpnb.login.redirects import require_callback_page
from mcpnb.oauth.models import Via, callback_from
from mcpnb.oauth.urls import host_of
from mcpnb.panel import jupyter
from mcpnb.panel.state import Extras, Tools, described
from mcpnb.text import redact, sanitize

if TYPE_CHECKING:
    from mcpnb.login import Login
    from mcpnb.session import Session


_LISTED = 500
"""Tools that are shown; the call table of a server that has more is searched in code."""
_AT_LEAST = 30.0
"""Seconds after which a panel is refreshed in any case: a token's end changes no file."""
_choosing = threading.Lock()


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
        self._callback = None if via is None else callback_from(via)
        super().__init__()
        self.session = session
        self._extras = Extras()
        self._lock = threading.RLock()
        self._serial = 0
        self._sent: dict[str, Any] | None = None
        self._watched: Login[Session] | None = None
        self._heard = threading.Event()
        self._fallback = Fallback(session.name or redact(session.server))
        self._seen: tuple[object, float] = (None, 0.0)  # the session's version, and when
        self.on_msg(self._receive)
        _keep_current(self)

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
        """Return whether a page that shows it answers in time, while a cell may be running."""
        self._heard.clear()
        self.send({"kind": "ping"})
        return self._heard.wait(timeout)

    def refresh(self) -> None:
        """Send what has changed to every page that shows it."""
        if self.live:
            self._send_state()

    def refresh_if_changed(self) -> None:
        """The same, if a file of its login has changed or it is time to look at the clock."""
        if not self.live:
            return
        now, version = time.monotonic(), self.session.version
        before, at = self._seen
        if version != before or now - at > _AT_LEAST:
            self._seen = version, now
            self.refresh()

    def _send_state(self, *, anew: bool = False) -> None:
        with self._lock:
            login = self.session.latest_login
            if login is not None and login is not self._watched:
                self._watched = login
                login.on_change(lambda _: self.refresh())
            state = described(self.session, self._extras)
            if anew or state != self._sent:
                self._serial += 1
                self._sent = state
                # threat: widget-state-leak
                self.send({"kind": "state", "state": state | {"serial": self._serial}})

    def _change(self, **known: Any) -> None:
        with self._lock:
            self._extras = replace(self._extras, **known)

    # Messages from the page

    def _receive(self, _: Any, message: Any, buffers: Any) -> None:
        if not isinstance(message, dict) or not isinstance(message.get("view"), str):
            return
        self._heard.set()
        view, number = message["view"][:100], message.get("id")
        if isinstance(number, int):
            self.send({"kind": "heard", "view": view, "id": number})
        match message.get("kind"):
            # At once, in the order in which they came: threads overtake each other.
            case "hello":
                self._views.setdefault(view, None)
                self._elsewhere(self._hello, view, message)
            case "bye":
                self._views.pop(view, None)
            case "act":
                self._elsewhere(self._act, view, message)
            case "answer" | "paste":
                self._elsewhere(self._answer, view, message, _secret(buffers))

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
        # Begun before a restart, or in another notebook.
        with contextlib.suppress(McpnbError):
            if not self.session.signed_in:
                self.session.resume(callback_page)
        self._send_state(anew=True)

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
        self._change(note="")
        page = self._page(message) if "page" in message else self._views.get(view)
        login = self.session.latest_login
        match message.get("action"):
            case "sign_in":
                self._sign_in(message, page)
            case "another_account":
                self._begin(message, page, choose_account=True)
            case "add_permissions":
                self._begin(message, page)
            case "another_way":
                self._another_way(message, page)
            case "cancel" if login is not None:
                login.cancel()
            case "sign_out":
                self._sign_out()
            case "tools":
                self._list_tools()
            case "draw":
                self._change(drawn=True)
            case "install":
                jupyter.install()
                self._change(installed=str(user_data_folder()), page_missing=False)

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
        self._change(tools=Tools())
        callback = chosen or self.session.callback
        request = SignInRequest(
            callback=callback, page=callback_page, choose_account=choose_account
        )
        self.session.sign_in(request)

    def _another_way(self, message: dict[str, Any], callback_page: str | None) -> None:
        login = self.session.latest_login
        earlier = login.request if login is not None else SignInRequest()
        request = SignInRequest(
            scopes=earlier.scopes,
            callback=callback_from(message.get("via")),
            page=callback_page,
            anew=True,
            choose_account=earlier.choose_account,
        )
        self.session.sign_in(request)

    def _sign_out(self) -> None:
        self._change(tools=Tools())
        if not self.session.logout():
            self._change(
                note="The login is deleted here. The server did not confirm that it ended it."
            )

    def _list_tools(self) -> None:
        if not self.session.signed_in:
            return
        self._change(tools=Tools("loading"))
        self.refresh()
        try:
            found = self.session.tools()
        except Exception as error:  # noqa: BLE001  whatever it is, it does not go on loading
            said = error if isinstance(error, McpnbError) else f"Unexpected {type(error).__name__}."
            self._change(tools=Tools("failed", sanitize(said, 400)))
            return
        listed = [
            {"name": sanitize(tool.name, 100), "description": sanitize(tool.description or "", 300)}
            for tool in found[:_LISTED]
        ]
        text = f"The first {_LISTED} of {len(found)}." if len(found) > _LISTED else ""
        self._change(tools=Tools("ready", text, listed))

    def _answer(self, view: str, message: dict[str, Any], text: str | None) -> None:
        """Handle an authorization response, from the callback page or pasted."""
        login = self.session.latest_login
        reply = Reply("refused", "No sign-in is waiting for an answer here (any more).")
        if login is not None and text is not None:
            reply = login.deliver(text)
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
_panels: weakref.WeakSet[Panel] = weakref.WeakSet()
_lock = threading.Lock()
_thread: threading.Thread | None = None


def _keep_current(panel: Panel) -> None:
    """Refresh a panel when its login changes elsewhere, as long as it exists."""
    global _thread  # noqa: PLW0603  one thread for all panels
    with _lock:
        _panels.add(panel)
        if _thread is None or not _thread.is_alive():  # a fork has none
            _thread = threading.Thread(target=_run, name="mcpnb-watching", daemon=True)
            _thread.start()


def _run() -> None:
    paused = threading.Event()
    while not paused.wait(_LOOK):
        _look_around()


def _look_around() -> None:
    # Held for one look only: a panel that nobody has any more may go.
    for panel in _all():
        with contextlib.suppress(Exception):  # a store that fails harms no other panel
            panel.refresh_if_changed()


def _all() -> list[Panel]:
    with _lock:
        return list(_panels)


def panels_of(session: Session) -> list[Panel]:
    """Return the panels that show the login of this session, from whatever connect()."""
    return [panel for panel in _all() if _login_of(panel.session) == _login_of(session)]


def _login_of(session: Session) -> tuple[object, ...]:
    # A login that one of them keeps elsewhere, in memory for one, is of no use to the other.
    return session.server, session.account, id(session.store)


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
                self._put(fallback(self._server), update=True)

    def _put(self, content: str, *, update: bool) -> None:
        show({"text/html": content, "text/plain": ""}, display_id=self._name, update=update)


def fallback(server: str) -> str:
    """Return the HTML of `Fallback`. Everything in it is known here: no server was asked.

    Args:
        server: The server's address, or its configured name.
    """
    panel = (
        "If you see no panel above, your Jupyter cannot show it: it is in another environment "
        "than this kernel, or the cell is still running. Run this once, in a cell of its own. "
        "It copies the panel's part into your Jupyter folder. Then reload the page:"
    )
    cell = (
        f"import mcpnb\nlogin = mcpnb.connect({server!r}).login()\n"
        'login.wait_for("waiting")\nlogin           # shows the address to open\n'
        "login.submit()  # asks for the address that the browser ends at"
    )
    # threat: fallback-markup
    terminal = f"mcpnb login {shlex.quote(server)}"
    ways = {
        panel: f"!{shlex.quote(sys.executable)} -m mcpnb jupyter",
        "Or sign in without the panel, in a cell:": cell,
        "Or sign in from a terminal on the kernel's machine:": terminal,
    }
    shown = "".join(
        f'<p style="margin:.4em 0">{html.escape(words)}</p>'
        f'<pre style="{_CODE}">{html.escape(code)}</pre>'
        for words, code in ways.items()
    )
    # threat: fallback-markup
    title = f"<strong>Sign in to {html.escape(server)}</strong>"
    return f'<div style="{_STYLE}">{title}{shown}</div>'


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


def show(data: Any, **options: Any) -> None:
    """Display an output in the running cell, or update one that is there."""
    from IPython.display import display

    display(data, raw=True, **options)  # type: ignore[no-untyped-call]


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
        if any(panel.answers(min(left, 0.25)) for panel in panels):
            return True
    return False
