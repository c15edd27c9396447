"""``mcpnb login``: the address out, the answer in."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import click

from mcpnb.errors import AnswerRefused, McpnbError

__all__ = ["begin", "finish", "sign_in"]

_BEGUN_LASTS = 900.0
"""Seconds in which a sign-in that was begun can be completed."""


def sign_in(session: Any, *, scopes: str | None, browser: bool, timeout: float) -> int:
    """Sign in, showing progress on stderr. With no browser each address stands alone on a line."""
    login = session.login(scopes=scopes, open_browser=browser, timeout=timeout)
    view = _View(browser=browser)
    login.on_change(view.update)
    view.update(login)
    try:
        with _terminal_kept():
            login.until("waiting")
            view.update(login)  # the whole address stands there before a prompt follows it
            if not browser:
                _read_answers(login)
            login.wait()
    except KeyboardInterrupt:
        login.cancel()
        raise
    finally:
        view.update(login)
    return _done(session)


def begin(session: Any, *, scopes: str | None, timeout: float | None, as_json: bool) -> int:
    """Print the address to open and end; `finish` completes it, in any process, in time."""
    login = session.login(scopes=scopes, timeout=timeout or _BEGUN_LASTS)
    try:
        login.until("waiting")
        url, expires_at = login.url, login.expires_at
    finally:
        login.leave()
    for note in login.notes:
        click.echo(f"Note: {note}", err=True)
    if as_json:
        click.echo(json.dumps({"authorization_url": url, "expires_at": expires_at}))
        return 0
    click.echo(url)
    minutes = max(round((expires_at - time.time()) / 60), 1)
    click.echo(
        f"Open it within {minutes} min and approve. The browser may then say that a page cannot be "
        f"reached. Complete the sign-in with the address it ends at:\n"
        f"mcpnb login {session.server} --finish -",
        err=True,
    )
    return 0


def finish(session: Any, text: str) -> int:
    """Complete a sign-in that was begun; ``-`` reads the address from stdin."""
    if text == "-":
        text = _prompted() if sys.stdin.isatty() else sys.stdin.readline()
    session.finish(text)
    return _done(session)


def _done(session: Any) -> int:
    click.echo(f"Signed in to {session.server}. The login is kept {session.kept}.", err=True)
    return 0


@contextmanager
def _terminal_kept() -> Iterator[None]:
    """Leave the terminal as it was: a prompt that is still open at the end has its echo off."""
    if os.name != "posix" or not sys.stdin.isatty():
        yield
        return
    import termios

    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        if termios.tcgetattr(sys.stdin) != before:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
            click.echo(err=True)


class _View:
    """Writes each change once, whatever thread it comes from."""

    def __init__(self, *, browser: bool) -> None:
        self._browser = browser
        self._lock = threading.Lock()
        self._url: str | None = None
        self._notes = 0
        self._stage = ""

    def update(self, login: Any) -> None:
        with self._lock:
            if (
                login.state in ("discovering", "registering", "exchanging")
                and login.state != self._stage
            ):
                self._stage = login.state
                click.echo(f"{login.state.capitalize()} ...", err=True)
            for note in login.notes[self._notes :]:
                click.echo(f"Note: {note}", err=True)
            self._notes = len(login.notes)
            if login.state == "waiting" and login.url != self._url:
                self._url = login.url
                self._show(login)

    def _show(self, login: Any) -> None:
        how = "Your browser opens. If it does not, open" if self._browser else "To sign in, open"
        click.echo(f"{how} this address:\n", err=True)
        click.echo(login.url, err=True)
        host = urlsplit(login.url).netloc
        click.echo(
            f"\nIt leads to {host}, to sign in at {login.issuer}; the answer comes back to "
            f"{login.redirect_uri}",
            err=True,
        )
        if not self._browser and sys.stdin.isatty():
            click.echo(
                "After you approve, the browser may say that a page cannot be reached. That is "
                "expected: copy the whole address from its address bar and paste it here.",
                err=True,
            )


def _read_answers(login: Any) -> None:
    """Read pasted lines beside the listener. The end of input cancels nothing."""
    reader = threading.Thread(target=_submit_lines, args=(login,), name="mcpnb-paste", daemon=True)
    reader.start()


def _submit_lines(login: Any) -> None:
    while login.state == "waiting":
        try:
            line = _prompted() if sys.stdin.isatty() else sys.stdin.readline()
        except (EOFError, OSError, ValueError):
            return
        if not line:
            return
        if not line.strip():
            continue
        try:
            login.submit(line)
        except AnswerRefused as error:
            click.echo(f"Not used: {error}", err=True)
        except McpnbError:
            return  # the sign-in has ended; its own error is shown at the end


def _prompted() -> str:
    import getpass

    # Without echo: the address holds a code, and a terminal keeps what it shows.
    return getpass.getpass("Paste the address here: ")
