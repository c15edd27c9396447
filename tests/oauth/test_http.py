"""What our own traffic takes for an answer: redirects, sizes, times, and broken connections."""

from __future__ import annotations

import datetime as dt
import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mcpnb import errors
from mcpnb.oauth.http import MAX_BODY, Http
from tests.fakes.people import free_port
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, html, redirect

Talk = Callable[[socket.socket], None]


@pytest.fixture
def http(fake: FakeServer) -> Iterator[Http]:
    policy = Http(fake.url)
    yield policy
    policy.close()


@pytest.fixture
def raw() -> Iterator[Callable[[Talk], str]]:
    """Serve one connection byte by byte; give its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threads: list[threading.Thread] = []

        def serve(talk: Talk) -> str:
            def run() -> None:
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(10)
                    try:
                        talk(connection)
                    except OSError:
                        return

            threads.append(threading.Thread(target=run, daemon=True))
            threads[-1].start()
            return f"http://127.0.0.1:{listening.getsockname()[1]}/x"

        yield serve
        for thread in threads:
            thread.join(10)


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("relative", [True, False])
    def test_one_within_the_origin_is_followed_for_a_get(
        self, fake: FakeServer, http: Http, status: int, *, relative: bool
    ) -> None:
        fake.routes["/new"] = lambda _: Reply(200, {"a": 1})
        fake.script("/old", redirect("new" if relative else f"{fake.base}/new", status))

        answer = http.get(f"{fake.base}/old")

        assert answer.json() == {"a": 1}
        assert answer.url == f"{fake.base}/new"

    @pytest.mark.threat("redirect-of-discovery")
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

    @pytest.mark.threat("redirect-with-a-secret")
    @pytest.mark.parametrize("status", [302, 307, 308])
    def test_none_is_followed_with_a_secret(
        self, fake: FakeServer, http: Http, status: int
    ) -> None:
        fake.always("/token", redirect("/elsewhere", status))

        assert http.post_form(f"{fake.base}/token", "code=1", {}).status == status
        assert http.post_json(f"{fake.base}/token", {"a": 1}).status == status
        assert fake.asked("/elsewhere") == []


class TestSizes:
    def test_a_body_of_just_the_limit_is_read(self, fake: FakeServer, http: Http) -> None:
        fake.always("/x", Reply(200, b"x" * MAX_BODY))

        assert len(http.get(f"{fake.base}/x").body) == MAX_BODY

    @pytest.mark.threat("huge-body")
    def test_one_byte_more_is_not(self, fake: FakeServer, http: Http) -> None:
        fake.always("/x", Reply(200, b"x" * (MAX_BODY + 1)))

        with pytest.raises(errors.DiscoveryError, match="1024 KiB"):
            http.get(f"{fake.base}/x")

    @pytest.mark.threat("decompression-bomb")
    def test_what_unpacks_to_more_is_not_either(self, fake: FakeServer, http: Http) -> None:
        packed = gzip.compress(b"x" * 30_000_000)
        fake.always("/x", Reply(200, packed, {"Content-Encoding": "gzip"}))

        with pytest.raises(errors.DiscoveryError, match="1024 KiB"):
            http.get(f"{fake.base}/x")

    def test_a_broken_packing_is_a_clear_error(self, fake: FakeServer, http: Http) -> None:
        fake.always("/x", Reply(200, b"no gzip", {"Content-Encoding": "gzip"}))

        with pytest.raises(errors.ServerError):
            http.get(f"{fake.base}/x")

    @pytest.mark.threat("endless-stream")
    def test_of_a_probe_only_the_head_is_read(self, raw: Callable[[Talk], str]) -> None:
        """An event stream would never end."""
        read_on = threading.Event()

        def stream(connection: socket.socket) -> None:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hi\n")
            read_on.wait(10)

        url = raw(stream)
        policy = Http(url)
        try:
            answer = policy.probe("GET", url, headers={})
        finally:
            read_on.set()
            policy.close()

        assert (answer.status, answer.body) == (200, b"")


class TestTimes:
    @pytest.mark.slow
    @pytest.mark.threat("slow-drip")
    def test_an_answer_that_drips_is_given_up(
        self, raw: Callable[[Talk], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each byte comes in time, the whole does not."""
        monkeypatch.setattr("mcpnb.oauth.http._TOTAL", 0.3)
        stop = threading.Event()

        def drip(connection: socket.socket) -> None:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
            while not stop.wait(0.05):
                connection.sendall(b"x")

        url = raw(drip)
        policy = Http(url)
        try:
            with pytest.raises(errors.ServerUnreachable, match="longer than") as caught:
                policy.get(url)
        finally:
            stop.set()
            policy.close()
        assert caught.value.sent

    @pytest.mark.slow
    def test_silence_is_given_up(
        self, raw: Callable[[Talk], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mcpnb.oauth.http._READ", 0.2)
        stop = threading.Event()

        def say_nothing(_: socket.socket) -> None:
            stop.wait(10)

        url = raw(say_nothing)
        policy = Http(url)
        try:
            with pytest.raises(errors.ServerUnreachable, match="did not respond") as caught:
                policy.get(url)
        finally:
            stop.set()
            policy.close()
        assert caught.value.sent, "nobody knows whether it was processed"


class TestBrokenConnections:
    def test_a_refused_one_was_surely_not_processed(self, http: Http) -> None:
        with pytest.raises(errors.ServerUnreachable, match="cannot be reached") as caught:
            http.post_form(f"http://127.0.0.1:{free_port()}/token", "a=1", {})

        assert not caught.value.sent

    def test_one_that_broke_may_have_been(self, fake: FakeServer, http: Http) -> None:
        fake.always("/token", Reply(drop=True))

        with pytest.raises(errors.ServerUnreachable, match="broke") as caught:
            http.post_form(f"{fake.base}/token", "a=1", {})
        assert caught.value.sent

    @pytest.mark.parametrize("sent", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 abc\r\n\r\n"])
    def test_what_does_not_speak_http_is_a_clear_error(
        self, raw: Callable[[Talk], str], sent: bytes
    ) -> None:
        def talk(connection: socket.socket) -> None:
            connection.recv(65_536)
            connection.sendall(sent)

        url = raw(talk)
        policy = Http(url)
        try:
            with pytest.raises(errors.ServerUnreachable) as caught:
                policy.get(url)
        finally:
            policy.close()
        assert str(caught.value).isprintable()


class TestTls:
    @pytest.fixture
    def secured(self, tmp_path: Path) -> Iterator[tuple[int, list[str | None]]]:
        """A port with a certificate that nobody signed, and the names asked for there."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "own.example")])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        (tmp_path / "server.pem").write_bytes(
            certificate.public_bytes(pem)
            + key.private_bytes(
                pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem")
        asked: list[str | None] = []

        def remember(_: ssl.SSLObject, server: str | None, __: ssl.SSLContext) -> None:
            asked.append(server)

        context.sni_callback = remember
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def serve() -> None:
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(10)
                    try:
                        context.wrap_socket(connection, server_side=True).close()
                    except OSError:
                        return

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            yield listening.getsockname()[1], asked
            thread.join(10)

    @pytest.mark.threat("pinned-address-without-name")
    def test_an_untrusted_certificate_is_said_to_be_one(
        self, secured: tuple[int, list[str | None]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The address is pinned, and the name is still what TLS asks for and verifies."""
        port, asked = secured
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *a, **k: real("127.0.0.1" if host == "own.example" else host, *a, **k),
        )
        policy = Http(f"https://own.example:{port}/mcp")
        try:
            with pytest.raises(errors.ServerUnreachable, match="not trusted") as caught:
                policy.get(f"https://own.example:{port}/x")
        finally:
            policy.close()
        assert not caught.value.sent
        assert asked == ["own.example"]


class TestAnswers:
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
        answer = http.get(f"{fake.base}/x")

        with pytest.raises(errors.DiscoveryError, match=said):
            answer.json()
        assert answer.json_object() is None

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
