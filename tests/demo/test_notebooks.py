"""Every notebook of the demo, executed to its end against the embedded servers."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpnb.demo.browser import approve, enter_code
from mcpnb.demo.lab import LIFETIME, notebooks
from mcpnb.demo.servers import DemoServers
from tests.demo.running import NOT_RUN, NOTEBOOKS, demo_in, executed, sign_in, text_of

NAMES = [
    "01-sign-in.ipynb",
    "02-remote-kernel.ipynb",
    "03-your-own-clients.ipynb",
    "04-headless.ipynb",
]
Servers = dict[str, DemoServers]


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Return the servers of the notebooks, under their names, to this process and to kernels."""
    with demo_in(tmp_path) as running:
        monkeypatch.setenv("MCPNB_CONFIG", str(tmp_path / "config.toml"))
        beside = Path(sys.executable).parent
        monkeypatch.setenv("PATH", os.pathsep.join([str(beside), os.environ["PATH"]]))
        yield running


def cells_of(path: Path) -> list[dict[str, Any]]:
    """Read the cells of a notebook's file."""
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["cells"]
    return found


class TestTheFiles:
    def test_there_are_four_and_all_are_shipped(self) -> None:
        assert [path.name for path in NOTEBOOKS] == NAMES
        assert [path.name for path in notebooks()] == NAMES

    @pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
    def test_they_are_stripped_of_what_running_leaves(self, path: Path) -> None:
        """No outputs and no counts: a difference between two versions is a difference in text."""
        for cell in cells_of(path):
            assert cell.get("outputs", []) == []
            assert cell.get("execution_count") is None
        assert "widgets" not in json.loads(path.read_text("utf-8"))["metadata"]

    def test_the_lifetime_that_the_first_tells_is_the_servers(self) -> None:
        text = "".join(line for cell in cells_of(NOTEBOOKS[0]) for line in cell["source"])
        assert f"access tokens live {LIFETIME} seconds" in text

    def test_few_cells_are_left_out_here(self) -> None:
        """One wants an account; the other a library that cannot be in the same environment."""
        left_out = [
            (path.stem[:2], "".join(cell["source"]).split("(")[0])
            for path in NOTEBOOKS
            for cell in cells_of(path)
            if NOT_RUN in cell["metadata"].get("tags", [])
        ]
        assert [number for number, _ in left_out] == ["01", "03"]


@pytest.mark.slow
@pytest.mark.timeout(150)
class TestExecuted:
    def test_the_first_sees_its_token_renewed(self, servers: Servers, tmp_path: Path) -> None:
        sign_in("harbour")
        notebook = executed("01-sign-in.ipynb", tmp_path)

        server = servers["harbour"].authorization_server
        text = text_of(notebook.cells)
        left = [float(found) for found in re.findall(r"^ *([\d.]+) s ▇", text, re.MULTILINE)]
        assert len(left) == 8
        assert any(later > earlier for earlier, later in itertools.pairwise(left)), left
        assert min(left) > 0
        # Once while calls went on, and once after a pause that outlived the token.
        assert server.grants["refresh_token"] >= 2
        assert server.grants["authorization_code"] == 1
        assert "Elmhaven" in text
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert any("image/png" in output.get("data", {}) for output in outputs), "a plot"

    @pytest.mark.xdist_group("desk")
    def test_the_second_comes_back_by_port_and_by_phone(
        self, servers: Servers, tmp_path: Path
    ) -> None:
        opened: list[str] = []

        def person(text: str) -> None:
            """Open what a cell asks to open, and agree."""
            for url in re.findall(r"Open this: +(\S+)", text):
                opened.append(url)
                (enter_code if "/device" in url else approve)(url)

        text = text_of(executed("02-remote-kernel.ipynb", tmp_path, person).cells)

        assert len(opened) == 2
        assert text.count("ada is signed in") == 2
        assert "27182/callback" in text
        assert servers["lighthouse"].authorization_server.grants["authorization_code"] == 1

    def test_the_third_calls_with_every_client(self, servers: Servers, tmp_path: Path) -> None:
        pytest.importorskip("fastmcp")
        sign_in("harbour")
        text = text_of(executed("03-your-own-clients.ipynb", tmp_path).cells)

        assert re.search(r"httpx +200", text)
        assert re.search(r"httpx2 +200", text)
        assert "without 401" in text
        assert "'subject': 'ada'" in text
        assert servers["harbour"].mcp_server.calls["whoami"] == 2

    def test_the_fourth_needs_nobody(self, servers: Servers, tmp_path: Path) -> None:
        text = text_of(executed("04-headless.ipynb", tmp_path).cells)

        assert "exit code 3" in text
        assert "The device is signed in" in text
        assert "Grauvik" in text
        server = servers["harbour"].authorization_server
        assert server.grants["urn:ietf:params:oauth:grant-type:device_code"] == 1
        assert server.grants["authorization_code"] == 1
