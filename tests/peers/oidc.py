"""`oidc-provider` from npm as a process of its own: start it, set its switches, ask it things."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest

SCOPES = ["openid", "offline_access", "mcp:read", "mcp:write", "mcp:admin"]
INSPECTOR = ("inspector", "inspector-secret")
HERE = Path(__file__).resolve().parent


def node_modules() -> Path:
    """Find the folder with Node itself and the packages: `tests/node`, or $MCPNB_TEST_NODE.

    Without one the test is skipped, but never in CI, where a skip would hide everything.
    """
    given = os.environ.get("MCPNB_TEST_NODE")
    folder = Path(given) if given else HERE.parent / "node" / "node_modules"
    if not ((folder / ".bin" / "node").exists() and (folder / "oidc-provider").exists()):
        reason = f"no Node with oidc-provider in {folder}: run `npm ci` in tests/node"
        if os.environ.get("MCPNB_CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


class OidcProvider:
    """A running provider, as the tests see it."""

    def __init__(self, base: str, issuer: str) -> None:
        self.base = base
        self.issuer = issuer
        self._http = httpx2.Client(trust_env=False, timeout=10)

    def close(self) -> None:
        """Give the control connection back."""
        self._http.close()

    def reset(self) -> None:
        """Set the switches back, and forget what was counted and recorded."""
        self._http.delete(f"{self.base}/-/").raise_for_status()

    def set(self, **switches: Any) -> None:
        """Change switches (camel case, as in the server's source)."""
        self._http.post(f"{self.base}/-/", json=switches).raise_for_status()

    def allow(self, resource: str, scopes: str = "mcp:read mcp:write mcp:admin") -> None:
        """Let tokens be issued for one more resource."""
        self.set(resources={**self.state()["switches"]["resources"], resource: scopes})

    def state(self) -> dict[str, Any]:
        """Give everything the server counted and recorded."""
        found: dict[str, Any] = self._http.get(f"{self.base}/-/").json()
        return found

    def grants(self, grant: str) -> int:
        """Count how often a grant succeeded, as the server counted."""
        return int(self.state()["grants"].get(grant, 0))

    def requests(self, path: str) -> list[dict[str, list[str]]]:
        """Give the parameters of each request to `path`, body and query alike, repetitions kept."""
        wanted = self.issuer.removeprefix(self.base) + path
        return [
            parse_qs(r["query"] or r["body"], keep_blank_values=True)
            for r in self.state()["requests"]
            if r["path"] == wanted
        ]

    def knows(self, token: str) -> bool:
        """Say whether the server itself still calls an opaque token active (RFC 7662)."""
        pair = base64.b64encode(":".join(INSPECTOR).encode()).decode()
        answer = self._http.post(
            f"{self.issuer}/token/introspection",
            data={"token": token},
            headers={"Authorization": f"Basic {pair}"},
        )
        answer.raise_for_status()
        return bool(answer.json()["active"])


@contextlib.contextmanager
def oidc_provider(
    *, prefix: str = "", clients: tuple[dict[str, Any], ...] = (), documents: Any = None
) -> Iterator[OidcProvider]:
    """Run a provider. `documents` are client metadata documents it would find on the web."""
    folder = node_modules()
    inspector = {
        "client_id": INSPECTOR[0],
        "client_secret": INSPECTOR[1],
        "grant_types": [],
        "response_types": [],
        "redirect_uris": [],
    }
    given = {
        "prefix": prefix,
        "scopes": SCOPES,
        "clients": [inspector, *clients],
        "documents": documents,
    }
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            [folder / ".bin" / "node", HERE / "oidc_provider.mjs", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(given) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                said.seek(0)
                raise AssertionError(f"oidc-provider did not start: {said.read()}")
            server = OidcProvider(**json.loads(line))
            try:
                yield server
            finally:
                server.close()
        finally:
            process.stdin.close()  # what ends it
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
