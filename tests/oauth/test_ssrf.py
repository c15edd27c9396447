"""Where our own traffic may go: addresses are checked, pinned, and never a private surprise.

Only name resolution is faked. The guard of `conftest` refuses every connection that is not to
loopback and names the address: so it also tells which one would have been contacted.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pytest

from mcpnb import errors
from mcpnb.oauth.http import Http
from mcpnb.oauth.models import ServerConfig
from mcpnb.oauth.ssrf import may_connect, require_page
from tests import figures
from tests.fakes.people import until
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply

PUBLIC = "93.184.216.34"
PRIVATE = [
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.8.8.8"),
    *("100.64.0.1", "0.1.2.3", "192.0.0.1", "198.18.0.1", "240.0.0.1", "255.255.255.255"),
    "0.0.0.0",  # noqa: S104  an address to be refused
    *("::", "::1", "fc00::1", "fd12:3456::1", "2001:db8::1"),
]
NEVER = [
    *("169.254.169.254", "169.254.0.1", "224.0.0.1", "fe80::1", "fd00:ec2::254", "ff02::1"),
    *("::ffff:169.254.169.254", "2002:a9fe:a9fe::1", "64:ff9b::a9fe:a9fe", "::a9fe:a9fe"),
]
EMBEDDED = [
    *("::ffff:10.0.0.1", "::ffff:127.0.0.1", "2002:a00:1::", "2002:7f00:1::1", "64:ff9b::a00:1"),
    *("64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2001:0:a00:1::1", "::10.0.0.1", "::127.0.0.1"),
]
UNASSIGNED = ["fec0::1", "5f00::1", "4000::1", "e000::1", "100::1"]
TRANSLATED = ["::ffff:0:10.0.0.1", "::ffff:0:169.254.169.254"]  # RFC 7915


class Names:
    """A name service: each lookup of a name gives the next of its answers, the last one again."""

    def __init__(self, opened: ExitStack) -> None:
        self.opened = opened
        self.answers: dict[str, list[tuple[str, ...]]] = {}
        self.looked_up: list[str] = []
        self.waits: dict[str, threading.Event] = {}
        self._real = socket.getaddrinfo

    def says(self, name: str, *answers: str | tuple[str, ...]) -> None:
        self.answers[name] = [(a,) if isinstance(a, str) else a for a in answers]

    def http(self, server: str = "https://public.example/mcp", **given: Any) -> Http:
        """Open what makes requests for a server, until the end of the test."""
        return self.opened.enter_context(closing(Http(server, **given)))

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **kw: Any) -> Any:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            self.looked_up.append(host)
        else:
            return self._real(host, port, *args, **kw)
        answers = self.answers.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        current = answers.pop(0) if len(answers) > 1 else answers[0]
        if host in self.waits:
            self.waits[host].wait(10)
        return [i for a in current for i in self._real(a, port, *args, **kw)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    with ExitStack() as opened:
        service = Names(opened)
        service.says("localhost", "127.0.0.1")
        service.says("public.example", PUBLIC)
        monkeypatch.setattr(socket, "getaddrinfo", service.getaddrinfo)
        yield service


def url_of(address: str, port: int = 9) -> str:
    return f"http://[{address}]:{port}/x" if ":" in address else f"http://{address}:{port}/x"


@pytest.mark.threat("ssrf-private-address", "ssrf-ipv4-in-ipv6")
@pytest.mark.threat("metadata-leads-inside")
@pytest.mark.parametrize("address", PRIVATE + NEVER + EMBEDDED)
def test_a_public_servers_metadata_leads_to_no_private_network(
    names: Names, fake: FakeServer, address: str
) -> None:
    """Neither by name nor as a literal; loopback counts as private here."""
    names.says("inside.example", address)
    policy = names.http()
    for url in (f"http://inside.example:{fake.port}/x", url_of(address, fake.port)):
        with pytest.raises(errors.ProtocolError, match="allow_private_network"):
            policy.get(url)
        with pytest.raises(errors.ProtocolError):
            policy.send("POST", url, headers={}, content="a=1")

    assert fake.requests == []


@pytest.mark.threat("ssrf-cloud-metadata", "ssrf-ipv4-in-ipv6")
@pytest.mark.parametrize("address", NEVER)
def test_where_cloud_machines_keep_credentials_is_never_contacted(
    names: Names, address: str
) -> None:
    """Not for a private server, not with the override, not even as the server itself."""
    names.says("metadata.internal", address)
    for policy in (
        names.http("http://127.0.0.1/mcp"),
        names.http(allow_private=True),
        names.http("http://metadata.internal/mcp"),
        names.http(url_of(address)),
    ):
        for url in ("http://metadata.internal/x", url_of(address)):
            with pytest.raises(errors.ProtocolError):
                policy.get(url)


# The guard leaves the socket that it stopped to be collected.
@pytest.mark.threat("ssrf-one-of-several")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_of_several_addresses_only_those_allowed_are_tried(names: Names) -> None:
    names.says("mixed.example", ("10.0.0.1", "::ffff:127.0.0.1", PUBLIC))

    with pytest.raises(AssertionError, match=f"connect to {PUBLIC}"):
        names.http().get("http://mixed.example/x")


@pytest.mark.threat("dns-rebinding-at-connect")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_the_checked_address_is_the_one_connected_to(names: Names, fake: FakeServer) -> None:
    """DNS rebinding: public when it is checked, this machine when it would be looked up again."""
    names.says("rebinding.example", PUBLIC, "127.0.0.1")

    with pytest.raises(AssertionError, match=f"connect to {PUBLIC}"):
        names.http().get(f"http://rebinding.example:{fake.port}/x")
    assert names.looked_up.count("rebinding.example") == 1

    with pytest.raises(errors.ProtocolError):
        names.http().get(f"http://rebinding.example:{fake.port}/x")
    assert fake.requests == []


@pytest.mark.threat("private-server-locked-out")
def test_a_name_is_looked_up_once_per_request_and_sent_as_host(
    names: Names, fake: FakeServer
) -> None:
    """The person's own server may be on a private network: it was named on purpose."""
    names.says("dev.example", "127.0.0.1", PUBLIC)
    policy = names.http(f"http://dev.example:{fake.port}/mcp")

    assert policy.get(f"http://dev.example:{fake.port}/mcp").status == 405
    assert names.looked_up == ["dev.example"]
    assert fake.requests[0].headers["host"] == f"dev.example:{fake.port}"


