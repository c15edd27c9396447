"""A server as a process of its own: what it says is kept, and it ends with all that it started."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from tests.child import Child, piped

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


class Saying(Child):
    """A running server; each line that it writes is in `log`, too."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.log = log
        log.write_text("")
        super().__init__(process, self._note)

    def _note(self, line: str) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(line)

    def says(self, text: str, within: float = 60) -> str:
        """Wait for a line with this in it."""
        line = re.compile(f"^.*{re.escape(text)}.*\n", re.MULTILINE)
        found = self.find(lambda: line.search(self.out), within)
        last = "\n".join(self.out.splitlines()[-30:])
        assert found, f"it never said {text!r} (all of it: {self.log}):\n{last}"
        return found[0]

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
        self.ended(STOPPING)


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
    process = piped(
        [*command],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
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
