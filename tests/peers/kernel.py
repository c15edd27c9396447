"""A process that holds a session and evaluates what it is given, as a notebook's kernel does."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


class Kernel:
    """A process with a `session` (see above for what else it knows)."""

    def __init__(self, server: str, store: str, environment: dict[str, str]) -> None:
        self.said = ""
        self._answers: queue.Queue[str] = queue.Queue()
        path = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, "-c", KERNEL, server, store],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment | {"PYTHONPATH": os.pathsep.join(path)},
        )
        self._readers = [threading.Thread(target=f) for f in (self._listen, self._overhear)]
        for reader in self._readers:
            reader.start()

    def close(self) -> None:
        """End it as a person does, in good time whatever it waits for."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait(10)
            for reader in self._readers:
                reader.join(10)
            for pipe in (self.process.stdout, self.process.stderr):
                assert pipe is not None
                pipe.close()
        assert self.process.returncode == 0, self.said

    def ask(self, expression: str) -> None:
        """Have something evaluated; `answer` gives what came of it."""
        assert self.process.stdin is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()

    def answer(self) -> tuple[str | None, Any]:
        """Give the name of the error, if there was one, and its text or the value."""
        try:
            error, value = json.loads(self._answers.get(timeout=20))
        except queue.Empty:
            raise AssertionError(f"no answer: {self.said}") from None
        return error, value

    def __call__(self, expression: str) -> Any:
        self.ask(expression)
        error, value = self.answer()
        assert error is None, f"{expression}: {error}: {value}"
        return value

    def fails(self, expression: str) -> tuple[str | None, Any]:
        """Give error and text of what has to fail."""
        self.ask(expression)
        answer = self.answer()
        assert answer[0] is not None, f"{expression}: {answer[1]}"
        return answer

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._answers.put(line)

    def _overhear(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line


Kernels = Callable[..., Kernel]
"""Starts one. By keyword: whether it may know the bus, and more of an environment."""
