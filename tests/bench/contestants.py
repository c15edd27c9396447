"""The ways to put a token on a request, side by side, signed in without a screen."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import threading
import time
import warnings
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

import mcpnb

__all__ = ["FASTMCP", "MCPNB", "SDK", "Peer", "peers", "sign_in"]

MISSING = "not installed: pip install fastmcp==4.1.2"
PATIENCE = 30


def _named(distribution: str, what: str) -> str:
    try:
        return f"{distribution} {importlib.metadata.version(distribution)} {what}"
    except importlib.metadata.PackageNotFoundError:
        return f"{distribution} {what}"


MCPNB = f"mcpnb {mcpnb.__version__} Session.auth"
SDK = _named("mcp", "OAuthClientProvider")
FASTMCP = _named("fastmcp", "OAuth")


def agree(url: str) -> str:
    """Open an authorization URL as a browser would and give the redirect that comes back."""
    answer = httpx2.get(url, follow_redirects=False, trust_env=False)
    return str(answer.headers["location"])


def sign_in(session: mcpnb.Session) -> None:
    """Sign a session in."""
    login = session.login()
    try:
        login.wait_for("waiting", timeout=PATIENCE)
        assert login.url is not None
        login.submit(agree(login.url))
        login.wait(timeout=PATIENCE)
    finally:
        login.cancel()


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
    storage: Any = field(repr=False, default=None)


def peers(url: str) -> list[Peer]:
    """Give those that are installed."""
    found = [_sdk(url)]
    if importlib.util.find_spec("fastmcp"):
        found.append(_fastmcp(url))
    return found


def _sdk(url: str) -> Peer:
    storage = Stored()

    def make() -> httpx2.Auth:
        came: list[str] = []

        async def redirect(authorization_url: str) -> None:
            async with httpx2.AsyncClient(trust_env=False) as browser:
                came.append((await browser.get(authorization_url)).headers["location"])

        async def callback() -> AuthorizationCodeResult:
            query = {name: values[0] for name, values in parse_qs(urlsplit(came[-1]).query).items()}
            return AuthorizationCodeResult(
                code=query["code"], state=query.get("state"), iss=query.get("iss")
            )

        metadata = OAuthClientMetadata.model_validate(
            {"client_name": "bench", "redirect_uris": ["http://127.0.0.1:27182/callback"]}
        )
        return OAuthClientProvider(url, metadata, storage, redirect, callback)

    return Peer(SDK, make, storage)


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

    return Peer(FASTMCP, make, storage)
