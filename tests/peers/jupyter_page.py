"""A notebook on a page of JupyterLab or Notebook 7, used as a person uses it."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from playwright.sync_api import BrowserContext, Locator, Page

from tests.peers.browsers import MOST_MS
from tests.peers.jupyter import Jupyter

_SCRIPT = Path(__file__).with_suffix(".js")
_LOADING_MS = 60_000
"""The application's 10 MB of scripts, and a kernel: 6 s when nobody else works on this machine."""
_PLACES = {"lab": "lab/tree/{}?reset", "notebook": "notebooks/{}"}
_names = (f"action {number}" for number in itertools.count(1))


class Notebook:
    """One view of one notebook; everything waits, with a limit, until it is true.

    Cells are counted from 0.
    """

    def __init__(self, page: Page, server: Jupyter, name: str, application: str = "lab") -> None:
        self.page = page
        self.server = server
        self.name = name
        self.application = application

    @classmethod
    def of(  # noqa: PLR0913 - by name, and seldom all of them
        cls,
        window: BrowserContext,
        server: Jupyter,
        cells: Sequence[str],
        *,
        kernel: str = "",
        name: str = "a.ipynb",
        application: str = "lab",
    ) -> Self:
        """Write a notebook and open it.

        Args:
            window: Where a new tab is opened.
            server: Where the notebook is written.
            cells: The sources of its cells.
            kernel: One of `server.kernelspec()`; left out: a new one.
            name: The file's name.
            application: On whose pages, "lab" or "notebook"; every server has both.
        """
        server.write(name, cells, kernel or server.kernelspec())
        return cls(window.new_page(), server, name, application).open()

    # Opening

    def open(self) -> Self:
        """Open it on the page; the kernel is started if there is none."""
        self.page.add_init_script(path=_SCRIPT)
        self.server.enter(self.page, _PLACES[self.application].format(quote(self.name)))
        return self.ready()

    def ready(self) -> Self:
        """Wait until the kernel answers this page and has nothing to do."""
        self._wait("ready(path)", timeout=_LOADING_MS)
        return self

    def reload(self, *, save: bool = True) -> Self:
        """Reload the page; the kernel stays, and so do outputs if they were saved."""
        if save:
            self.save()
        self.page.reload()
        return self.ready()

    def front(self) -> Self:
        """Come back to this tab: in the others timers are slowed down to a second (measured)."""
        self.page.bring_to_front()
        return self

    # Cells

    def run(self, cell: int, *, wait: bool = True) -> Self:
        """Run a cell; without `wait` it has begun when this returns, or is queued."""
        return self._do("run(path, cell, name)", cell=cell, wait=wait)

    def run_all(self, *, wait: bool = True) -> Self:
        """Choose “Run All Cells”; what follows a cell that failed is not run."""
        return self._do("runAll(path, name)", wait=wait)

    def outputs(self, cell: int) -> list[dict[str, Any]]:
        """Give a cell's outputs as the notebook's file would have them."""
        outputs: list[dict[str, Any]] = self.page.evaluate(
            "({path, cell}) => mcpnbTest.outputs(path, cell)", {"path": self.name, "cell": cell}
        )
        return outputs

    def cell(self, cell: int) -> Locator:
        """Find a cell on the page."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(cell)

    def output(self, cell: int) -> Locator:
        """Find where a cell's outputs are."""
        return self.cell(cell).locator(".jp-Cell-outputArea")

    def text(self, cell: int) -> str:
        """Give the text that a person sees below a cell."""
        seen = self.output(cell).locator(".jp-OutputArea-output:visible").all_inner_texts()
        return "\n".join(text.strip() for text in seen)

    def shows(self, cell: int, text: str | re.Pattern[str]) -> Self:
        """Wait until a text is to be seen below a cell."""
        self.output(cell).get_by_text(text).first.wait_for()
        return self

    def panel(self, cell: int) -> Locator:
        """Find the panels below a cell."""
        return self.output(cell).locator(".mcpnb-panel")

    # The notebook

    def save(self) -> dict[str, Any]:
        """Save it and give what is in the file."""
        self._do("save(path, name)")
        found: dict[str, Any] = json.loads(self.file.read_text("utf-8"))
        return found

    @property
    def file(self) -> Path:
        """The notebook's file."""
        return self.server.notebooks / self.name

    def restart(self) -> Self:
        """Restart the kernel; outputs stay on the page."""
        return self._do("restart(path, name)").ready()

    def keep_widget_state(self, *, on: bool = True) -> Self:
        """Set “Save Widget State Automatically”."""
        self._do("keepState(on, name)", on=on)
        self._wait("keeps() === on", on=on)
        return self

    @contextlib.contextmanager
    def new_tab(self) -> Iterator[list[Page]]:
        """Collect the tab that something in the block opens; after it, it is somewhere."""
        opened: list[Page] = []
        with self.page.context.expect_page() as event:
            yield opened
        tab = event.value
        tab.wait_for_url(lambda url: url != "about:blank", wait_until="commit")
        opened.append(tab)

    def opened_by(self, link: Locator) -> Page:
        """Click on what opens a tab; give the tab."""
        with self.new_tab() as opened:
            link.click()
        return opened[0]

    # How

    def _do(self, action: str, *, wait: bool = True, **given: Any) -> Self:
        name = next(_names)
        self.page.evaluate(
            f"({{path, name, cell, on}}) => mcpnbTest.{action}",
            {"path": self.name, "name": name, **given},
        )
        if wait:
            self.page.wait_for_function("name => mcpnbTest.ended(name)", arg=name, timeout=MOST_MS)
        return self

    def _wait(self, condition: str, *, on: bool = True, timeout: float = MOST_MS) -> None:
        self.page.wait_for_function(
            f"({{path, on}}) => mcpnbTest.{condition}",
            arg={"path": self.name, "on": on},
            timeout=timeout,
        )
