"""What a person does in these tests: follow the link, come back with the answer, wait a moment."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

import mcpnb
from mcpnb.login import SignInRequest
from mcpnb.stores import MemoryStore
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes, scripts, signals of POSIX")


def connect(server: str, **given: Any) -> mcpnb.Session:
    """Connect with a store and a callback port of the test's own, unless it gives others."""
    own: dict[str, Any] = {"store": MemoryStore(), "callback_port": 0}
    return mcpnb.connect(server, **own | given)


def free_port() -> int:
    """Find a port for a callback that has to stay the same over several sign-ins."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listened_on(port: int) -> bool:
    """Say whether somebody takes connections at this port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def answer_of(authorization_url: str) -> str:
    """Open the link at a server that agrees at once; give the redirect it answers with."""
    with httpx2.Client(trust_env=False, timeout=10) as browser:
        answer = browser.get(authorization_url, follow_redirects=False)
    assert answer.is_redirect, f"no redirect but HTTP {answer.status_code}: {answer.text[:300]}"
    return answer.headers["location"]


def browse(url: str, **headers: str) -> httpx2.Response:
    """Open an address as a browser does, following redirects; return the page."""
    with httpx2.Client(trust_env=False, timeout=10, follow_redirects=True) as browser:
        return browser.get(url, headers=headers)


class HeldRoute:
    """A route of a fake whose response waits until the test lets it go."""

    def __init__(self, fake: FakeServer, path: str) -> None:
        self.arrived, self._go_on = threading.Event(), threading.Event()
        self._honest = fake.routes[path]
        fake.routes[path] = self._hold

    def _hold(self, request: Request) -> Reply:
        self.arrived.set()
        assert self._go_on.wait(20)
        return self._honest(request)

    def reached(self) -> None:
        """Wait for the first request."""
        assert self.arrived.wait(20)

    def let_go(self) -> None:
        """Answer every request from now on."""
        self._go_on.set()


def query_of(url: str) -> dict[str, list[str]]:
    """Give the parameters of a URL, repetitions kept."""
    return parse_qs(urlsplit(url).query, keep_blank_values=True)


def refresh_tokens(fake: FakeServer) -> list[str]:
    """Give the refresh tokens presented so far."""
    return [r.form["refresh_token"][0] for r in fake.token_requests("refresh_token")]


def sign_in(session: mcpnb.Session, *, scopes: tuple[str, ...] | None = None) -> str:
    """Sign a session in by pasting the answer; give the authorization URL that was opened."""
    login = session.login(scopes=scopes)
    try:
        login.wait_for("waiting", timeout=10)
        url = login.url
        assert url is not None
        login.submit(answer_of(url))
        login.wait(timeout=10)
    finally:
        login.cancel()
    return url


def sign_in_and_call(server: str, **given: Any) -> str:
    """Sign in at a server and call a tool; return the authorization URL that was opened."""
    session = connect(server, **given)
    url = sign_in(session)
    assert session.call("echo", text="fine").text == "fine"
    return url


def until(condition: Callable[[], bool], *, timeout: float = 10) -> None:
    """Wait for what another thread, or the clock, brings about."""
    pause, deadline = threading.Event(), time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        pause.wait(0.01)


def waiting(session: mcpnb.Session, *, anew: bool = False, **given: Any) -> tuple[Any, str]:
    """Start a sign-in; return it and its authorization URL.

    Args:
        session: The session.
        anew: Resume nothing.
        given: Keyword arguments of `mcpnb.Session.login`.
    """
    login = session.sign_in(SignInRequest(anew=True)) if anew else session.login(**given)
    login.wait_for("waiting", timeout=10)
    assert login.url is not None
    return login, login.url


def fails_before_the_browser(server: str, *kinds: type[Exception], **given: Any) -> Exception:
    """Sign in where it must fail while there is nothing to open yet; give the error."""
    session = connect(server, **given)
    login = session.login()
    with pytest.raises(kinds) as caught:
        login.wait(timeout=20)
    assert login.url is None
    assert login.state == "failed"
    assert not session.signed_in
    return caught.value
