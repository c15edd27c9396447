"""The harness of the panel's tests: where these fail, those may pass for nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx2
import psutil
import pytest
from playwright.sync_api import Error

from tests.peers.browsers import Window
from tests.peers.jupyter_fixtures import Lent
from tests.peers.jupyter_page import Notebook
from tests.peers.said import bare_environment, started

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def test_a_kernel_lives_in_the_world_of_its_test_and_ends_with_it(
    window: Window, running: Lent, world: Path
) -> None:
    server = running("lab")
    cells = ["import os; print(os.environ['MCPNB_HOME'], os.path.expanduser('~'), sep='\\n')"]
    notebook = Notebook.of(window.context, server, cells, application="notebook").run(0)
    assert notebook.text(0).split() == [str(world / "mcpnb"), str(world / "home")]
    assert len(server.ask("GET", "api/kernels")) == 1

    server.tidy()
    assert server.ask("GET", "api/kernels") == []
    assert list(server.ask("GET", "api/kernelspecs")["kernelspecs"]) == ["python3"]


@pytest.mark.parametrize(
    ("server", "path"),
    [
        ("lab", "lab/extensions"),
        ("notebook7", "lab/extensions"),
        ("prefixed", "lab/extensions"),
        ("hub", "lab/extensions"),
        ("voila", "voila/labextensions"),
    ],
)
def test_the_page_for_redirects_is_served_to_people_who_are_not_logged_in(
    server: str, path: str, lent: Lent
) -> None:
    with httpx2.Client(trust_env=False, timeout=10) as anybody:
        answer = anybody.get(f"{lent(server).url}{path}/mcpnb/callback.html")
    assert answer.status_code == 200
    assert "mcpnb-callback-page" in answer.text


# The browser


def test_no_script_opens_a_tab_by_itself(window: Window) -> None:
    page = window.context.new_page()
    # An address, because what Playwright itself evaluates or sets counts as a click (measured).
    page.goto("data:text/html,<script>document.title = window.open('about:blank')</script>")
    assert page.title() == "null"


def test_nothing_outside_is_reached_and_what_pages_write_is_kept(
    window: Window, tmp_path: Path
) -> None:
    page = window.context.new_page()
    with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
        page.goto("http://example.com/")
    page.close()
    window.context.new_page().evaluate("console.log('written')")
    picture, console = window.keep(tmp_path)
    assert Path(picture.partition(":")[0]).stat().st_size > 1000
    assert Path(console.partition(":")[0]).read_text("utf-8").endswith("log: written\n")


# Its servers

PARENT = """
import subprocess, sys
command = [sys.executable, "-c", "input()"]
child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
print("child", child.pid, flush=True)
child.wait()
"""


def test_of_a_server_nothing_stays(tmp_path: Path) -> None:
    """Not what is in a session of its own either, as kernels are."""
    command = [sys.executable, "-c", PARENT]
    with started(command, bare_environment(tmp_path), tmp_path, tmp_path / "log") as saying:
        child = int(saying.says("child").split()[1])
        assert psutil.pid_exists(child)
    assert not psutil.pid_exists(child)
    # What an interrupted process says of that may stand below.
    assert (tmp_path / "log").read_text("utf-8").startswith(f"child {child}\n")
