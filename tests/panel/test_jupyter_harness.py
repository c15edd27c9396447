"""The harness of the panel's tests: where it did nothing, those would find nothing."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx2
import psutil
import pytest
from playwright.sync_api import Error

from tests.peers.browsers import Chromium, Window
from tests.peers.jupyter import Jupyter
from tests.peers.jupyter_fixtures import Lent
from tests.peers.jupyter_page import Notebook
from tests.peers.said import bare_environment, started

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

WIDGET = '''
import anywidget

class Button(anywidget.AnyWidget):
    _esm = """export default { render({ model, el }) {
        const button = document.createElement("button");
        button.className = "mcpnb-panel";
        button.textContent = "Ask";
        button.onclick = () => model.send("anybody there?");
        model.on("msg:custom", answer => { button.textContent = answer; });
        el.append(button);
    } }"""

    def __init__(self):
        super().__init__()
        self.on_msg(lambda _, question, __: self.send(f"{question} Yes"))

Button()
'''
YES = "anybody there? Yes"
LINK = "from IPython.display import HTML\nHTML('<a target=_blank href=/api>Away</a>')"


def asked(notebook: Notebook) -> None:
    """Click on the widget; wait for the kernel's answer."""
    notebook.panel(0).click()
    notebook.shows(0, YES)


@pytest.mark.parametrize("application", ["lab", "notebook"])
def test_a_notebook_does_as_a_person_says(window: Window, lab: Jupyter, application: str) -> None:
    waiting = (
        "import pathlib, time\nprint('waiting')\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.02)"
    )
    cells = [WIDGET, waiting, LINK, "1 / 0", "'not reached'"]
    notebook = Notebook.of(window.context, lab, cells, application=application)
    notebook.run_all(wait=False).running(1).running(2).shows(1, "waiting")
    (lab.notebooks / "go").touch()
    notebook.done(3)
    assert notebook.outputs(3)[0]["ename"] == "ZeroDivisionError"
    assert not notebook.has_run(4)

    tab = notebook.opened_by(notebook.output(2).get_by_role("link"))
    assert tab.url.endswith("/api")
    tab.close()
    asked(notebook.theme(dark=True))
    assert "widgets" not in notebook.save()["metadata"]
    assert "widgets" in notebook.keep_widget_state().save()["metadata"]

    other = notebook.again()
    asked(other)
    other.page.close()
    asked(notebook.reload())
    assert notebook.restart().text(2) == "Away"
    assert notebook.run(2).outputs(2)[0]["execution_count"] == 1
    assert notebook.clear().text(2) == ""


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


def test_others_have_event_loops_while_the_browser_is_there(
    chromium: Chromium, window: Window
) -> None:
    async def here() -> str:
        await asyncio.sleep(0)
        return "here"

    with chromium.resting():
        assert asyncio.run(here()) == "here"
    page = window.context.new_page()
    page.set_content("<p>there")
    assert page.inner_text("p") == "there"


@pytest.mark.usefixtures("chromium")
def test_without_a_window_nothing_has_to_be_known_of_it() -> None:
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


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


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no, because')"]
    with (
        started(command, bare_environment(tmp_path), tmp_path, tmp_path / "log") as saying,
        pytest.raises(AssertionError, match="no, because"),
    ):
        saying.says("running")
