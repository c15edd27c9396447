"""What the tests of the panel's front end share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.panel.page.acting import Kernel, opened
from tests.panel.page.site import Site, site
from tests.peers.browsers import Window


@pytest.fixture
def where() -> Iterator[Site]:
    """Start a site of the test's own."""
    with site() as served:
        yield served


@pytest.fixture
def notebook(where: Site, page: Page) -> Kernel:
    """Open a notebook page; nothing is displayed on it."""
    return opened(page, where)


@pytest.fixture
def panel(notebook: Kernel) -> Kernel:
    """Display a panel; it has said hello."""
    notebook.show()
    notebook.got("hello")
    return notebook


@pytest.fixture(autouse=True)
def nothing_broke(window: Window) -> Iterator[None]:
    """Fail if a page broke, or wanted something that is not there."""
    yield
    bad = ("uncaught", "error", "failed", "warning")
    # A page that is not there is looked for by the panel, and Chromium says so.
    assert [line for line in window if line.startswith(bad) and "404" not in line] == []
