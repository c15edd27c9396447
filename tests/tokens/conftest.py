"""Logins to try things on: one in memory, and one on disk that kernels share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.kernels import Kernel, change, make_expired, make_stale, stored
from tests.fakes.people import free_port, refresh_tokens, sign_in
from tests.fakes.server import FakeServer


class SharedLogin:
    """A login on disk. Its kernels have nothing in common but the folder."""

    def __init__(self, fake: FakeServer, folder: Path, kernel: Kernel) -> None:
        self.fake = fake
        self.folder = folder
        self.kernel = kernel
        sign_in(kernel())

    @property
    def record(self) -> dict[str, Any]:
        """What is stored now."""
        return stored(self.folder)

    @property
    def access_token(self) -> str:
        """The stored access token."""
        return str(self.record["tokens"]["access_token"])

    @property
    def presented(self) -> list[str]:
        """The refresh tokens that the server was given so far."""
        return refresh_tokens(self.fake)

    def change(self, **members: Any) -> None:
        """Change members of the record, or of its tokens."""
        change(self.folder, **members)

    def make_stale(self) -> None:
        """Leave twenty seconds of an hour: usable, and time to refresh."""
        make_stale(self.folder)

    def expire(self) -> None:
        """Let its hour be over."""
        make_expired(self.folder)


@pytest.fixture
def shared(fake: FakeServer, folder: Path, kernel: Kernel) -> SharedLogin:
    """Sign in with one kernel."""
    return SharedLogin(fake, folder, kernel)


@pytest.fixture
def own_client(fake: FakeServer) -> dict[str, Any]:
    """Register a client by hand, with the secret ``old``; give the arguments of `connect`."""
    fake.announce(token_endpoint_auth_methods_supported=["client_secret_post"])
    port = free_port()
    fake.clients["mine"] = {
        "redirect_uris": [f"http://127.0.0.1:{port}/callback"],
        "client_secret": "old",
        "token_endpoint_auth_method": "client_secret_post",
    }
    return {"client_id": "mine", "callback_port": port}
