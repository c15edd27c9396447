"""The pages of the demo's authorization server: consent, and why there is none.

No script, no image, nothing from elsewhere; what a client says about itself is text and escaped.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from urllib.parse import urlsplit

__all__ = ["ConsentPage", "agreed", "ask_for_code", "headers", "refusal"]

_STYLE = """
:root { color-scheme: light dark; --edge: color-mix(in srgb, currentColor 18%, transparent);
  --soft: color-mix(in srgb, currentColor 6%, transparent); --go: light-dark(#0b6e4f, #3fc79a); }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem;
  font: 16px/1.5 system-ui, sans-serif; background: light-dark(#f3f5f4, #14181a);
  color: light-dark(#1c2321, #e6ebe9); }
main { width: min(30rem, 100%); padding: 2rem; border: 1px solid var(--edge); border-radius: 14px;
  background: light-dark(#fff, #1c2225); box-shadow: 0 12px 40px rgb(0 0 0 / 12%); }
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .4rem; overflow-wrap: anywhere; }
p { margin: .4rem 0; } small, .note { font-size: .85rem; opacity: .75; }
dl { margin: 1.4rem 0; padding: .2rem 1rem; border-radius: 10px; background: var(--soft); }
dt { margin-top: .7rem; font-size: .8rem; opacity: .7; }
dd { margin: .1rem 0 .8rem; overflow-wrap: anywhere; }
ul { margin: 0; padding: 0; list-style: none; }
li + li { margin-top: .4rem; } code { font: .9em ui-monospace, monospace; }
li code { padding: .1em .45em; border: 1px solid var(--edge); border-radius: 6px;
  margin-right: .4em; }
form { display: flex; gap: .75rem; flex-direction: row-reverse; }
button { flex: 1; padding: .7rem 1rem; border-radius: 10px; border: 1px solid var(--edge);
  font: inherit; font-weight: 600; background: transparent; color: inherit; cursor: pointer; }
label { flex: 2; } input { width: 100%; padding: .65rem 1rem; border: 1px solid var(--edge);
  border-radius: 10px; font: 600 1.1em ui-monospace, monospace; background: transparent;
  color: inherit; text-align: center; }
button[value=approve] { background: var(--go); border-color: var(--go);
  color: light-dark(#fff, #10201a); }
button:hover { filter: brightness(1.08); } button:focus-visible { outline: 3px solid var(--go);
  outline-offset: 2px; }
"""

_CSP_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


@dataclass(frozen=True, slots=True)
class ConsentPage:
    """What the consent page shows and sends back."""

    ticket: str
    """Names the request that is decided on; unguessable, so that no other page can decide."""
    client: str
    described_at: str | None
    subject: str
    scopes: Iterable[tuple[str, str]]
    """Name and description of each."""
    resource: str
    redirect_uri: str | None
    """Where the answer goes; `None`: to the device that shows the code."""
    user_code: str = ""
    """What a person entered, to be compared with what the other device shows."""

    def html(self) -> str:
        """Write the page."""
        origin = (
            f"describes itself at <code>{escape(self.described_at)}</code>"
            if self.described_at
            else "registered itself under this name"
        )
        goes_to = (
            f"<code>{escape(urlsplit(self.redirect_uri).netloc)}</code>"
            if self.redirect_uri is not None
            else f"whatever shows the code <code>{escape(self.user_code)}</code>"
        )
        scopes = "".join(
            f"<li><code>{escape(name)}</code>{escape(description)}</li>"
            for name, description in self.scopes
        )
        return _page(
            f"Let {self.client} in?",
            f"""
<p class="note">This app {origin}. You are signed in as <b>{escape(self.subject)}</b>.</p>
<dl>
<dt>It may</dt><dd><ul>{scopes}</ul></dd>
<dt>at this MCP server, and nowhere else</dt><dd><code>{escape(self.resource)}</code></dd>
<dt>The answer goes to</dt><dd>{goes_to}</dd>
</dl>
<form method="post" action="consent">
<input type="hidden" name="ticket" value="{escape(self.ticket)}">
<button name="decision" value="approve">Approve</button>
<button name="decision" value="deny">Deny</button>
</form>
<p><small>A demonstration: nothing leaves the computer that it runs on.</small></p>""",
        )


def ask_for_code(*, unknown: bool = False) -> str:
    """Write the page on which a code is entered that another device shows (RFC 8628 3.3)."""
    said = (
        "No device waits with this code: it was used, or is too old."
        if unknown
        else "Enter the code that your notebook or terminal shows."
    )
    return _page(
        "Connect a device",
        f"""
<p>{said}</p>
<form method="get" action="device">
<button>Go on</button>
<label><input name="user_code" aria-label="Code" autocomplete="off" autofocus required></label>
</form>""",
    )


def agreed(*, approved: bool) -> str:
    """Write the page after the decision about another device."""
    if approved:
        return _page("The device is signed in", "<p>It goes on by itself. Close this page.</p>")
    return _page("You said no", "<p>The device gets nothing. Close this page.</p>")


def refusal(error: str, description: str) -> str:
    """Write the page for a request that cannot be answered by a redirect (RFC 6749 4.1.2.1)."""
    return _page(
        "This sign-in cannot go on",
        f"""
<p>{escape(description)}</p>
<p class="note">Error <code>{escape(error)}</code>. The app that sent you here is not told, since
it is not certain where it is. Close this page and start again from the app.</p>""",
    )


def _page(heading: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(heading)}</title><style>{_STYLE}</style></head>
<body><main><h1>{escape(heading)}</h1>{body}</main></body></html>
"""


def headers(redirect_uri: str | None = None) -> dict[str, str]:
    """Give the headers of a page: no script, no frame, no opener, no referrer, no cache.

    ``form-action`` holds for redirects after the form too (CSP level 3), so the redirect URI's
    origin has to be named. An IPv6 literal is no valid source there; its scheme is.
    """
    sources = ["'self'"]
    if redirect_uri:
        parts = urlsplit(redirect_uri)
        named = _CSP_HOST.fullmatch(parts.netloc)
        sources.append(f"{parts.scheme}://{parts.netloc}" if named else f"{parts.scheme}:")
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
        f"form-action {' '.join(sources)}; base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        # Big servers do so, and a tab that opened this one then knows nothing of it any more.
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
