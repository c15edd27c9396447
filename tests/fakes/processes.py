"""Processes that share a login as kernels and scripts do: they come, use it, and go.

This file is both sides: a test starts one with `start`, and what then runs is this file as a script
(`python -P`, or the `mcp` next to it would hide the SDK).
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import mcpnb
from mcpnb.stores import FileStore, RecordName, TokenStore

STALE, NEAR_ITS_END, EXPIRED = 60.0, 5.0, -1.0
"""Seconds that a token still has to live, of a thousand."""
PAUSE = 0.1
"""Between two calls: with two cores it is the login that is put under load, not the machine."""
MODERN = "2026-07-28"
HEADERS = {
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
    "MCP-Protocol-Version": MODERN,
    "Mcp-Method": "tools/call",
}


def start(role: Callable[..., object], *given: object) -> subprocess.Popen[str]:
    """Run one of the functions below in a process of its own, where warnings are errors, too."""
    return subprocess.Popen(
        [sys.executable, "-P", "-W", "error", __file__, role.__name__, json.dumps(given)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def age(store: TokenStore, left: float, of: float = 1000) -> None:
    """Rewrite the one login of a store: its token has so many seconds left of its lifetime."""
    [key] = store.keys("login")
    with store.lock(key, 10):
        record = store.read(key)
        assert record is not None
        now = time.time()
        record["tokens"] |= {"expires_at": now + left, "obtained_at": now + left - of}
        store.write(key, record)


# Calls


def message(tool: str, **arguments: object) -> dict[str, Any]:
    """Write a call in the stateless way of 2026-07-28: one request, no SDK needed."""
    about = "io.modelcontextprotocol"
    meta = {f"{about}/protocolVersion": MODERN, f"{about}/clientCapabilities": {}}
    parameters = {"name": tool, "arguments": arguments, "_meta": meta}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters}


@contextlib.contextmanager
def calling(session: mcpnb.Session, way: str) -> Iterator[Callable[[int], int]]:
    """Give what lets the server add one to a number: through `call`, `auth` or `headers`."""
    if way == "call":
        yield lambda number: int(session.call("add", a=number, b=1).data)
        return
    own = HEADERS | {"Mcp-Name": "add"}
    if way == "auth":
        import httpx2

        with httpx2.Client(auth=session.auth, headers=own, timeout=20, trust_env=False) as client:

            def through_auth(number: int) -> int:
                reply = client.post(session.server, json=message("add", a=number, b=1))
                return _sum(reply.raise_for_status().json())

            yield through_auth
        return
    parts = urlsplit(session.server)

    def with_headers(number: int) -> int:
        connection = http.client.HTTPConnection(parts.netloc, timeout=20)
        with contextlib.closing(connection):
            body = json.dumps(message("add", a=number, b=1))
            token = session.headers()
            given = time.time()
            connection.request("POST", parts.path, body, own | token)
            reply = connection.getresponse()
            age_then = f"{_left(token, given):.2f} s left, {_left(token, time.time()):.2f} s now"
            assert reply.status == 200, f"HTTP {reply.status}: the token had {age_then}"
            return _sum(json.load(reply))

    yield with_headers


def _left(headers: dict[str, str], now: float) -> float:
    claims = headers["Authorization"].split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(claims + "=="))["exp"]) - now


def _sum(reply: Any) -> int:
    return int(reply["result"]["structuredContent"]["result"])


def keep_calling(server: str, folder: str, way: str, seconds: float) -> None:
    """Call until it is time to go; print how many calls were answered, and what went wrong."""
    end, pause = time.monotonic() + seconds, threading.Event()
    made, failed = 0, []
    with calling(mcpnb.connect(server, store=FileStore(folder)), way) as call:
        while time.monotonic() < end:
            try:
                assert call(made) == made + 1
                made += 1
            except Exception as error:  # noqa: BLE001  counted, whatever it is
                failed.append(f"{way}: {type(error).__name__}: {error}")
            pause.wait(PAUSE)
    print(json.dumps([made, failed]))  # noqa: T201


def call_once(server: str, folder: str, way: str, ending: str) -> None:
    """Make one call, and end the process that instant."""
    import httpx2

    session = mcpnb.connect(server, store=FileStore(folder))
    given: dict[str, Any] = {"json": message("echo", text="short"), "headers": HEADERS}
    client: dict[str, Any] = {"auth": session.auth, "trust_env": False}
    if way == "call":
        assert session.call("echo", text="short").text == "short"
    elif way == "auth":
        with httpx2.Client(**client) as http_client:
            http_client.post(server, **given).raise_for_status()
    else:

        async def post() -> None:
            async with httpx2.AsyncClient(**client) as http_client:
                (await http_client.post(server, **given)).raise_for_status()

        asyncio.run(post())
    if ending == "exits":
        sys.exit(3)
    if ending == "fails":
        raise RuntimeError("nobody catches this")


def call_after_the_end(server: str, folder: str, when: str) -> None:
    """Make one call when the main thread has ended: in a thread that outlives it, or `atexit`."""
    import httpx2

    session = mcpnb.connect(server, store=FileStore(folder))
    client = httpx2.Client(auth=session.auth, headers=HEADERS, trust_env=False)

    def call() -> None:
        with client:
            client.post(server, json=message("echo", text="late")).raise_for_status()

    def call_later() -> None:
        threading.main_thread().join()
        call()

    if when == "thread":
        threading.Thread(target=call_later).start()
    else:
        atexit.register(call)


# Refreshes that get killed


def refresh_for_ever(server: str, folder: str, seed: int) -> None:
    """Renew the login again and again, stale or expired; tell when it is in full swing."""
    chance = random.Random(seed)  # noqa: S311  it only has to differ
    store = FileStore(folder)
    session = mcpnb.connect(server, store=store)
    _refresh(session, store, EXPIRED)  # what is imported at the first time is imported now
    print("refreshing", flush=True)  # noqa: T201
    while True:
        _refresh(session, store, chance.choice([STALE, EXPIRED]))


def _refresh(session: mcpnb.Session, store: FileStore, left: float) -> None:
    age(store, left)
    [key] = store.keys("login")
    before = _refresh_token(store, key)
    session.headers()
    _until_refreshed(store, key, before)


def _refresh_token(store: FileStore, key: RecordName) -> str:
    record = store.read(key)
    assert record is not None
    return str(record["tokens"]["refresh_token"])


def _until_refreshed(store: FileStore, key: RecordName, before: str) -> None:
    # A stale token is refreshed in the background.
    pause, end = threading.Event(), time.monotonic() + 30
    while _refresh_token(store, key) == before:
        assert time.monotonic() < end, "it was not refreshed"
        pause.wait(0.001)


class _Steps:
    """Counts what a process does to files and sockets, and kills it just before one of them."""

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self.names: list[str] = []
        self.onlookers: set[int] = set()
        """Threads that only watch: their own steps do not count."""
        import fcntl  # not on Windows, where nobody is killed

        for name in ("open", "fdopen", "close", "fsync", "replace", "rename", "unlink"):
            self._watch(os, name)
        self._watch(fcntl, "flock")
        for name in ("connect", "send", "sendall", "recv", "recv_into"):
            self._watch(socket.socket, name)

    def _watch(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def step(*given: Any, **named: Any) -> Any:
            if threading.get_ident() not in self.onlookers:
                self.names.append(name)
                if len(self.names) == self._fatal:
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **named)

        setattr(owner, name, step)


def refresh_once(server: str, folder: str, fatal: int) -> None:
    """Renew the login once; be killed just before the step of that number, if there are so many.

    Prints the names of its steps.
    """
    store = FileStore(folder)
    session = mcpnb.connect(server, store=store)
    [key] = store.keys("login")
    before = _refresh_token(store, key)
    steps = _Steps(fatal)
    session.headers()
    steps.onlookers.add(threading.get_ident())
    _until_refreshed(store, key, before)
    with store.lock(key, 10):  # whoever refreshed has let go
        print(json.dumps(steps.names))  # noqa: T201


if __name__ == "__main__":
    ROLES = (call_after_the_end, call_once, keep_calling, refresh_for_ever, refresh_once)
    {role.__name__: role for role in ROLES}[sys.argv[1]](*json.loads(sys.argv[2]))
