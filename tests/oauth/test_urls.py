"""Addresses: well-known ones, canonical ones, and which stand for the same thing."""

from __future__ import annotations

import httpx2
import pytest

from mcpnb import errors
from mcpnb.oauth.urls import (
    authorization_server_urls,
    canonical_server,
    host_of,
    is_loopback_host,
    origin_of,
    protected_resource_urls,
    require_endpoint,
    resource_covers,
    root_of,
    same_issuer,
)

H = "https://h"
PRM, AS, OIDC = (
    f"/.well-known/{name}"
    for name in ("oauth-protected-resource", "oauth-authorization-server", "openid-configuration")
)


@pytest.mark.parametrize(
    ("server", "urls"),
    [
        (f"{H}/public/mcp", [f"{H}{PRM}/public/mcp", H + PRM]),
        (H, [H + PRM]),
        (f"{H}/", [H + PRM]),
        (f"{H}/mcp/", [f"{H}{PRM}/mcp", H + PRM]),
        (f"{H}/mcp?tenant=1", [f"{H}{PRM}/mcp?tenant=1", H + PRM]),
        (f"{H}:8443/mcp", [f"{H}:8443{PRM}/mcp", f"{H}:8443{PRM}"]),
        ("http://[::1]:9/a/b", [f"http://[::1]:9{PRM}/a/b", f"http://[::1]:9{PRM}"]),
    ],
)
def test_where_protected_resource_metadata_is(server: str, urls: list[str]) -> None:
    """RFC 9728 section 3.1."""
    assert protected_resource_urls(server) == urls


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        (f"{H}/tenant1", [f"{H}{AS}/tenant1", f"{H}{OIDC}/tenant1", f"{H}/tenant1{OIDC}"]),
        (f"{H}/t/v2.0/", [f"{H}{AS}/t/v2.0", f"{H}{OIDC}/t/v2.0", f"{H}/t/v2.0{OIDC}"]),
        (H, [H + AS, H + OIDC]),
        (f"{H}:444/", [f"{H}:444{AS}", f"{H}:444{OIDC}"]),
    ],
)
def test_where_authorization_server_metadata_is(issuer: str, urls: list[str]) -> None:
    """RFC 8414 section 3.1, OIDC Discovery section 4: the specification's order, no more."""
    assert authorization_server_urls(issuer) == urls


def test_where_a_server_of_2025_03_26_has_its_endpoints() -> None:
    assert root_of("https://h:8/v1/mcp?x=1") == "https://h:8"


SAME = [
    *(
        ("https://a", "https://a"),
        ("https://a/", "https://a"),
        ("https://a:8443/", "https://a:8443"),
    ),
    ("", ""),
]
DIFFERENT = [
    *(("https://a//", "https://a/"), ("https://a//", "https://a"), ("https://a/t", "https://a/t/")),
    *(("https://a/t", "https://a/T"), ("https://A", "https://a"), ("HTTPS://a", "https://a")),
    *(("https://a:443", "https://a"), ("https://a/%74", "https://a/t"), ("http://a", "https://a")),
    *(
        ("https://a", "https://a.evil"),
        ("https://a", "https://a@evil"),
        ("https://a?", "https://a"),
    ),
    *(("https://a#", "https://a"), ("", "/")),
]


@pytest.mark.threat("issuer-that-looks-alike")
@pytest.mark.parametrize(("left", "right"), SAME + DIFFERENT)
def test_issuers_are_compared_byte_for_byte_with_one_tolerance(left: str, right: str) -> None:
    """RFC 8414 section 3.3; a bare origin may have its slash or not."""
    assert same_issuer(left, right) is same_issuer(right, left) is ((left, right) in SAME)


COVERING = (
    *("https://h/mcp", "https://h", "https://h/", "https://h/mcp/", "https://H:443/mcp"),
    "https://h/mcp?x=1",
)
FOREIGN = (
    *("https://h/mc", "https://h/mcp/deeper", "https://h/MCP", "http://h/mcp"),
    *("https://h:8443/mcp", "https://evil.example/mcp", "https://h.evil.example"),
    *("https://h@evil.example/mcp", "https://evil.example@h/mcp", "https://a:b@h/mcp"),
    *("https://h/mcp#https://other.example", "https://h/mcp#", "https://h/mcp?" + "x" * 3000),
    *("https://h /mcp", "https://h:x/mcp", "https://[bad/mcp", "urn:mcp", ""),
)


