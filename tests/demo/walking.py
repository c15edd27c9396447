"""A person who clicks through the first notebook in JupyterLab."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.demo.running import ROOT
from tests.fakes.panels import approve, sign_in_link, signed_in

FIRST = "01-sign-in.ipynb"
LOADING = 60_000
"""Milliseconds for JupyterLab's scripts and a kernel, on two busy cores."""
WHOLE = 120_000
"""For the first notebook, which watches tokens expire."""


def with_demo(place: Path) -> Path:
    """Have a Jupyter server that will run in a folder bring the demo along."""
    config = place / "config" / "jupyter_server_config.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    enabled = {"ServerApp": {"jpserver_extensions": {"mcpnb.demo.lab": True}}}
    config.write_text(json.dumps(enabled), "utf-8")
    return with_notebook(place)


def with_notebook(place: Path) -> Path:
    """Put the first notebook where such a server looks for it."""
    (place / "notebooks").mkdir(exist_ok=True)
    shutil.copyfile(ROOT / "notebooks" / FIRST, place / "notebooks" / FIRST)
    return place


def run_all(page: Page) -> None:
    """Choose “Run All Cells” from the menu."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def walk_through(page: Page, pictures: Path, name: str) -> str:
    """Run the first notebook, sign in on the way, and look at what it shows.

    Args:
        page: JupyterLab with the notebook open.
        pictures: Where to keep what was seen.
        name: What the pictures' names begin with.

    Returns:
        The address of the consent page.
    """
    pictures.mkdir(parents=True, exist_ok=True)
    expect(page.get_by_role("button", name="| Idle")).to_be_visible(timeout=LOADING)
    run_all(page)
    panel = page.locator(".mcpnb-panel").first
    expect(sign_in_link(panel)).to_be_visible()
    # Above is the beginning; what was never in view is not painted until somebody points at it.
    page.get_by_role("heading", name="Sign in to an MCP server").hover()
    sign_in_link(panel).hover()
    page.screenshot(path=pictures / f"{name}-1-panel.png")
    with page.context.expect_page() as opened:
        sign_in_link(panel).click()
    tab = opened.value
    expect(tab.get_by_role("button", name="Approve")).to_be_visible()
    consent = tab.url
    tab.screenshot(path=pictures / f"{name}-2-consent.png")
    approve(tab)
    expect(tab.get_by_role("heading", name="Signed in")).to_be_visible()
    page.bring_to_front()
    signed_in(panel)
    plot = page.locator(".jp-OutputArea-output img").first
    expect(plot).to_be_visible(timeout=LOADING)
    plot.scroll_into_view_if_needed()
    page.screenshot(path=pictures / f"{name}-3-plot.png")
    bars = page.locator(".jp-OutputArea-output").filter(has_text="▇")
    last = page.locator(".jp-CodeCell").last
    expect(last.locator(".jp-OutputArea-output")).to_contain_text("True", timeout=WHOLE)
    bars.first.scroll_into_view_if_needed()
    page.screenshot(path=pictures / f"{name}-4-renewed.png")
    return consent
