"""Addresses: well-known ones, canonical ones, and which stand for the same thing."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpnb import errors
from mcpnb.oauth.metadata import (
    authorization_server_urls,
    legacy_endpoints,
    protected_resource_urls,
)
from mcpnb.oauth.urls import (
    canonical_server,
    host_of,
    is_loopback_host,
    origin_of,
    require_endpoint,
    require_page,
    resource_covers,
    same_issuer,
)

H = "https://h"
PRM = "https://h/.well-known/oauth-protected-resource"


@pytest.mark.parametrize(
    ("server", "urls"),
    [
        (f"{H}/public/mcp", [f"{PRM}/public/mcp", PRM]),
        (H, [PRM]),
        (f"{H}/", [PRM]),
        (f"{H}/mcp/", [f"{PRM}/mcp", PRM]),
        (f"{H}/mcp?tenant=1", [f"{PRM}/mcp?tenant=1", PRM]),
        (
            "https://h:8443/mcp",
            [
                "https://h:8443/.well-known/oauth-protected-resource/mcp",
                "https://h:8443/.well-known/oauth-protected-resource",
            ],
        ),
        (
            "http://[::1]:9/a/b",
            [
                "http://[::1]:9/.well-known/oauth-protected-resource/a/b",
                "http://[::1]:9/.well-known/oauth-protected-resource",
            ],
        ),
    ],
)
def test_where_protected_resource_metadata_is(server: str, urls: list[str]) -> None:
    """RFC 9728 section 3.1."""
    assert protected_resource_urls(server) == urls


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        (
            "https://a/tenant1",
            [
                "https://a/.well-known/oauth-authorization-server/tenant1",
                "https://a/.well-known/openid-configuration/tenant1",
                "https://a/tenant1/.well-known/openid-configuration",
            ],
        ),
        (
            "https://a/t/v2.0/",
            [
                "https://a/.well-known/oauth-authorization-server/t/v2.0",
                "https://a/.well-known/openid-configuration/t/v2.0",
                "https://a/t/v2.0/.well-known/openid-configuration",
            ],
        ),
        (
            "https://a",
            [
                "https://a/.well-known/oauth-authorization-server",
                "https://a/.well-known/openid-configuration",
            ],
        ),
        (
            "https://a:444/",
            [
                "https://a:444/.well-known/oauth-authorization-server",
                "https://a:444/.well-known/openid-configuration",
            ],
        ),
    ],
)
def test_where_authorization_server_metadata_is(issuer: str, urls: list[str]) -> None:
    """RFC 8414 section 3.1, OIDC Discovery section 4: the specification's order, no more."""
    assert authorization_server_urls(issuer) == urls


def test_where_a_server_of_2025_03_26_has_its_endpoints() -> None:
    assert legacy_endpoints("https://h:8/v1/mcp?x=1") == (
        "https://h:8",
        "https://h:8/authorize",
        "https://h:8/token",
        "https://h:8/register",
    )


@pytest.mark.threat("issuer-that-looks-alike")
@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("https://a", "https://a", True),
        ("https://a/", "https://a", True),
        ("https://a", "https://a/", True),
        ("https://a:8443/", "https://a:8443", True),
        ("https://a//", "https://a/", False),
        ("https://a//", "https://a", False),
        ("https://a/t", "https://a/t/", False),
        ("https://a/t", "https://a/T", False),
        ("https://A", "https://a", False),
        ("HTTPS://a", "https://a", False),
        ("https://a:443", "https://a", False),
        ("https://a/%74", "https://a/t", False),
        ("http://a", "https://a", False),
        ("https://a", "https://a.evil", False),
        ("https://a", "https://a@evil", False),
        ("https://a?", "https://a", False),
        ("https://a#", "https://a", False),
        ("", "", True),
        ("", "/", False),
    ],
)
def test_issuers_are_compared_byte_for_byte_with_one_tolerance(
    left: str, right: str, *, same: bool
) -> None:
    """RFC 8414 section 3.3; a bare origin may have its slash or not."""
    assert same_issuer(left, right) is same
    assert same_issuer(right, left) is same


