"""mcpnb's own requests: redirects, sizes, times, broken connections, TLS, and why one failed."""

from __future__ import annotations

import errno
import gzip
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from mcpnb import errors
from mcpnb.oauth.http import MAX_BODY, Http, reason
from tests import figures
from tests.fakes.certificates import secured_by, self_signed
from tests.fakes.people import free_port
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, html, redirect

Talk = Callable[[socket.socket], None]


@pytest.fixture
def http(fake: FakeServer) -> Iterator[Http]:
    with closing(Http(fake.url)) as http:
        yield http


@pytest.fixture
def raw() -> Iterator[Callable[..., str]]:
    """Serve one connection byte by byte, over TLS where there is a context; give its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threads: list[threading.Thread] = []

        def serve(talk: Talk, context: ssl.SSLContext | None = None) -> str:
            def run() -> None:
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(10)
                    try:
                        if context is None:
                            talk(connection)
                        else:
                            with context.wrap_socket(connection, server_side=True) as secured:
                                talk(secured)
                    except OSError:
                        return

            threads.append(threading.Thread(target=run, daemon=True))
            threads[-1].start()
            scheme = "http" if context is None else "https"
            return f"{scheme}://127.0.0.1:{listening.getsockname()[1]}/x"

        yield serve
        for thread in threads:
            thread.join(10)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return self_signed(tmp_path)


def failure(url: str, *, method: str = "GET") -> errors.ServerUnreachable:
    """Ask for something that cannot be had; return the error."""
    with closing(Http(url)) as http, pytest.raises(errors.ServerUnreachable) as caught:
        http.send(method, url, headers={})
    assert str(caught.value).isprintable()
    return caught.value


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("relative", [True, False])
    def test_one_within_the_origin_is_followed_for_a_get(
        self, fake: FakeServer, http: Http, status: int, *, relative: bool
    ) -> None:
        fake.routes["/new"] = lambda _: Reply(200, {"a": 1})
        fake.script("/old", redirect("new" if relative else f"{fake.base}/new", status))

        response = http.get(f"{fake.base}/old")

        assert response.json() == {"a": 1}
        assert response.url == f"{fake.base}/new"

    @pytest.mark.threat("redirect-of-discovery", "metadata-led-elsewhere")
    @pytest.mark.parametrize(
        "target",
        [
            "https://elsewhere.example/new",
            "//elsewhere.example/new",
            "http://127.0.0.1:9/new",
            "http://localhost:{port}/new",
            "https://127.0.0.1:{port}/new",
            "http://user@127.0.0.2:{port}/new",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "http://[bad/new",
            "http://h:x/new",
        ],
    )
    def test_one_to_elsewhere_is_not_followed(
        self, fake: FakeServer, http: Http, target: str
    ) -> None:
        fake.script("/old", redirect(target.format(port=fake.port)))

        with pytest.raises(errors.ServerError) as caught:
            http.get(f"{fake.base}/old")
        assert str(caught.value).isprintable()
        assert [r.path for r in fake.requests] == ["/old"]

    @pytest.mark.threat("redirect-loop")
    def test_one_without_end_is_given_up(self, fake: FakeServer, http: Http) -> None:
        fake.always("/a", redirect("/b"))
        fake.always("/b", redirect("/a"))

        with pytest.raises(errors.DiscoveryError, match="without end"):
            http.get(f"{fake.base}/a")
        assert len(fake.requests) <= 5

    def test_one_without_a_target_is_the_answer(self, fake: FakeServer, http: Http) -> None:
        fake.always("/a", Reply(302))

        assert http.get(f"{fake.base}/a").status == 302


class TestSizes:
    def test_a_body_of_just_the_limit_is_read(self, fake: FakeServer, http: Http) -> None:
        fake.always("/x", Reply(200, b"x" * MAX_BODY))

        assert len(http.get(f"{fake.base}/x").body) == MAX_BODY

    @pytest.mark.threat("huge-body", "decompression-bomb", "metadata-without-end")
    @pytest.mark.parametrize(
        ("body", "encoding"),
        [(b"x" * (MAX_BODY + 1), ""), (gzip.compress(b"x" * 30_000_000), "gzip")],
        ids=["one byte more", "unpacks to more"],
    )
    def test_a_larger_one_is_not(
        self, fake: FakeServer, http: Http, body: bytes, encoding: str
    ) -> None:
        fake.always("/x", Reply(200, body, {"Content-Encoding": encoding}))

        with pytest.raises(errors.DiscoveryError, match="1024 KiB"):
            http.get(f"{fake.base}/x")

    def test_a_broken_packing_is_a_clear_error(self, fake: FakeServer, http: Http) -> None:
        fake.always("/x", Reply(200, b"no gzip", {"Content-Encoding": "gzip"}))

        with pytest.raises(errors.ServerError):
            http.get(f"{fake.base}/x")

    @pytest.mark.slow
    @pytest.mark.threat("decompression-bomb")
    @pytest.mark.parametrize("times", [1, 2, 3])
    def test_what_is_packed_costs_no_more_memory_than_what_is_not(
        self, fake: FakeServer, http: Http, times: int
    ) -> None:
        """Packed twice, three kilobytes were two gigabytes before anybody counted (measured)."""
        figures.add("attacks tried")
        packed = bytes(64_000_000)
        for _ in range(times):
            packed = gzip.compress(packed)
        encoding = ", ".join(["gzip"] * times)
        fake.always("/x", Reply(200, packed, {"Content-Encoding": encoding}))
        http.get(f"{fake.base}/mcp")  # what a first request loads is not counted

        tracemalloc.start()
        try:
            with pytest.raises(errors.ServerError):
                http.get(f"{fake.base}/x")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8_000_000

    @pytest.mark.threat("decompression-bomb")
    def test_an_honest_packed_response_is_read(self, fake: FakeServer, http: Http) -> None:
        fake.always("/x", Reply(200, gzip.compress(b'{"a": 1}'), {"Content-Encoding": "GZIP"}))

        assert http.get(f"{fake.base}/x").json() == {"a": 1}
        assert fake.requests[-1].headers["accept-encoding"] == "gzip"

    @pytest.mark.slow
    @pytest.mark.threat("huge-head")
    @pytest.mark.parametrize("many", [False, True])
    def test_a_head_of_megabytes_is_not_read_to_its_end(
        self, fake: FakeServer, http: Http, *, many: bool
    ) -> None:
        figures.add("attacks tried")
        headers = {f"X-{i}": "a" for i in range(200_000)} if many else {"X": "a" * 3_000_000}
        fake.always("/x", Reply(200, {"a": 1}, headers))

        with pytest.raises(errors.ServerError) as caught:
            http.get(f"{fake.base}/x")
        assert len(str(caught.value)) < 300

    @pytest.mark.threat("endless-stream")
    def test_of_a_probe_only_the_head_is_read(self, raw: Callable[..., str]) -> None:
        """An event stream would never end."""
        read_on = threading.Event()

        def stream(connection: socket.socket) -> None:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hi\n")
            read_on.wait(10)

        url = raw(stream)
        with closing(Http(url)) as http:
            response = http.send("GET", url, headers={}, head_only=True)
            read_on.set()

        assert (response.status, response.body) == (200, b"")


class TestTimes:
    @pytest.mark.slow
    @pytest.mark.threat("slow-drip")
    @pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
    @pytest.mark.parametrize(
        "begin", [b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "]
    )
    def test_a_response_that_drips_is_given_up(
        self,
        raw: Callable[..., str],
        certificate: Path,
        monkeypatch: pytest.MonkeyPatch,
        begin: bytes,
        *,
        tls: bool,
    ) -> None:
        """Each byte of its body or head comes in time, the whole does not.

        TLS takes the first socket object away.
        """
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        monkeypatch.setattr("mcpnb.oauth.http._TOTAL", 0.5)
        stop = threading.Event()

        def drip(connection: socket.socket) -> None:
            connection.recv(65_536)
            connection.sendall(begin)
            while not stop.wait(0.05):
                connection.sendall(b"x")

        error = failure(raw(drip, secured_by(certificate) if tls else None))
        stop.set()
        assert "longer than" in str(error)
        assert error.sent

    @pytest.mark.slow
    def test_silence_is_given_up(
        self, raw: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mcpnb.oauth.http._READ", 0.2)
        stop = threading.Event()

        error = failure(raw(lambda _: stop.wait(10)))
        stop.set()
        assert "did not respond" in str(error)
        assert error.sent, "nobody knows whether it was processed"


class TestBrokenConnections:
    def test_a_refused_one_was_surely_not_processed(self) -> None:
        error = failure(f"http://127.0.0.1:{free_port()}/token", method="POST")

        assert "cannot be reached" in str(error)
        assert not error.sent

    def test_one_that_broke_may_have_been(self, fake: FakeServer) -> None:
        fake.always("/token", Reply(drop=True))

        error = failure(f"{fake.base}/token", method="POST")
        assert "broke" in str(error)
        assert error.sent

    @pytest.mark.parametrize("sent", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 abc\r\n\r\n"])
    def test_what_does_not_speak_http_is_a_clear_error(
        self, raw: Callable[..., str], sent: bytes
    ) -> None:
        def talk(connection: socket.socket) -> None:
            connection.recv(65_536)
            connection.sendall(sent)

        failure(raw(talk))

    @pytest.mark.threat("response-splitting-request")
    @pytest.mark.parametrize(
        "url", ["{}/x\r\nX-Injected: 1", "{}/x\nHost: evil", "{}/x HTTP/1.1\r\n\r\nGET /y"]
    )
    def test_no_line_end_of_an_address_reaches_the_wire(
        self, fake: FakeServer, http: Http, url: str
    ) -> None:
        """Neither as a header of its own nor as a second request."""
        figures.add("attacks tried")
        with pytest.raises(errors.ServerError):
            http.get(url.format(fake.base))

        assert fake.requests == []

    @pytest.mark.threat("pinned-address-without-name")
    def test_an_untrusted_certificate_is_said_to_be_one(
        self, raw: Callable[..., str], certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The address is pinned, and the name is still what TLS asks for and verifies."""
        asked: list[str | None] = []
        context = secured_by(certificate)
        context.sni_callback = lambda _, server, __: asked.append(server)
        url = raw(lambda _: None, context).replace("127.0.0.1", "own.example")
        real = socket.getaddrinfo

        def look_up(host: Any, *args: Any, **given: Any) -> Any:
            return real("127.0.0.1" if host == "own.example" else host, *args, **given)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        error = failure(url)
        assert "not trusted" in str(error)
        assert not error.sent
        assert asked == ["own.example"]


