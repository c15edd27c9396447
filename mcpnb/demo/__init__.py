"""Servers to try mcpnb with: an authorization server and an MCP server, on the loopback."""

from __future__ import annotations

import sys
import threading

__all__ = ["main"]

USAGE = """\
The demo's servers are running on this computer:

   MCP server            {url}
   authorization server  {issuer}

From Python or a notebook:

   import mcpnb
   demo = mcpnb.connect("{url}")
   demo.login(open_browser=True).wait()
   demo.tools()
   demo.call("harbour_traffic", limit=5).df()

   demo.login(scopes=["data:write"], open_browser=True).wait()
   demo.call("publish", title="Fog in March")     # what needs the second scope

From another terminal:

   mcpnb login {url}
   mcpnb tools {url}
   mcpnb call {url} whoami
   mcpnb logout {url}

Press Ctrl-C to stop. Their logins and tokens end with them.
"""


def main(*, terminal: bool, open_browser: bool = True, port: int | None = None) -> int:
    """Run the demo.

    Args:
        terminal: Play the whole story in the terminal, without a browser, and end.
        open_browser: For the panel, which is still to come.
        port: The MCP server's port; the authorization server gets the next. Any free ones if left
            out.

    Returns:
        The exit code: 0, or 1 if the story failed or the servers could not start.
    """
    del open_browser
    try:
        from mcpnb.demo.servers import DemoServers
        from mcpnb.demo.story import run_story
    except ImportError as error:
        # Only what the extra brings: an import error of our own has to show.
        if error.name is None or error.name.split(".")[0] == "mcpnb":
            raise
        print(
            f"The demo needs {error.name}, which is not installed. Install it with:\n"
            '   pip install "mcpnb[demo]"',
            file=sys.stderr,
        )
        return 1
    if terminal:
        return run_story(sys.stdout)
    try:
        demo = DemoServers(port=port or 0)
    except (OSError, OverflowError) as error:
        print(
            f"Ports {port} and {(port or 0) + 1} cannot both be used: {error}. "
            "Choose another with --port, or leave it out.",
            file=sys.stderr,
        )
        return 1
    try:
        with demo:
            print(USAGE.format(url=demo.mcp_url, issuer=demo.issuer), flush=True)
            forever = threading.Event()
            # In slices: on Windows a wait without a time-out cannot be interrupted.
            while not forever.wait(1):
                pass
    except KeyboardInterrupt:
        print("\nThe servers have stopped.")
    return 0