@pytest.mark.threat("resource-that-looks-alike", "resource-in-disguise")
@pytest.mark.parametrize(
    ("resource", "server", "covers"),
    [
        ("https://h/mcp", "https://h/mcp", True),
        ("https://h", "https://h/mcp", True),
        ("https://h/", "https://h/mcp", True),
        ("https://h/mcp/", "https://h/mcp", True),
        ("https://h/a", "https://h/a/b/c", True),
        ("https://H:443/mcp", "https://h/mcp", True),
        ("https://h/mcp?x=1", "https://h/mcp", True),
        ("https://h/mc", "https://h/mcp", False),
        ("https://h/mcp", "https://h/mcpx", False),
        ("https://h/mcp/deeper", "https://h/mcp", False),
        ("https://h/MCP", "https://h/mcp", False),
        ("http://h/mcp", "https://h/mcp", False),
        ("https://h:8443/mcp", "https://h/mcp", False),
        ("https://evil.example/mcp", "https://h/mcp", False),
        ("https://h.evil.example", "https://h/mcp", False),
        ("https://h@evil.example/mcp", "https://h/mcp", False),
        ("https://h /mcp", "https://h/mcp", False),
        ("https://evil.example@h.example/mcp", "https://h.example/mcp", False),
        ("https://a:b@h.example/mcp", "https://h.example/mcp", False),
        ("https://h.example/mcp#https://other.example", "https://h.example/mcp", False),
        ("https://h.example/mcp#", "https://h.example/mcp", False),
        ("https://h.example/mcp?team=b", "https://h.example/mcp?team=a", False),
        ("https://h.example/mcp?" + "x" * 3000, "https://h.example/mcp", False),
        ("https://h:x/mcp", "https://h/mcp", False),
        ("https://[bad/mcp", "https://h/mcp", False),
        ("urn:mcp", "https://h/mcp", False),
        ("", "https://h/mcp", False),
    ],
)
def test_a_resource_covers_what_is_below_it_on_its_origin(
    resource: str, server: str, *, covers: bool
) -> None:
    """RFC 9728 section 3.3, as the official SDKs read it.

    It goes into the request, and onto the page where people agree to it.
    """
    assert resource_covers(resource, server) is covers


@pytest.mark.parametrize(
    ("given_url", "canonical"),
    [
        ("https://mcp.example/mcp", "https://mcp.example/mcp"),
        ("HTTPS://MCP.Example/Mcp", "https://mcp.example/Mcp"),
        ("  https://h/mcp\n", "https://h/mcp"),
        ("https://h:443/mcp", "https://h/mcp"),
        ("http://localhost:80", "http://localhost"),
        ("https://h:8443/mcp", "https://h:8443/mcp"),
        ("https://h/", "https://h"),
        ("https://h", "https://h"),
        ("https://h/mcp/", "https://h/mcp/"),
        ("https://h/mcp#part", "https://h/mcp"),
        ("https://h/mcp?a=1&b=%2F", "https://h/mcp?a=1&b=%2F"),
        ("https://h/?a=1", "https://h/?a=1"),
        ("http://127.0.0.1:8000/mcp", "http://127.0.0.1:8000/mcp"),
        ("http://[::1]:8000/mcp", "http://[::1]:8000/mcp"),
        ("https://[2001:DB8::1]/mcp", "https://[2001:db8::1]/mcp"),
        ("http://LOCALHOST:1/x", "http://localhost:1/x"),
    ],
)
def test_a_servers_address_has_one_spelling(given_url: str, canonical: str) -> None:
    """RFC 8707 section 2; giving it twice changes nothing."""
    assert canonical_server(given_url) == canonical
    assert canonical_server(canonical) == canonical


@pytest.mark.threat("plain-http")
@pytest.mark.parametrize(
    "url",
    [
        "",
        "mcp.example/mcp",
        "//mcp.example/mcp",
        "ftp://h/mcp",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///mcp",
        "https://h:x/mcp",
        "https://h:99999/mcp",
        "https://[::1/mcp",
        "https://user:password@h/mcp",
        "https://token@h/mcp",
        "http://mcp.example/mcp",
        "http://192.168.0.1/mcp",
        "http://localhost.example/mcp",
        "http://127.0.0.1.example/mcp",
        "https://h /mcp",
        "https://h/a b",
        "https://h/\x1b[31m",
        "https://h/\u202emcp",
    ],
)
def test_what_is_no_servers_address_is_a_clear_error(url: str) -> None:
    """In one line, without control characters, and without the password."""
    with pytest.raises(errors.ConfigError) as caught:
        canonical_server(url)

    assert str(caught.value).isprintable()
    assert "password@" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://as.example/token",
        "HTTPS://AS.example/token",
        "https://as.example:8443/token?x=1",
        "https://10.0.0.1/token",
        "http://localhost:1/token",
        "http://127.8.9.1/token",
        "http://[::1]:9/token",
        "https://as.example/".ljust(2000, "x"),
    ],
)
def test_an_endpoint_is_taken_as_it_was_written(url: str) -> None:
    assert require_endpoint(url, "token_endpoint") == url


