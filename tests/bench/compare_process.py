"""A contender's process: what it is told, and what it says as it comes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

from tests.bench.compare_lab import PATIENCE, Place

T = TypeVar("T")


class NoAnswer(Exception):
    """A process did not say in time what it was waited for."""


class Process:
    """One process in a place. What is still there when the ``with`` block ends is killed."""

    def __init__(
        self,
        home: Place,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it.

        Args:
            home: Where; everything that it writes is kept there, too.
            command: What.
            environment: What it gets beside the place's own variables.
        """
        self.text = ""
        self._more = threading.Condition()
        self._home = home
        self._process = subprocess.Popen(
            command,
            cwd=home.home,
            env=home.environment(dict(os.environ)) | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        pipes = [pipe for pipe in (self._process.stdout, self._process.stderr) if pipe]
        self._readers = [
            threading.Thread(target=self._read, args=(pipe,), daemon=True) for pipe in pipes
        ]
        self._open = len(pipes)
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # What it started goes with it: npm's programs are scripts around others.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(1)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    def _read(self, pipe: Any) -> None:
        try:
            for line in pipe:
                with self._more:
                    self.text += line
                    self._home.said.append(line.rstrip())
                    self._more.notify_all()
        except ValueError:
            pass  # closed after the process was killed
        with self._more:
            self._open -= 1
            self._more.notify_all()

    def say(self, line: str) -> None:
        """Write a line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def wait_for(self, found: Callable[[str], T | None], seconds: float = PATIENCE) -> T:
        """Wait until something is found in what it said.

        Raises:
            NoAnswer: It ended before, or did not say it in time.
        """
        deadline = time.monotonic() + seconds
        with self._more:
            while True:
                if (result := found(self.text)) is not None:
                    return result
                left = deadline - time.monotonic()
                if not self._open or left <= 0:
                    raise NoAnswer(self.last())
                self._more.wait(left)

    def ended(self, seconds: float = PATIENCE) -> int:
        """Wait for its end, and give its exit code.

        Raises:
            NoAnswer: It goes on.
        """
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise NoAnswer(self.last()) from None
        for reader in self._readers:
            reader.join(5)
        return code

    def last(self) -> str:
        """Give its last words, or the last that speak of an error."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        errors = [line for line in lines if "rror" in line]
        return (errors or lines or [""])[-1][:200]

    def ask(self, number: int, method: str, parameters: object, seconds: float = PATIENCE) -> Any:
        """Send a JSON-RPC request on a line, and wait for the line that answers it.

        Raises:
            NoAnswer: There is none in time.
        """
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}
        try:
            self.say(json.dumps(message))
        except BrokenPipeError:
            raise NoAnswer(self.last()) from None
        return self.wait_for(lambda text: _answer(text, number), seconds)


def _answer(text: str, number: int) -> Any:
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if message.get("id") == number and "method" not in message:
                return message
    return None