class TestResponses:
    @pytest.mark.parametrize(
        ("reply", "said"),
        [
            (html("Welcome"), "a web page"),
            (Reply(200, b"\xff\x00", {"Content-Type": "image/png; x=y"}), "“image/png” data"),
            (Reply(200, b"", {}), "other data"),
            (Reply(200, b"[" * 100_000, {}), "other data"),
            (Reply(200, b"1" * 5_000, {}), "other data"),
        ],
    )
    def test_what_is_no_json_is_said_to_be_what_it_is(
        self, fake: FakeServer, http: Http, reply: Reply, said: str
    ) -> None:
        fake.always("/x", reply)
        response = http.get(f"{fake.base}/x")

        with pytest.raises(errors.DiscoveryError, match=said):
            response.json()
        assert response.json_object() is None

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("7", 7.0),
            ("0", 0.0),
            ("9" * 400, 3600.0),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("²", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
            ("Wed, 21 Oct 9999 07:28:00 GMT", 3600.0),
            ("Wed, 99 Oct 2026 07:28:00 GMT", None),
        ],
    )
    def test_retry_after_is_understood_as_seconds_or_as_a_date(
        self, fake: FakeServer, http: Http, header: str, seconds: float | None
    ) -> None:
        fake.always("/x", Reply(503, b"", {"Retry-After": header}))

        assert http.get(f"{fake.base}/x").retry_after == seconds

    def test_a_date_to_retry_after_is_read_by_the_servers_own_clock(
        self, fake: FakeServer, http: Http
    ) -> None:
        """It may differ from ours by hours."""
        dates = {
            "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
            "Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT",
        }
        fake.always("/x", Reply(429, b"", dates))

        assert http.get(f"{fake.base}/x").retry_after == 30.0

    def test_nothing_about_this_machine_is_told(self, fake: FakeServer, http: Http) -> None:
        http.get(f"{fake.base}/x")

        assert fake.requests[-1].headers["user-agent"] == "mcpnb"
        assert set(fake.requests[-1].headers) == {
            "accept",
            "accept-encoding",
            "connection",
            "host",
            "user-agent",
        }


