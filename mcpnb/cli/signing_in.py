"""``mcpnb login``: the address out, the answer in."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import click

from mcpnb.cli.group import asked_again, say
from mcpnb.cli.pasting import Pasting
from mcpnb.environment import current
from mcpnb.errors import AnswerRefused, LoginTimeout, McpnbError
from mcpnb.login import SignInRequest
from mcpnb.login.flow import ON_ANOTHER_DEVICE
from mcpnb.oauth.scopes import scopes_from

__all__ = ["begin", "finish", "sign_in", "sign_in_observed", "sign_in_on_device"]

_DEVICE_LASTS = 1800.0
"""Seconds to wait for another device at most; the server's code ends before."""
# Hidden: the address holds a code, and a terminal keeps what it shows.
_PROMPT = "Paste the address here: "
_STAGES = {
    "discovering": "Finding out how to sign in ...",
    "registering": "Preparing the sign-in ...",  # a client that is known already is not registered
    "exchanging": "Getting the login ...",
}
_NO_BROWSER = "No browser could be opened"
"""How the note begins that says so."""
_BEGUN_LASTS = 900.0
"""Seconds in which a sign-in that was begun can be completed."""


def sign_in(session: Any, *, scopes: str | None, browser: bool, qr: bool, timeout: float) -> int:
    """Sign in, showing progress on stderr. With no browser each address stands alone on a line."""
    login = session.login(scopes=scopes, open_browser=browser, timeout=timeout)
    view = _View(
        browser=browser,
        qr=qr,
        by_device=_again(session, "--device"),
        by_paste=_again(session, "--no-browser"),
    )
    return _watched(session, login, view, pasting=not browser)


def sign_in_on_device(session: Any, *, scopes: str | None, qr: bool, timeout: float | None) -> int:
    """Sign in on another device: an address and a code, and as a QR code on a terminal."""
    login = session.login(scopes=scopes, device=True, timeout=timeout or _DEVICE_LASTS)
    return _watched(session, login, _View(browser=False, qr=qr), pasting=False)


def sign_in_observed(
    session: Any, observer: Any, *, scopes: str | None, browser: bool, timeout: float
) -> Any:
    """Sign in as `sign_in` does, and give the login: how it ended is explained by somebody else."""
    request = SignInRequest(
        scopes=scopes_from(scopes), open_browser=browser, timeout=timeout, anew=True
    )
    login = session.sign_in(request, observer=observer)
    with contextlib.suppress(McpnbError):
        _until_the_end(login, _View(browser=browser, qr=False), pasting=not browser)
    return login


def _watched(session: Any, login: Any, view: _View, *, pasting: bool) -> int:
    _until_the_end(login, view, pasting=pasting)
    return _done(session)


def _until_the_end(login: Any, view: _View, *, pasting: bool) -> None:
    login.on_change(view.update)
    view.update(login)
    try:
        with Pasting() as lines:
            view.lines = lines
            login.wait_for("waiting")
            view.update(login)  # the whole address stands there before a prompt follows it
            if pasting:
                _read_answers(login, lines)
            if login.user_code is not None and sys.stderr.isatty():
                _count_down(login, view)
            login.wait()
    except KeyboardInterrupt:
        login.cancel()
        raise
    finally:
        view.update(login)


def _count_down(login: Any, view: _View) -> None:
    """Show on one line how long the code lasts, until the sign-in ends."""
    while login.state == "waiting":
        left = max(int((login.expires_at or 0.0) - time.time()), 0)
        view.tick(login, f"Waiting; the code lasts {left // 60}:{left % 60:02d} ")
        with contextlib.suppress(LoginTimeout):
            login.wait_for("signed_in", timeout=1)
    view.wipe()


def begin(
    session: Any,
    *,
    scopes: str | None,
    timeout: float | None,
    qr: bool,
    as_json: bool,
) -> int:
    """Print the address to open and end; `finish` completes it, in any process, in time.

    Args:
        session: The server.
        scopes: Scopes to ask for.
        timeout: Seconds in which it can be completed.
        qr: Draw the address, too.
        as_json: Print JSON.
    """
    login = session.sign_in(
        SignInRequest(scopes=scopes_from(scopes), timeout=timeout or _BEGUN_LASTS, anew=True)
    )
    try:
        login.wait_for("waiting")
        url, expires_at = login.url, login.expires_at
    finally:
        login.leave()
    for note in login.notes:
        say(f"Note: {note}")
    if qr:
        _draw(url)
    if as_json:
        click.echo(json.dumps({"authorization_url": url, "expires_at": expires_at}))
        return 0
    click.echo(url)
    minutes = max(round((expires_at - time.time()) / 60), 1)
    click.echo(
        f"Open it within {minutes} min and approve. The browser may then say that a page cannot be "
        f"reached. Complete the sign-in with the address it ends at:\n"
        f"{_again(session, '--finish', '-')}",
        err=True,
    )
    return 0


def finish(session: Any, text: str) -> int:
    """Complete a sign-in that was begun; ``-`` reads the address from stdin."""
    if text == "-":
        with Pasting() as lines:
            text = lines.line(_PROMPT, hidden=True)
    session.finish(text)
    return _done(session)


def _done(session: Any) -> int:
    say(f"Signed in to {session.server}. The login is kept {session.info().location}.")
    return 0


def _again(session: Any, *more: str) -> str:
    """Give the command that goes on with this sign-in in another way."""
    return " ".join(["mcpnb login", asked_again(session.server), *more])


