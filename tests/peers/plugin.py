"""Fixtures of the real servers, as a pytest plugin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.browser import Browser
from tests.peers.oidc import OidcProvider, oidc_provider
from tests.peers.resource_server import ResourceServer, resource_server
from tests.peers.sdk_routes import SdkServer, sdk_server

pytest_plugins = ["tests.peers.browsers", "tests.peers.jupyter_fixtures"]


@pytest.fixture(scope="session")
def oidc_server() -> Iterator[OidcProvider]:
    """`oidc-provider`: Node takes a second to load it."""
    with oidc_provider() as server:
        yield server


@pytest.fixture
def oidc(oidc_server: OidcProvider) -> OidcProvider:
    """The same as if it were new, but for its clients and people."""
    oidc_server.reset()
    return oidc_server


@pytest.fixture
def mcp_server(oidc: OidcProvider) -> Iterator[ResourceServer]:
    """An MCP server of the SDK that `oidc` issues tokens for."""
    with resource_server(oidc.issuer) as server:
        oidc.allow(server.url)
        yield server


@pytest.fixture
def notes() -> Iterator[SdkServer]:
    """The SDK's MCP server with the SDK's own authorization routes."""
    with sdk_server() as server:
        yield server


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Somebody who logs in and agrees."""
    with Browser() as opened:
        yield opened
