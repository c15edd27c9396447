"""A server as a process of its own: what it says is kept, and it ends with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

STOPPING = 10
"""Seconds that it may take to shut down when asked."""
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "TZ", "SYSTEMROOT", "TEMP", "TMP")


def bare_environment(home: Path, python: str | Path = sys.executable) -> dict[str, str]:
    """Give what a server needs of ours, with a home of its own and the commands beside `python`.

    What is started for the whole session is started before a test's `world` is there.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    xdg = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    return {
        **kept,
        **xdg,
        "HOME": str(home),
        "USERPROFILE": str(home),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "PYTHONUNBUFFERED": "1",
        "PATH": os.pathsep.join([str(Path(python).parent), kept.get("PATH", os.defpath)]),
    }


class Saying:
    """A running server; each line that it writes is in `log`, too."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._listen, name=f"log {log.name}", daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.log.open("w", encoding="utf-8") as file:
            for line in self.process.stdout:
                file.write(line)
                file.flush()
                with self._news:
                    self._lines.append(line)
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def says(self, text: str, within: float = 60) -> str:
        """Wait for a line with this in it."""
        seen = 0

        def found() -> str | bool:
            nonlocal seen
            for line in self._lines[seen:]:
                seen += 1
                if text in line:
                    return line
            return self._ended

        with self._news:
            line = self._news.wait_for(found, within)
        if isinstance(line, str):
            return line
        last = "".join(self._lines[-30:])
        raise AssertionError(f"it never said {text!r} (all of it: {self.log}):\n{last}")

    def stop(self) -> None:
        """Ask it to end; then see to it that none of its processes is left.

        Kernels are no members of its process group: jupyter_client starts each in a session of
        its own. They are found by descent, before their parent is gone.
        """
        family = _family(self.process.pid)
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOPPING)
        family = {*family, *_family(self.process.pid)}
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()  # psutil makes sure that the id is still the same process
        self.process.wait(STOPPING)
        gone, left = psutil.wait_procs(list(family), STOPPING)
        assert not left, f"still there: {left}, after {gone}"
        self._reader.join(STOPPING)
        assert self.process.stdout is not None
        self.process.stdout.close()


def _family(pid: int) -> set[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return {parent, *parent.children(recursive=True)}
    return set()


@contextlib.contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
) -> Iterator[Saying]:
    """Run a server in `folder` until the block ends."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=dict(environment),
        cwd=folder,
        start_new_session=True,
    )
    saying = Saying(process, log)
    try:
        yield saying
    finally:
        saying.stop()
