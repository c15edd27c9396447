"""The panel while kernels are busy, restarted or several, and pages are reloaded or several."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from mcpnb.demo.servers import DemoServers
from tests.fakes.panels import approve, connected, says, sign_in, sign_in_link, signed_in
from tests.peers.jupyter import Jupyter
from tests.peers.jupyter_fixtures import ipykernel
from tests.peers.jupyter_page import Notebook

Opened = Callable[..., Notebook]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


def awaited(demo: DemoServers) -> list[str]:
    """Write the notebook that is run as a whole."""
    return [f"import mcpnb\nsession = await mcpnb.connect({demo.mcp_url!r})", "session.tools()"]


def waiting_for(seconds: int, cells: list[str]) -> list[str]:
    """Have the first cell wait that long for the panel, instead of 8 seconds."""
    set_it = f"import mcpnb.session.wait as w; assert w._PATIENCE; w._PATIENCE = {seconds}"
    return [f"{set_it}\n{cells[0]}", *cells[1:]]


LONG = 60
"""As long as a busy machine may take to load the panel."""


class TestRunAll:
    @pytest.mark.parametrize("version", ["7.3", "7.4"])
    def test_it_goes_on_after_the_click(
        self, opened: Opened, lab: Jupyter, demo: DemoServers, version: str
    ) -> None:
        kernel = lab.kernelspec(**ipykernel(version))
        cells = waiting_for(LONG, awaited(demo))
        notebook = opened(*cells, kernel=kernel, application="lab", run=False)
        notebook.run_all(wait=False)
        sign_in(notebook)
        notebook.front().shows(1, "harbour_traffic")

    def test_where_a_running_cell_hears_nothing_the_address_is_asked_for(
        self, opened: Opened, lab: Jupyter, demo: DemoServers
    ) -> None:
        """With ipykernel 6; the answer comes to the port, or is pasted, and Enter goes on."""
        demo.authorization_server.auto_consent = True
        kernel = lab.kernelspec(**ipykernel("6.31"))
        notebook = opened(*waiting_for(1, awaited(demo)), kernel=kernel, run=False)
        notebook.run_all(wait=False)
        self.ask_in_the_cell(notebook)
        notebook.shows(1, "harbour_traffic")

    @pytest.mark.parametrize("version", ["6.31", "7.4"])
    def test_a_cell_that_blocks_asks_in_itself(
        self, opened: Opened, lab: Jupyter, demo: DemoServers, version: str
    ) -> None:
        demo.authorization_server.auto_consent = True
        cells = [f"import mcpnb\nmcpnb.connect({demo.mcp_url!r}).wait().tools()"]
        kernel = lab.kernelspec(**ipykernel(version))
        notebook = opened(*waiting_for(1, cells), kernel=kernel, run=False).run(0, wait=False)
        self.ask_in_the_cell(notebook)
        notebook.shows(0, "harbour_traffic")

    def test_a_cell_that_blocks_hears_the_panel_where_the_kernel_does(
        self, opened: Opened, lab: Jupyter, demo: DemoServers
    ) -> None:
        cells = [f"import mcpnb\nmcpnb.connect({demo.mcp_url!r}).wait().tools()"]
        kernel = lab.kernelspec(**ipykernel("7.3"))
        notebook = opened(*waiting_for(LONG, cells), kernel=kernel, run=False)
        notebook.run(0, wait=False)
        sign_in(notebook)
        notebook.front().shows(0, "harbour_traffic")

    @staticmethod
    def ask_in_the_cell(notebook: Notebook) -> None:
        """Open the address that the cell printed, and go on in the cell."""
        notebook.shows(0, re.compile("To sign in to"))
        field = notebook.page.locator(".jp-Stdin-input")
        field.wait_for()
        address = re.search(r"http://\S+/authorize\?\S+", notebook.text(0))
        assert address is not None
        tab = notebook.page.context.new_page()
        tab.goto(address.group())
        expect(tab.get_by_role("heading", name="Signed in")).to_be_visible()
        notebook.front()
        field.press("Enter")


class TestWithoutALogin:
    def test_a_call_shows_a_panel_and_one_line(self, opened: Opened, demo: DemoServers) -> None:
        call = f"import mcpnb\nsession = mcpnb.connect({demo.mcp_url!r})\nsession.tools()"
        notebook = opened(call, "session.tools()")
        notebook.shows(0, "LoginRequired: Not signed in")
        notebook.shows(0, "Sign in with the panel below, then run this cell again.")
        assert "Traceback" not in notebook.text(0)
        says(notebook.panel(0), "mcpnb contacts no server")
        notebook.run(1).shows(1, "Sign in with the panel above")
        expect(notebook.panel(1)).to_have_count(0)

        sign_in(notebook)
        notebook.front().run(1).shows(1, "harbour_traffic")


class TestWhileWaiting:
    def test_the_page_is_reloaded(self, opened: Opened, demo: DemoServers) -> None:
        notebook = opened(connected(demo.mcp_url))
        tab = notebook.opened_by(sign_in_link(notebook.panel(0)))
        expect(tab.get_by_role("button", name="Approve")).to_be_visible()
        notebook.front().reload()
        says(notebook.panel(0), "Waiting for you to approve")
        tab.bring_to_front()
        approve(tab)
        signed_in(notebook.front().panel(0))
        expect(tab.get_by_role("heading", name="Signed in")).to_be_visible()

    def test_the_kernel_is_restarted(self, opened: Opened, demo: DemoServers) -> None:
        cells = [connected(demo.mcp_url), "session.tools()"]
        notebook = opened(*cells)
        tab = notebook.opened_by(sign_in_link(notebook.panel(0)))
        expect(tab.get_by_role("button", name="Approve")).to_be_visible()
        notebook.front().restart()
        says(notebook.panel(0), "The kernel was restarted or has ended. Run the cell again.")
        notebook.run(0)
        says(notebook.panel(0), "Waiting for you to approve")
        tab.bring_to_front()
        approve(tab)
        signed_in(notebook.front().panel(0))
        notebook.run(1).shows(1, "harbour_traffic")

    def test_the_cell_is_busy_when_it_is_clicked(
        self, opened: Opened, lab: Jupyter, demo: DemoServers
    ) -> None:
        busy = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)"
        kernel = lab.kernelspec(**ipykernel("6.31"))
        cells = [connected(demo.mcp_url), busy]
        notebook = opened(*cells, kernel=kernel)
        says(notebook.panel(0), "mcpnb contacts no server before you click.")
        notebook.run(1, wait=False)
        tab = notebook.opened_by(sign_in_link(notebook.panel(0)))
        says(notebook.front().panel(0), "The kernel is busy.")
        (lab.notebooks / "go").touch()
        tab.bring_to_front()
        approve(tab)
        signed_in(notebook.front().panel(0))
