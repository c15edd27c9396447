"""A person at a browser, for tests and transcripts: opens a sign-in page, decides, is sent back.

It reads the page as a browser would, the form included, so it also proves that the page is right.
"""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx2

from mcpnb.demo.clients import LOOPBACK_HOSTS

__all__ = ["ConsentForm", "NoRedirectError", "approve", "enter_code", "status_of"]

# A browser gives up after about twenty redirects; a sign-in needs four.
STEPS = 12
PROTOCOL = "2026-07-28"


class NoRedirectError(RuntimeError):
    """The sign-in page led nowhere; the message says what it showed instead."""


@dataclass
class ConsentForm(HTMLParser):
    """The form of a consent page, and its text.

    Attributes:
        action: Where it is sent, as written.
        method: ``get`` or ``post``.
        fields: Its hidden fields.
        buttons: Value and name of each button.
        text: What a person reads.
    """

    action: str | None = None
    method: str = "get"
    fields: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, str] = field(default_factory=dict)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._silent = False

    @classmethod
    def read(cls, html: str) -> ConsentForm:
        """Read a page."""
        form = cls()
        form.feed(html)
        form.close()
        form.text = " ".join(form.text.split())
        return form

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the form, its fields and its buttons."""
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = values.get("action", "")
            self.method = values.get("method", "get").lower()
        elif tag == "input" and "name" in values:
            self.fields[values["name"]] = values.get("value", "")
        elif tag == "button" and "name" in values:
            self.buttons[values.get("value", "")] = values["name"]
        self._silent = tag in {"style", "title", "script"}

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - HTMLParser's signature
        """End what is not shown."""
        self._silent = False

    def handle_data(self, data: str) -> None:
        """Collect what a person reads."""
        if not self._silent:
            self.text += data + " "


def approve(url: str, *, deny: bool = False, follow: bool = True) -> str:
    """Open an authorization URL, decide, and go where the response is sent.

    Args:
        url: The authorization URL.
        deny: Press "Deny" instead of "Approve".
        follow: Open the redirect URI too, as a browser does, if it is on this computer.

    Returns:
        The last redirect away from the authorization server: the redirect URI with the response.

    Raises:
        NoRedirectError: The authorization server showed something else.
    """
    url = _direct(url)
    home = _origin(url)
    callback = ""
    with _browser() as browser:
        page = browser.get(url)
        for _ in range(STEPS):
            form = ConsentForm.read(page.text)
            if page.has_redirect_location:
                target = urljoin(str(page.url), page.headers["location"])
                if _origin(target) != home:
                    callback = target
                    if not (follow and urlsplit(target).hostname in LOOPBACK_HOSTS):
                        return callback
                page = browser.get(target)
            elif _origin(str(page.url)) == home and form.action is not None:
                page = _decided(browser, page, deny=deny)
            elif callback:
                return callback
            else:
                raise NoRedirectError(f"no redirect but HTTP {page.status_code}: {form.text[:300]}")
    raise NoRedirectError("too many redirects")


def enter_code(url: str, *, deny: bool = False) -> str:
    """Open the address that a sign-in on another device shows, decide, and return the page's text.

    Args:
        url: The address, with the code in it.
        deny: Press "Deny" instead of "Approve".

    Raises:
        NoRedirectError: There was nothing to decide.
    """
    with _browser() as browser:
        page = _decided(browser, browser.get(_direct(url)), deny=deny)
    return ConsentForm.read(page.text).text


def status_of(mcp_url: str, headers: dict[str, str]) -> int:
    """Send an MCP server one request with these headers, without mcpnb, and return the status."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": PROTOCOL,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    sent = headers | {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": PROTOCOL,
        "Mcp-Method": "tools/list",
    }
    with _browser() as http:
        return http.post(mcp_url, json=message, headers=sent).status_code


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


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
