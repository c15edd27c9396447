"""How a session comes to be shown: the one call upwards, set by the front door.

A session shows a panel, and a panel knows the session; so that no room imports from above, the
session asks here, and `mcpnb` itself says where panels come from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Views", "room"]


class Views(Protocol):
    """What shows sessions."""

    def display(self, session: Any) -> None:
        """Show a panel in the running cell."""

    def offer(self, session: Any) -> str:
        """Show a panel unless a live one is on the page; say in a word where it is."""

    def hears(self, session: Any, timeout: float) -> bool:
        """Whether a panel of this session answers while the cell is running.

        Args:
            session: Shown by it.
            timeout: Seconds to wait for its word.
        """

    def passing(self, login: Any, text: str = "") -> None:
        """Show a sign-in in the running cell, its address only while an answer is awaited.

        Args:
            login: The sign-in.
            text: What to say with the address.
        """


def _nowhere() -> Views:
    raise RuntimeError("mcpnb is not imported as a whole: nothing shows sessions")


room: Callable[[], Views] = _nowhere
"""Gives the room that shows sessions; loaded at the first use."""