@pytest.mark.threat("resource-that-looks-alike", "resource-in-disguise")
@pytest.mark.parametrize(
    ("resource", "server", "covers"),
    [
        *((resource, "https://h/mcp", True) for resource in COVERING),
        *((resource, "https://h/mcp", False) for resource in FOREIGN),
        ("https://h/a", "https://h/a/b/c", True),
        ("https://h/mcp", "https://h/mcpx", False),
        ("https://h/mcp?team=b", "https://h/mcp?team=a", False),
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
        *("", "mcp.example/mcp", "//mcp.example/mcp", "https://", "https:///mcp"),
        *("ftp://h/mcp", "file:///etc/passwd", "javascript:alert(1)"),
        *("https://h:x/mcp", "https://h:99999/mcp", "https://[::1/mcp"),
        *("https://user:password@h/mcp", "https://token@h/mcp"),
        *("http://mcp.example/mcp", "http://192.168.0.1/mcp"),
        *("http://localhost.example/mcp", "http://127.0.0.1.example/mcp"),
        *("https://h /mcp", "https://h/a b", "https://h/\x1b[31m", "https://h/\u202emcp"),
    ],
)
def test_what_is_no_servers_address_is_a_clear_error(url: str) -> None:
    """In one line, without control characters, and without the password."""
    with pytest.raises(errors.ConfigError) as caught:
        canonical_server(url)

    assert str(caught.value).isprintable()
    assert "password@" not in str(caught.value)
    assert ("its operator has to set up TLS" in str(caught.value)) == url.startswith("http:")


@pytest.mark.parametrize(
    "url",
    [
        *("https://as.example/token", "HTTPS://AS.example/token", "https://10.0.0.1/token"),
        *("http://localhost:1/token", "http://127.8.9.1/token", "http://[::1]:9/token"),
        *("https://as.example:8443/token?x=1", "https://as.example/".ljust(2000, "x")),
    ],
)
def test_an_endpoint_is_taken_as_it_was_written(url: str) -> None:
    assert require_endpoint(url, "token_endpoint") == url


NO_ENDPOINT: list[object] = [
    *(None, 7, "", ["https://a"], "https://a:x/", "https://[a/", "https://a/\n", " https://a/"),
    *("https://a/\ud800", "https://as.example/".ljust(2001, "x")),
]
REFUSED = [
    *("/token", "javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd"),
    *("ftp://a/", "ws://a/", "http://as.example/token", "http://0.0.0.0/token"),
    *("http://localhost.evil.example/", "https:///token", "https://user:word@as.example/"),
    *("https://@as.example/", "https://:@as.example/", "http://@127.0.0.1/"),
]


@pytest.mark.threat("plain-http", "dangerous-address", "credentials-in-an-endpoint")
@pytest.mark.threat("address-that-reads-two-ways", "endpoint-without-end")
@pytest.mark.parametrize(
    ("url", "kind"),
    [
        *((url, errors.DiscoveryError) for url in NO_ENDPOINT),
        *((url, errors.ProtocolError) for url in REFUSED),
    ],
)
def test_an_endpoint_of_another_kind_is_refused(url: object, kind: type[Exception]) -> None:
    """And the message says which one it was."""
    with pytest.raises(kind, match="token_endpoint"):
        require_endpoint(url, "token_endpoint")


LOOPBACK = ("localhost", "LocalHost", "127.0.0.1", "127.255.255.254", "::1")
ELSEWHERE = (
    *("0.0.0.0", "128.0.0.1", "localhost.example", "127.0.0.1.nip.io"),  # noqa: S104
    *("2130706433", "0x7f.1", "", None),
)


@pytest.mark.parametrize("host", LOOPBACK + ELSEWHERE)
def test_this_machine_is_only_what_says_so(host: str | None) -> None:
    """RFC 8252 section 7.3; no other spelling counts."""
    assert is_loopback_host(host) is (host in LOOPBACK)


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
