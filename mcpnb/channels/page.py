"""The page a browser is shown at the end: static, escaped, and with nothing that could leak."""

from __future__ import annotations

import html

__all__ = ["HEADERS", "page"]

HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    # The address of this page holds the code: no referrer, no frame, nothing loaded, nothing run.
    # threat: callback-page-referrer
    "Referrer-Policy": "no-referrer",
    # threat: callback-page-policy
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors "
    "'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>mcpnb: {title}</title>
<meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; display: grid; place-items: center; min-height: 90vh;
margin: 0; }} main {{ max-width: 34rem; padding: 2rem; text-align: center; overflow-wrap: anywhere;
}} h1 {{ font-size: 1.5rem; margin: .5rem 0; }} p {{ margin: .5rem 0; opacity: .8; }}
.mark {{ font-size: 2.5rem; line-height: 1; }} .good {{ color: #1a8f4c; }} .bad {{ color: #c4442b;
}} </style></head>
<body><main role="status"><div class="mark {tone}" aria-hidden="true">{mark}</div>
<h1>{title}</h1><p>{text}</p></main></body></html>
"""


def page(title: str, text: str, *, good: bool) -> bytes:
    """Give the page. Both texts are escaped here, whoever wrote them."""
    return _PAGE.format(
        # threat: callback-page-xss
        title=html.escape(title),
        # threat: callback-page-xss
        text=html.escape(text),
        tone="good" if good else "bad",
        mark="✓" if good else "✕",
    ).encode()
