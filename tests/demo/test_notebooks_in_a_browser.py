"""`mcpnb demo` and its first notebook, as a newcomer meets them: with Chromium, from end to end."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.demo.running import Demo, started
from tests.demo.walking import FIRST, LOADING, run_all, walk_through, with_demo
from tests.fakes.panels import approve, sign_in_link, signed_in
from tests.peers.browsers import Window
from tests.peers.jupyter_fixtures import place
from tests.peers.jupyter_hub import hub

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(240),
]


@pytest.fixture
def pictures(pytestconfig: pytest.Config) -> Path:
    """Keep what was seen where a person finds it."""
    return pytestconfig.rootpath / ".pytest_cache" / "notebooks"


def test_from_the_command_to_the_last_cell(window: Window, tmp_path: Path, pictures: Path) -> None:
    with started(tmp_path) as demo:
        demo.reads_until("Ctrl-C")
        page = window.context.new_page()
        page.goto(demo.address)
        consent = walk_through(page, pictures, "demo")
        # So it works through `ssh -L`, too, with JupyterLab's port alone.
        assert re.fullmatch(re.escape(demo.origin) + r"/proxy/\d+/authorize\?.*", consent)

        demo.process.send_signal(signal.SIGINT)
        demo.reads_until("nothing is left behind")
        assert demo.process.wait(20) == 0
    assert list(tmp_path.iterdir()) == []


def test_behind_a_hub_everything_is_reached_through_its_proxy(
    window: Window, tmp_path_factory: pytest.TempPathFactory, pictures: Path
) -> None:
    with hub(with_demo(place(tmp_path_factory, "demohub"))) as server:
        page = window.context.new_page()
        server.enter(page, f"lab/tree/{FIRST}")
        consent = walk_through(page, pictures, "hub")
        assert consent.startswith(f"{server.url}proxy/")


def test_the_others_run_there_too(window: Window, tmp_path: Path, pictures: Path) -> None:
    """02 with a person who opens what it prints, and 04 with nobody."""
    with started(tmp_path) as demo:
        demo.reads_until("Ctrl-C")
        page = opened(window, demo, "02-remote-kernel.ipynb")
        run_all(page)
        agrees(page, page.locator(".jp-OutputArea-output a[href*='/authorize?']").first)
        refused = page.locator(".mcpnb-panel").nth(1)
        agrees(page, sign_in_link(refused))
        signed_in(refused)
        refused.hover()
        page.screenshot(path=pictures / "demo-02-refused.png")
        agrees(page, page.locator("a[href*='/device?']").first)
        ends_with(page, "True, True, True]")

        page = opened(window, demo, "04-headless.ipynb")
        run_all(page)
        ends_with(page, "True")
        page.screenshot(path=pictures / "demo-04-end.png")


def opened(window: Window, demo: Demo, name: str) -> Page:
    """Open one of the notebooks in a tab of its own."""
    page = window.context.new_page()
    page.goto(demo.address.replace(FIRST, name))
    expect(page.get_by_role("button", name="| Idle")).to_be_visible(timeout=LOADING)
    return page


def agrees(page: Page, link: Locator) -> None:
    """Open what a cell printed, agree there, and come back."""
    expect(link).to_be_visible()
    with page.context.expect_page() as tab:
        link.click()
    approve(tab.value)
    expect(tab.value.get_by_role("heading", name="igned in")).to_be_visible()
    page.bring_to_front()


def ends_with(page: Page, text: str) -> None:
    """Wait for what the last cell puts out."""
    last = page.locator(".jp-CodeCell").last.locator(".jp-OutputArea-output")
    expect(last).to_contain_text(text, timeout=LOADING)
