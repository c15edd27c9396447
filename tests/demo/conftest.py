"""The demo's servers, and a raw client of theirs, as fixtures."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from mcpnb.demo.servers import DemoServers
from tests.demo.flow import Flow, Switch


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoServers]:
    """Run both servers for all tests of a file."""
    with DemoServers() as servers:
        yield servers


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    """Return a plain HTTP client that follows no redirect."""
    with httpx2.Client(trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def flow(demo: DemoServers, http: httpx2.Client) -> Flow:
    """Return a client that has not registered yet."""
    http.cookies.clear()
    return Flow(demo, http)


@pytest.fixture
def switch(demo: DemoServers, monkeypatch: pytest.MonkeyPatch) -> Switch:
    """Return what flips switches of the authorization server until the test ends."""

    def flip(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setattr(demo.authorization_server, name, value)

    return flip
