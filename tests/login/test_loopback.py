"""The loopback listener by itself: what it answers, where it listens, and what it costs at most."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from mcpnb import errors
from mcpnb.login import loopback
from mcpnb.login.loopback import LoopbackListener, Reply
from tests.fakes.people import answer_of, browse, connect, free_port, until, waiting
from tests.fakes.server import FakeServer

DONE = Reply("done", "You can close this tab.")


@pytest.fixture
def listener() -> Iterator[LoopbackListener]:
    listening = LoopbackListener(0)
    yield listening
    listening.close()


@pytest.fixture
def heard(listener: LoopbackListener) -> list[str]:
    """What was delivered; everything is answered with "done"."""
    delivered: list[str] = []

    def deliver(url: str) -> Reply:
        delivered.append(url)
        return DONE

    listen(listener, deliver)
    return delivered


def listen(listener: LoopbackListener, deliver: Callable[[str], Reply]) -> None:
    listener.listen(f"http://127.0.0.1:{listener.port}/callback", deliver)


def get(
    listener: LoopbackListener,
    target: str = "/callback?x",
    *,
    method: str = "GET",
    host: str | None = None,
) -> httpx2.Response:
    with httpx2.Client(trust_env=False, timeout=10) as browser:
        headers = {} if host is None else {"Host": host}
        return browser.request(method, f"http://127.0.0.1:{listener.port}{target}", headers=headers)


def said(listener: LoopbackListener, sent: bytes) -> bytes:
    """Send bytes, and read to the end."""
    with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as connection:
        connection.sendall(sent)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
        return answer


def test_the_awaited_address_is_delivered_as_it_was_sent(
    listener: LoopbackListener, heard: list[str]
) -> None:
    answer = get(listener, "/callback?code=a%2Bb&state=x+y&iss=https%3A%2F%2Fas")

    assert answer.status_code == 200
    assert heard == [
        f"http://127.0.0.1:{listener.port}/callback?code=a%2Bb&state=x+y&iss=https%3A%2F%2Fas"
    ]


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/favicon.ico",
        "/callback/",
        "/callback/x",
        "/Callback",
        "/x?code=1&state=2",
        "//callback/",
    ],
)
def test_a_stray_path_is_answered_and_otherwise_ignored(
    listener: LoopbackListener, heard: list[str], target: str
) -> None:
    assert get(listener, target).status_code == 404
    assert heard == []


def test_before_anything_is_awaited_there_is_nothing(listener: LoopbackListener) -> None:
    answer = get(listener, "/callback?code=1")

    assert answer.status_code == 404
    assert "No sign-in is waiting" in answer.text


@pytest.mark.threat("dns-rebinding-of-the-listener")
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:{}", "evil:{}", ""]
)
def test_another_host_is_misdirected(
    listener: LoopbackListener, heard: list[str], host: str
) -> None:
    """DNS rebinding: a page elsewhere must not read what is answered here."""
    answer = get(listener, "/callback?code=1", host=host.format(listener.port))

    assert answer.status_code == 421
    assert heard == []


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}", "LOCALHOST:{}", "[::1]:{}"])
def test_this_machine_goes_by_several_names(
    listener: LoopbackListener, heard: list[str], host: str
) -> None:
    """A forwarded port may be opened under any of them."""
    assert get(listener, host=host.format(listener.port)).status_code == 200
    assert len(heard) == 1


@pytest.mark.threat("cross-site-post-to-the-listener")
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"])
def test_only_get_is_answered(listener: LoopbackListener, heard: list[str], method: str) -> None:
    assert get(listener, "/callback?code=1", method=method).status_code == 405
    assert heard == []


@pytest.mark.threat("cross-site-post-to-the-listener")
@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /callback?code=secret-code HTTP/9\r\n\r\n",
        b"GET /callback?code=secret-code HTTP/1.1 more\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /callback?code=secret-code" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /callback?code=secret-code HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET /callback?code=secret-code HTTP/1.1\r\nHost: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET /callback?code=secret-code\r\n\r\n",
        b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\n",
        b"GET http://127.0.0.1/callback?code=secret-code HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=range(11),
)
def test_a_malformed_request_is_refused_without_repeating_it(
    listener: LoopbackListener,
    heard: list[str],
    sent: bytes,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """And nothing of it is logged; the next request is served."""
    try:
        answer = said(listener, sent)
    except ConnectionResetError:  # it was not read to its end
        answer = b""

    assert b"secret-code" not in answer
    assert b" 200 " not in answer[:20]
    assert heard == []
    assert get(listener).status_code == 200
    assert capfd.readouterr() == ("", "")


@pytest.mark.threat("listener-held-up")
def test_idle_and_dripping_connections_hold_nobody_up(
    listener: LoopbackListener, heard: list[str]
) -> None:
    """Fifty that say nothing, and one that says a byte at a time."""
    idle = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(50)]
    stop = threading.Event()

    def drip() -> None:
        with socket.create_connection(("127.0.0.1", listener.port)) as connection:
            for byte in b"GET /callback?code=slow HTTP/1.1\r\n" + b"A: b\r\n" * 5_000:
                if stop.wait(0.02):
                    return
                connection.sendall(bytes([byte]))

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        assert get(listener, "/callback?code=real").status_code == 200
    finally:
        stop.set()
        dripping.join(10)
        for connection in idle:
            connection.close()
    assert [url.partition("=")[2] for url in heard] == ["real"]


class TestThePage:
    """Static, escaped, and nothing that could leak the address it is shown at."""

    EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> {title} %s </p></main>"

    @pytest.mark.threat("callback-page-xss", "callback-page-referrer", "callback-page-policy")
    def test_it_runs_loads_and_tells_nothing(self, listener: LoopbackListener) -> None:
        listen(listener, lambda _: Reply("failed", self.EVIL))
        answer = get(listener, "/callback?code=secret-code&state=<script>")

        assert answer.status_code == 400
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
        for tag in ("<script", "<img", "onerror=alert(1)>", "secret-code"):
            assert tag not in answer.text
        assert answer.text.count("</main>") == 1
        for reference in ("http:", "https:", "src=", "href=", "url("):
            assert reference not in answer.text.replace("src=x", "")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        expected = {
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "content-type": "text/html; charset=utf-8",
        }
        assert expected.items() <= dict(answer.headers).items()
        assert "secret-code" not in str(answer.headers)
        assert "Python" not in answer.headers.get("server", "")

    @pytest.mark.threat("callback-page-referrer")
    def test_again_sends_the_browser_on_with_no_referrer(self, listener: LoopbackListener) -> None:
        listen(listener, lambda _: Reply("again", location="https://as.example/authorize?a=b"))
        answer = get(listener)

        assert answer.status_code == 302
        assert answer.headers["location"] == "https://as.example/authorize?a=b"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"


class TestThePort:
    def test_without_a_replacement_a_busy_one_is_a_clear_error(
        self, listener: LoopbackListener
    ) -> None:
        with pytest.raises(errors.LoginError, match=rf"Port {listener.port} cannot .*--port"):
            LoopbackListener(listener.port, fallback=False)

    def test_it_is_free_again_after_the_end(self) -> None:
        """Also while a connection is still open."""
        listener = LoopbackListener(0)
        with socket.create_connection(("127.0.0.1", listener.port)):
            listener.close()
            again = LoopbackListener(listener.port, fallback=False)
            again.close()
        with pytest.raises(ConnectionError):
            socket.create_connection(("127.0.0.1", listener.port)).close()

    @pytest.mark.threat("listener-open-to-the-network")
    @pytest.mark.parametrize(("everywhere", "bound"), [(False, "127.0.0.1"), (True, "0.0.0.0")])  # noqa: S104
    def test_only_a_public_callback_is_bound_everywhere(
        self, *, everywhere: bool, bound: str
    ) -> None:
        listener = LoopbackListener(0, everywhere=everywhere)
        try:
            assert listening_addresses(listener.port) == {bound}
        finally:
            listener.close()

    def test_the_last_page_is_sent_before_it_closes(self, listener: LoopbackListener) -> None:
        arrived, go_on = threading.Event(), threading.Event()

        def deliver(_: str) -> Reply:
            arrived.set()
            go_on.wait(2)
            return DONE

        listen(listener, deliver)
        with ThreadPoolExecutor(2) as pool:
            page = pool.submit(get, listener)
            assert arrived.wait(5)
            closing = pool.submit(listener.close)
            go_on.set()

            assert page.result(5).status_code == 200
            closing.result(5)


def listening_addresses(port: int) -> set[str]:
    """Ask the socket itself: a second one on any loopback address shows what is taken."""
    taken = set()
    for address in ("127.0.0.1", "127.0.0.2"):
        probe = socket.socket()
        try:
            probe.bind((address, port))
        except OSError:
            taken.add(address)
        finally:
            probe.close()
    return {"0.0.0.0"} if len(taken) == 2 else taken  # noqa: S104


def test_a_delivery_that_fails_leaves_the_listener_alive(listener: LoopbackListener) -> None:
    def broken(_: str) -> Reply:
        raise RuntimeError("a fault of ours")

    listen(listener, broken)
    with pytest.raises(httpx2.RemoteProtocolError):
        get(listener)

    listen(listener, lambda _: DONE)
    assert get(listener).status_code == 200


class TestLocalhostByName:
    """Browsers try [::1] first (RFC 8252 section 8.3)."""

    @pytest.fixture
    def six(self) -> Iterator[socket.socket]:
        probe = socket.socket(socket.AF_INET6)
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        with probe:
            yield probe

    @pytest.mark.threat("callback-by-name")
    @pytest.mark.usefixtures("six")
    def test_the_answer_is_taken_on_either_address(self, fake: FakeServer) -> None:
        for host in ("127.0.0.1", "[::1]"):
            session = connect(
                fake.url, callback_url=f"http://localhost:{free_port()}/cb", callback_port=None
            )
            _, url = waiting(session)
            answer = answer_of(url)
            there = answer.replace("localhost", host)
            assert browse(there, Host=urlsplit(answer).netloc).status_code == 200
            assert session.signed_in

    @pytest.mark.threat("callback-by-name")
    def test_where_somebody_else_listens_there_it_is_an_error(self, six: socket.socket) -> None:
        port = six.getsockname()[1]
        six.listen()
        with pytest.raises(errors.LoginError, match=f"Port {port} cannot be listened on"):
            LoopbackListener(port, fallback=False, host="localhost")
        LoopbackListener(port, fallback=False).close()

    @pytest.mark.threat("callback-by-name")
    def test_on_a_machine_without_ipv6_nobody_can_take_it_there(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Without(socket.socket):
            def __init__(self, family: int = -1, *rest: Any, **more: Any) -> None:
                if family == socket.AF_INET6:
                    raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
                super().__init__(family, *rest, **more)

        monkeypatch.setattr(socket, "socket", Without)
        listener = LoopbackListener(0, host="localhost")
        socket.create_connection(("127.0.0.1", listener.port), timeout=2).close()
        listener.close()

    @pytest.mark.usefixtures("six")
    def test_other_callbacks_are_not_listened_for_there(self) -> None:
        listener = LoopbackListener(0, host="127.0.0.1")
        listener.listen("http://127.0.0.1/callback", lambda _: Reply("done"))
        with pytest.raises(OSError, match=r"refused|reach"):
            socket.create_connection(("::1", listener.port), timeout=2).close()
        listener.close()


# -- what it costs at most, whoever connects ---------------------------------------------------

MOST = 32


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
def test_in_a_flood_the_real_response_finds_a_place(listener: LoopbackListener) -> None:
    listen(listener, lambda _: DONE)
    with contextlib.ExitStack() as held:
        flood = [held.enter_context(connected(listener)) for _ in range(4 * MOST)]
        until(lambda: sum(map(is_open, flood)) <= MOST)

        assert get(listener).status_code == 200
        # The latest are still there: nobody is sent away who has only just come.
        assert is_open(flood[-1])


@pytest.mark.threat("listener-flooded")
def test_those_who_are_being_answered_are_not_sent_away(listener: LoopbackListener) -> None:
    answered, go_on = threading.Semaphore(0), threading.Event()

    def deliver(_: str) -> Reply:
        answered.release()
        assert go_on.wait(10)
        return Reply("done")

    listen(listener, deliver)
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
    assert get(listener).status_code == 200, "their places are free again"


@pytest.mark.slow
@pytest.mark.threat("listener-flooded")
def test_a_request_has_to_be_there_whole_in_time(
    listener: LoopbackListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time-out for each read is none for a client that sends a byte now and then."""
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
