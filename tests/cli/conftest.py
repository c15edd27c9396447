"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mcpnb.demo.servers import DemoServers


@pytest.fixture(scope="package")
def demo() -> Iterator[DemoServers]:
    """The demo's servers, which these tests share: each has a store of its own."""
    with DemoServers() as servers:
        yield servers