class _View:
    """Writes each change once, whatever thread it comes from."""

    def __init__(self, *, browser: bool, qr: bool, by_device: str = "", by_paste: str = "") -> None:
        self.lines: Pasting | None = None
        """Where a prompt may be open meanwhile."""
        self._browser = browser
        self._qr = qr
        self._by_device = by_device
        self._by_paste = by_paste
        self._lock = threading.RLock()
        self._ticked = False
        self._url: str | None = None
        self._notes = 0
        self._stage = ""

    def update(self, login: Any) -> None:
        with self._lock, self._on_lines_of_its_own(login):
            if login.state in _STAGES and login.state != self._stage:
                self._stage = login.state
                click.echo(_STAGES[login.state], err=True)
            for note in login.notes[self._notes :]:
                if note == ON_ANOTHER_DEVICE:
                    self._offer_device()
                else:
                    say(f"Note: {note}")
                if note.startswith(_NO_BROWSER):
                    self._offer_paste()
            self._notes = len(login.notes)
            if login.state == "waiting" and login.url != self._url:
                self._url = login.url
                self._show(login)

    @contextlib.contextmanager
    def _on_lines_of_its_own(self, login: Any) -> Iterator[None]:
        """Where there is something to say: not behind a prompt or the time that is left."""
        with contextlib.ExitStack() as held:
            if self._has_news(login):
                self.wipe()
                if self.lines is not None:
                    held.enter_context(self.lines.aside(again=login.state == "waiting"))
            yield

    def _has_news(self, login: Any) -> bool:
        return (
            (login.state in _STAGES and login.state != self._stage)
            or len(login.notes) > self._notes
            or (login.state == "waiting" and login.url != self._url)
        )

    def tick(self, login: Any, text: str) -> None:
        """Show on one line how long it can still take, while it is waited for."""
        with self._lock:
            if login.state == "waiting":
                click.echo(f"\r{text}", nl=False, err=True)
                self._ticked = True

    def wipe(self) -> None:
        """Take that line away."""
        with self._lock:
            if self._ticked:
                click.echo("\r" + " " * 40 + "\r", nl=False, err=True)
            self._ticked = False

    def _show(self, login: Any) -> None:
        if login.user_code is not None:
            self._show_code(login)
            return
        how = "Your browser opens. If it does not, open" if self._browser else "To sign in, open"
        say(f"{how} this address:\n")
        say(login.url)
        host = urlsplit(login.url).netloc
        say(
            f"\nIt leads to {host}, to sign in at {login.issuer}; the answer comes back to "
            f"{login.redirect_uri}"
        )
        if not self._browser and sys.stdin.isatty():
            click.echo(
                "After you approve, the browser may say that a page cannot be reached. That is "
                "expected: copy the whole address from its address bar and paste it here.",
                err=True,
            )
            if _is_loopback(login.redirect_uri):
                click.echo(
                    "Or run mcpnb relay - where the browser is, and paste the address there: it "
                    "catches the answer.",
                    err=True,
                )
        is_elsewhere = self._browser and current().browser == "elsewhere"
        if login.offers_device and (not self._browser or is_elsewhere):
            self._offer_device()
        if is_elsewhere:
            self._offer_paste()
        if self._qr:
            _draw(login.url)
            click.echo(
                "A phone that approves ends at an address of this machine, which it cannot reach: "
                "send yourself the whole address from its address bar, and paste it here.",
                err=True,
            )

    def _offer_device(self) -> None:
        if self._by_device:
            say(f"Or sign in on another device: {self._by_device}")
        self._by_device = ""  # once is enough

    def _offer_paste(self) -> None:
        if self._by_paste:
            say(f"Or paste the address that a browser elsewhere ends at: {self._by_paste}")
        self._by_paste = ""

    def _show_code(self, login: Any) -> None:
        say("To sign in, open this address on any device:\n")
        say(login.url)
        say(f"\nand check or enter this code there: {login.user_code}")
        host = urlsplit(login.url).hostname
        say(f"It leads to {host}, to sign in at {login.issuer}.")
        if self._qr or sys.stderr.isatty():
            _draw(login.url)


def _is_loopback(redirect_uri: str | None) -> bool:
    """Whether the answer goes to whatever machine the browser is on: a relay there can take it."""
    parts = urlsplit(redirect_uri or "")
    return (parts.scheme, parts.hostname) == ("http", "127.0.0.1")


def _draw(url: str) -> None:
    from mcpnb.login.qr import as_text

    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    try:
        drawn = as_text(url, colour=colour)
    except ValueError:
        drawn = "(The address is too long for a QR code.)"
    click.echo(f"\n{drawn}", err=True, color=colour)


def _read_answers(login: Any, lines: Pasting) -> None:
    """Read pasted lines beside the listener. The end of input cancels nothing."""
    reader = threading.Thread(
        target=_submit_lines, args=(login, lines), name="mcpnb-paste", daemon=True
    )
    reader.start()


def _submit_lines(login: Any, lines: Pasting) -> None:
    while login.state == "waiting":
        try:
            line = lines.line(_PROMPT, hidden=True)
        except (EOFError, OSError, ValueError):
            return
        if not line:
            return
        if not line.strip():
            continue
        try:
            login.submit(line)
        except AnswerRefused as error:
            say(f"Not used: {error}")
        except McpnbError:
            return  # the sign-in has ended; its own error is shown at the end
