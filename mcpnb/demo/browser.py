"""A person at a browser, for tests and transcripts: opens a sign-in page, decides, is sent back.

It reads the form of the page and sends what is in it, as a browser would.
"""

from __future__ import annotations

import functools
import re
import ssl
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx2

from mcpnb.demo.authorization import LOOPBACK_HOSTS

# A browser gives up after about twenty redirects; a sign-in needs four.
STEPS = 12
PROTOCOL = "2026-07-28"
_TAG = re.compile(r"<(form|input|button)\b([^>]*)>")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_UNREAD = re.compile(r"<(style|title|script)\b.*?</\1>|<[^>]*>", re.DOTALL)


class NoRedirectError(RuntimeError):
    """The sign-in page led nowhere; the message says what it showed instead."""


@dataclass(frozen=True)
class ConsentForm:
    """The form of a page, and the page's text."""

    action: str | None
    """Where the form is sent, as written; `None` if the page has none."""
    method: str
    fields: dict[str, str]
    """The hidden ones."""
    buttons: dict[str, str]
    """Value and name of each."""
    text: str

    @classmethod
    def read(cls, html: str) -> ConsentForm:
        """Read a page."""
        tags = [(tag, dict(_ATTRIBUTE.findall(rest))) for tag, rest in _TAG.findall(html)]
        form = next((attributes for tag, attributes in tags if tag == "form"), {})
        named = [(tag, values) for tag, values in tags if "name" in values and "value" in values]
        return cls(
            form.get("action"),
            form.get("method", "get"),
            {values["name"]: unescape(values["value"]) for tag, values in named if tag == "input"},
            {values["value"]: values["name"] for tag, values in named if tag == "button"},
            " ".join(unescape(_UNREAD.sub(" ", html)).split()),
        )


def approve(url: str, *, deny: bool = False, follow: bool = True) -> str:
    """Open an authorization URL, decide, and go where the response is sent.

    Args:
        url: The authorization URL.
        deny: Press "Deny" instead of "Approve".
        follow: Open the redirect URI too, as a browser does, if it is on this computer.

    Returns:
        The redirect URI with the response.

    Raises:
        NoRedirectError: The authorization server showed something else.
    """
    url = _direct(url)
    home = urlsplit(url)[:2]
    callback = ""
    with _browser() as browser:
        page = browser.get(url)
        for _ in range(STEPS):
            form = ConsentForm.read(page.text)
            if page.has_redirect_location:
                target = urljoin(str(page.url), page.headers["location"])
                if urlsplit(target)[:2] != home:
                    callback = target
                    if not (follow and urlsplit(target).hostname in LOOPBACK_HOSTS):
                        return callback
                page = browser.get(target)
            elif urlsplit(str(page.url))[:2] == home and form.action is not None:
                page = _decided(browser, page, deny=deny)
            elif callback:
                return callback
            else:
                raise NoRedirectError(f"no redirect but HTTP {page.status_code}: {form.text[:300]}")
    raise NoRedirectError("too many redirects")


def enter_code(url: str, *, deny: bool = False) -> str:
    """Open the address that a sign-in on another device shows, decide, and return the page's text.

    Raises:
        NoRedirectError: There was nothing to decide.
    """
    with _browser() as browser:
        page = _decided(browser, browser.get(_direct(url)), deny=deny)
    return ConsentForm.read(page.text).text


def stateless(tool: str, **arguments: object) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a call in the stateless way of 2026-07-28: its message, and its headers but one."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": PROTOCOL,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": PROTOCOL,
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
    }
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, headers


def status_of(mcp_url: str, headers: dict[str, str]) -> int:
    """Call `whoami` with these headers, without mcpnb, and return the status."""
    message, own = stateless("whoami")
    with _browser() as http:
        return http.post(mcp_url, json=message, headers=own | headers).status_code


def _browser() -> httpx2.Client:
    # trust_env off: a proxy could not reach this computer's loopback.
    return httpx2.Client(timeout=30, trust_env=False, verify=_tls())


@functools.cache
def _tls() -> ssl.SSLContext:
    """Load the certificate authorities once: they take longer than a whole sign-in here."""
    return httpx2.create_ssl_context()


def _decided(browser: httpx2.Client, page: httpx2.Response, *, deny: bool) -> httpx2.Response:
    form, decision = ConsentForm.read(page.text), "deny" if deny else "approve"
    if form.method != "post" or decision not in form.buttons:
        raise NoRedirectError(f"no {decision} button on the page: {form.text[:300]}")
    return browser.post(
        urljoin(str(page.url), form.action or ""),
        data={**form.fields, form.buttons[decision]: decision},
    )


def _direct(url: str) -> str:
    """Return a page's address on this computer, where it was given by way of Jupyter's proxy."""
    parts = urlsplit(url)
    _, proxied, path = parts.path.partition("/proxy/")
    port, _, page = path.partition("/")
    if not (proxied and port.isdecimal()):
        return url
    return urlunsplit(("http", f"127.0.0.1:{port}", f"/{page}", parts.query, ""))
