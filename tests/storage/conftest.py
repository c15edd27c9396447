"""A real keyring, and processes that keep their logins there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes.server import FakeServer
from tests.storage.kernel import Kernel, Kernels
from tests.storage.secret_service import SecretService, commands_at_hand


@pytest.fixture
def secret_service(world: Path) -> Iterator[SecretService]:
    """An unlocked keyring on a bus of its own."""
    commands_at_hand()
    with SecretService(world / "secrets") as service:
        yield service


@pytest.fixture
def kernels(secret_service: SecretService, fake: FakeServer) -> Iterator[Kernels]:
    """Start as many as a test needs, with a session of the fake server and this keyring."""
    with ExitStack() as stack:

        def start(store: str = "auto", *, bus: bool = True, **environment: str) -> Kernel:
            kernel = Kernel(fake.url, store, secret_service.environment(bus=bus) | environment)
            stack.callback(kernel.close)
            return kernel

        yield start