@pytest.mark.threat("private-server-locked-out")
@pytest.mark.parametrize(
    ("server", "allow_private", "addresses"),
    [
        pytest.param("https://dev.example/mcp", False, ["127.0.0.1"], id="of a private server"),
        pytest.param("https://public.example/mcp", True, ["127.0.0.1"], id="as the person allowed"),
        pytest.param("https://dev.example/mcp", False, ["::1", "127.0.0.1"], id="the next address"),
    ],
)
def test_metadata_inside_is_read_where_it_may_be(
    names: Names, fake: FakeServer, server: str, allow_private: object, addresses: list[str]
) -> None:
    """At the first address where somebody listens."""
    names.says("dev.example", "10.1.2.3")
    names.says("as.internal", tuple(addresses))
    http = names.http(server, allow_private=allow_private)

    assert http.get(f"http://as.internal:{fake.port}/nothing").status == 404


@pytest.mark.parametrize("host", ["unknown.example", "x" * 64 + ".example", "a..example"])
def test_a_name_that_nobody_knows_is_unreachable(names: Names, host: str) -> None:
    with pytest.raises((errors.ServerUnreachable, errors.DiscoveryError)) as caught:
        names.http().get(f"http://{host}/x")

    assert not getattr(caught.value, "sent", False)


@pytest.mark.parametrize(
    "url", ["", "x", "/x", "ftp://h/x", "file:///etc/passwd", "http://", "http://h:x/"]
)
def test_what_is_no_http_address_is_a_clear_error(names: Names, url: str) -> None:
    with pytest.raises(errors.DiscoveryError, match="not a usable address"):
        names.http().get(url)


