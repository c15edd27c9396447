"""The command line: in this process, as a process through pipes, or on a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Self
from unittest import mock

from mcpnb.cli import app
from tests.child import Child, piped

MCPNB = [sys.executable, "-m", "mcpnb"]
ADDRESS = re.compile(r"^(http\S+/authorize\?\S+)$", re.MULTILINE)
# Takes the terminal as its own, so that Ctrl-C reaches it as it would a person's shell job.
LAUNCHER = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "mcpnb", *sys.argv[1:]])
"""


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    def expect(self, code: int) -> Self:
        """Check the exit code, and that nothing was written that no person should see."""
        assert self.code == code, f"exit {self.code}\n{self.out}\n{self.err}"
        for unwanted in ("Traceback", "Warning:", "Exception ignored"):
            assert unwanted not in self.err + self.out, self.err
        return self


def run(*arguments: str, given: str = "", **environment: str) -> Ended:
    """Run one command to its end."""
    done = subprocess.run(
        [*MCPNB, *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | environment,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def _streams(given: IO[str], out: IO[str], err: IO[str]) -> Iterator[None]:
    """Have a command of this process read and write these."""
    with mock.patch.multiple(sys, stdin=given, stdout=out, stderr=err), warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)  # shown, as in a process of its own
        yield
    if sys.modules.get("rfc3987_syntax", sys) is None:
        del sys.modules["rfc3987_syntax"]  # `mcpnb call` prevents an import that takes long


def invoke(*arguments: str, given: str | bytes = "", **environment: str) -> Ended:
    """Run one command to its end in this process, which is faster than `run`."""
    typed = given.encode() if isinstance(given, str) else given
    streams = [io.TextIOWrapper(io.BytesIO(text), "utf-8") for text in (typed, b"", b"")]
    with mock.patch.dict(os.environ, environment), _streams(*streams):
        code = app.run(arguments)
    texts = []
    for stream in streams[1:]:
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return Ended(code, *texts)


class _Invocation:
    """A command in a thread of this process, behind pipes as a `Popen` is. One at a time."""

    def __init__(self, arguments: Sequence[str]) -> None:
        (self._given, self.stdin), (self.stdout, out), (self.stderr, err) = map(_pipe, range(3))
        self._code: int | None = None
        self._thread = threading.Thread(target=self._run, args=(arguments, out, err), daemon=True)
        self._thread.start()

    def _run(self, arguments: Sequence[str], out: IO[str], err: IO[str]) -> None:
        with out, err, _streams(self._given, out, err):
            self._code = app.run(arguments)

    def poll(self) -> int | None:
        return self._code

    def wait(self, timeout: float) -> int:
        self._thread.join(timeout)
        assert self._code is not None, "it goes on"
        self.stdin.close()
        self._given.close()
        return self._code

    def kill(self) -> None:
        self.stdin.close()  # all that can be done to a thread


def _pipe(_: int) -> tuple[IO[str], IO[str]]:
    read, write = os.pipe()
    return open(read), open(write, "w", buffering=1)  # noqa: PTH123  descriptors


class Running(Child):
    """A command that waits; what it says is read as it comes."""

    def __init__(self, *arguments: str, here: bool = False, **given: Any) -> None:
        """Start it; `here`: in this process, which is faster, and where nobody presses Ctrl-C."""
        super().__init__(_Invocation(arguments) if here else piped([*MCPNB, *arguments], **given))

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def says(self, text: str, timeout: float = 15) -> None:
        """Wait until it says so on stderr."""
        assert self.find(lambda: text in self.err, timeout), f"{text!r} was not said:\n{self.err}"

    def address(self, number: int = 1) -> str:
        """Wait for an authorization URL; each stands alone on a line of stderr."""
        self.find(lambda: len(ADDRESS.findall(self.err)) >= number, 15)
        found = ADDRESS.findall(self.err)
        assert len(found) == number, self.err
        return str(found[-1])

    def close_input(self) -> None:
        """End its input."""
        self.process.stdin.close()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self, timeout: float = 20) -> Ended:
        """Wait for its end."""
        return Ended(self.ended(timeout), self.out, self.err)


class OnTerminal:
    """A command on a pseudo-terminal that is its controlling one."""

    def __init__(self, *arguments: str, launcher: str = LAUNCHER, **environment: str) -> None:
        self._person, slave = os.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", launcher, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=os.environ | environment,
        )
        # Kept open: the terminal outlives the command, as a person's does.
        self._slave = slave
        self.shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        os.close(self._slave)
        os.close(self._person)

    def shows(self, text: str, *, times: int = 1, timeout: float = 15) -> str:
        """Wait until it shows this, so many times; give all that was shown."""
        deadline = time.monotonic() + timeout
        while self.shown.count(text) < times:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} was not shown:\n{self.shown}"
            self._read(left)
        return self.shown

    def _read(self, timeout: float) -> None:
        if select.select([self._person], [], [], timeout)[0]:
            self.shown += os.read(self._person, 65_536).decode().replace("\r\n", "\n")

    def address(self) -> str:
        """Give the authorization URL that it shows."""
        self.shows("the browser goes to")
        found = ADDRESS.findall(self.shown)
        assert len(found) == 1, self.shown
        return str(found[0])

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._person, text.encode())

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed."""
        import termios

        return bool(termios.tcgetattr(self._slave)[3] & termios.ECHO)

    def is_as_usual(self) -> bool:
        """Whether the terminal shows what is typed, and collects it line by line."""
        import termios

        usual = termios.ECHO | termios.ICANON
        return bool(termios.tcgetattr(self._slave)[3] & usual == usual)

    def unread(self) -> int:
        """Count the bytes that were typed and are left to the next program."""
        import fcntl
        import termios

        return int.from_bytes(fcntl.ioctl(self._slave, termios.FIONREAD, bytes(4)), sys.byteorder)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self, timeout: float = 20) -> int:
        """Wait for its end; give the exit code."""
        code = self._process.wait(timeout)
        self._read(0)
        return code
