"""Minutes of kernels that come and go: nobody signs in again, and nothing is refreshed twice."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import mcpnb
from mcpnb.stores import FileStore
from tests.fakes.people import connect
from tests.fakes.processes import PAUSE, calling, keep_calling, start
from tests.peers.browser import Browser, sign_in
from tests.peers.oidc import OidcProvider
from tests.peers.resource_server import ResourceServer

pytestmark = pytest.mark.peer

LIFETIME = 5
# When a token of that lifetime gets stale: its last second is never used, and a fifth of its
# lifetime before that is for the refresh in the background.
REFRESHED_AFTER = LIFETIME - 1 - LIFETIME / 5
LONG = float(os.environ.get("MCPNB_SOAK_SECONDS", "600"))  # for trying it out
# Importing the SDK takes as long as a hundred calls, so those who do live longer, and are few.
PLACES = {"auth": 5, "headers": 1, "call": 2}
LIVES = {"auth": (2.0, 6.0), "headers": (2.0, 6.0), "call": (5.0, 10.0)}


@dataclass
class Soak:
    """Places for processes and threads that call until it is over."""

    session: mcpnb.Session
    folder: Path
    end: float
    calls: int = 0
    processes: int = 0
    failed: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def place(self, way: str, seed: int) -> None:
        """Have one process after the other call; each lives for a while and ends by itself."""
        chance = random.Random(seed)  # noqa: S311  it only has to differ
        while (left := self.end - time.monotonic()) > 0 and not self.failed:
            life = min(chance.uniform(*LIVES[way]), left)
            child = start(keep_calling, self.session.server, str(self.folder), way, life)
            said, complaint = child.communicate(timeout=life + 60)
            if (child.returncode, complaint) != (0, ""):
                self.count(0, [f"a process that calls through {way} ended badly: {complaint}"])
                return
            self.count(*json.loads(said))
            self.processes += 1

    def thread(self, way: str) -> None:
        """Call in this process, and in the same session as the other threads."""
        number, pause = 0, threading.Event()
        with calling(self.session, way) as call:
            while time.monotonic() < self.end and not self.failed:
                try:
                    assert call(number) == number + 1
                    number += 1
                except Exception as error:  # noqa: BLE001  counted, whatever it is
                    self.count(0, [f"a thread, {way}: {error!r}"])
                pause.wait(PAUSE)
        self.count(number, [])

    def count(self, calls: int, failed: list[str]) -> None:
        with self._lock:
            self.calls += calls
            self.failed += failed


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(30, marks=[pytest.mark.slow, pytest.mark.timeout(180)], id="short"),
        pytest.param(LONG, marks=[pytest.mark.soak, pytest.mark.timeout(LONG + 300)], id="long"),
    ],
)
def test_kernels_come_and_go_and_the_login_stays(
    oidc: OidcProvider,
    mcp_server: ResourceServer,
    browser: Browser,
    tmp_path: Path,
    seconds: float,
) -> None:
    """Eight processes and three threads; reuse detection is on.

    One refresh too many would end the login for everybody.
    """
    oidc.set(accessTokenSeconds=LIFETIME)
    session = connect(mcp_server.url, store=FileStore(tmp_path))
    sign_in(browser, session)
    begun = time.monotonic()
    soak = Soak(session, tmp_path, begun + seconds)

    places = [way for way, number in PLACES.items() for _ in range(number)]
    threads = ["call", "auth", "auth"]
    with ThreadPoolExecutor(len(places) + len(threads)) as pool:
        going = [pool.submit(soak.place, way, seed) for seed, way in enumerate(places)]
        going += [pool.submit(soak.thread, way) for way in threads]
        for one in going:
            one.result()
    lasted = time.monotonic() - begun

    asked = oidc.requests("/token")
    presented = [r["refresh_token"][0] for r in asked if "refresh_token" in r]
    refreshes = oidc.grants("refresh_token")
    print(  # noqa: T201
        f"{lasted:.0f} s: {soak.calls} calls, {len(soak.failed)} failed; {soak.processes} "
        f"processes; {refreshes} refreshes, a token lives {LIFETIME} s"
    )
    assert soak.failed == []
    assert oidc.grants("authorization_code") == 1
    assert (oidc.state()["errors"], oidc.state()["revokedGrants"]) == ([], 0)
    assert len(presented) == len(set(presented)) == refreshes
    # Somebody calls all the time, so no token is left to expire unrefreshed; and none is refreshed
    # before it is stale. The first is the sign-in's.
    assert lasted / LIFETIME - 1 <= refreshes <= lasted / REFRESHED_AFTER
    assert soak.processes > seconds / max(LIVES["call"]) * len(places) / 2, "they did come and go"
