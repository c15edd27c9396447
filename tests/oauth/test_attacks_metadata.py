"""Attacks by metadata: poisoned, borrowed, bent or simply too much.

What other files try already is marked there with the same ids (`tests/threats`).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from mcpnb import errors
from mcpnb.oauth.urls import resource_covers
from tests.fakes.people import (
    connect,
    fails_before_the_browser,
    query_of,
    sign_in,
    waiting,
)
from tests.fakes.server import AS_METADATA, PRM, FakeServer
from tests.fakes.wire import Reply

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def lookup_async(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note every name that is looked up."""
    names: list[str] = []
    real = socket.getaddrinfo

    def noted(host: Any, *args: Any, **given: Any) -> Any:
        names.append(str(host))
        return real(host, *args, **given)

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    return names


@pytest.mark.threat("resource-in-disguise")
@pytest.mark.parametrize(
    ("resource", "server"),
    [
        ("https://evil.example@h.example/mcp", "https://h.example/mcp"),
        ("https://a:b@h.example/mcp", "https://h.example/mcp"),
        ("https://h.example/mcp#https://other.example", "https://h.example/mcp"),
        ("https://h.example/mcp#", "https://h.example/mcp"),
        ("https://h.example/mcp?team=b", "https://h.example/mcp?team=a"),
        ("https://h.example/mcp?" + "x" * 3000, "https://h.example/mcp"),
    ],
)
def test_a_resource_that_looks_like_another_is_not_this_one(resource: str, server: str) -> None:
    """It goes into the request, and onto the page where people agree to it."""
    assert not resource_covers(resource, server)


@pytest.mark.threat("metadata-in-the-clear")
@pytest.mark.parametrize("where", ["challenge", "issuer"])
def test_a_document_that_anybody_on_the_way_could_change_is_not_asked_for(
    fake: FakeServer, lookup_async: list[str], where: str
) -> None:
    """Plain http to elsewhere is refused before its name is looked up."""
    if where == "challenge":
        fake.challenge = {"resource_metadata": "http://mcp.example/prm"}
    else:
        fake.describe(authorization_servers=["http://as.example"])

    fails_before_the_browser(fake.url, errors.ProtocolError)

    assert [name for name in lookup_async if name.endswith(".example")] == []
    assert fake.asked("/register") == []


@pytest.mark.threat("foreign-document-of-an-older-server")
def test_a_server_without_resource_metadata_speaks_for_its_own_origin_only(
    fakes: Callable[[], FakeServer],
) -> None:
    """A document there that names another issuer could come from anybody (RFC 8414 3.3)."""
    fake, victim = fakes(), fakes()
    fake.resource_metadata = None
    fake.metadata = {**(victim.metadata or {}), "token_endpoint": f"{fake.base}/token"}

    fails_before_the_browser(fake.url, errors.ProtocolError)

    assert victim.requests == []
    assert fake.asked("/register") == []


@pytest.mark.threat("issuer-not-named")
@pytest.mark.parametrize("resource", ["without metadata", "that names no server"])
def test_an_issuer_that_a_person_named_is_not_left_for_the_servers_own_origin(
    fake: FakeServer, resource: str
) -> None:
    """Where nothing names an authorization server, 2025-03-26 had the origin be one."""
    if resource == "without metadata":
        fake.resource_metadata = None
    else:
        fake.describe(authorization_servers=[])

    error = fails_before_the_browser(
        fake.url, errors.DiscoveryError, issuer="https://login.example.com"
    )

    assert "login.example.com" in str(error)
    assert fake.asked("/register") == []
    sign_in(connect(fake.url, issuer=fake.base))


@pytest.mark.threat("flood-of-authorization-servers")
def test_a_list_of_many_servers_does_not_make_us_knock_at_them_all(
    fakes: Callable[[], FakeServer],
) -> None:
    """Else one document would have each client send thousands of requests to a victim."""
    fake, victim = fakes(), fakes()
    fake.describe(authorization_servers=[f"{victim.base}/{n}" for n in range(150)])

    fails_before_the_browser(fake.url, errors.ServerError)

    assert len({r.path.rpartition("/")[2] for r in victim.requests}) <= 6
    assert len(victim.requests) <= 15


@pytest.mark.threat("flood-of-scopes")
def test_scopes_that_are_none_or_too_many_are_not_asked_for(fake: FakeServer) -> None:
    """RFC 6749 section 3.3; a megabyte of them would be an address that nothing can open."""
    fake.describe(
        scopes_supported=["read", "\ud800", 'a"b', "\x1b[2J", "é", "x" * 100_000, "list\tmany"]
        + [f"{n:04}" + "y" * 3000 for n in range(150)]
        + [" ".join(f"z{n}" for n in range(1000))]
    )
    login, url = waiting(connect(fake.url))
    login.cancel()

    scopes = query_of(url)["scope"][0].split()

    assert scopes[:3] == ["read", "list", "many"]
    assert len(scopes) == 200
    assert len(url) < 8000


@pytest.mark.threat("name-twice-in-a-document")
@pytest.mark.parametrize("last", ["foreign", "own"])
def test_of_a_name_given_twice_the_checked_value_is_the_one_used(
    fakes: Callable[[], FakeServer], last: str
) -> None:
    """RFC 8259 section 4: readers differ in which one they take. Here it is read once."""
    fake, foreign = fakes(), fakes()
    text = json.dumps(fake.metadata)
    twice = json.dumps({"issuer": foreign.base})[:-1] + "," + text[1:]
    if last == "foreign":
        twice = text[:-1] + "," + json.dumps({"issuer": foreign.base})[1:]
    fake.always(AS_METADATA, Reply(200, twice.encode(), JSON))

    if last == "foreign":
        fails_before_the_browser(fake.url, errors.ProtocolError)
    else:
        sign_in(connect(fake.url))

    assert foreign.requests == []


@pytest.mark.threat("metadata-not-json")
@pytest.mark.parametrize("path", [PRM, AS_METADATA])
@pytest.mark.parametrize(
    "text",
    [
        b'{"issuer": ' + b"9" * 10_000 + b"}",
        b'{"issuer": "\xff\xfe"}',
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"{'issuer': 'x'}",
        b'{"resource": NaN, "issuer": Infinity}',
    ],
    ids=["a long number", "no UTF-8", "deep", "not JSON", "no numbers"],
)
def test_a_document_that_breaks_readers_is_a_clear_error(
    fake: FakeServer, path: str, text: bytes
) -> None:
    """Never the exception of a library."""
    fake.always(path, Reply(200, text, JSON))

    error = fails_before_the_browser(fake.url, errors.ServerError)

    assert "Unexpected" not in str(error)
    assert fake.asked("/register") == []
