"""The pictures: every state, light and dark, wide and narrow.

`MCPNB_GALLERY=FOLDER` keeps them where somebody can look at them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.panel.page.gallery import SCENES, callback_pictures, paint
from tests.panel.page.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(_WANTED or tmp_path)


# Read now: the tests' own world forgets MCPNB_ variables.
_WANTED = os.environ.get("MCPNB_GALLERY")


@pytest.mark.parametrize("name", SCENES)
def test_a_state_has_its_pictures_and_fits(
    page: Page, where: Site, folder: Path, name: str
) -> None:
    """Nothing sticks out sideways, however narrow the cell is."""
    for picture in paint(page, where, folder, [name]):
        assert picture.stat().st_size > 1000
        assert (
            page.evaluate(
                # The circle's pulse is meant to leave it.
                "() => [...document.querySelectorAll('.mcpnb-panel, .mcpnb-panel :not(.circle)')]"
                ".filter((node) => node.scrollWidth > node.clientWidth + 1 && node.clientWidth > 1"
                " && getComputedStyle(node).display !== 'inline').map((node) => node.className)"
            )
            == []
        )


def test_the_callback_page_has_its_pictures(page: Page, where: Site, folder: Path) -> None:
    assert len(list(callback_pictures(page, where, folder))) == 10
