"""A process that holds a session and evaluates what it is given, as a notebook's kernel does."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.child import Child, piped

ROOT = Path(__file__).resolve().parent.parent.parent
KERNEL = """
import json, logging, os, subprocess, sys

events = []

def listen(event, arguments):
    if event in ("socket.connect", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        events.append(f"{event} {arguments}")

sys.addaudithook(listen)
logging.basicConfig(level=logging.DEBUG)

import mcpnb
from mcpnb.storage import RecordName, open_store

server, store = sys.argv[1:]
session = mcpnb.connect(server, store=store, callback_port=0)

def sign_in(session):
    from tests.fakes.people import sign_in  # loads pytest
    return sign_in(session)

def other(account):
    return mcpnb.connect(server, store=store, callback_port=0, account=account)

def attempt():
    login = session.login()
    try:
        login.wait(20)
    except mcpnb.McpnbError as error:
        return [type(error).__name__, str(error), login.url]

for line in sys.stdin:
    try:
        answer = [None, eval(line)]
    except Exception as error:
        answer = [type(error).__name__, str(error)]
    print(json.dumps(answer, default=str), flush=True)
"""


class Kernel(Child):
    """A process with a `session` (see above for what else it knows)."""

    def __init__(self, server: str, store: str, environment: dict[str, str]) -> None:
        path = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
        given = environment | {"PYTHONPATH": os.pathsep.join(path)}
        super().__init__(piped([sys.executable, "-c", KERNEL, server, store], env=given))
        self._answers = 0

    def close(self) -> None:
        """End it as a person does, in good time whatever it waits for."""
        self.process.stdin.close()
        with self:
            self.process.wait(10)
        assert self.process.returncode == 0, self.err

    def answer(self) -> tuple[str | None, Any]:
        """Return the name of the error, if there was one, and its text or the value."""
        self._answers += 1
        answers = self.find(lambda: self.out.splitlines()[self._answers - 1 :], 20)
        assert answers, f"no answer: {self.err}"
        error, value = json.loads(answers[0])
        return error, value

    def __call__(self, expression: str) -> Any:
        self.type(expression)
        error, value = self.answer()
        assert error is None, f"{expression}: {error}: {value}"
        return value

    def fails(self, expression: str) -> tuple[str | None, Any]:
        """Give error and text of what has to fail."""
        self.type(expression)
        answer = self.answer()
        assert answer[0] is not None, f"{expression}: {answer[1]}"
        return answer


Kernels = Callable[..., Kernel]
"""Starts one. By keyword: whether it may know the bus, and more of an environment."""
