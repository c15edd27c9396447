"""A kernel, all that it sends to whoever listens, and what IPython keeps of its sessions."""

from __future__ import annotations

import json
import os
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from tests.fakes.people import answer_of
from tests.fakes.secrets import Secrets, files_in
from tests.fakes.server import FakeServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

BEGIN = """
import logging, sys
logging.basicConfig(level=1, stream=sys.stderr, force=True)
%xmode Verbose
import mcpnb
session = mcpnb.connect({url!r}, store="file", callback_port=0)
login = session.login()
login.until("waiting", 30)
print("OPEN", login.url)
"""
# The first answer is another sign-in's, the second the right one.
ANSWER = "login.submit()"
USE = """
print(session, session.tools(), session.call("echo", text="hi"))
login, session, session.auth
"""
BROKEN = "{}[session]"
HISTORY = "%history -n -o\n%history -g"


class Cells:
    """Runs cells, and keeps every message of every channel."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.said: list[str] = []
        self.text = ""

    def run(self, code: str, *typed: str) -> str:
        """Run one to its end, with what a person types at its prompts; give what it printed."""
        lines, ended, begin = list(typed), False, len(self.text)
        number = self._client.execute(code, allow_stdin=True)
        while not ended:
            message = self._client.get_iopub_msg(timeout=60)
            ended = self._keep(message, number)
            while lines and not ended:
                try:
                    asked = self._client.get_stdin_msg(timeout=0.2)
                except Empty:
                    break
                self.said.append(json.dumps(asked["content"]))
                assert asked["content"]["password"], "what is typed is not echoed"
                self._client.input(lines.pop(0))
        self._keep(self._client.get_shell_msg(timeout=60), number)
        return self.text[begin:]

    def _keep(self, message: dict[str, Any], number: str) -> bool:
        content = message["content"]
        self.said.append(json.dumps(content, default=str))
        self.text += content.get("text", "")
        ours = message["parent_header"].get("msg_id") == number
        return bool(ours and content.get("execution_state") == "idle")


def test_nothing_is_sent_or_kept(fake: FakeServer, world: Path) -> None:
    """Not in outputs at DEBUG, tracebacks with variables, prompts, or IPython's history."""
    environment = os.environ | {"IPYTHONDIR": str(world / "ipython")}
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=environment)
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        cells = Cells(client)
        said = cells.run(BEGIN.format(url=fake.url))
        url = next(line for line in said.splitlines() if line.startswith("OPEN")).split(" ")[1]
        answer = answer_of(url)
        cells.run(ANSWER, answer.replace("state=", "state=x"))
        cells.run(ANSWER, answer)
        assert "signed in" in cells.run(USE)
        cells.run(BROKEN)
        assert "login.submit()" in cells.run(HISTORY)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=False)

    secrets = Secrets(fake)
    assert {"code", "verifier", "access token", "state"} <= secrets.kinds()
    kept = files_in(world)
    assert any("history.sqlite" in name for name in kept)
    places: dict[str, str | bytes] = {"messages": "\n".join(cells.said), **kept}
    secrets.absent_from(places, without=[url])
