"""The command line `mcpnb`: a second view of the same sign-in that a notebook shows."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, and exit.

    Exit codes: 0 done, 1 failed, 2 usage, 3 sign-in required, 130 cancelled.
    """
    from mcpnb.cli.app import run

    sys.exit(run(sys.argv[1:]))
