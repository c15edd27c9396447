"""Servers that are down, no MCP servers, or hostile: a clear error, and nothing half-stored."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpnb import errors
from mcpnb.stores import MemoryStore
from tests import figures
from tests.fakes.device import OtherDevice
from tests.fakes.people import (
    answer_of,
    connect,
    fails_before_the_browser,
    free_port,
    query_of,
    sign_in,
    until,
    waiting,
)
from tests.fakes.server import AS_METADATA, PRM, FakeServer
from tests.fakes.wire import Reply, html, redirect

JSON = {"Content-Type": "application/json"}
LARGE = b'{"padding": "' + b"x" * 10_000_000 + b'"}'
TOKENS = {"access_token": "access", "token_type": "Bearer"}


def fails(fake: FakeServer, *kinds: type[Exception], **given: Any) -> Exception:
    """Sign in where it must fail, with nothing registered or stored; give the error."""
    store = MemoryStore()
    kinds = kinds or (errors.ServerError,)
    error = fails_before_the_browser(fake.url, *kinds, store=store, **given)
    assert fake.asked("/register") == []
    assert not connect(fake.url, store=store).signed_in
    assert len(str(error)) < 1500
    return error


def test_a_call_says_what_a_sign_in_says(fake: FakeServer) -> None:
    """The library's own words are that all connection attempts failed."""
    nobody = f"http://127.0.0.1:{free_port()}/mcp"
    sentences = []
    for server in (nobody, "https://nobody.invalid/mcp", fake.url):
        fake.always("/mcp", html("Not here", 404))
        fake.metadata = fake.resource_metadata = None
        with pytest.raises(errors.McpnbError) as called:
            connect(server).call("echo")
        error = fails_before_the_browser(server, errors.ServerError)
        sentences.append((str(called.value), str(error)))

    for (call, asked), why in zip(sentences, ("refused", "name resolution failed"), strict=False):
        reason = call.partition(" cannot be reached: ")[2]
        assert reason == asked.partition(" cannot be reached: ")[2]
        assert why in reason
    assert sentences[2][0] == sentences[2][1]
    assert "There is no MCP server at" in sentences[2][0]


@pytest.mark.threat("metadata-not-json")
@pytest.mark.parametrize("path", ["/mcp", PRM, AS_METADATA])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(html("Single-page application"), id="a page"),
        pytest.param(Reply(200, b"{not json", JSON), id="not JSON"),
        pytest.param(Reply(200, ["a list"]), id="a list"),
        pytest.param(Reply(200, b"[" * 100_000), id="deep"),
        pytest.param(Reply(200, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, JSON), id="deep inside"),
        pytest.param(Reply(200, b'{"issuer": ' + b"9" * 10_000 + b"}", JSON), id="a long number"),
        pytest.param(Reply(200, b'{"issuer": "\xff\xfe"}', JSON), id="no UTF-8"),
        pytest.param(Reply(200, b'{"resource": NaN, "issuer": Infinity}', JSON), id="no numbers"),
        pytest.param(Reply(200, LARGE, JSON), id="10 MB"),
        pytest.param(redirect("https://elsewhere.example/"), id="redirect to elsewhere"),
        pytest.param(redirect("?again"), id="redirect without end"),
        pytest.param(Reply(500, "down"), id="500"),
        pytest.param(Reply(drop=True), id="closed"),
        pytest.param(Reply(200, {"resource": 1, "issuer": 2}), id="wrong types"),
    ],
)
def test_what_is_no_mcp_server_or_no_metadata_is_a_clear_error(
    fake: FakeServer, path: str, answer: Reply
) -> None:
    """Also where another address might have had a better document: nothing is registered."""
    if path == "/mcp":
        fake.resource_metadata = None
    if path == AS_METADATA:
        fake.always("/.well-known/openid-configuration", answer)
    else:
        fake.metadata = None
        # Else the default endpoints of 2025-03-26 would be next, and are right to be.
        fake.always("/mcp", html("Welcome"))
    fake.always(path, answer)

    fails(fake)


def test_without_registration_a_client_id_is_asked_for(fake: FakeServer) -> None:
    """The message says where, and which redirect address to register."""
    fake.announce(registration_endpoint=None)

    error = fails(fake, errors.ClientIdRequired)

    assert "client_id" in str(error)
    assert "127.0.0.1" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        Reply(400, {"error": "invalid_redirect_uri", "error_description": "no loopback here"}),
        Reply(403, "forbidden"),
        Reply(201, {"no": "client_id"}),
        html("Welcome"),
        Reply(drop=True),
    ],
)
def test_a_refused_registration_is_told(fake: FakeServer, answer: Reply) -> None:
    """With the server's reason, and nothing kept of it."""
    fake.always("/register", answer)

    error = fails_before_the_browser(fake.url, errors.LoginError, errors.ServerError)

    if answer.status == 400:
        assert "no loopback here" in str(error)


@pytest.mark.parametrize("kind", ["bearer", "BEARER", None])
def test_the_token_types_case_does_not_matter(fake: FakeServer, kind: str | None) -> None:
    """RFC 6749 section 5.1; some servers leave it out altogether."""
    fake.token_changes = {"token_type": kind}
    session = connect(fake.url)

    sign_in(session)

    assert session.call("echo", text="fine").text == "fine"


