"""Minutes of calls against real rotation: nobody signs in again, nothing is refreshed twice."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcpnb.stores import FileStore
from tests.fakes.people import connect
from tests.peers.browser import Browser
from tests.peers.oidc import OidcProvider
from tests.peers.people import sign_in
from tests.peers.resource_server import ResourceServer

pytestmark = [pytest.mark.peer, pytest.mark.soak, pytest.mark.timeout(300)]

SECONDS, LIFETIME = 120, 5
CALLER = """
import sys, time, mcpnb
from mcpnb.stores import FileStore
session = mcpnb.connect(sys.argv[1], store=FileStore(sys.argv[2]))
calls, end = 0, time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    assert session.call("add", a=calls, b=1).data == calls + 1
    calls += 1
print(calls)
"""


def test_two_minutes_of_rotating_tokens_in_three_processes_and_four_threads(
    oidc: OidcProvider, mcp_server: ResourceServer, browser: Browser, tmp_path: Path
) -> None:
    """Reuse detection is on: one refresh too many would end the login for everybody."""
    oidc.set(accessTokenSeconds=LIFETIME)
    session = connect(mcp_server.url, store=FileStore(tmp_path))
    sign_in(browser, session)
    command = [sys.executable, "-c", CALLER, mcp_server.url, str(tmp_path), str(SECONDS)]
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    end = time.monotonic() + SECONDS

    def calls() -> int:
        done = 0
        while time.monotonic() < end:
            assert session.call("add", a=done, b=1).data == done + 1
            done += 1
        return done

    with ThreadPoolExecutor(4) as threads:
        made = sum(t.result() for t in [threads.submit(calls) for _ in range(4)])
    for child in children:
        said, complaint = child.communicate(timeout=60)
        assert (child.returncode, complaint) == (0, "")
        made += int(said)

    refreshes = oidc.grants("refresh_token")
    assert oidc.grants("authorization_code") == 1
    assert SECONDS / LIFETIME <= refreshes <= 2 * SECONDS / LIFETIME
    print(f"{made} calls in {SECONDS} s, {refreshes} refreshes, 0 failed")  # noqa: T201
