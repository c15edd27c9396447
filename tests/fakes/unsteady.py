"""Healthy servers behind a `FaultyProxy`, and what must hold whatever is done to a request."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

import mcpnb
from mcpnb.demo.authorization import AuthorizationServer
from mcpnb.demo.endpoints import application
from mcpnb.demo.mcp_server import ResourceServer
from mcpnb.demo.servers import Listening, bind
from mcpnb.errors import McpnbError
from mcpnb.login import SignInRequest
from mcpnb.stores import MemoryStore
from tests.fakes.faults import PATIENCE, Kind
from tests.fakes.faulty import FaultyProxy
from tests.fakes.people import answer_of, connect, free_port, query_of
from tests.fakes.server import PRM, FakeServer

LIMIT = 20.0
"""Seconds after which something hangs: far beyond every time-out that is in force here."""
_OF_LIBRARIES = re.compile(
    r"httpx|httpcore|h11|anyio|pydantic|Traceback|ExceptionGroup|Errno|0x[0-9a-f]{6}|<[\w.]+ object"
)
_WHAT_TO_DO = re.compile(r"\b(try|sign in|give|operator|may still be running)\b", re.IGNORECASE)


class NotMade(AssertionError):
    """The request was not made: a busy machine was too slow for the shortened time-outs."""


class Problems:
    """What went wrong, by the position where the fault was played."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def of(self, position: str, attempt: Callable[[], None]) -> None:
        """Note what goes wrong there, and go on with the next one.

        Args:
            position: Which request meets with the fault.
            attempt: Plays it; once more, where it was not even made.
        """
        try:
            try:
                attempt()
            except NotMade:
                attempt()
        except AssertionError as error:
            self.found[position] = str(error)


class Behind:
    """A server behind the proxy, and a browser that reaches mcpnb's listener through it."""

    def __init__(self, proxy: FaultyProxy, url: str, tool: str, server: Any) -> None:
        self.proxy = proxy
        self.url = url
        self.server = server
        self._tool = tool
        self.person = httpx2.Client(trust_env=False, timeout=LIMIT)
        self._callback = proxy.door()
        self._callback.behind = free_port()

    def session(self, store: MemoryStore) -> mcpnb.Session:
        """Connect as one more kernel that shares `store`."""
        return connect(
            self.url,
            store=store,
            callback_url=f"{self._callback.base}/callback",
            callback_port=self._callback.behind,
        )

    def reject_tokens(self) -> None:
        """Have the server accept no access token that it has given out so far."""
        fake = isinstance(self.server, FakeServer)
        (self.server.expire if fake else self.server.expire_access_tokens)()

    @property
    def presented(self) -> int:
        """How often the token endpoint was asked so far."""
        return self.proxy.ever["POST /token"]

    def call(self, session: mcpnb.Session) -> None:
        """Call a tool that answers whoever is signed in."""
        assert not session.call(self._tool).is_error

    async def acall(self, session: mcpnb.Session) -> None:
        """Do the same in an async cell."""
        assert not (await session.acall(self._tool)).is_error


@contextlib.contextmanager
def fake_behind(proxy: FaultyProxy, fake: FakeServer) -> Iterator[Behind]:
    """Have the fake be known by the proxy's address only."""
    door = proxy.door(fake.port)

    def moved(document: Any) -> Any:
        return json.loads(json.dumps(document).replace(fake.base, door.base))

    fake.metadata, fake.resource_metadata = moved(fake.metadata), moved(fake.resource_metadata)
    fake.challenge = {"resource_metadata": door.base + PRM}
    behind = Behind(proxy, f"{door.base}/mcp", "echo", fake)
    with behind.person:
        yield behind


