"""Metadata documents of every shape (RFC 9728, RFC 8414)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx
from hypothesis import strategies as st

from mcpnb.oauth import metadata
from mcpnb.oauth.http import Response
from mcpnb.oauth.models import AuthorizationServer, ProtectedResource
from mcpnb.oauth.registration import metadata as client_metadata
from mcpnb.oauth.scopes import chosen
from mcpnb.oauth.ssrf import require_page
from mcpnb.oauth.urls import (
    authorization_server_urls,
    canonical_server,
    host_of,
    protected_resource_urls,
    require_callback,
    require_endpoint,
    resource_covers,
    same_issuer,
)
from tests.fuzz.running import fuzzed, only_ours
from tests.fuzz.strategies import JSON, JSON_TEXT, TEXT, URLS, documents, objects
from tests.fuzz.values import (
    CONFIG,
    ISSUER,
    METADATA,
    RESOURCE_METADATA,
    SERVER,
    URL,
    request_for,
)

_WHERE = f"{ISSUER}/.well-known/oauth-authorization-server"
_LONGEST_ADDRESS = 100_000
"""Characters of an authorization address, whatever a server names."""


def resource_from(document: Any) -> ProtectedResource:
    defects: metadata.Defects = {}
    found = metadata.protected_resource(document, server=URL, url=_WHERE, defects=defects)
    for error in defects.values():
        raise error
    return found


def server_from(document: Any) -> AuthorizationServer:
    defects: metadata.Defects = {}
    found = metadata.authorization_server(document, issuer=ISSUER, url=_WHERE, defects=defects)
    for error in defects.values():
        raise error
    return found


@fuzzed(examples=200, document=documents(RESOURCE_METADATA))
def test_resource_metadata_is_used_or_refused_in_our_words(document: dict[str, Any]) -> None:
    with only_ours():
        found = resource_from(document)
        scopes, _ = chosen(None, None, found.scopes_supported, SERVER)
        url = request_for(resource=found.resource, scopes=scopes).url
        url.encode()
        assert len(url) < _LONGEST_ADDRESS
        for issuer in found.authorization_servers:
            with only_ours():
                require_endpoint(issuer, "authorization server")
                authorization_server_urls(issuer)


@fuzzed(examples=200, document=documents(METADATA))
def test_authorization_server_metadata_is_used_or_refused_in_our_words(
    document: dict[str, Any],
) -> None:
    with only_ours():
        found = server_from(document)
        assert found.token_endpoint.startswith(("https://", "http://", "HTTP"))
        request_for(server=found).url.encode()
        client_metadata("http://127.0.0.1/callback", found, chosen(None, None, ("a",), found)[0])


@fuzzed(examples=100, document=JSON.filter(lambda value: isinstance(value, dict)))
def test_a_document_of_any_other_kind_is_refused_in_our_words(document: dict[str, Any]) -> None:
    with only_ours():
        resource_from(document)
    with only_ours():
        server_from(document)


@fuzzed(examples=100, more=objects())
def test_members_that_nobody_knows_change_nothing(more: dict[str, Any]) -> None:
    assert resource_from(more | RESOURCE_METADATA) == resource_from(RESOURCE_METADATA)
    assert server_from(more | METADATA) == server_from(METADATA)


@fuzzed(
    examples=200,
    body=JSON_TEXT,
    kind=st.sampled_from(["application/json", "text/html", "x\x1b[2J", ""]),
)
def test_a_body_is_a_json_object_or_none_or_told_in_our_words(body: bytes, kind: str) -> None:
    answer = Response(_WHERE, 200, httpx.Headers({"content-type": kind}), body)
    document = answer.json_object()
    assert document is None or isinstance(document, dict)
    with only_ours():
        value = answer.json()
        if isinstance(value, dict):
            resource_from(value)


@fuzzed(
    examples=200,
    after=st.binary(max_size=30) | st.integers().map(lambda n: str(n).encode()),
    date=st.sampled_from([b"", b"Sat, 21 Nov 2026 12:00:00 GMT"]) | st.binary(max_size=30),
)
def test_a_retry_after_of_any_bytes_is_a_bounded_number_or_nothing(
    after: bytes, date: bytes
) -> None:
    headers = httpx.Headers([(b"retry-after", after), (b"date", date)])
    found = Response(URL, 429, headers, b"").retry_after
    assert found is None or 0 <= found <= 3_600


@fuzzed(examples=250, url=URLS | TEXT)
def test_every_check_of_an_address_says_yes_or_refuses_in_our_words(url: str) -> None:
    resource_covers(url, URL)
    same_issuer(url, ISSUER)
    with only_ours():
        require_callback(url)
    with only_ours():
        endpoint = require_endpoint(url, "token_endpoint")
        require_page(endpoint, "authorization_endpoint", CONFIG)
        request_for(
            server=AuthorizationServer(ISSUER, authorization_endpoint=endpoint, token_endpoint=URL)
        ).url.encode()
    with only_ours():
        server = canonical_server(url)
        assert canonical_server(server) == server
        assert resource_covers(server, server)
        assert "@" not in urlsplit(server).netloc
        documents_of = (*protected_resource_urls(server), *authorization_server_urls(server))
        assert {urlsplit(where)[:2] for where in documents_of} == {urlsplit(server)[:2]}
        host_of(server)
