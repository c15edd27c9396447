"""What a channel hands on, and what it is told to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Deliver", "Reply"]


_HEADINGS = {
    "done": "Signed in",
    "failed": "Not signed in",
    "refused": "Not the awaited answer",
    "again": "Once more",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of an answer that was delivered, in words for the person's browser."""

    outcome: Literal["done", "failed", "refused", "again"]
    """``refused``: not the awaited one; ``again``: the browser has to go on to `location`."""
    text: str = ""
    location: str | None = None
    title: str | None = None
    """In place of what the outcome is usually called."""

    @property
    def heading(self) -> str:
        """What became of it, in a few words."""
        return self.title or _HEADINGS[self.outcome]


Deliver = Callable[[str], Reply]
"""Takes the address that the browser was sent to; returns when it is known what became of it."""
