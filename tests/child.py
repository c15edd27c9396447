"""A process that a test drives: what it writes is read as it comes, and it is given lines."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable
from typing import IO, Any, Self, TypeVar

T = TypeVar("T")


class Child:
    """A process behind pipes. One that is still there when the ``with`` block ends is killed.

    Attributes:
        out: What it wrote so far to standard output.
        err: The same of standard error.
    """

    def __init__(self, process: Any, hear: Callable[[str], object] = lambda _: None) -> None:
        """Read what a `Popen`, or what stands in for one, writes to the pipes that it has.

        Args:
            process: Gives text.
            hear: Is given each line, too.
        """
        self.process = process
        self.out = self.err = ""
        self._hear = hear
        self._more = threading.Condition()
        pipes = {"out": process.stdout, "err": process.stderr}
        self._readers = [
            threading.Thread(target=self._read, args=(name, pipe), daemon=True)
            for name, pipe in pipes.items()
            if pipe is not None
        ]
        self._open = len(self._readers)
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.ended()

    def _read(self, name: str, pipe: IO[str]) -> None:
        with contextlib.suppress(ValueError):  # closed, as whoever it started has the pipe, too
            for line in pipe:
                with self._more:
                    setattr(self, name, getattr(self, name) + line)
                    self._hear(line)
                    self._more.notify_all()
        with self._more:
            self._open -= 1
            self._more.notify_all()

    def find(self, found: Callable[[], T], seconds: float) -> T:
        """Wait until something is found in what it wrote; return what is there in the end."""
        with self._more:
            self._more.wait_for(lambda: found() or not self._open, seconds)
            return found()

    def type(self, line: str) -> None:
        """Give it a line on standard input."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def ended(self, seconds: float = 20) -> int:
        """Wait for its end, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: It goes on.
        """
        code: int = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(5)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None and not pipe.closed:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        return code


def piped(command: list[str], **given: Any) -> subprocess.Popen[str]:
    """Start a process with pipes for everything that is not given otherwise."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, **({"text": True, "bufsize": 1} | pipes | given))
