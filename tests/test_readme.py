"""What README says is so: its code runs, its tables have tests, its numbers were printed."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import webbrowser
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.server.mcpserver import MCPServer

from mcpnb.config import read_configuration
from mcpnb.demo import mcp_server
from mcpnb.demo.browser import approve, enter_code
from mcpnb.demo.servers import DemoServers
from tests.demo.running import demo_in, sign_in
from tests.fakes.faults import FAULTS
from tests.house import ROOT, is_there
from tests.terminal import Running
from tests.threats import THREATS
from tests.threats.mutation import rules

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (.*?)(?:\s{2,}#.*)?$", re.MULTILINE)


README = (ROOT / "README.md").read_text("utf-8")
PYTHON, CONSOLE, TOML = (
    [match[2] for match in _FENCE.finditer(README) if match[1] == language]
    for language in ("python", "console", "toml")
)
"""Its blocks of code."""


def section(title: str) -> str:
    """Give the text below a heading, to the next one."""
    _, found, rest = README.partition(f"\n## {title}\n")
    assert found, f"README has no section {title!r}"
    return rest.partition("\n## ")[0]


def table(title: str) -> list[list[str]]:
    """Give the cells of a section's first table, the heading row included."""
    lines = []
    for line in section(title).splitlines():
        if line.startswith("|"):
            lines.append([cell.strip() for cell in line.strip("|").split("|")])
        elif lines:
            break
    assert set("".join(lines[1])) <= set("-: "), "the second line rules off the first"
    return [lines[0], *lines[2:]]


def numbers_in(text: str) -> list[str]:
    """List the numbers in a text, as they are written."""
    return re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text)


EXAMPLE = "https://mcp.example.com/mcp"
CONSENTS = f"""#!{sys.executable}
import sys
import httpx2
from mcpnb.demo.browser import approve
# It is opened at the listener, which leads on to the page of the server.
approve(httpx2.get(sys.argv[1], trust_env=False).headers["location"])
"""


async def search(query: str) -> list[dict[str, str]]:
    """Search, as README's example does."""
    return [{"title": f"A {query}"}]


class WithSearch(MCPServer[Any]):
    """The demo's server, with the tool that README calls."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.add_tool(search)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[DemoServers]:
    """Run the server that stands in for the example's; a browser here consents by itself."""
    browser = tmp_path / "browser"
    browser.write_text(CONSENTS)
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    beside = Path(sys.executable).parent
    monkeypatch.setenv("PATH", os.pathsep.join([str(beside), os.environ["PATH"]]))
    monkeypatch.setattr(mcp_server, "MCPServer", WithSearch)
    with DemoServers(device_grant=True) as running:
        yield running


class Consenting(webbrowser.BaseBrowser):
    """A browser that agrees to whatever it opens."""

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002
        """Agree, as a person would, on the page that the listener leads on to."""
        page = httpx2.get(url, trust_env=False).headers["location"]
        threading.Thread(target=approve, args=(page,), daemon=True).start()
        return True


def executed(code: str) -> dict[str, Any]:
    """Execute a block as a cell: `await` may stand anywhere; names are given back."""
    names: dict[str, Any] = {}
    program = compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(program, names)  # noqa: S307  our own README
    if inspect.iscoroutine(result):
        asyncio.run(result)
    return names


