"""Where a server has the person's browser sent: never from outside into their own network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from mcpnb import errors
from mcpnb.login import Deps, SignInRequest
from mcpnb.login.clients import Registrations
from mcpnb.login.pending import PendingLogin
from mcpnb.login.redirects import Redirect
from mcpnb.login.request import authorization_request, device_request
from mcpnb.oauth.http import Http
from mcpnb.oauth.models import AuthorizationServer, Discovery, ServerConfig
from mcpnb.oauth.urls import require_page
from mcpnb.stores import MemoryStore
from mcpnb.tokens import TokenSource
from tests.fakes.server import FakeServer
from tests.login.test_device import OtherDevice

PUBLIC = "https://mcp.example/mcp"
ISSUER = "https://as.example"
INSIDE = [
    "https://192.168.1.1/reboot",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://169.254.169.254/",
    "https://100.64.0.1/",
    "http://127.0.0.1:8888/",
    "http://[::1]:8888/",
    "https://[fd00::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fec0::1]/",
    "http://localhost:8888/",
    "https://LocalHost./",
    "https://router.localhost/",
    "https://0.0.0.0/",
]
IN_DISGUISE = [
    "https://[::ffff:192.168.1.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[2002:c0a8:101::1]/",
    "https://[64:ff9b::c0a8:101]/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f.0.0.1/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://192.168.1.1./",
    "https://127%2e0.0.1/",
    "https://%6cocalhost/",
    "https://local%C2%ADhost/",
    "https://１２７.０.０.１/",  # noqa: RUF001  wide digits, which browsers narrow
    "https://127。0。0。1/",
    "https://ⓛocalhost/",
    "https://local\ufe0fhost/",
]


@pytest.mark.threat("browser-led-inside")
@pytest.mark.parametrize("url", INSIDE + IN_DISGUISE)
def test_a_public_server_leads_nobody_into_their_own_network(url: str) -> None:
    """Whatever browsers take for such an address counts."""
    with pytest.raises(errors.ProtocolError, match=r"verification_uri .* allow_private_network"):
        require_page(url, "verification_uri", server=PUBLIC, allow_private=False)


@pytest.mark.parametrize("url", INSIDE)
@pytest.mark.parametrize(
    "server",
    [
        "http://127.0.0.1:8000/mcp",
        "http://localhost:1/mcp",
        "https://10.1.2.3",
        "https://[fd00::2]",
    ],
)
def test_a_server_of_that_network_may(url: str, server: str) -> None:
    assert require_page(url, "page", server=server, allow_private=False) == url


@pytest.mark.parametrize("url", INSIDE + IN_DISGUISE)
def test_so_may_any_where_configuration_allows_it(url: str) -> None:
    assert require_page(url, "page", server=PUBLIC, allow_private=True) == url


@pytest.mark.parametrize(
    "url",
    [
        "https://as.example/authorize",
        "https://as.example:8443/authorize?x=1",
        "https://bücher.example/",
        "https://例え.テスト/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https://[::ffff:8.8.8.8]/",
        "https://localhost.example/",
        "https://mylocalhost/",
        "https://127.0.0.1.as.example/",
        "https://1password.example/",
        "https://as.0xyz/",
    ],
)
@pytest.mark.parametrize("server", [PUBLIC, "http://127.0.0.1:8000/mcp"])
def test_a_page_outside_is_taken_as_it_was_written(url: str, server: str) -> None:
    assert require_page(url, "page", server=server, allow_private=False) == url


class TestASignIn:
    @pytest.fixture
    def http(self, fake: FakeServer) -> Iterator[Http]:
        """Open what reaches the fake only: that of a server of this machine."""
        with closing(Http(fake.url)) as http:
            yield http

    def discovery(self, authorize: str, device: str | None = None) -> Discovery:
        """Say what was found out of a public server."""
        server = AuthorizationServer(
            issuer=ISSUER,
            authorization_endpoint=authorize,
            token_endpoint=f"{ISSUER}/token",
            device_authorization_endpoint=device,
        )
        return Discovery(PUBLIC, PUBLIC, None, server)

    def config(self, *, allowed: bool) -> ServerConfig:
        """Give what a person configured of it, with a client of their own."""
        return ServerConfig(PUBLIC, client_id="mine", issuer=ISSUER, allow_private_network=allowed)

    def deps(self, http: Http, *, allowed: bool) -> Deps:
        config = self.config(allowed=allowed)
        deps = Deps.of(config, TokenSource(config, MemoryStore()), None)
        deps.http.close()
        clients = Registrations(config, deps.tokens.store, http)
        return replace(deps, http=http, clients=clients)

    def in_the_browser(self, http: Http, authorize: str, *, allowed: bool) -> PendingLogin:
        redirect = Redirect("paste", "http://127.0.0.1:1/callback", known=True, comes_again=True)
        return authorization_request(
            SignInRequest(), self.deps(http, allowed=allowed), self.discovery(authorize), redirect
        )

    def on_a_device(self, http: Http, fake: FakeServer, *, allowed: bool) -> PendingLogin:
        discovery = self.discovery(f"{ISSUER}/authorize", f"{fake.base}/device_authorization")
        return device_request(SignInRequest(), self.deps(http, allowed=allowed), discovery)

    @pytest.mark.threat("browser-led-inside")
    def test_opens_no_page_inside(self, fake: FakeServer, http: Http) -> None:
        inside = "https://192.168.1.1/reboot"
        with pytest.raises(errors.ProtocolError, match="authorization_endpoint"):
            self.in_the_browser(http, inside, allowed=False)
        assert self.in_the_browser(http, inside, allowed=True).request.url.startswith(inside)
        pending = self.in_the_browser(http, f"{ISSUER}/authorize", allowed=False)
        assert pending.request.url.startswith(f"{ISSUER}/authorize?")
        assert fake.requests == []

    @pytest.mark.threat("browser-led-inside")
    @pytest.mark.parametrize("inside", ["verification_uri", "verification_uri_complete"])
    def test_shows_none_for_another_device(self, fake: FakeServer, http: Http, inside: str) -> None:
        phone = OtherDevice(fake)
        phone.answer |= {
            "verification_uri": f"{ISSUER}/device",
            "verification_uri_complete": f"{ISSUER}/device?user_code=WDJB-MJHT",
        }
        assert self.on_a_device(http, fake, allowed=False).request.url.startswith(ISSUER)
        phone.answer |= {"verification_uri_complete": None, inside: "https://10.0.0.1/device"}
        with pytest.raises(errors.ProtocolError, match="verification_uri"):
            self.on_a_device(http, fake, allowed=False)
        assert self.on_a_device(http, fake, allowed=True).request.url == "https://10.0.0.1/device"
