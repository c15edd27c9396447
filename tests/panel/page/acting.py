"""A notebook page with the panel on it, for tests that play the kernel."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page

from tests.panel.page.site import Site
from tests.panel.page.states import State


class Kernel:
    """The kernel's side of a panel, and the person's eyes on it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.panel = page.locator(".mcpnb-panel")
        self.status: Locator = page.get_by_role("status")

    def show(self, **how: bool) -> None:
        """Display the panel, as one more view."""
        self.page.evaluate("(how) => kernel.show(how)", how)

    def state(self, state: State) -> State:
        """Send a state to all views."""
        self.page.evaluate("(state) => kernel.state(state)", state)
        return state

    def says(self, **message: Any) -> None:
        """Send any message."""
        self.page.evaluate("(message) => kernel.says(message)", message)

    def does(self, what: str) -> None:
        """`idle()`, `dies()`, `remove()`, `busy = true`."""
        self.page.evaluate(f"() => {{ kernel.{what}; }}")

    def got(self, name: str, least: int = 1) -> list[dict[str, Any]]:
        """Wait for messages of this kind, or acts of this name."""
        self.page.wait_for_function(
            "([name, n]) => kernel.acts(name).length >= n", arg=[name, least]
        )
        return self.had(name)

    def had(self, name: str) -> list[dict[str, Any]]:
        """Give what has come so far."""
        found: list[dict[str, Any]] = self.page.evaluate("(name) => kernel.acts(name)", name)
        return found


def opened(page: Page, where: Site, query: str = "") -> Kernel:
    """Open a notebook page; nothing is displayed on it."""
    page.goto(f"{where.url}/notebook?{query}")
    page.wait_for_selector("body[data-ready]", state="attached")
    return Kernel(page)
