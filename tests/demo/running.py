"""`mcpnb demo` as a process of its own, and its notebooks as a person runs them."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import mcpnb
from mcpnb.demo.browser import approve
from mcpnb.demo.lab import demo_servers
from mcpnb.demo.servers import DemoServers

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NOT_RUN = "not-run-by-tests"
"""Tags a cell that wants what tests do not have: an account, or a library that cannot be here."""

# A shell that starts the tests in the background lets them ignore the signal.
_MAIN = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from mcpnb.cli import main; sys.exit(main())"
)


class Demo:
    """A running `mcpnb demo`: what it prints, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def reads_until(self, text: str) -> str:
        """Read until a line with this in it; return all that was printed."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return "".join(self.lines)
        raise AssertionError(f"it never said {text!r}: {''.join(self.lines)}")

    @property
    def address(self) -> str:
        """Where JupyterLab is."""
        found = re.search(r"http://\S+/lab/tree/\S+", "".join(self.lines))
        assert found is not None
        return found[0]

    @property
    def origin(self) -> str:
        """The same up to the port."""
        return self.address.partition("/lab/")[0]

    @property
    def token(self) -> str:
        """What lets a browser in."""
        return self.address.partition("token=")[2]


@contextlib.contextmanager
def started(
    temp: Path, *arguments: str, path: Path | None = None, browser: str = ""
) -> Iterator[Demo]:
    """Run `mcpnb demo` until the block ends, with its temporary files in a folder.

    Modules are found in `path` before all others. Without a command `browser` none is opened.
    """
    python_path = os.pathsep.join(str(folder) for folder in (path, ROOT) if folder)
    with subprocess.Popen(
        [sys.executable, "-c", _MAIN, "demo", *([] if browser else ["--no-browser"]), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            "BROWSER": browser,
            "PYTHONPATH": python_path,
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(temp),
        },
    ) as process:
        # A reader that waits for a line does so until it is there, or the process is gone.
        limit = threading.Timer(100, process.kill)
        limit.start()
        try:
            yield Demo(process)
        finally:
            process.terminate()
            process.wait(30)
            limit.cancel()


@contextlib.contextmanager
def demo_in(folder: Path) -> Iterator[dict[str, DemoServers]]:
    """Run the servers of the notebooks, and have this process and its kernels know their names."""
    harbour, lighthouse = demo_servers(folder / "config.toml")
    with harbour, lighthouse:
        yield {"harbour": harbour, "lighthouse": lighthouse}


def sign_in(name: str) -> None:
    """Sign in to a server as in a terminal beside the notebook, which shares its logins."""
    login = mcpnb.connect(name, callback_port=0).login(via="loopback")
    login.wait_for("waiting")
    assert login.url is not None
    approve(login.url)
    login.wait(timeout=20)


def executed(
    name: str, folder: Path, read: Callable[[str], object] = lambda _: None, seconds: int = 90
) -> Any:
    """Execute a notebook to its end; return it with its outputs.

    Args:
        name: The file's name.
        folder: Its kernel's working folder.
        read: Is given the text that each cell put out, as a person reads it before the next one.
        seconds: The most that one cell may take.
    """
    source = ROOT / "notebooks" / name
    # Not at the top: it costs every run 2 s, whichever tests it is for (jsonschema's grammars).
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.reads(source.read_text("utf-8"), 4)  # type: ignore[no-untyped-call]
    notebook.cells = [c for c in notebook.cells if NOT_RUN not in c.metadata.get("tags", [])]

    def after(cell: Any, **_: Any) -> None:
        read(text_of([cell]))

    client = NotebookClient(
        notebook,
        timeout=seconds,
        kernel_name="python3",
        resources={"metadata": {"path": folder}},
        on_cell_executed=after,
    )
    client.execute()
    return notebook


def text_of(cells: Iterable[Any]) -> str:
    """Return all that some cells put out, as text."""
    parts = []
    for cell in cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            parts += [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    return "\n".join(parts)
