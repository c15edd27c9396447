"""`mcpnb login` and `mcpnb logout`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from mcpnb.cli import app
from mcpnb.cli.prompt import Prompt, is_attended
from mcpnb.errors import AnswerRefused, LoginTimeout, McpnbError

if TYPE_CHECKING:
    from mcpnb.login import Login
    from mcpnb.login.pending import PendingRequest
    from mcpnb.session import Session

_BEGIN_TIMEOUT, _DEVICE_TIMEOUT = 900.0, 1800.0
"""Seconds. The code for another device usually expires earlier."""
_PROMPT = "Paste the address here: "


@app.cli.command()
@app.server_argument
@app.flag("--device", "Sign in on another device, if the server supports that.")
@app.flag("--qr", "Also show the address as a QR code.")
@app.sign_in_options
@app.option("--callback-url", "URL", "Callback address that is forwarded to this machine.")
@app.timeout_option(
    "Seconds to wait. Default: 300; with --begin 900; with --device until the code expires."
)
@app.flag("--begin", "Print the address and exit. Complete the sign-in with --finish.")
@app.option(
    "--finish",
    "URL",
    "Complete a sign-in with the address where the browser ended; - reads it from stdin.",
)
@app.json_option
@click.option(
    "--store",
    type=click.Choice(["auto", "keyring", "file", "memory"]),
    default="auto",
    help="Where to keep the key that encrypts logins. Default: auto, the system's keyring, or a "
    "file if there is none.",
)
@app.common_options
def login(
    server: str,
    device: bool,
    qr: bool,
    scopes: str | None,
    no_browser: bool,
    timeout: float | None,
    begin: bool,
    finish: str | None,
    as_json: bool,
    store: str,
    **given: Any,
) -> int:
    """Sign in to a server.

    \b
    mcpnb login https://mcp.example.com/mcp
    mcpnb login https://mcp.example.com/mcp --no-browser   over SSH: paste
    mcpnb login https://mcp.example.com/mcp --device       on your phone
    mcpnb login https://mcp.example.com/mcp --begin        in two steps:
    mcpnb login https://mcp.example.com/mcp --finish -     paste the address
    """
    if begin and finish is not None:
        raise click.UsageError("--begin and --finish are two steps. Give one of them.")
    if as_json and not begin:
        raise click.UsageError("--json goes with --begin.")
    if device and (begin or finish is not None):
        raise click.UsageError(
            "--device waits for the other device. Do not combine it with --begin or --finish."
        )
    if begin and store == "memory":
        raise click.UsageError(
            "--begin has to store the sign-in for --finish. Do not combine it with --store memory."
        )
    session = app.session_for(server, store=store, **given)
    if begin:
        return _begin(session, scopes, timeout or _BEGIN_TIMEOUT, qr=qr, as_json=as_json)
    if finish is not None:
        if finish == "-":
            with Prompt() as prompt:
                finish = prompt.line(_PROMPT)
        session.finish(finish)
        return _signed_in(session)
    browser = not (no_browser or device)
    return sign_in(session, scopes, browser=browser, device=device, qr=qr, timeout=timeout)


def sign_in(
    session: Session,
    scopes: str | None,
    *,
    browser: bool,
    device: bool = False,
    qr: bool = False,
    timeout: float | None = None,
) -> int:
    """Sign in, and show progress on stderr. Without a browser, each address is a line of its own.

    Raises:
        McpnbError: The sign-in failed.
    """
    timeout = timeout or (_DEVICE_TIMEOUT if device else app.PATIENCE)
    login = session.login(scopes=scopes, device=device, open_browser=browser, timeout=timeout)
    show(login, browser=browser, qr=qr, again=f"mcpnb login {app.named(session.server)}")
    return _signed_in(session)


def _signed_in(session: Session) -> int:
    app.say(f"Signed in to {session.server}. The login is kept {session.info().location}.")
    return app.DONE


def _begin(session: Session, scopes: str | None, timeout: float, *, qr: bool, as_json: bool) -> int:
    from mcpnb.login import SignInRequest
    from mcpnb.oauth.scopes import scopes_from

    login = session.sign_in(SignInRequest(scopes=scopes_from(scopes), timeout=timeout, anew=True))
    try:
        login.wait_for("waiting")
        url, expires_at = login.url or "", login.expires_at or 0.0
    finally:
        login.leave()
    for note in login.notes:
        app.say(f"Note: {note}")
    if qr:
        _draw(url)
    if as_json:
        click.echo(json.dumps({"authorization_url": url, "expires_at": expires_at}))
        return app.DONE
    click.echo(url)
    minutes = max(round((expires_at - time.time()) / 60), 1)
    app.say(
        f"Open this address within {minutes} min and approve. The browser may then say that it "
        "cannot reach a page. Complete the sign-in with the address of that page:\n"
        f"mcpnb login {app.named(session.server)} --finish -"
    )
    return app.DONE


# A sign-in on the terminal


def show(login: Login[Session], *, browser: bool, qr: bool = False, again: str = "") -> None:
    """Show a sign-in until it ends.

    Args:
        login: The sign-in.
        browser: Whether a browser is opened. If not, pasted addresses are read from stdin.
        qr: Also show the address as a QR code.
        again: The command that signs in. Where it helps, it is offered with other options: on
            another device, or with a pasted address.

    Raises:
        McpnbError: The sign-in failed.
    """
    with Prompt() as prompt:
        view = _View(prompt, browser=browser, qr=qr, again=again)
        try:
            login.on_change(view.update)
            view.update(login)
            login.wait_for("waiting")
            view.update(login)  # the whole address is there before a prompt follows it
            if login.user_code is not None:
                _count_down(login, prompt)
            elif not browser:
                threading.Thread(
                    target=_read_pasted, args=(login, prompt), name="mcpnb-paste", daemon=True
                ).start()
            login.wait()
        except KeyboardInterrupt:
            login.cancel()
            raise
        finally:
            view.update(login)


def _count_down(login: Login[Session], prompt: Prompt) -> None:
    """Show how long the code is valid, until the sign-in ends."""
    while login.state == "waiting":
        left = max(int((login.expires_at or 0.0) - time.time()), 0)
        prompt.status(f"Waiting. The code expires in {left // 60}:{left % 60:02d} ")
        with contextlib.suppress(LoginTimeout):
            login.wait_for("signed_in", timeout=1)


def _read_pasted(login: Login[Session], prompt: Prompt) -> None:
    """Read pasted lines while the listener waits, too. The end of input does not cancel."""
    while login.state == "waiting":
        try:
            line = prompt.line(_PROMPT)
        except (EOFError, OSError, ValueError):
            return
        if not line:
            return
        if not line.strip():
            continue
        try:
            login.submit(line)
        except AnswerRefused as error:
            app.say(f"Not used: {error}")
        except McpnbError:
            return  # the sign-in has ended, and its own error is shown


_STAGES = {
    "discovering": "Finding out how to sign in ...",
    "registering": "Preparing the sign-in ...",  # a known client is not registered again
    "exchanging": "Getting the login ...",
}


class _View:
    """Writes each change of a sign-in once, whatever thread reports it."""

    def __init__(self, prompt: Prompt, *, browser: bool, qr: bool, again: str) -> None:
        self._prompt = prompt
        self._browser = browser
        self._qr = qr
        self._offers = (
            {  # each once
                "device": f"Or sign in on another device: {again} --device",
                "paste": "Or paste the address where a browser on another machine ends: "
                f"{again} --no-browser",
            }
            if again
            else {}
        )
        self._lock = threading.RLock()
        self._stage = ""
        self._notes = 0
        self._url: str | None = None

    def update(self, login: Login[Session]) -> None:
        from mcpnb.login.flow import ON_ANOTHER_DEVICE

        with self._lock:
            now = login.now
            notes, stage = now.notes[self._notes :], _STAGES.get(now.state, self._stage)
            request, url = None, self._url
            if now.state == "waiting" and now.pending is not None:
                request, url = now.pending.request, now.pending.request.url
            if not notes and (stage, url) == (self._stage, self._url):
                return
            with self._prompt.interrupted(again=now.state == "waiting"):
                if stage != self._stage:
                    app.say(stage)
                for note in notes:
                    if note == ON_ANOTHER_DEVICE:
                        self._offer("device")
                    else:
                        app.say(f"Note: {note}")
                    if note.startswith("No browser could be opened"):
                        self._offer("paste")
                if request is not None and url != self._url:
                    self._show(request)
            self._stage, self._notes, self._url = stage, self._notes + len(notes), url

    def _show(self, request: PendingRequest) -> None:
        server, url = request.server, request.url
        parts = urlsplit(url)
        if request.user_code is not None:
            app.say(f"To sign in, open this address on any device:\n\n{url}\n")
            app.say(f"Check or enter this code there: {request.user_code}")
            app.say(f"It leads to {parts.hostname}, to sign in at {server.issuer}.")
            if self._qr or sys.stderr.isatty():
                _draw(url)
            return
        how = "Your browser opens. If it does not, open" if self._browser else "To sign in, open"
        app.say(f"{how} this address:\n\n{url}\n")
        app.say(
            f"It leads to {parts.netloc}, to sign in at {server.issuer}. After you approve, "
            f"the browser goes to {request.redirect_uri}"
        )
        if not self._browser and is_attended():
            app.say(
                "That page may fail to load. This is expected: copy the whole address from the "
                "browser's address bar and paste it here."
            )
            callback = urlsplit(request.redirect_uri)
            if (callback.scheme, callback.hostname) == ("http", "127.0.0.1"):
                app.say(
                    "Or run mcpnb relay - on the machine with the browser, and paste the address "
                    "above there."
                )
        from mcpnb.environment import current

        is_elsewhere = self._browser and current().browser == "elsewhere"
        if server.device_authorization_endpoint and (not self._browser or is_elsewhere):
            self._offer("device")
        if is_elsewhere:
            self._offer("paste")
        if self._qr:
            _draw(url)
            app.say(
                "After you approve on a phone, it goes to an address of this machine, which it "
                "cannot reach. Send yourself the whole address from its address bar, and paste it "
                "here."
            )

    def _offer(self, name: str) -> None:
        if text := self._offers.pop(name, ""):
            app.say(text)


def _draw(url: str) -> None:
    from mcpnb.text import qr_code

    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    try:
        drawn = qr_code(url, colour=colour)
    except ValueError:
        drawn = "(The address is too long for a QR code.)"
    click.echo(f"\n{drawn}", err=True, color=colour)


# Signing out

_END_IT = "End it on the server's own account page, if it has one."
_OUTCOMES = {
    "revoked": "Signed out of {}: revoked at the server.",
    "forgotten": "Signed out of {}: forgotten here, but the server did not confirm that it is "
    f"revoked. {_END_IT}",
    "unread": "Signed out of {}: forgotten here, but it could not be read, so the server was not "
    f"told. {_END_IT}",
    "begun": "Not signed in to {}: the sign-in that was begun is forgotten.",
    "none": "Not signed in to {}: nothing to do.",
}


@app.cli.command()
@click.argument("server", metavar="SERVER", required=False)
@app.flag("--all everywhere", "Sign out of every stored login.")
@app.common_options
def logout(server: str | None, everywhere: bool, account: str | None, config: str | None) -> int:
    """Sign out: revoke the login at the server, and forget it.

    \b
    mcpnb logout https://mcp.example.com/mcp
    mcpnb logout --all
    """
    if everywhere == (server is not None) or (everywhere and account):
        raise click.UsageError("Give either SERVER, or --all.")
    return sign_out(app.session_for(server, account, config)) if server else _sign_out_everywhere()


def sign_out(session: Session) -> int:
    """Sign out of one server, and say what became of the login."""
    from mcpnb.session.connect import sign_out as signed_out

    app.say(_OUTCOMES[signed_out(session)].replace("{}", session.server))
    return app.DONE


def _sign_out_everywhere() -> int:
    """Sign out of all that is stored. Fails if a login remains."""
    from mcpnb.session.connect import sign_out_everywhere

    done = sign_out_everywhere()
    for server, account, outcome in done:
        said = _OUTCOMES.get(outcome, f"Still signed in to {{}}: {outcome}")
        app.say(said.replace("{}", f"{server} ({account})" if account else server))
    if not done:
        app.say("No login is stored: nothing to do.")
    return app.DONE if all(outcome in _OUTCOMES for _, _, outcome in done) else app.FAILED
