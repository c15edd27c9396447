"""The places of configuration files."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def work(world: Path) -> Path:
    """The working folder: a repository's root."""
    return world / "work"


@pytest.fixture
def mine(own: Path) -> Path:
    """The person's own file, with a server that a project may want to be."""
    own.write_text(
        '[mcp_servers.linear]\nurl = "https://mine.example/mcp"\ndisabled_tools = ["delete"]\n'
    )
    return own
