"""What a reviewer tried: proxies, lost keys, wrong arguments, names that lead elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.oauth.http import Http
from mcpnb.oauth.models import Secret
from mcpnb.stores import MemoryStore
from tests.fakes.people import answer_of, connect, sign_in, waiting
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply


@pytest.mark.threat("proxy-sees-loopback")
def test_a_proxy_never_sees_calls_of_this_machine(
    fakes: Callable[[], FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loopback is another machine's; the token would go there in clear."""
    fake, proxy = fakes(), fakes()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.base)
    session = connect(fake.url)
    sign_in(session)

    assert session.call("echo", text="direct").text == "direct"

    assert proxy.requests == []


@pytest.mark.threat("idna-lookalike")
def test_a_unicode_name_is_looked_up_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """IDNA 2003 would make strasse.de of straße.de: another owner's domain."""
    asked: list[str] = []

    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        raise OSError("no such name")

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    http = Http("https://straße.de/mcp")
    with pytest.raises(errors.ServerUnreachable):
        http.get("https://straße.de/token")
    http.close()

    assert asked == ["xn--strae-oqa.de"]


def test_configured_credentials_stay_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another client id takes neither the configured secret nor its issuer along."""
    config = tmp_path / "config.toml"
    config.write_text(
        '[mcp_servers.work]\nurl = "https://mcp.example.com/mcp"\n[mcp_servers.work.oauth]\n'
        'client_id = "a"\nclient_secret_env_var = "WORK_SECRET"\nissuer = "https://old.example"\n'
    )
    monkeypatch.setenv("WORK_SECRET", "secret-of-a")
    new = "https://new.example"
    gives: list[dict[str, Any]] = [{}, {"client_id": "b", "issuer": new}, {"issuer": new}]
    plain, other, moved = (
        mcpnb.connect("work", config=config, store=MemoryStore(), **given)._config  # noqa: SLF001
        for given in gives
    )

    assert (plain.client_secret, plain.issuer) == (Secret("secret-of-a"), "https://old.example")
    assert (other.client_id, other.client_secret, other.issuer) == ("b", None, new)
    assert moved.client_secret is None


def test_until_waiting_is_content_with_more(fake: FakeServer) -> None:
    """A consent may be quicker than the program that waits for the address."""
    session = connect(fake.url)
    login, url = waiting(session)
    login.submit(answer_of(url))

    login.wait_for("waiting", timeout=1)
    login.wait_for("signed_in", timeout=1)
    with pytest.raises(errors.LoginTimeout):
        connect(fake.url).login().wait_for("signed_in", timeout=0.01)


def test_a_listener_may_call_back(fake: FakeServer) -> None:
    """Whatever locks it takes: it is called with none of ours held."""
    session = connect(fake.url)
    lock, heard = threading.Lock(), threading.Event()
    login = session.login()

    def view(changed: mcpnb.Login[mcpnb.Session]) -> None:
        with lock:
            assert session.login() is changed or changed.state in ("cancelled", "failed")
            if changed.state == "cancelled":
                heard.set()

    login.on_change(view)
    login.wait_for("waiting", timeout=10)
    with lock:
        login.cancel()

    assert heard.wait(10)


@pytest.mark.slow
def test_the_next_sign_in_gets_the_port_of_the_last(fake: FakeServer) -> None:
    """Cancelled and begun anew at once, also for a client that knows one port only."""
    session = connect(fake.url, client_id="pre", callback_port=0)
    fake.clients["pre"] = {"token_endpoint_auth_method": "none"}
    first, _ = waiting(session)
    assert first.redirect_uri is not None
    port = int(first.redirect_uri.split(":")[2].split("/")[0])
    first.cancel()
    session = connect(fake.url, client_id="pre", callback_port=port)

    for _ in range(5):
        login, _ = waiting(session)
        assert login.redirect_uri == f"http://127.0.0.1:{port}/callback"
        login.cancel()


@pytest.mark.slow
def test_a_timeout_covers_all_of_a_call(fake: FakeServer) -> None:
    """Connecting and listing the tools, too."""
    session = connect(fake.url)
    sign_in(session)
    release = threading.Event()
    fake.script("/mcp", Reply(200, hold=release))
    try:
        with pytest.raises(errors.CallTimeout, match=r"0\.3 seconds"):
            session.options(timeout=0.3).call("echo", text="slow")
    finally:
        release.set()
    assert session.call("echo", text="later").text == "later"


@pytest.mark.parametrize(
    "wrong",
    [
        {"callback_port": 70_000},
        {"callback_port": "x"},
        {"callback_url": "foo"},
        {"callback_url": "http://elsewhere.example/cb"},
        {"registration": "magic"},
        {"store": "cloud"},
        {"scopes": 'a"b'},
    ],
)
def test_a_wrong_argument_is_said_at_once(wrong: dict[str, Any]) -> None:
    """Before anything is listened on or asked for."""
    with pytest.raises(errors.ConfigError):
        mcpnb.connect("https://mcp.example.com/mcp", **wrong)


@pytest.mark.threat("metadata-suppressed")
@pytest.mark.parametrize("status", [429, 503])
def test_metadata_that_cannot_be_had_now_is_not_taken_for_absent(
    fake: FakeServer, status: int
) -> None:
    """Or an overloaded server would send people to its origin's default endpoints."""
    for path in [p for p in fake.routes if p.startswith("/.well-known/")]:
        fake.script(path, Reply(status), Reply(status))

    with pytest.raises(errors.DiscoveryError, match=f"HTTP {status}"):
        connect(fake.url).login().wait(timeout=10)

    assert fake.asked("/register") == []


@pytest.mark.threat("issuer-with-a-query")
@pytest.mark.parametrize("part", ["?file=evil.json&z=", "#part"])
def test_an_issuer_with_a_query_or_a_fragment_is_refused(fake: FakeServer, part: str) -> None:
    """Its well-known address would be whatever that origin serves under a query."""
    fake.describe(authorization_servers=[fake.base + part])

    with pytest.raises(errors.ProtocolError, match="query or a fragment"):
        connect(fake.url).login().wait(timeout=10)


@pytest.mark.threat("proxy-password-shown")
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "odd://127.0.0.1:9", "http://["])
def test_a_proxy_that_cannot_be_used_is_said_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """Its address may hold a password."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    with pytest.raises(errors.ServerUnreachable) as caught:
        mcpnb.discover("https://mcp.example.com/mcp")

    assert proxy not in str(caught.value)