def raised(error: Exception, *causes: Exception) -> Exception:
    """Give an error as it comes out of a library: each cause is that of the one before."""
    for outer, inner in zip((error, *causes), causes, strict=False):
        outer.__cause__ = inner
    return error


class TestReasons:
    """The same words for a sign-in and a call, and none of a library's own."""

    @pytest.mark.parametrize("library", [httpx, httpx2])
    @pytest.mark.parametrize(
        ("cause", "said"),
        [
            (ConnectionRefusedError(errno.ECONNREFUSED, "whatever"), "“Connection refused”"),
            (
                socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
                "“name resolution failed: Name or service not known”",
            ),
            (
                ExceptionGroup("", [OSError(errno.ENETUNREACH, ""), OSError(errno.EPERM, "")]),
                "“Network is unreachable”",
            ),
            (TimeoutError("timed out"), "“all attempts failed”"),
        ],
        ids=["refused", "no such name", "several addresses", "no number"],
    )
    def test_the_systems_own_words_are_said(
        self, library: object, cause: Exception, said: str
    ) -> None:
        error = raised(library.ConnectError("all attempts failed"), OSError("wrapped"), cause)  # type: ignore[attr-defined]

        assert reason(error) == said

    def test_an_error_of_tls_is_not_looked_up_among_those_of_the_system(self) -> None:
        """Its number is 1, which there means “Operation not permitted”."""
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname()) as plain,
            server.accept()[0] as other,
        ):
            other.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with pytest.raises(ssl.SSLError) as caught:
                ssl._create_unverified_context().wrap_socket(plain)  # noqa: SLF001, S323
        error = raised(httpx.ConnectError("[SSL] whatever"), caught.value)

        assert reason(error) == f"“TLS failed: {caught.value.reason}”"

    def test_an_error_without_words_is_named_by_its_kind(self) -> None:
        assert reason(httpx.ReadError("")) == "“ReadError”"