@pytest.mark.threat("plain-http")
@pytest.mark.threat(
    "dangerous-address",
    "credentials-in-an-endpoint",
    "address-that-reads-two-ways",
    "endpoint-without-end",
)
@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (None, errors.DiscoveryError),
        (7, errors.DiscoveryError),
        ("", errors.DiscoveryError),
        (["https://a"], errors.DiscoveryError),
        ("https://a:x/", errors.DiscoveryError),
        ("https://[a/", errors.DiscoveryError),
        ("https://a/\n", errors.DiscoveryError),
        (" https://a/", errors.DiscoveryError),
        ("https://a/\ud800", errors.DiscoveryError),
        ("https://as.example/".ljust(2001, "x"), errors.DiscoveryError),
        ("/token", errors.ProtocolError),
        ("javascript:alert(1)", errors.ProtocolError),
        ("data:text/html,x", errors.ProtocolError),
        ("vbscript:x", errors.ProtocolError),
        ("file:///etc/passwd", errors.ProtocolError),
        ("ftp://a/", errors.ProtocolError),
        ("ws://a/", errors.ProtocolError),
        ("http://as.example/token", errors.ProtocolError),
        ("http://0.0.0.0/token", errors.ProtocolError),
        ("http://localhost.evil.example/", errors.ProtocolError),
        ("https:///token", errors.ProtocolError),
        ("https://user:word@as.example/", errors.ProtocolError),
        ("https://@as.example/", errors.ProtocolError),
        ("https://:@as.example/", errors.ProtocolError),
        ("http://@127.0.0.1/", errors.ProtocolError),
    ],
)
def test_an_endpoint_of_another_kind_is_refused(url: object, kind: type[Exception]) -> None:
    """And the message says which one it was."""
    with pytest.raises(kind, match="token_endpoint"):
        require_endpoint(url, "token_endpoint")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LocalHost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("0.0.0.0", False),  # noqa: S104  an address to be refused
        ("128.0.0.1", False),
        ("localhost.example", False),
        ("127.0.0.1.nip.io", False),
        ("2130706433", False),
        ("0x7f.1", False),
        ("", False),
        (None, False),
    ],
)
def test_this_machine_is_only_what_says_so(host: str | None, *, loopback: bool) -> None:
    """RFC 8252 section 7.3; no other spelling counts."""
    assert is_loopback_host(host) is loopback


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.text() | st.text("htps:/@[]?#.1a%\\ ").map("https://{}".format))
def test_any_text_is_an_address_or_a_clear_error(text: str) -> None:
    try:
        canonical = canonical_server(text)
    except errors.ConfigError:
        return
    assert canonical_server(canonical) == canonical
    assert origin_of(canonical)[0] in {"http", "https"}
    assert "@" not in urlsplit(canonical).netloc
    assert resource_covers(canonical, canonical)
    assert all(origin_of(u) == origin_of(canonical) for u in protected_resource_urls(canonical))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.text() | st.text("htps:/@[]?#.1a%\\ ").map("https://{}".format), st.text())
def test_any_endpoint_is_taken_or_refused(text: str, server: str) -> None:
    resource_covers(text, server)
    resource_covers(text, "https://h/mcp")
    try:
        require_endpoint(text, "endpoint")
    except (errors.DiscoveryError, errors.ProtocolError):
        return
    assert origin_of(text)[1]
    assert all(origin_of(url) == origin_of(text) for url in authorization_server_urls(text))


@pytest.mark.parametrize(
    "host", ["bücher.example", "BÜCHER.example", "straße.example", "例え.テスト", "пример.рф"]
)
def test_an_origin_is_the_one_that_http_libraries_ask(host: str) -> None:
    """In the spelling of DNS, and with no mapping: straße.example is not strasse.example."""
    spelled = httpx2.URL(f"https://{host}/mcp").raw_host.decode()

    assert origin_of(f"https://{host}/mcp") == ("https", spelled, 443)
    assert origin_of(f"https://{host}/mcp") == origin_of(f"https://{spelled}/")
    assert resource_covers(f"https://{spelled}/mcp", f"https://{host}/mcp")
    assert origin_of("https://strasse.example") != origin_of("https://straße.example")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://bücher.example/mcp", "xn--bcher-kva.example"),
        ("https://аpple.example", "xn--pple-43d.example"),  # noqa: RUF001  a Cyrillic letter
        ("https://MCP.Example:8443/x@y", "mcp.example:8443"),
        ("https://user:word@mcp.example/", "mcp.example"),
        ("http://[2001:DB8::1]:80/", "[2001:db8::1]:80"),
    ],
)
def test_a_host_is_given_as_it_stands_in_dns(url: str, host: str) -> None:
    """Letters that look alike do not, there."""
    assert host_of(url) == host


# Pages that a server sends the browser to

PUBLIC = "https://mcp.example/mcp"
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
