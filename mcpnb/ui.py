"""What shows a session to a person: the one call upwards, set by the front door.

A session shows a panel, and a panel knows the session. So that no room imports from above,
`connect` gives each session the UI that the front door names here.
"""

from __future__ import annotations

from typing import Any, Protocol


class UI(Protocol):
    """Shows sessions and their sign-ins."""

    def show_panel(self, session: Any) -> str:
        """Show a panel, unless a live one is on the page. Return ``above`` or ``below``."""

    def show_session(self, session: Any) -> None:
        """Show a session in the running cell: as a panel, or as one line."""

    def show_login_url(self, login: Any, text: str = "") -> None:
        """Show a sign-in in the running cell, its address only while a response is awaited.

        Args:
            login: The sign-in.
            text: What to say with the address.
        """

    def is_responsive(self, session: Any, timeout: float) -> bool:
        """Return whether a panel of this session answers while the cell is running.

        Args:
            session: The session that it shows.
            timeout: Seconds to wait for its answer.
        """


default: UI
"""The UI of new sessions, set by the front door."""
