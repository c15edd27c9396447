"""Where the browser is sent back to, and what listens there."""

from __future__ import annotations

import base64
import hashlib
import os
import webbrowser
from collections.abc import Callable
from urllib.parse import urlsplit

from mcpnb.channels import DEFAULT_PORT, LoopbackListener
from mcpnb.errors import LoginError
from mcpnb.models import AuthorizationServer, RegistrationMethod, ServerConfig
from mcpnb.protocol.urls import is_loopback_host

__all__ = ["address", "listen", "listen_again", "open_browser"]


def listen(config: ServerConfig, note: Callable[[str], object]) -> LoopbackListener:
    """Bind the port, before anybody is shown an address: nobody else can take it in between.

    Args:
        config: May name a port or a whole callback address.
        note: Told what the person should know.

    Raises:
        LoginError: The port cannot be had.
    """
    own = urlsplit(config.callback_url) if config.callback_url else None
    public = own is not None and not is_loopback_host(own.hostname)
    port = config.callback_port
    if port is None:
        port = (own.port if own else None) or DEFAULT_PORT
    if public:
        note(f"Listening on all interfaces, port {port}, because of the callback URL.")
    listener = LoopbackListener(port, everywhere=public, fallback=own is None)
    if listener.fell_back:
        note(f"Port {port} is in use by another program; listening on {listener.port}.")
    return listener


def listen_again(
    redirect_uri: str, port: int, config: ServerConfig, note: Callable[[str], object]
) -> LoopbackListener:
    """Bind the port for an address that a person was shown by a process that is no more.

    Args:
        redirect_uri: The address that the browser will be sent to.
        port: Where that process listened.
        config: Of who goes on with it: all interfaces are listened on for its own callback only.
        note: Told what the person should know.

    Raises:
        LoginError: The port cannot be had, or is not this one's to open.
    """
    public = not is_loopback_host(urlsplit(redirect_uri).hostname)
    if public and config.callback_url != redirect_uri:
        raise LoginError("The answer goes to a callback address that is not configured here.")
    if public:
        note(f"Listening on all interfaces, port {port}, because of the callback URL.")
    return LoopbackListener(port, everywhere=public, fallback=False)


def address(
    config: ServerConfig, port: int, server: AuthorizationServer, method: RegistrationMethod
) -> str:
    """Give the redirect address, with a per-issuer part where answers carry no ``iss``.

    RFC 9700 section 4.4.2: the distinct address then tells servers apart. Only a registration made
    here can have one.
    """
    if config.callback_url:
        return config.callback_url
    base = f"http://127.0.0.1:{port}/callback"
    if server.iss_in_response or method != "dcr":
        return base
    digest = hashlib.sha256(server.issuer.encode()).digest()[:9]
    return f"{base}/{base64.urlsafe_b64encode(digest).decode()}"


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
