"""Every way back for an answer, tried in a real browser: what a person does where one is shut."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from mcpnb.demo.servers import DemoServers
from tests.fakes.panels import approve, connected, says, sign_in, sign_in_link, signed_in
from tests.fakes.people import free_port
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request
from tests.peers.browser import Browser
from tests.peers.browsers import Window
from tests.peers.jupyter import Jupyter
from tests.peers.jupyter_fixtures import Far
from tests.peers.jupyter_page import Notebook
from tests.peers.resource_server import ResourceServer

Opened = Callable[..., Notebook]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),
]
CALLBACK = re.compile(r"http://127\.0\.0\.1:\d+/callback")


def approved(context: BrowserContext, tab: Page) -> str:
    """Agree; give the address that the browser is sent to with the answer, reached or not."""
    with context.expect_event("request", lambda asked: "code=" in asked.url) as event:
        approve(tab)
    return str(event.value.url)


def paste(notebook: Notebook, text: str) -> None:
    """Use the paste box."""
    panel = notebook.front().panel(0)
    field = panel.get_by_label("The whole address")
    if not field.is_visible():
        panel.locator("summary", has_text="paste").first.click()
    field.fill(text)
    panel.get_by_role("button", name="Use it").click()


def test_a_callback_address_that_a_proxy_leads_to_the_kernel(
    opened: Opened, lab: Jupyter, demo: DemoServers
) -> None:
    """jupyter-server-proxy, which keeps the path of what it calls absolute."""
    port = free_port()
    callback = f"{lab.url}proxy/absolute/{port}/callback"
    more = f", callback_url={callback!r}, callback_port={port}"
    notebook = opened(connected(demo.mcp_url, more))
    tab = sign_in(notebook)
    assert tab.url.startswith(callback)
    expect(tab.get_by_role("heading", name="Signed in")).to_be_visible()


class TestPaste:
    def test_the_wrong_address_first_and_then_the_right_one(
        self, window: Window, far: Far, demo: DemoServers
    ) -> None:
        """The kernel's own port is out of the browser's reach, as on a workstation."""
        for address in (demo.mcp_url, demo.issuer):
            far.reaches(int(address.split(":")[2].split("/")[0]))
        cells = [connected(demo.mcp_url, ', via="loopback"'), "session.tools()"]
        notebook = Notebook.of(window.context, far.server, cells, kernel=far.kernelspec()).run(0)
        tab = notebook.opened_by(sign_in_link(notebook.panel(0)))
        ended_at = approved(window.context, tab)
        expect(notebook.panel(0)).to_contain_text("this page can't be reached")

        paste(notebook, "https://example.com/elsewhere?code=wrong&state=wrong")
        says(notebook.panel(0), "Not the expected response")
        expect(notebook.panel(0).get_by_label("The whole address")).to_have_value("")
        paste(notebook, ended_at)
        signed_in(notebook.panel(0))
        notebook.run(1).shows(1, "harbour_traffic")


class TestRefusedRelay:
    def test_a_server_that_registers_only_loopback_leads_there_by_itself(
        self, opened: Opened, fake: FakeServer
    ) -> None:
        register = fake.routes["/register"]

        def choosy(request: Request) -> Reply:
            if any("callback.html" in uri for uri in request.json["redirect_uris"]):
                return Reply(400, {"error": "invalid_redirect_uri"})
            return register(request)

        fake.routes["/register"] = choosy
        notebook = opened(connected(fake.url))
        tab = notebook.opened_by(sign_in_link(notebook.panel(0)))
        signed_in(notebook.panel(0))
        expect(tab.get_by_role("heading", name="Signed in")).to_be_visible()
        assert CALLBACK.match(tab.url)


@pytest.mark.peer
def test_a_code_for_another_device(
    opened: Opened, mcp_server: ResourceServer, browser: Browser
) -> None:
    """At a server that nobody here wrote; the phone is a browser of its own."""
    cells = [connected(mcp_server.url), "session.call('add', a=1, b=2).data"]
    notebook = opened(*cells)
    panel = notebook.panel(0)
    notebook.opened_by(sign_in_link(panel)).wait_for_url(re.compile("oidc|interaction|auth"))
    notebook.front()
    panel.locator("summary", has_text="Use another device").click()
    panel.get_by_role("button", name="Get a code for another device").click()
    says(panel, "Enter the code on your other device")
    if not panel.get_by_role("img", name=re.compile("QR code")).is_visible():
        panel.locator("summary", has_text="Use another device").click()
    expect(panel.get_by_role("img", name=re.compile("QR code"))).to_be_visible()
    browser.open(
        str(panel.get_by_role("link", name=re.compile("device")).first.get_attribute("href"))
    )
    signed_in(panel)
    notebook.run(1).shows(1, "3")