class TestProxies:
    """Through a proxy, names are the proxy's; loopback and private literals still are not."""

    @pytest.mark.threat("proxy-sees-loopback", "ssrf-numeric-host")
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "localhost"])
    def test_loopback_is_always_reached_directly(
        self, monkeypatch: pytest.MonkeyPatch, names: Names, fake: FakeServer, host: str
    ) -> None:
        """A proxy's loopback is another machine."""
        figures.add("attacks tried")
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")

        own = f"http://{host}:{fake.port}/mcp"
        assert names.http(own).get(own).status == 405

    @pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
    def test_a_public_name_is_resolved_by_the_proxy(
        self, monkeypatch: pytest.MonkeyPatch, names: Names, fake: FakeServer, variable: str
    ) -> None:
        monkeypatch.setenv(variable, fake.base)
        fake.routes["/x"] = lambda _: Reply(200, {"from": "proxy"})

        assert names.http().get("http://as.example/x").json() == {"from": "proxy"}
        assert fake.requests[0].target == "http://as.example/x"
        assert names.looked_up == []

    def test_no_proxy_is_honoured(
        self, monkeypatch: pytest.MonkeyPatch, names: Names, fake: FakeServer
    ) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "dev.example")
        names.says("dev.example", "127.0.0.1")

        own = f"http://dev.example:{fake.port}/mcp"
        assert names.http(own).get(own).status == 405

    def test_a_proxy_that_is_down_is_named_as_unreachable(
        self, monkeypatch: pytest.MonkeyPatch, names: Names
    ) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

        with pytest.raises(errors.ServerUnreachable) as caught:
            names.http().get("http://as.example/x")
        assert not caught.value.sent

    @pytest.mark.threat("ssrf-numeric-host", "ssrf-by-proxy")
    @pytest.mark.parametrize(
        "host",
        [
            *("10.0.0.1", "169.254.169.254", "[fd00::1]", "2852039166", "0xa9fea9fe"),
            *("169.254.43518", "0251.0376.0251.0376", "169.254.169.254."),
        ],
    )
    def test_no_spelling_of_an_address_passes_by_way_of_a_proxy(
        self, monkeypatch: pytest.MonkeyPatch, names: Names, fake: FakeServer, host: str
    ) -> None:
        """A proxy reads all of them, and is often on the very network that has such services."""
        figures.add("attacks tried")
        monkeypatch.setenv("http_proxy", fake.base)

        with pytest.raises(errors.ServerError):
            names.http().get(f"http://{host}/latest/meta-data")
        assert fake.requests == []


@pytest.mark.threat("ssrf-unassigned-ipv6")
@pytest.mark.parametrize("address", UNASSIGNED + TRANSLATED)
def test_an_address_that_nobody_was_given_counts_as_private(address: str) -> None:
    figures.add("attacks tried")

    assert not may_connect(ipaddress.ip_address(address), private_ok=False)


