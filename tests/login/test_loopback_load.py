"""What the loopback listener costs at most, whoever connects to it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import httpx2
import pytest

from mcpnb.login import loopback
from mcpnb.login.loopback import LoopbackListener, Reply
from tests.fakes.people import until

MOST = 32


@pytest.fixture
def listener() -> Iterator[LoopbackListener]:
    listening = LoopbackListener(0)
    listening.listen(f"http://127.0.0.1:{listening.port}/callback", lambda _: Reply("done"))
    yield listening
    listening.close()


def status(listener: LoopbackListener) -> int:
    with httpx2.Client(trust_env=False, timeout=10) as browser:
        return browser.get(f"http://127.0.0.1:{listener.port}/callback?x").status_code


def is_open(connection: socket.socket) -> bool:
    """Whether the other end has not hung up."""
    connection.settimeout(0.01)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def connected(listener: LoopbackListener) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", listener.port), timeout=10)
    connection.sendall(b"GET /callback")
    return connection


@pytest.mark.slow
@pytest.mark.threat("listener-flooded")
def test_a_flood_takes_a_few_places_and_the_real_answer_finds_one(
    listener: LoopbackListener,
) -> None:
    with contextlib.ExitStack() as held:
        flood = [held.enter_context(connected(listener)) for _ in range(4 * MOST)]
        until(lambda: sum(map(is_open, flood)) <= MOST)

        assert status(listener) == 200
        # The latest are still there: nobody is sent away who has only just come.
        assert is_open(flood[-1])


@pytest.mark.threat("listener-flooded")
def test_those_who_are_being_answered_are_not_sent_away(listener: LoopbackListener) -> None:
    answered, go_on = threading.Semaphore(0), threading.Event()

    def deliver(_: str) -> Reply:
        answered.release()
        assert go_on.wait(10)
        return Reply("done")

    listener.listen(f"http://127.0.0.1:{listener.port}/callback", deliver)
    host = f"127.0.0.1:{listener.port}".encode()
    with contextlib.ExitStack() as held:
        tabs = [held.enter_context(connected(listener)) for _ in range(MOST)]
        for tab in tabs:
            tab.sendall(b"?x HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            assert answered.acquire(timeout=10)
        late = held.enter_context(socket.create_connection(("127.0.0.1", listener.port)))
        until(lambda: not is_open(late))

        go_on.set()
        for tab in tabs:
            tab.settimeout(10)
            assert tab.recv(20).startswith(b"HTTP/1.1 200")
    assert status(listener) == 200, "their places are free again"


@pytest.mark.slow
@pytest.mark.threat("listener-flooded")
def test_a_request_has_to_be_there_whole_in_time(
    listener: LoopbackListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time-out for each read is none for who sends a byte now and then."""
    monkeypatch.setattr(loopback, "_WHOLE", 0.5)
    stop = threading.Event()
    with connected(listener) as connection:

        def drip() -> None:
            with contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    connection.sendall(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            until(lambda: not is_open(connection))
        finally:
            stop.set()
            dripping.join(5)


FULL = """
import os, resource, socket, threading
from mcpnb.login.loopback import LoopbackListener, Reply

listener = LoopbackListener(0)
listener.listen(f"http://127.0.0.1:{listener.port}/callback", lambda _: Reply("done"))
server, tried = listener._servers[0], []
accept = server.get_request
server.get_request = lambda: (tried.append(1), accept())[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
client, taken = socket.socket(), []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
client.connect(("127.0.0.1", listener.port))
threading.Event().wait(1)
print("tried", len(tried))
for descriptor in taken:
    os.close(descriptor)
host = f"Host: 127.0.0.1:{listener.port}".encode()
client.sendall(b"GET /callback?x HTTP/1.1\\r\\n" + host + b"\\r\\n\\r\\n")
client.settimeout(10)
print(client.recv(15).decode())
"""


@pytest.mark.slow
@pytest.mark.threat("listener-flooded")
@pytest.mark.skipif(sys.platform == "win32", reason="descriptors of POSIX")
def test_a_process_without_descriptors_is_not_kept_busy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    tried, answer = done.stdout.splitlines()
    assert 1 <= int(tried.split()[1]) <= 20
    assert answer == "HTTP/1.1 200 OK"
