"""A command that prints headers for `http_headers_helper`, and a server that wants them."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from tests.fakes.mcp import answer_to
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request

# Notes each run, then prints what the file beside it says.
SCRIPT = """
import pathlib, sys
here = pathlib.Path(__file__).parent
with (here / "runs").open("a") as runs:
    runs.write(f"{pathlib.Path.cwd()}\\n")
sys.stdout.write((here / "headers.json").read_text())
"""


class Helper:
    """A command of the test's own, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "helper"
        self.folder.mkdir()
        self.script = self.folder / "give.py"
        self.script.write_text(SCRIPT)
        self.command = shlex.join([sys.executable, str(self.script)])

    def says(self, **headers: Any) -> None:
        """Have it print these headers."""
        (self.folder / "headers.json").write_text(json.dumps(headers))

    def configured(self, url: str, lines: str = "", command: str | None = None) -> str:
        """Write a file that configures a server as ``team``, with the helper; give its name."""
        file = self.folder.parent / "config.toml"
        said = json.dumps(self.command if command is None else command)
        file.write_text(
            f'[mcp_servers.team]\nurl = "{url}"\nhttp_headers_helper = {said}\n{lines}\n'
        )
        return str(file)

    @property
    def runs(self) -> list[str]:
        """The folder of each run."""
        noted = self.folder / "runs"
        return noted.read_text().splitlines() if noted.exists() else []


def wanting(fake: FakeServer, name: str, *values: str, status: int = 401) -> list[str | None]:
    """Have the fake take these values of a header in turn, each for one call of a tool."""
    seen: list[str | None] = []
    accepted = list(values)

    def answer(request: Request) -> Reply:
        if request.method != "POST":
            return Reply(405)
        seen.append(request.headers.get(name))
        if seen[-1] != accepted[0]:
            return Reply(status, {})
        if request.json.get("method") == "tools/call" and len(accepted) > 1:
            del accepted[0]
        return answer_to(request.json)

    fake.routes["/mcp"] = answer
    return seen
