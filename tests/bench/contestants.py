"""The ways to put a token on a request, side by side, signed in without a screen."""

from __future__ import annotations

import importlib.metadata
import os
import threading
import time
import warnings
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

import mcpnb

PATIENCE = 30


MCPNB = f"mcpnb {mcpnb.__version__} Session.auth"
SDK = f"mcp {importlib.metadata.version('mcp')} OAuthClientProvider"
FASTMCP = f"fastmcp {importlib.metadata.version('fastmcp')} OAuth"


@dataclass
class Stored:
    """The SDK's token storage in memory: what stays when its provider is made anew."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        """Read."""
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Write."""
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Read."""
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Write."""
        self.client = client_info


@dataclass
class Peer:
    """A peer's `httpx2.Auth`, made anew as often as wanted over one storage."""

    name: str
    make: Callable[[], httpx2.Auth]


def peers(url: str) -> list[Peer]:
    """Return all of them."""
    storage = Stored()
    return [Peer(SDK, lambda: sdk(url, storage)), _fastmcp(url)]


def sdk(url: str, storage: Stored) -> httpx2.Auth:
    """Return the SDK's provider, whose browser agrees by itself."""
    came: list[str] = []

    async def redirect(authorization_url: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as browser:
            came.append((await browser.get(authorization_url)).headers["location"])

    async def callback() -> AuthorizationCodeResult:
        query = parse_qs(urlsplit(came[-1]).query)
        given = {name: query[name][0] for name in ("code", "state", "iss") if name in query}
        return AuthorizationCodeResult(**given)

    metadata = OAuthClientMetadata.model_validate(
        {"client_name": "bench", "redirect_uris": ["http://127.0.0.1:27182/callback"]}
        | {"token_endpoint_auth_method": "none"}
    )
    return OAuthClientProvider(url, metadata, storage, redirect, callback)


class _Headless(webbrowser.BaseBrowser):
    """What FastMCP opens instead of a browser; its own listener then gets the redirect."""

    def open(self, url: str, *_: object, **__: object) -> Literal[True]:
        """Visit the address and follow where it leads."""
        threading.Thread(target=self._visit, args=(url,), daemon=True).start()
        return True

    def _visit(self, url: str) -> None:
        # FastMCP opens it before its listener is there: a person would take longer than that.
        pause, deadline = threading.Event(), time.monotonic() + PATIENCE
        with httpx2.Client(trust_env=False, timeout=PATIENCE) as browser:
            answer = browser.get(url)
            while answer.next_request is not None:
                try:
                    answer = browser.send(answer.next_request)
                except httpx2.ConnectError:
                    if time.monotonic() > deadline:
                        raise
                    pause.wait(0.05)


def _fastmcp(url: str) -> Peer:
    # It would log every authorization URL.
    os.environ.setdefault("FASTMCP_LOG_ENABLED", "false")
    # mypy: it is optional, and not there where types are checked.
    from fastmcp.client.auth import OAuth  # type: ignore[import-not-found, unused-ignore]
    from key_value.aio.stores.memory import (  # type: ignore[import-not-found, unused-ignore]
        MemoryStore,
    )

    webbrowser.register("headless", None, _Headless("headless"), preferred=True)
    storage = MemoryStore()

    def make() -> httpx2.Auth:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of the memory storage wanted here
            made: httpx2.Auth = OAuth(mcp_url=url, token_storage=storage)
        return made

    return Peer(FASTMCP, make)
