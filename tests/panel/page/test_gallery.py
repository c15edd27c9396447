"""The panel fits its cell in every state; with pictures of each for those who want to look.

`MCPNB_GALLERY=FOLDER` keeps them there, light and dark, wide and narrow.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.panel.page.acting import Kernel, opened
from tests.panel.page.site import Site
from tests.panel.page.states import STATES, fresh

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Read now: the tests' own world forgets MCPNB_ variables.
_WANTED = os.environ.get("MCPNB_GALLERY")
THEMES = ("light", "dark", "system") if _WANTED else ("light",)
_TOO_WIDE = """
() => [...document.querySelectorAll(".mcpnb-panel, .mcpnb-panel :not(.circle)")]
    .filter((node) => node.scrollWidth > node.clientWidth + 1 && node.clientWidth > 1
        && getComputedStyle(node).display !== "inline")
    .map((node) => node.className)
"""
"""The circle's pulse is meant to leave it."""
SCENES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(STATES, ()),
    "signed in, unfolded": ("signed in", "unfold"),
    "signed in, tools, unfolded": ("signed in, tools", "unfold", "open"),
    "signed in, tools failed, unfolded": ("signed in, tools failed", "unfold", "open"),
    "signed in, more needed, unfolded": ("signed in, more needed", "unfold"),
    "signed in, memory only, unfolded": ("signed in, memory only", "unfold"),
    "waiting, another device": ("waiting, relay", "open"),
    "waiting, device, opened": ("waiting, device", "open"),
    "kernel busy": ("signed out", "busy"),
    "kernel gone": ("waiting, relay", "dies"),
    "kernel gone, signed in": ("signed in", "unfold", "dies"),
    "offline": ("signed out", "offline"),
}
"""A state, and what a person or the kernel did besides."""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [720, 300])
def test_nothing_sticks_out_sideways(page: Page, where: Site, width: int, theme: str) -> None:
    page.set_viewport_size({"width": width + 32, "height": 120})
    # Without motion two runs give the same pictures.
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    for name, scene in SCENES.items():
        kernel = opened(page, where, f"theme={theme}")
        kernel.show()
        kernel.got("hello")
        state, *steps = scene or (name,)
        kernel.state(fresh(state))
        for step in steps:
            _do(kernel, step)
        assert page.evaluate(_TOO_WIDE) == [], name
        if _WANTED:
            picture = f"{re.sub(r'[^a-z]+', '-', name.lower())}.{width}.{theme}.png"
            page.screenshot(path=Path(_WANTED) / picture, full_page=True)
        page.context.set_offline(offline=False)


def _do(kernel: Kernel, step: str) -> None:
    if step == "unfold":
        kernel.page.locator(".fold").click()
    elif step == "open":
        kernel.page.locator("summary:visible").last.click()
    elif step == "offline":
        kernel.page.context.set_offline(offline=True)
    elif step == "busy":
        kernel.does("busy = true")
        kernel.page.evaluate("() => dispatchEvent(new Event('online'))")
        kernel.page.wait_for_selector(".trouble:visible")
    else:
        kernel.does("dies()")
