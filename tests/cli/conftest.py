"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpnb.demo.servers import DemoServers
from mcpnb.stores import FileStore
from tests.fakes.people import connect, sign_in
from tests.fakes.server import FakeServer


@pytest.fixture(scope="package")
def demo() -> Iterator[DemoServers]:
    """The demo's servers, which these tests share: each has a store of its own."""
    with DemoServers() as servers:
        yield servers


@pytest.fixture
def store(world: Path) -> FileStore:
    """The store that the commands use."""
    return FileStore(world / "mcpnb")


@pytest.fixture
def signed_in(fake: FakeServer, store: FileStore) -> FakeServer:
    """A server that somebody is signed in to."""
    sign_in(connect(fake.url, store=store))
    return fake