class TestTheCode:
    def test_every_block_is_of_a_kind_that_is_run_here(self) -> None:
        assert {match[1] for match in _FENCE.finditer(README)} == {"python", "console", "toml"}
        assert (len(PYTHON), len(TOML)) == (2, 1)

    @pytest.mark.slow
    def test_the_first_three_lines_make_the_plot(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("pandas")
        monkeypatch.setenv("MPLBACKEND", "agg")
        monkeypatch.setenv("MCPNB_CONFIG", str(tmp_path / "config.toml"))
        with demo_in(tmp_path):
            sign_in("harbour")
            names = executed("import mcpnb\n" + PYTHON[0])

        from matplotlib import pyplot as plt

        assert len(names["traffic"]) == 48
        assert plt.gca().get_title() == "Ships per month"
        plt.close("all")

    def test_the_python_example_runs_as_it_stands(
        self, servers: DemoServers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("pandas")
        # Not by $BROWSER, which Python reads once in a process.
        monkeypatch.setattr(webbrowser, "get", Consenting)
        names = executed(PYTHON[1].replace(EXAMPLE, servers.mcp_url))

        assert names["result"].data == [{"title": "A report"}]
        assert names["linear"].signed_in
        assert not names["work"].signed_in
        names["linear"].logout()

    def test_the_configuration_has_no_wrong_key(self, world: Path) -> None:
        """One would be a warning, which fails the test."""
        path = world / "readme.toml"
        path.write_text(TOML[0])
        configuration = read_configuration(path)
        assert configuration.broken == {}
        assert configuration.server("linear").url == EXAMPLE
        assert configuration.server("linear").enabled_tools == ("search",)


GATES, KERNELS = "tests/panel/test_one_click.py", "tests/panel/test_kernels.py"
WAYS, LAB = "tests/panel/test_callbacks.py", "tests/demo/test_lab.py"
RUN_ELSEWHERE = {
    "notebooks/demo": f"{LAB}::test_a_browser_is_opened_and_no_token_is_on_its_command_line",
    "tests/run": ".ci/run",
}


class TestTheCommands:
    """Run in their order, by the shell, as they stand; but for the example's address."""

    @pytest.mark.slow
    def test_the_terminals_commands_run_as_they_stand(self, servers: DemoServers) -> None:
        answers = {}
        for command in _commands("mcpnb add"):
            if command.startswith("curl") and shutil.which("curl") is None:
                continue
            answers[command] = _shell(command.replace(EXAMPLE, servers.mcp_url))

        assert "A report" in answers["mcpnb call linear search query=report"]
        assert "linear" in answers["mcpnb list"]
        assert servers.mcp_server.calls.total() == 0, "only `search`, which it does not count"

    @pytest.mark.slow
    def test_so_do_those_for_two_machines(self, servers: DemoServers) -> None:
        _shell(f"mcpnb add linear --url {servers.mcp_url} --no-login")
        without, device, begin = _commands("mcpnb login linear --no-browser")
        with Running(*without.split()[1:]) as command:
            command.type(approve(command.address(), follow=False))
            command.end().expect(0)
        _shell("mcpnb logout linear")
        with Running(*device.split()[1:]) as command:
            command.says("user_code=")
            [address] = [word for word in command.err.split() if "user_code=" in word]
            enter_code(address)
            command.end().expect(0)
        assert "authorization_url" in _shell(begin)

    def test_the_front_doors_are_what_is_run_elsewhere(self) -> None:
        assert _commands("notebooks/demo") == list(RUN_ELSEWHERE)
        for command, where in RUN_ELSEWHERE.items():
            script = ROOT / where
            assert is_there(where) or f"\n{command} " in script.read_text("utf-8")
            assert os.access(ROOT / command, os.X_OK)


def _commands(first: str) -> list[str]:
    commands = [_COMMAND.findall(block) for block in CONSOLE]
    (found,) = (each for each in commands if each[0].startswith(first))
    return found


def _shell(command: str) -> str:
    done = subprocess.run(
        ["/usr/bin/env", "bash", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


TRIED = {
    "JupyterLab 4.6, Notebook 7.6, JupyterHub 6.1, Voilà 0.5, also below a path": [
        f"{GATES}::test_click_consent_and_the_next_cell_calls",
        f"{GATES}::test_a_dashboard_signs_in",
    ],
    "kernel in another environment than Jupyter": [
        f"{GATES}::test_html_stands_there_until_the_parts_are_in_place",
        f"{GATES}::test_a_button_puts_the_page_there",
    ],
    "kernel whose ports the browser cannot reach": [
        f"{GATES}::test_the_browser_reaches_nothing_of_the_kernels_machine",
        f"{WAYS}::test_the_wrong_address_first_and_then_the_right_one",
    ],
    "a server that refuses the page": [
        f"{WAYS}::test_a_server_that_registers_only_loopback_leads_there_by_itself"
    ],
    "ipykernel 6.31, 7.3, 7.4": [f"{KERNELS}::test_it_goes_on_after_the_click"],
    "`binder/`, on a proxy like JupyterHub's": [
        "tests/demo/test_binder.py::test_the_first_notebook_is_ready_and_a_click_signs_in"
    ],
}
VERSIONS = {"JupyterLab": "jupyterlab", "Notebook": "notebook", "JupyterHub": "jupyterhub"} | {
    "Voilà": "voila"
}
PRINTED = sorted((ROOT / "tests" / "printed").glob("*.txt"))


class TestTheTables:
    def test_what_is_called_tried_has_a_test_and_nothing_else_is(self) -> None:
        _, *rows = table("In a notebook")
        tried = [where for where, _, how in rows if how.startswith("tried")]
        assert tried == list(TRIED)
        assert {how for where, _, how in rows if where not in TRIED} == {"not tried"}
        assert [name for names in TRIED.values() for name in names if not is_there(name)] == []

    @pytest.mark.parametrize("shown", VERSIONS)
    def test_front_ends_are_those_that_are_installed(self, shown: str) -> None:
        installed = version(VERSIONS[shown]).split(".")
        assert f"{shown} {installed[0]}.{installed[1]}" in section("In a notebook")

    def test_each_number_was_printed(self) -> None:
        """`tests/printed` holds what `tests.bench` and `tests/run long` have printed last."""
        printed = numbers_in("\n".join(path.read_text("utf-8") for path in PRINTED))
        cells = [cell for row in table("Tried and measured") for cell in row]
        assert [n for cell in cells for n in numbers_in(cell) if n not in printed] == []

    def test_what_is_tried_is_counted(self) -> None:
        """What stands in a table is counted there; the rest is what `tests/run` printed last."""
        said = section("Tried and measured").partition("`tests/threats` names")[2]
        counted, run = said.partition("`.venv-tests/bin/python")[0].split("`tests/run`")
        marked = {threat for rule in rules() for threat in rule.threats}
        there_are = len(THREATS), len(marked), len(FAULTS)
        assert numbers_in(counted) == [str(n) for n in there_are]
        printed = (ROOT / "tests" / "printed" / "figures.txt").read_text("utf-8")
        assert len(numbers_in(run)) == 6
        assert [n for n in numbers_in(run) if not re.search(rf"(?m)^\s*{n}  ", printed)] == []

    def test_each_row_of_the_comparison_was_printed(self) -> None:
        printed = (ROOT / "tests" / "printed" / "compare.txt").read_text("utf-8").splitlines()
        rows = [line for line in section("Compared").splitlines() if line.startswith("|")]
        assert len(rows) > 10
        assert [row for row in rows if row not in printed] == []

    def test_each_dependency_has_its_reason_and_nothing_else_is_there(self) -> None:
        declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        named = {re.split(r"[<>=]", d)[0] for d in declared["dependencies"]}
        _, *rows = table("Dependencies")
        assert {name for row in rows for name in row[0].split(", ")} == named
        assert all(len(reason) > 12 for _, reason in rows)
        extra = section("Dependencies").partition("Extra `demo`:")[2]
        for name in declared["optional-dependencies"]["demo"]:
            assert re.split(r"[<>=]", name)[0] in extra

    def test_every_link_leads_somewhere(self) -> None:
        linked = re.findall(r"\]\(([^)#]+)\)|(?:src|srcset)=\"([^\"]+)\"", README)
        paths = [first or second for first, second in linked]
        assert len(paths) >= 8
        assert [path for path in paths if not (ROOT / path).exists()] == []


def test_readme_is_as_long_as_somebody_reads() -> None:
    assert 120 <= len(README.splitlines()) <= 200
