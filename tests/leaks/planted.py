"""Where secrets come in: variables, a person's configuration, a project's, and what servers say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import tomlkit

from mcpnb.config import review
from tests.fakes.server import PRM, FakeServer
from tests.fakes.wire import Reply, Request
from tests.terminal import Ended, invoke


def into_the_environment(monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str]) -> None:
    """Set variables; what an earlier test had redacted is no business of this one."""
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("mcpnb.text._secrets", ())


def into_user_configuration(world: Path, fake: FakeServer, **servers: dict[str, Any]) -> None:
    """Configure servers, all of them the fake, which is then found by any path of its own."""
    file = world / "xdg" / "config" / "mcpnb" / "config.toml"
    file.parent.mkdir(parents=True)
    tables = {name: {"url": fake.url, **table} for name, table in servers.items()}
    file.write_text(tomlkit.dumps({"mcp_servers": tables}))
    fake.describe(resource=fake.base)
    fake.challenge = {"resource_metadata": fake.base + PRM}


def into_the_project(world: Path, name: str, url: str) -> Path:
    """Configure a server in a project's file, trust everything there is, and return the file."""
    file = world / "work" / ".mcp.json"
    file.write_text(json.dumps({"mcpServers": {name: {"type": "http", "url": url}}}))
    for each in review():
        each.agree()
    return file


def command(*words: str) -> Ended:
    """Run a command that knows of no secret beforehand, as in a process of its own."""
    with mock.patch("mcpnb.text._secrets", ()):
        return invoke(*words)


def parrot(request: Request, error: str = "invalid_request") -> Reply:
    """Repeat everything that was sent, as a form and as it was decoded, in an error."""
    values = " ".join(value for values in request.form.values() for value in values)
    said = f"no such thing: {request.body.decode()} {request.target} {values}"
    return Reply(400, {"error": error, "error_description": said, "also": [said]})
