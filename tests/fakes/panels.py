"""What a person does with a panel in a browser, and with what it opens."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.peers.jupyter_page import Notebook

PORTS = """
import psutil
sockets = psutil.Process().net_connections("tcp")
print(sorted(s.laddr.port for s in sockets if s.status == "LISTEN"))
"""
"""A cell that prints the ports that the kernel listens on."""


def connected(url: str, more: str = "") -> str:
    """Write the cell that a notebook begins with."""
    return f"import mcpnb\nsession = mcpnb.connect({url!r}{more})\nsession"


def sign_in_link(panel: Locator) -> Locator:
    """Find what begins the sign-in."""
    return panel.get_by_role("link", name="Sign in")


def says(panel: Locator, text: str) -> None:
    """Wait until the panel says something."""
    expect(panel).to_contain_text(text)


def signed_in(panel: Locator) -> None:
    """Wait until the panel says that somebody is signed in."""
    says(panel, "Signed in to")


def approve(tab: Page) -> None:
    """Agree on the consent page."""
    tab.get_by_role("button", name="Approve").click()


def sign_in(notebook: Notebook, cell: int = 0) -> Page:
    """Click, agree, and wait for the panel; give the tab."""
    panel = notebook.panel(cell)
    tab = notebook.opened_by(sign_in_link(panel))
    approve(tab)
    signed_in(panel)
    return tab
