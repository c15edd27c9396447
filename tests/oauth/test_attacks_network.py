"""Attacks by way of the network that no other test tries: odd addresses, packed, huge answers."""

from __future__ import annotations

import gzip
import ipaddress
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from mcpnb import errors
from mcpnb.oauth.http import Http
from mcpnb.oauth.urls import may_connect
from tests import figures
from tests.fakes.people import connect, sign_in
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, redirect

PUBLIC = "https://public.example/mcp"


@pytest.fixture
def http(fake: FakeServer) -> Iterator[Http]:
    policy = Http(fake.url)
    yield policy
    policy.close()


@pytest.mark.threat("ssrf-unassigned-ipv6")
@pytest.mark.parametrize(
    "address",
    [
        "::ffff:0:10.0.0.1",  # IPv4-translated
        "::ffff:0:169.254.169.254",
        "fec0::1",
        "5f00::1",
        "4000::1",
        "e000::1",
        "100::1",
    ],
)
def test_an_address_that_nobody_was_given_counts_as_private(address: str) -> None:
    figures.add("attacks tried")

    assert not may_connect(ipaddress.ip_address(address), private_ok=False)


@pytest.mark.threat("ssrf-unassigned-ipv6")
@pytest.mark.parametrize("address", ["2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_what_the_world_reaches_is_reached(address: str) -> None:
    """Also by a network that has IPv6 only, and a translator for the rest (RFC 6052)."""
    assert may_connect(ipaddress.ip_address(address), private_ok=False)


@pytest.mark.threat("ssrf-numeric-host")
@pytest.mark.parametrize(
    "host", ["2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.0251.0376", "169.254.169.254."]
)
def test_no_spelling_of_an_address_passes_by_way_of_a_proxy(
    monkeypatch: pytest.MonkeyPatch, fake: FakeServer, host: str
) -> None:
    """A proxy reads all of them, and is often on the very network that has such services."""
    figures.add("attacks tried")
    monkeypatch.setenv("http_proxy", fake.base)
    policy = Http(PUBLIC)
    try:
        with pytest.raises(errors.ServerError):
            policy.get(f"http://{host}/latest/meta-data")
    finally:
        policy.close()

    assert fake.requests == []


@pytest.mark.threat("ssrf-numeric-host")
@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "localhost"])
def test_a_proxy_is_asked_for_no_spelling_of_its_own_loopback(
    monkeypatch: pytest.MonkeyPatch, fakes: Callable[[], FakeServer], host: str
) -> None:
    figures.add("attacks tried")
    fake, proxy = fakes(), fakes()
    monkeypatch.setenv("http_proxy", proxy.base)
    policy = Http(f"http://{host}:{fake.port}/mcp")
    try:
        assert policy.get(f"http://{host}:{fake.port}/mcp").status == 405
    finally:
        policy.close()

    assert proxy.requests == []


@pytest.mark.slow
@pytest.mark.threat("decompression-bomb")
@pytest.mark.parametrize("times", [1, 2, 3])
def test_what_is_packed_costs_no_more_memory_than_what_is_not(
    fake: FakeServer, http: Http, times: int
) -> None:
    """Packed twice, three kilobytes were two gigabytes, made before anybody counted (measured)."""
    figures.add("attacks tried")
    packed = bytes(64_000_000)
    for _ in range(times):
        packed = gzip.compress(packed)
    said = ", ".join(["gzip"] * times)
    fake.always("/x", Reply(200, packed, {"Content-Encoding": said}))
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
def test_an_honest_packed_answer_is_read(fake: FakeServer, http: Http) -> None:
    fake.always("/x", Reply(200, gzip.compress(b'{"a": 1}'), {"Content-Encoding": "GZIP"}))

    assert http.get(f"{fake.base}/x").json() == {"a": 1}
    assert fake.requests[-1].headers["accept-encoding"] == "gzip"


@pytest.mark.slow
@pytest.mark.threat("huge-head")
@pytest.mark.parametrize("many", [False, True])
def test_a_head_of_megabytes_is_not_read_to_its_end(
    fake: FakeServer, http: Http, *, many: bool
) -> None:
    figures.add("attacks tried")
    headers = {f"X-{i}": "a" for i in range(200_000)} if many else {"X": "a" * 3_000_000}
    fake.always("/x", Reply(200, {"a": 1}, headers))

    with pytest.raises(errors.ServerError) as caught:
        http.get(f"{fake.base}/x")
    assert len(str(caught.value)) < 300


@pytest.mark.threat("redirect-of-calls")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_call_is_not_redirected_to_elsewhere(
    fakes: Callable[[], FakeServer], status: int
) -> None:
    """Neither with the token nor without: what it asks for would be somebody else's to read."""
    figures.add("attacks tried")
    fake, other = fakes(), fakes()
    session = connect(fake.url)
    sign_in(session)
    fake.always("/mcp", redirect(other.url, status))

    with pytest.raises(errors.McpnbError):
        session.call("echo", text="for one server only")

    assert other.requests == []


@pytest.mark.slow
@pytest.mark.threat("sse-endpoint-elsewhere")
@pytest.mark.timeout(20)
def test_an_event_stream_cannot_send_calls_to_another_origin(
    fakes: Callable[[], FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older transport's first event says where to post. Nor does it make a call hang."""
    figures.add("attacks tried")
    monkeypatch.setattr("mcpnb.calls.client._CONNECT", 2.0)
    fake, other = fakes(), fakes()
    session = connect(fake.url)
    sign_in(session)
    stream = f"event: endpoint\ndata: {other.url}\n\n".encode()
    events = {"Content-Type": "text/event-stream"}
    fake.routes["/mcp"] = lambda request: (
        Reply(200, stream, events) if request.method == "GET" else Reply(405)
    )

    with pytest.raises(errors.McpnbError):
        session.call("echo", text="hi")

    assert fake.asked("/mcp", "GET")
    assert other.requests == []


@pytest.mark.threat("response-splitting-request")
@pytest.mark.parametrize(
    "url", ["{}/x\r\nX-Injected: 1", "{}/x\nHost: evil", "{}/x HTTP/1.1\r\n\r\nGET /y"]
)
def test_no_line_end_of_an_address_reaches_the_wire(fake: FakeServer, http: Http, url: str) -> None:
    """Neither as a header of its own nor as a second request."""
    figures.add("attacks tried")
    with pytest.raises(errors.ServerError):
        http.get(url.format(fake.base))

    assert fake.requests == []
