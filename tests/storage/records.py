"""A record, and the file that it is in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mcpnb.stores import RecordName

posix = pytest.mark.skipif(os.name != "posix", reason="users, permissions and links of POSIX")

KEY = RecordName("login", "https://mcp.example/mcp")
OTHER = RecordName("login", "https://other.example/mcp")
SECRET = "access-token-nobody-may-read"
RECORD: dict[str, Any] = {"tokens": {"access_token": SECRET, "scopes": ["a", "b"]}, "n": 1.5}


def record_file(folder: Path, kind: str = "login") -> Path:
    (file,) = folder.glob(f"{kind}-*.mcpnb")
    return file


def by_server(folder: Path, kind: str) -> dict[str, Path]:
    """Return the files of a kind by the servers that they are of."""
    return {json.loads(f.read_text())["name"]: f for f in folder.glob(f"{kind}-*.mcpnb")}


def change(file: Path, **members: Any) -> str:
    """Change members of a file's head; return its text."""
    text = json.dumps(json.loads(file.read_text()) | members)
    file.write_text(text)
    return text
