"""From the click to signed in, in a real JupyterLab; beside it the same way without a panel."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx
from playwright.sync_api import BrowserContext, Page, sync_playwright

from mcpnb.demo.servers import DemoServers
from tests.bench.table import Row, Table, limited
from tests.fakes.panels import connected, sign_in_link
from tests.peers.browsers import Chromium
from tests.peers.jupyter import Jupyter, jupyter
from tests.peers.jupyter_page import Notebook

TARGET, OWN_TARGET = 0.8, 0.150
# Where a moment is taken: in the page itself, whose clock all tabs share. What Playwright sees, it
# sees when it looks.
WATCH = """() => {
  window.moments = {};
  const now = () => performance.timeOrigin + performance.now();
  document.addEventListener("click", () => { moments.clicked = now(); }, true);
  new MutationObserver(() => {
    if (document.querySelector('.mcpnb-panel[data-phase="signed_in"]')) moments.done ??= now();
  }).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["data-phase"] });
}"""
LOADED = """() => performance.timeOrigin
    + performance.getEntriesByType("navigation")[0].loadEventEnd"""


def run(rounds: int) -> list[Table]:
    """Measure."""
    path = shutil.which("chromium")
    if path is None:
        return [Table("click to signed in", "", "", [Row("not measured: no Chromium here", "")])]
    with (
        tempfile.TemporaryDirectory() as folder,
        DemoServers(auto_consent=True) as demo,
        jupyter(Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        context = Chromium(playwright, path).browser.new_context()
        cells = [connected(demo.mcp_url, ', store="memory"')]
        notebook = Notebook.of(context, server, cells, kernel=_kernel(server, folder)).run(0)
        notebook.page.evaluate(WATCH)
        whole, bare = [], []
        for turn in range(rounds + 1):
            took = _signed_in(notebook), _without(context, notebook.page, demo, server)
            if turn:  # the first one loads what the next ones have
                whole.append(took[0])
                bare.append(took[1])
    return [_table(rounds, whole, bare)]


def _kernel(server: Jupyter, folder: str) -> str:
    return server.kernelspec(MCPNB_HOME=folder, HOME=folder)


def _signed_in(notebook: Notebook) -> float:
    """Click, wait, sign out again."""
    panel, page = notebook.front().panel(0), notebook.page
    tab = notebook.opened_by(sign_in_link(panel))
    page.wait_for_function("() => moments.done")
    took = page.evaluate("() => moments.done - moments.clicked")
    tab.close()
    page.bring_to_front()
    panel.get_by_role("button", name="Sign out").click()
    page.wait_for_function(
        "() => document.querySelector('.mcpnb-panel[data-phase=\"signed_out\"]')"
    )
    page.evaluate("() => { moments = {}; }")
    return float(took) / 1000


def _without(context: BrowserContext, page: Page, demo: DemoServers, server: Jupyter) -> float:
    """Do by hand what no sign-in can do without: the requests, and a tab that comes back."""
    back = f"{server.url}lab/extensions/mcpnb/callback.html"
    started = time.perf_counter()
    with httpx.Client(trust_env=False) as client:
        client.post(demo.mcp_url, json={})
        origin, _, path = demo.mcp_url.rpartition("/")
        client.get(f"{origin}/.well-known/oauth-protected-resource/{path}")
        client.get(f"{demo.issuer}/.well-known/oauth-authorization-server")
        registered = client.post(
            f"{demo.issuer}/register",
            json={"client_name": "bench", "redirect_uris": [back]}
            | {"grant_types": ["authorization_code"], "token_endpoint_auth_method": "none"},
        ).json()
        client.post(f"{demo.issuer}/token", data={"grant_type": "authorization_code"})
    requests = time.perf_counter() - started
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # RFC 7636 appendix B
    query = httpx.QueryParams(
        response_type="code",
        client_id=registered["client_id"],
        redirect_uri=back,
        state="of-the-bench",
        code_challenge=challenge,
        code_challenge_method="S256",
        resource=demo.mcp_url,
    )
    page.evaluate(
        """address => {
          const link = document.createElement("a");
          Object.assign(link, { href: address, target: "_blank", rel: "noopener", id: "bare" });
          link.textContent = "bare";
          link.style = "position: fixed; top: 0; z-index: 9999";
          document.body.append(link);
        }""",
        f"{demo.issuer}/authorize?{query}",
    )
    with context.expect_page() as opened:
        page.locator("#bare").click()
    tab = opened.value
    tab.wait_for_url(f"{back}*")
    tab.wait_for_load_state("load")
    loaded = float(tab.evaluate(LOADED)) - float(page.evaluate("() => moments.clicked"))
    tab.close()
    page.evaluate("() => { document.querySelector('#bare').remove(); moments = {}; }")
    return requests + loaded / 1000


def _table(rounds: int, whole: list[float], bare: list[float]) -> Table:
    ours, reference = median(whole), median(bare)
    own = ours - reference
    rows = [
        Row("the requests and a tab, by hand", f"{reference:.2f}", 1.0),
        limited("mcpnb", ours, TARGET, "s", ours / reference, digits=2),
        limited("mcpnb's own share", own, OWN_TARGET, "s", own / reference, digits=2),
    ]
    title = f"click to signed in, JupyterLab, a server that consents at once (median of {rounds})"
    return Table(title, "s", "by hand", rows)
