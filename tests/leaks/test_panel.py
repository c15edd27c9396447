"""What a notebook, its page and its logs keep of a sign-in: nothing that is secret.

Searched for, byte by byte: tokens, codes, verifiers, the values of ``state``, and the account's
label. The address that a person has to see and copy is excepted, while it is shown.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.fakes.panels import sign_in_link, signed_in
from tests.fakes.secrets import Secrets
from tests.fakes.server import FakeServer
from tests.peers.browsers import Window
from tests.peers.jupyter import Jupyter
from tests.peers.jupyter_page import Notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

LABEL = "label-of-ada-0f3a"
LOUD = """
import logging
logging.basicConfig(level=logging.DEBUG, filename={file!r}, force=True)
"""


def secrets_of(fake: FakeServer) -> Secrets:
    """Give everything that was secret in what the fake has seen and given."""
    secrets = Secrets(fake, account_label=LABEL)
    for request in fake.requests:
        secrets.add("challenge", *request.query.get("code_challenge", ()))
    assert {"access token", "code", "verifier", "state"} <= secrets.kinds()
    return secrets


def connected(fake: FakeServer, log: Path, more: str) -> list[str]:
    """Write a notebook that logs all it can, signs in, calls, and shows the session once more."""
    # The label comes from the environment: what a person types is in the notebook anyway.
    who = "account=os.environ['WHO']"
    begin = f"import os, mcpnb\nsession = mcpnb.connect({fake.url!r}, {who}{more})"
    return [
        LOUD.format(file=str(log)),
        f"{begin}\nsession",
        "session.tools()\nsession.call('echo', text='hello')",
        "session",
    ]


def by_relay(notebook: Notebook, seen: list[str]) -> None:
    """Sign in by the panel's page."""
    del seen
    notebook.opened_by(sign_in_link(notebook.panel(1)))


def by_paste(notebook: Notebook, seen: list[str]) -> None:
    """Sign in with the paste box."""
    notebook.opened_by(sign_in_link(notebook.panel(1)))
    notebook.front()
    panel = notebook.panel(1)
    field = panel.get_by_label("The whole address")
    expect(panel).to_contain_text("Waiting for you")
    if not field.is_visible():
        panel.locator("summary", has_text="aste").first.click()
    field.fill(seen[-1])
    panel.get_by_role("button", name="Use it").click()


@pytest.mark.parametrize(
    ("more", "way"),
    [("", by_relay), (', via="loopback"', by_relay), (', via="paste"', by_paste)],
)
def test_nothing_is_left_of_a_sign_in(  # noqa: PLR0913, PLR0917  the places that are searched
    window: Window,
    lab: Jupyter,
    fake: FakeServer,
    tmp_path: Path,
    more: str,
    way: Callable[[Notebook, list[str]], None],
) -> None:
    log = tmp_path / "kernel.log"
    cells, kernel = connected(fake, log, more), lab.kernelspec(WHO=LABEL)
    notebook = Notebook.of(window.context, lab, cells, kernel=kernel).keep_widget_state()
    seen = answers(window.context)
    notebook.run(0).run(1)
    way(notebook, seen)
    signed_in(notebook.panel(1))
    notebook.front().run(2).run(3)
    signed_in(notebook.panel(3))
    saved = json.dumps(notebook.save())
    assert "application/vnd.jupyter.widget-state+json" in saved, "widget state is saved, too"

    # The panel shows the label: a person has to see which login it is.
    page = notebook.page.content().replace(LABEL, "")
    tabs = [tab for tab in window.context.pages if tab is not notebook.page]
    places = {
        "the saved notebook": saved,
        "the page": page,
        "the console": "\n".join(line for line in window if not line.startswith("failed: GET")),
        "the kernel's log": log.read_text("utf-8"),
        "the server's log": lab.log.read_text("utf-8", errors="replace"),
        "the tabs": "".join(tab.content() + tab.url for tab in tabs),
        "nbconvert": converted(notebook.file, tmp_path),
    }
    assert len(places["the kernel's log"]) > 1000, "it is loud"
    if more:
        # The loopback and paste ways end at an address that is the answer: the person's browser
        # shows it, and nobody else.
        places.pop("the tabs")
    secrets_of(fake).absent_from(places)


def answers(context: BrowserContext) -> list[str]:
    """Collect the addresses that the browser is sent to with an answer."""
    seen: list[str] = []
    context.on("request", lambda asked: seen.append(asked.url) if "code=" in asked.url else None)
    return seen


def converted(file: Path, folder: Path) -> str:
    """Give what nbconvert makes of a notebook."""
    subprocess.run(
        [
            *(sys.executable, "-m", "nbconvert", "--to", "html", str(file)),
            *("--output-dir", str(folder), "--output", "converted.html"),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return (folder / "converted.html").read_text("utf-8")


@pytest.mark.parametrize("tool", ["nbconvert", "papermill"])
def test_a_notebook_that_nobody_watches_keeps_nothing_and_says_what_to_do(
    fake: FakeServer,
    tmp_path: Path,
    lab: Jupyter,
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
) -> None:
    """Executed without a login, and with one."""
    import mcpnb
    from tests.fakes.people import sign_in

    monkeypatch.setenv("WHO", LABEL)
    who = "account=os.environ['WHO']"
    cells = [
        f"import os, mcpnb\nsession = mcpnb.connect({fake.url!r}, {who}, store='file')",
        "session",
        "await session\nsession.tools()",
    ]
    path = lab.write("headless.ipynb", cells, "python3")
    before = executed(tool, path, tmp_path)
    assert f"mcpnb login {fake.url}" in before
    assert "LoginRequired" in before
    assert "application/vnd.jupyter.widget-view+json" not in before
    assert "Traceback" not in before

    session = mcpnb.connect(fake.url, account=LABEL, store="file", callback_port=0)
    sign_in(session)
    after = executed(tool, path, tmp_path)
    assert "signed in" in after
    assert "echo" in after
    secrets_of(fake).absent_from({"the notebook": after})


def executed(tool: str, path: Path, folder: Path) -> str:
    """Run a notebook with nobody there; give the file that comes of it."""
    made = folder / f"{tool}.ipynb"
    module = [*(sys.executable, "-m")]
    commands = {
        "nbconvert": [
            *(*module, "nbconvert", "--to", "notebook", "--execute", "--allow-errors"),
            *(str(path), "--output-dir", str(folder), "--output", made.name),
        ],
        "papermill": [*module, "papermill", str(path), str(made)],
    }
    subprocess.run(commands[tool], check=False, capture_output=True, timeout=120)
    return made.read_text("utf-8")