@contextlib.contextmanager
def demo_behind(proxy: FaultyProxy) -> Iterator[Behind]:
    """Run the demo's servers, known by the proxy's addresses only."""
    issuer, mcp = proxy.door(), proxy.door()
    url = f"{mcp.base}/mcp"
    server = AuthorizationServer(issuer.base, {url}, auto_consent=True)
    with contextlib.ExitStack() as running:
        for door, app in ((issuer, application(server)), (mcp, ResourceServer(url, server).app)):
            listening = bind()
            door.behind = listening.getsockname()[1]
            running.enter_context(Listening(app, listening, "behind the proxy"))
        behind = Behind(proxy, url, "whoami", server)
        running.enter_context(behind.person)
        yield behind


@contextlib.contextmanager
def impatient(kind: Kind) -> Iterator[None]:
    """Shorten mcpnb's time-outs, where a fault lasts for as long as they do."""
    with pytest.MonkeyPatch.context() as patch:
        if kind.takes_long:
            patch.setattr("mcpnb.oauth.http._READ", PATIENCE)
            patch.setattr("mcpnb.oauth.http._TOTAL", 1.5 * PATIENCE)
            patch.setattr("mcpnb.calls.client._READ", PATIENCE)
        yield


def signed_in(session: mcpnb.Session) -> None:
    """Sign in as a person does in a browser; a page that does not come is loaded once more."""
    login = session.sign_in(SignInRequest(anew=True))
    try:
        login.wait_for("waiting", timeout=LIMIT)
        assert login.url is not None
        location = answer_of(login.url)
        for _ in range(2):
            with (
                contextlib.suppress(httpx2.HTTPError, UnicodeError),
                httpx2.Client(trust_env=False, timeout=6 * PATIENCE) as browser,
            ):
                if browser.get(location).status_code == 200:
                    break
        login.wait(timeout=LIMIT)
    finally:
        hangs = login.under_way
        login.cancel()
        assert not hangs, f"the sign-in hangs: {login.state}"


def granted(house: Behind, template: dict[str, Any]) -> dict[str, Any]:
    """Return a login of its own, from a consent of its own, without the way that mcpnb goes."""
    client, verifier = template["registration"], secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    common = {
        "client_id": client["client_id"],
        "redirect_uri": client["redirect_uri"],
        "resource": template["resource"],
    }
    asked = common | {
        "response_type": "code",
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
        "scope": " ".join(template["requested_scopes"]),
    }
    endpoint = template["token_endpoint"]
    redirected = answer_of(f"{endpoint.removesuffix('/token')}/authorize?{urlencode(asked)}")
    (code,) = query_of(redirected)["code"]
    form = common | {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
    answer = house.person.post(endpoint, data=form).json()
    now = time.time()
    tokens = {
        "access_token": answer["access_token"],
        "refresh_token": answer["refresh_token"],
        "obtained_at": now,
        "expires_at": now + 3600,
    }
    return template | {"tokens": template["tokens"] | tokens, "signed_in_at": now}


def bounded(work: Callable[[], object]) -> McpnbError | None:
    """Do something that may fail, and must not take longer than `LIMIT`; return our error."""
    ended: list[BaseException | None] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  raised below
            ended.append(error)
        else:
            ended.append(None)

    # A daemon: where it hangs, the test fails, and pytest ends all the same.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert ended, "it hangs"
    error = ended[0]
    if error is not None and not isinstance(error, McpnbError):
        raise error
    return error


def unclear(error: McpnbError | None, proxy: FaultyProxy) -> str | None:
    """Say what is wrong with an error of ours, if anything: a secret, a traceback, no advice."""
    if error is None:
        return None
    said = str(error)
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    for secret in proxy.secrets:
        if secret in shown:
            return f"a secret in {said}"
    if error.__cause__ is not None or not (error.__suppress_context__ or not error.__context__):
        return f"a chain of errors behind {said}"
    if found := _OF_LIBRARIES.search(said):
        return f"{found[0]!r} in {said}"
    if len(said) > 500 or "\n" in said or not said.endswith("."):
        return f"not a plain sentence: {said}"
    return None if _WHAT_TO_DO.search(said) else f"nothing to do in {said}"
