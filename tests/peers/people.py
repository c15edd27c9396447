"""Signing in where pages have to be clicked through, and asking whether a token is dead."""

from __future__ import annotations

from typing import Any

import httpx2

import mcpnb
from tests.fakes.people import query_of
from tests.peers.browser import Browser


def sign_in(browser: Browser, session: mcpnb.Session, *, scopes: Any = None) -> str:
    """Sign in by pasting the address that the browser ended at; give the authorization URL."""
    login = session.login(scopes=scopes)
    try:
        login.wait_for("waiting", timeout=10)
        url = login.url
        assert url is not None
        callback = query_of(url)["redirect_uri"][0]
        login.submit(browser.answer(url, callback=callback))
        login.wait(timeout=10)
    finally:
        login.cancel()
    return url


def refused_now(server: str, token: str) -> bool:
    """Say whether the MCP server itself refuses a token by now; no event stream is waited for."""
    method = "GET" if server.endswith("/sse") else "POST"
    headers = {"Authorization": f"Bearer {token}"}
    with (
        httpx2.Client(trust_env=False, timeout=10) as client,
        client.stream(method, server, headers=headers) as answer,
    ):
        return answer.status_code == 401