@pytest.mark.threat("ssrf-unassigned-ipv6")
@pytest.mark.parametrize("address", ["2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_what_the_world_reaches_is_reached(address: str) -> None:
    """Also by a network that has IPv6 only, and a translator for the rest (RFC 6052)."""
    assert may_connect(ipaddress.ip_address(address), private_ok=False)


class TestOneDeadline:
    """DNS, connecting and the response share the time of a request (faults.md 3.1)."""

    @pytest.mark.slow
    def test_four_silent_addresses_take_no_longer_than_one(
        self, names: Names, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A refresh holds its lock meanwhile, and others wait for that for a minute."""
        monkeypatch.setattr("mcpnb.oauth.http._TOTAL", 1.0)
        addresses = [f"127.0.0.{n}" for n in range(1, 5)]
        with ExitStack() as stack:
            port = 0
            for address in addresses:  # a queue that is full: what comes next is not even refused
                listening = stack.enter_context(socket.create_server((address, port), backlog=0))
                port = listening.getsockname()[1]
                stack.enter_context(socket.create_connection((address, port)))
            names.says("silent.example", tuple(addresses))
            http = names.http(f"http://silent.example:{port}/mcp")
            began = time.monotonic()

            with pytest.raises(errors.ServerUnreachable, match="cannot be reached") as caught:
                http.send("POST", f"http://silent.example:{port}/token", headers={})

            assert time.monotonic() - began < 5
            assert not caught.value.sent

    def test_a_resolver_that_never_answers_is_given_up(
        self, names: Names, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mcpnb.oauth.http._TOTAL", 0.3)
        names.says("slow.example", "127.0.0.1")
        names.waits["slow.example"] = threading.Event()
        began = time.monotonic()
        with pytest.raises(errors.ServerUnreachable, match="name resolution") as caught:
            names.http("http://slow.example/mcp").get("http://slow.example/mcp")
        names.waits["slow.example"].set()

        assert time.monotonic() - began < 5
        assert not caught.value.sent


@pytest.mark.threat("dns-rebinding-of-the-server")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_server_once_seen_to_be_public_stays_so_whatever_a_slow_look_up_says(
    names: Names, fake: FakeServer
) -> None:
    """Two threads look its name up; the private address comes last, and opens nothing."""
    names.says("own.example", "10.0.0.1", PUBLIC)
    names.says("as.internal", "127.0.0.1")
    names.waits["own.example"] = held = threading.Event()
    policy = names.http("http://own.example/mcp")
    with ThreadPoolExecutor(1) as pool:
        inside = pool.submit(policy.get, f"http://as.internal:{fake.port}/x")
        until(lambda: "own.example" in names.looked_up)
        del names.waits["own.example"]
        with pytest.raises(AssertionError, match=f"connect to {PUBLIC}"):
            policy.get("http://own.example/mcp")
        held.set()

        with pytest.raises(errors.ProtocolError):
            inside.result(10)
    assert fake.requests == []


# Pages that a server sends the browser to

INSIDE = [
    *("192.168.1.1", "10.0.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "127.0.0.1:8888"),
    *("[::1]:8888", "[fd00::1]", "[fe80::1%25eth0]", "[fec0::1]"),
    *("localhost:8888", "LocalHost.", "router.localhost"),
    "0.0.0.0",  # noqa: S104  an address to be refused
]
IN_DISGUISE = [
    *("[::ffff:192.168.1.1]", "[::ffff:7f00:1]", "[2002:c0a8:101::1]", "[64:ff9b::c0a8:101]"),
    *("127.1", "2130706433", "0x7f.0.0.1", "0x7f000001", "0177.0.0.1", "192.168.1.1."),
    *("127%2e0.0.1", "%6cocalhost", "local%C2%ADhost", "ⓛocalhost", "local\ufe0fhost"),
    *("１２７.０.０.１", "127。0。0。1"),  # noqa: RUF001  wide digits and dots: browsers narrow them
]
OUTSIDE = [
    *("as.example", "as.example:8443", "bücher.example", "例え.テスト"),
    *("8.8.8.8", "[2606:4700::1111]", "[::ffff:8.8.8.8]"),
    *("localhost.example", "mylocalhost", "127.0.0.1.as.example", "1password.example", "as.0xyz"),
]


@pytest.mark.threat("browser-led-inside")
@pytest.mark.parametrize("host", INSIDE + IN_DISGUISE)
def test_a_public_server_leads_nobody_into_their_own_network(host: str) -> None:
    """Whatever browsers take for such an address counts."""
    page = f"https://{host}/reboot?x=1"
    with pytest.raises(errors.ProtocolError, match=r"verification_uri .* allow_private_network"):
        require_page(page, "verification_uri", ServerConfig("https://mcp.example/mcp"))
    require_page(page, "page", ServerConfig("https://mcp.example", allow_private_network=True))


@pytest.mark.parametrize("host", INSIDE + OUTSIDE)
@pytest.mark.parametrize("server", ["127.0.0.1:1/mcp", "localhost:1", "10.1.2.3", "[fd00::2]"])
def test_a_server_of_that_network_may_lead_there(host: str, server: str) -> None:
    require_page(f"http://{host}/", "page", ServerConfig(f"http://{server}"))


@pytest.mark.parametrize("host", OUTSIDE)
def test_a_public_server_leads_to_any_page_outside(host: str) -> None:
    require_page(f"https://{host}/authorize", "page", ServerConfig("https://mcp.example/mcp"))
