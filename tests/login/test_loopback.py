"""The loopback listener by itself: what it answers, and what cannot hold it up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import httpx2
import pytest

from mcpnb import errors
from mcpnb.login.loopback import LoopbackListener, Reply

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

    listener.listen(f"http://127.0.0.1:{listener.port}/callback", deliver)
    return delivered


def get(
    listener: LoopbackListener, target: str, *, method: str = "GET", host: str | None = None
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
    assert get(listener, "/callback?x", host=host.format(listener.port)).status_code == 200
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
    assert get(listener, "/callback?x").status_code == 200
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

    @pytest.fixture
    def answer(self, listener: LoopbackListener) -> httpx2.Response:
        listener.listen(
            f"http://127.0.0.1:{listener.port}/callback", lambda _: Reply("failed", self.EVIL)
        )
        return get(listener, "/callback?code=secret-code&state=<script>")

    @pytest.mark.threat("callback-page-xss")
    def test_what_a_server_said_is_text(self, answer: httpx2.Response) -> None:
        assert answer.status_code == 400
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
        for tag in ("<script", "<img", "onerror=alert(1)>"):
            assert tag not in answer.text
        assert answer.text.count("</main>") == 1

    @pytest.mark.threat("callback-page-xss")
    def test_nothing_of_the_request_is_on_it(self, answer: httpx2.Response) -> None:
        assert "secret-code" not in answer.text
        assert "secret-code" not in str(answer.headers)

    @pytest.mark.threat("callback-page-referrer", "callback-page-policy")
    def test_it_runs_loads_and_tells_nothing(self, answer: httpx2.Response) -> None:
        headers = answer.headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "script-src" not in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert "Python" not in headers.get("server", "")
        for reference in ("http:", "https:", "src=", "href=", "url("):
            assert reference not in answer.text.replace("src=x", "")

    @pytest.mark.parametrize(
        ("reply", "status", "title"),
        [
            (Reply("done", "x"), 200, "Signed in"),
            (Reply("failed", "x"), 400, "Not signed in"),
            (Reply("refused", "x"), 400, "Not the expected response"),
        ],
    )
    def test_its_title_says_what_happened(
        self, listener: LoopbackListener, reply: Reply, status: int, title: str
    ) -> None:
        listener.listen(f"http://127.0.0.1:{listener.port}/callback", lambda _: reply)
        answer = get(listener, "/callback?x")

        assert answer.status_code == status
        assert f"<h1>{title}</h1>" in answer.text

    @pytest.mark.threat("callback-page-referrer")
    def test_again_sends_the_browser_on_without_a_referrer(
        self, listener: LoopbackListener
    ) -> None:
        listener.listen(
            f"http://127.0.0.1:{listener.port}/callback",
            lambda _: Reply("again", location="https://as.example/authorize?a=b"),
        )
        answer = get(listener, "/callback?x")

        assert answer.status_code == 302
        assert answer.headers["location"] == "https://as.example/authorize?a=b"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"


class TestThePort:
    def test_a_busy_one_is_replaced_by_a_free_one(self, listener: LoopbackListener) -> None:
        second = LoopbackListener(listener.port)
        try:
            assert second.fell_back
            assert second.port != listener.port
            assert get(second, "/").status_code == 404
        finally:
            second.close()
        assert not listener.fell_back

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

        listener.listen(f"http://127.0.0.1:{listener.port}/callback", deliver)
        pages: list[int] = []
        browser = threading.Thread(
            target=lambda: pages.append(get(listener, "/callback?x").status_code)
        )
        browser.start()
        assert arrived.wait(5)
        closing = threading.Thread(target=listener.close)
        closing.start()
        go_on.set()
        browser.join(5)
        closing.join(5)

        assert pages == [200]


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

    listener.listen(f"http://127.0.0.1:{listener.port}/callback", broken)
    with pytest.raises(httpx2.RemoteProtocolError):
        get(listener, "/callback?x")
    then: Callable[[str], Reply] = lambda _: DONE  # noqa: E731
    listener.listen(f"http://127.0.0.1:{listener.port}/callback", then)

    assert get(listener, "/callback?x").status_code == 200
