"""Whether a browser goes to an address because a person does: Fetch Metadata (W3C)."""

from __future__ import annotations

from email.message import Message

__all__ = ["is_navigation"]

_WANTED = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
# What a browser fetches in advance, by the names of today's and earlier ones.
_PURPOSES = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
_IN_ADVANCE = ("prefetch", "prerender", "preview")


def is_navigation(headers: Message) -> bool:
    """Whether a request may be a person's browser on its way, in a tab of its own.

    An image, a frame or a script of any page asks without anybody's doing, and no page can take
    these headers off. Old browsers, text browsers and programs send none: for them it may be.

    Args:
        headers: Of the request.
    """
    wanted = all(headers.get(name, right) == right for name, right in _WANTED.items())
    said = " ".join(headers.get(name, "") for name in _PURPOSES).lower()
    # threat: answer-that-a-page-loads
    return wanted and not any(word in said for word in _IN_ADVANCE)
