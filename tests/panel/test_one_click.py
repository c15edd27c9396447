"""One click, in every front end, and with no open port: the panel's page hands the answer over."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Error, Route, expect

from mcpnb.demo.servers import DemoServers
from tests.fakes.panels import PORTS, approve, connected, says, sign_in, sign_in_link
from tests.peers.browsers import Window
from tests.peers.jupyter import Jupyter, render
from tests.peers.jupyter_fixtures import Far, Lent
from tests.peers.jupyter_page import Notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.mark.parametrize(
    ("server", "application"),
    [("lab", "lab"), ("notebook7", "notebook"), ("prefixed", "lab"), ("hub", "lab")],
)
def test_click_consent_and_the_next_cell_calls(
    window: Window,
    demo: DemoServers,
    server: str,
    application: str,
    lent: Lent,
) -> None:
    jupyter = lent(server)
    cells = [PORTS, connected(demo.mcp_url), "session.tools()", PORTS]
    notebook = Notebook.of(window.context, jupyter, cells, application=application)
    notebook.run(0).run(1)
    panel = notebook.panel(1)
    says(panel, "mcpnb contacts no server before you click.")
    assert demo.answers == [], "nobody was asked for anything"

    tab = sign_in(notebook, 1)
    expect(tab.get_by_role("heading", name="Signed in")).to_be_visible()
    assert "?" not in tab.url
    assert "#" not in tab.url
    notebook.run(2).run(3)
    assert "harbour_traffic" in notebook.text(2)
    assert notebook.outputs(3) == notebook.outputs(0), "no port was opened"


def test_the_browser_reaches_nothing_of_the_kernels_machine(
    window: Window, far: Far, demo: DemoServers
) -> None:
    for address in (demo.mcp_url, demo.issuer):
        far.reaches(urlsplit(address).port or 0)
    listens = "import socket\ndoor = socket.create_server(('127.0.0.1', 0))\ndoor.getsockname()[1]"
    cells = [connected(demo.mcp_url), "session.tools()", listens]
    notebook = Notebook.of(window.context, far.server, cells, kernel=far.kernelspec())
    sign_in(notebook.run(0))
    notebook.run(1).shows(1, "harbour_traffic")
    port = notebook.run(2).text(2).split()[-1]
    with pytest.raises(Error, match="ERR_CONNECTION_REFUSED"):
        window.context.new_page().goto(f"http://127.0.0.1:{port}/")


class TestVoila:
    @pytest.mark.parametrize("server", ["voila", "lab"])
    def test_a_dashboard_signs_in(
        self, window: Window, demo: DemoServers, server: str, lent: Lent
    ) -> None:
        jupyter = lent(server)
        jupyter.write("a.ipynb", [connected(demo.mcp_url)], jupyter.kernelspec())
        page = window.context.new_page()
        jupyter.enter(page, render("a.ipynb"))
        panel = page.locator(".mcpnb-panel")
        with page.context.expect_page() as opened:
            sign_in_link(panel).click()
        approve(opened.value)
        says(panel, "Signed in to")


class TestAnotherEnvironment:
    """The normal case on workstations: Jupyter has nothing of ours, the kernel all of it."""

    def test_html_stands_there_until_the_parts_are_in_place(
        self, window: Window, lent: Lent, demo: DemoServers
    ) -> None:
        plain = lent("plain")
        kernel = plain.kernelspec(JUPYTER_DATA_DIR=str(plain.data))
        cells = [connected(demo.mcp_url), f"!{sys.executable} -m mcpnb jupyter", "session.tools()"]
        notebook = Notebook.of(window.context, plain, cells, kernel=kernel).run(0)
        notebook.shows(0, f"!{sys.executable} -m mcpnb jupyter")
        notebook.shows(0, f"mcpnb login {demo.mcp_url}")
        assert notebook.panel(0).count() == 0

        notebook.run(1).shows(1, "callback.html")
        notebook.reload().run(0)
        sign_in(notebook)
        expect(notebook.output(0)).not_to_contain_text("If you see no panel above")
        notebook.run(2).shows(2, "harbour_traffic")

    def test_the_html_is_enough_to_sign_in(
        self, window: Window, lent: Lent, demo: DemoServers
    ) -> None:
        demo.authorization_server.auto_consent = True
        begin = (
            f"import mcpnb\nlogin = mcpnb.connect({demo.mcp_url!r}).login()\n"
            "login.until('waiting')\nprint(login.url)"
        )
        finish = f"login.wait()\nmcpnb.connect({demo.mcp_url!r}).tools()"
        cells = [connected(demo.mcp_url), begin, finish]
        notebook = Notebook.of(window.context, lent("plain"), cells).run(0).run(1)
        notebook.shows(0, "login.submit()")
        tab = window.context.new_page()
        tab.goto(notebook.text(1).split()[-1])
        expect(tab.get_by_role("heading", name="Signed in")).to_be_visible()
        notebook.front().run(2).shows(2, "harbour_traffic")

    def test_a_button_puts_the_page_there(
        self, window: Window, lab: Jupyter, demo: DemoServers
    ) -> None:
        """Where Jupyter shows widgets, and lacks the page only."""
        kernel = lab.kernelspec(JUPYTER_DATA_DIR=str(lab.data))
        cells = [connected(demo.mcp_url)]
        notebook = Notebook.of(window.context, lab, cells, kernel=kernel)
        missing = f"{lab.url}lab/extensions/mcpnb/callback.html"
        there = lab.data / "labextensions" / "mcpnb" / "callback.html"

        def serve(route: Route) -> None:
            # The environment of this Jupyter has the page, too: it is hidden until it was put
            # into the person's own folder.
            if there.exists():
                route.continue_()
            else:
                route.fulfill(status=404, body="")

        notebook.page.context.route(f"{missing}*", serve)
        notebook.run(0)
        panel = notebook.panel(0)
        says(panel, "Your Jupyter does not serve mcpnb's page")
        panel.get_by_role("button", name="Install the page").click()
        sign_in(notebook)
        assert there.is_file()