@pytest.mark.threat("answer-without-a-token", "token-type", "token-that-adds-a-header")
@pytest.mark.threat("error-beside-a-token")
@pytest.mark.parametrize(
    "answer",
    [
        Reply(400, {"error": "invalid_grant"}),
        Reply(400),
        Reply(503, "later"),
        Reply(drop=True),
        html("Welcome"),
        Reply(200, LARGE),
        Reply(200, ["access"]),
        Reply(200, TOKENS | {"access_token": None}),
        Reply(200, TOKENS | {"access_token": ""}),
        Reply(200, TOKENS | {"access_token": 7}),
        Reply(200, TOKENS | {"access_token": ["access"]}),
        Reply(200, TOKENS | {"access_token": "with space"}),
        Reply(200, TOKENS | {"access_token": "line\r\nSet-Cookie: a=b"}),
        Reply(200, TOKENS | {"access_token": "line\n"}),
        Reply(200, TOKENS | {"access_token": "ünicode"}),
        Reply(200, TOKENS | {"token_type": "DPoP"}),
        Reply(200, TOKENS | {"token_type": "mac"}),
        Reply(200, TOKENS | {"token_type": ["Bearer"]}),
        Reply(200, TOKENS | {"token_type": ""}),
        Reply(200, TOKENS | {"error": "invalid_target"}),  # an error stays one (RFC 6749 5.2)
    ],
)
def test_what_is_no_usable_token_is_no_login(fake: FakeServer, answer: Reply) -> None:
    """A bearer token, a string, fit for a header: anything else ends the sign-in."""
    fake.always("/token", answer)
    session = connect(fake.url)
    login, url = waiting(session)

    with pytest.raises((errors.GrantError, errors.ServerError)) as caught:
        login.submit(answer_of(url))

    assert str(caught.value).isprintable()
    assert "line" not in str(caught.value)
    assert login.state == "failed"
    assert not session.signed_in


@pytest.mark.threat("code-led-elsewhere", "redirect-with-a-secret", "registration-led-elsewhere")
@pytest.mark.parametrize("status", [302, 307, 308])
@pytest.mark.parametrize("path", ["/register", "/token"])
def test_a_redirect_of_an_endpoint_is_not_followed(
    fakes: Callable[[], FakeServer], path: str, status: int
) -> None:
    """A code and its verifier go where they were meant to go; nobody else chooses our client id."""
    fake, thief = fakes(), fakes()
    fake.always(path, redirect(f"{thief.base}{path}", status))

    with pytest.raises((errors.GrantError, errors.ServerError)):
        sign_in(connect(fake.url))

    assert thief.requests == []


@pytest.mark.parametrize("path", ["/mcp", PRM, AS_METADATA, "/register"])
def test_a_server_that_never_answers_can_be_given_up(fake: FakeServer, path: str) -> None:
    """Cancelling is prompt, whatever is being waited for."""
    fake.always(path, fake.never())
    login = connect(fake.url).login()
    until(lambda: bool(fake.asked(path)))
    started = time.monotonic()

    login.cancel()
    with pytest.raises(errors.LoginCancelled):
        login.wait(timeout=5)

    assert time.monotonic() - started < 5
    assert login.state == "cancelled"


# Metadata: poisoned, borrowed, bent or simply too much


@pytest.mark.threat("flood-of-authorization-servers")
def test_a_list_of_many_servers_does_not_make_us_knock_at_them_all(
    fakes: Callable[[], FakeServer],
) -> None:
    """Else one document would have each client send thousands of requests to a victim."""
    fake, victim = fakes(), fakes()
    fake.describe(authorization_servers=[f"{victim.base}/{n}" for n in range(150)])

    fails(fake, errors.ServerError)

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
        fails(fake, errors.ProtocolError)
    else:
        sign_in(connect(fake.url))

    assert foreign.requests == []


# Calls, and their token, led elsewhere


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


# Pages that a person is sent to


@pytest.mark.threat("browser-led-inside")
@pytest.mark.parametrize("member", ["authorization_endpoint", "verification_uri_complete", None])
def test_a_public_servers_pages_are_not_inside(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str | None
) -> None:
    """Neither opened nor shown for another device, unless the person allows it."""
    # The server's own address counts as one outside, and nothing else does.
    monkeypatch.setattr("mcpnb.oauth.ssrf._is_private", lambda url: url != fake.url)
    file = tmp_path / "config.toml"
    file.write_text(f'[mcp_servers.x]\nurl = "{fake.url}"\nallow_private_network = true\n')
    by_device = member != "authorization_endpoint"
    if by_device:
        phone = OtherDevice(fake)
        if member is None:
            del phone.answer["verification_uri_complete"]

    login = connect(fake.url).login(device=by_device)
    with pytest.raises(errors.ProtocolError, match=r"authorization_endpoint|verification_uri"):
        login.wait(10)
    assert login.url is None

    login, page = waiting(connect("x", config=file), device=by_device)
    assert page.startswith(fake.base)
    login.cancel()
