"""Servers to try mcpnb with, and notebooks that do: all on this computer."""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["main"]

USAGE = """\
mcpnb's demo is running on this computer, in JupyterLab and with servers of its own:

   {address}

The notebooks there are copies, in {notebooks}.
They, your changes to them and all logins are deleted when the demo ends. It does not touch your own
notebooks, logins and Jupyter settings. To keep a notebook, use File > Download.

From another terminal, against the same server:

   mcpnb login {url}
   mcpnb tools {url}
   mcpnb call {url} harbour_traffic limit=5
   mcpnb logout {url}

Press Ctrl-C to stop.
"""
# What ends a process from outside, and would leave everything behind.
ENDING = ("SIGTERM", "SIGHUP")


def main(*, terminal: bool, open_browser: bool = True, port: int | None = None) -> int:
    """Run the demo.

    Args:
        terminal: Play the whole story in the terminal, without a browser, and end.
        open_browser: Open a browser with the first notebook; its address is printed in any case.
        port: JupyterLab's port; the MCP server and its authorization server get the next two. Any
            free ones if left out.

    Returns:
        The exit code: 0, or 1 if the story failed or something could not start.
    """
    try:
        from mcpnb.demo.lab import missing
        from mcpnb.demo.story import run_story

        name = None if terminal else missing()
    except ImportError as error:
        # Only what the extra brings: an import error of our own has to show.
        if error.name is None or error.name.split(".")[0] == "mcpnb":
            raise
        name = error.name
    if name is not None:
        return _failed(
            f"The demo needs {name}, which is not installed. Install it with:\n"
            '   pip install "mcpnb[demo]"'
        )
    if terminal:
        return run_story(sys.stdout)
    if port and (problem := _taken(port)) is not None:
        return _failed(
            f"Ports {port}, {port + 1} and {port + 2} cannot all be used: {problem}. "
            "Choose others with --port, or leave it out."
        )
    with contextlib.suppress(KeyboardInterrupt), _ending_in_order():
        return _run_lab(open_browser=open_browser, port=port or None)
    print("\nEverything has stopped, and nothing is left behind.")
    return 0


def _run_lab(*, open_browser: bool, port: int | None) -> int:
    """Run JupyterLab until it ends; Ctrl-C goes through."""
    import tomllib

    from mcpnb.demo.lab import Lab, LabError

    with tempfile.TemporaryDirectory(prefix="mcpnb-demo-", ignore_cleanup_errors=True) as folder:
        print("Starting JupyterLab ...", file=sys.stderr, flush=True)
        try:
            with Lab(Path(folder), port=port, open_browser=open_browser) as lab:
                servers = tomllib.loads(lab.configuration.read_text("utf-8"))["mcp_servers"]
                url, notebooks = servers["harbour"]["url"], lab.notebooks
                print(USAGE.format(address=lab.address, notebooks=notebooks, url=url), flush=True)
                # In slices: on Windows a wait without a time-out cannot be interrupted.
                while (code := lab.ended(within=1)) is None:
                    pass
                last_words = lab.last_words()
        except LabError as error:
            return _failed(str(error))
    if code:
        return _failed(f"JupyterLab ended by itself ({code}). Its last output:\n\n{last_words}")
    print("JupyterLab was shut down; nothing is left behind.")
    return 0


def _taken(port: int) -> str | None:
    """Say why three ports in a row cannot be used, if so."""
    from mcpnb.demo.servers import bind

    try:
        with contextlib.ExitStack() as stack:
            for number in range(port, port + 3):
                stack.enter_context(bind(number))
    except (OSError, OverflowError) as error:
        return str(error)
    return None


@contextlib.contextmanager
def _ending_in_order() -> Iterator[None]:
    """Let signals that end a process end it as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _failed(text: str) -> int:
    print(text, file=sys.stderr)
    return 1
