"""Redirect URIs: which ones there are, and what listens there."""

from __future__ import annotations

import base64
import hashlib
import os
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from mcpnb.errors import ConfigError, LoginError
from mcpnb.login.loopback import DEFAULT_PORT, Deliver, LoopbackListener
from mcpnb.oauth.credentials import RegistrationMethod
from mcpnb.oauth.models import AuthorizationServer, Callback, ServerConfig
from mcpnb.oauth.urls import is_loopback_host, require_callback
from mcpnb.text import quote

_LONGEST_PAGE = 1000
Note = Callable[[str], object]
"""Tells the person something."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """One possible redirect, before a client is registered for it."""

    kind: Literal["page", "loopback", "paste"]
    base: str
    """The redirect URI without the part that depends on the authorization server."""
    known: bool
    """Whether a person may have registered it beforehand."""
    comes_again: bool
    """Whether the next sign-in can use a registration for it."""
    listener: LoopbackListener | None = None
    optional: bool = False
    """Whether to try another one if the server refuses it."""

    @property
    def port(self) -> int | None:
        """The port that is listened on here."""
        return self.listener.port if self.listener else None

    @property
    def not_covered(self) -> str:
        """Why a client that was registered beforehand does not help."""
        if self.kind == "page":
            return (
                f"This server knows mcpnb under a fixed address only, and {quote(self.base)} may "
                "not be it. If you registered that one, say so with callback_url=."
            )
        return (
            "The callback port is in use by another program, and this server knows mcpnb under a "
            "fixed address only. Close what uses the port, or give another registered one "
            "(callback_port=, --port)."
        )

    def listen(self, redirect_uri: str | None, deliver: Deliver) -> None:
        """Start to deliver responses, if they come to this machine."""
        if self.listener is not None:
            self.listener.listen(redirect_uri or self.base, deliver)

    def to_open(self, url: str) -> str:
        """Return the address to put on a browser's command line for `url`.

        Every user of the machine can read command lines. If the response comes to this machine, the
        browser can start at the listener here; otherwise it may not reach the listener.
        """
        # threat: authorization-url-in-a-process-list
        if self.listener is not None and is_loopback_host(urlsplit(self.base).hostname):
            return self.listener.lead(url)
        return url

    def close(self) -> None:
        """Release the port, if there is one."""
        if self.listener is not None:
            self.listener.close()


def choices(
    config: ServerConfig, callback: Callback, page: str | None, note: Note
) -> Iterator[Redirect]:
    """Yield the redirects to try, best first. A port is bound only when its turn comes.

    Args:
        config: May name a port or a whole callback address.
        callback: What the person chose.
        page: The address of the page that hands responses to a panel, where one is served.
        note: Tells the person something.

    Raises:
        LoginError: The port cannot be bound, or the chosen callback does not exist here.
    """
    configured = config.callback_url is not None or config.callback_port is not None
    if page is not None and (
        callback == "page"
        or (callback == "auto" and (not configured or config.callback_url == page))
    ):
        known = callback == "page" or config.callback_url == page
        yield Redirect("page", page, known, comes_again=True, optional=callback == "auto")
    elif callback == "page":
        raise LoginError(
            "No page of this notebook can receive the response (via=“page”). It needs a panel in "
            "JupyterLab or Notebook 7, at https or on this computer. `mcpnb jupyter` installs the "
            "page."
        )
    yield expected(config) if callback == "paste" else _listen(config, note)


def expected(config: ServerConfig) -> Redirect:
    """Return the usual redirect without a listener: a pasted response needs none."""
    port = port_of(config) or DEFAULT_PORT
    base = config.callback_url or f"http://127.0.0.1:{port}/callback"
    return Redirect("paste", base, known=True, comes_again=True)


def port_of(config: ServerConfig | None) -> int:
    """Return the port that the authorization response comes to; 0: any free one."""
    if config is None:
        return DEFAULT_PORT
    if config.callback_port is not None:
        return config.callback_port
    return (urlsplit(config.callback_url).port if config.callback_url else None) or DEFAULT_PORT


def _listen(config: ServerConfig, note: Note) -> Redirect:
    """Bind the port before anybody sees an address, so that nobody takes it in between."""
    port = port_of(config)
    listener = _bind(config.callback_url, port, note, fallback=config.callback_url is None)
    if listener.fell_back:
        note(f"Port {port} is in use by another program. Listening on {listener.port} instead.")
    return Redirect(
        "loopback",
        config.callback_url or f"http://127.0.0.1:{listener.port}/callback",
        known=not listener.fell_back,
        comes_again=not listener.fell_back and config.callback_port != 0,
        listener=listener,
    )


def listen_again(redirect_uri: str, port: int, config: ServerConfig, note: Note) -> Redirect:
    """Bind the port for an address that a process showed before it ended.

    Raises:
        LoginError: The port cannot be bound, or must not be opened from here: all interfaces are
            bound for the callback URL that is configured here only.
    """
    # threat: listening-everywhere
    if not is_loopback_host(urlsplit(redirect_uri).hostname) and (
        config.callback_url != redirect_uri
    ):
        raise LoginError("The response goes to a callback URL that is not configured here.")
    listener = _bind(redirect_uri, port, note, fallback=False)
    return Redirect("loopback", redirect_uri, known=True, comes_again=True, listener=listener)


def _bind(redirect_uri: str | None, port: int, note: Note, *, fallback: bool) -> LoopbackListener:
    host = urlsplit(redirect_uri).hostname if redirect_uri else None
    public = redirect_uri is not None and not is_loopback_host(host)
    if public:
        note(f"Listening on all interfaces, port {port}, because of the callback URL.")
    return LoopbackListener(port, everywhere=public, fallback=fallback, host=host)


def address(
    config: ServerConfig,
    redirect: Redirect,
    server: AuthorizationServer,
    method: RegistrationMethod,
) -> str:
    """Return the redirect URI, with a per-issuer part where responses carry no ``iss``.

    RFC 9700 section 4.4.2: the distinct URI then tells servers apart. Only a client that is
    registered here can have one.
    """
    # threat: mix-up-without-iss
    if config.callback_url == redirect.base or server.iss_in_response or method != "dcr":
        return redirect.base
    digest = hashlib.sha256(server.issuer.encode()).digest()[:9]
    part = base64.urlsafe_b64encode(digest).decode()
    # The page is one static file: there is nothing below it, and a query leads to it all the same.
    return f"{redirect.base}?as={part}" if redirect.kind == "page" else f"{redirect.base}/{part}"


def require_callback_page(url: object) -> str | None:
    """Return the address of a callback page as the page reports it, if it can be a redirect URI.

    The specification requires https or this computer. The page is one static file.
    """
    try:
        page = require_callback(url)
    except ConfigError:
        return None
    parts = urlsplit(page)
    # Not in the path: JupyterHub leaves the @ of a name as it is there.
    plain = "@" not in parts.netloc and not any(sign in page for sign in "?#")
    ours = parts.path.endswith("/mcpnb/callback.html")
    return page if plain and ours and len(page) <= _LONGEST_PAGE else None


def open_browser(url: str) -> bool:
    """Open a browser on this machine, if there is one with a window of its own."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    # A text browser would take over the terminal that waits for the answer; what the person named
    # in $BROWSER is their choice (VS Code and WSL put a helper there).
    if type(browser) is webbrowser.GenericBrowser and not os.environ.get("BROWSER"):
        return False
    return browser.open(url, new=2)
