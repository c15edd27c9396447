"""From end to end: a server that answers anything, asked by `discover` and by a sign-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import strategies as st

import mcpnb
from tests.fakes.people import answer_of, connect, sign_in
from tests.fakes.server import AS_METADATA, PRM, FakeServer
from tests.fakes.wire import Reply
from tests.fuzz.running import fit_to_show, fuzzed, only_ours
from tests.fuzz.strategies import JSON, JSON_TEXT, TEXT, documents
from tests.fuzz.test_challenges import FIELDS

_HERE = "http://127.0.0.1:1"
"""Stands for the fake's own address, which has another port each time."""
_RESOURCE = documents(
    {"resource": f"{_HERE}/mcp", "authorization_servers": [_HERE], "scopes_supported": ["read"]}
)
_SERVER = documents(
    {
        "issuer": _HERE,
        "authorization_endpoint": f"{_HERE}/authorize",
        "token_endpoint": f"{_HERE}/token",
        "registration_endpoint": f"{_HERE}/register",
        "scopes_supported": ["read"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }
)
_DOCUMENTS = st.tuples(st.just(PRM), _RESOURCE) | st.tuples(st.just(AS_METADATA), _SERVER)
_HEAD = st.fixed_dictionaries(
    {}, optional={"Content-Type": st.sampled_from(["application/json", "text/html", "x"])}
)
_STATUS = st.sampled_from([200, 200, 200, 201, 204, 302, 400, 401, 404, 429, 500, 503])
_TOKENS = documents(
    {"access_token": "access-5hVq2LmT8rZk", "token_type": "Bearer", "expires_in": 60, "scope": "a"}
)


@pytest.fixture
def server(fakes: Callable[[], FakeServer]) -> Iterator[FakeServer]:
    """Start a fake; its documents lead to itself alone, so that nobody else is asked."""
    fake = fakes()
    yield fake
    fake.broken.clear()  # a header of ours that cannot be sent is not the fake's fault


def _at(fake: FakeServer, value: Any) -> Any:
    """Put the fake's address in the place of the one that stands for it."""
    if isinstance(value, dict):
        return {name: _at(fake, found) for name, found in value.items()}
    if isinstance(value, list):
        return [_at(fake, found) for found in value]
    return value.replace(_HERE, fake.base) if isinstance(value, str) else value


def _stays_here(value: Any) -> bool:
    """Whether no address in it could be somebody else's: there is no network in a test."""
    text = repr(value).lower().replace(_HERE, "")
    return "http" not in text and "//" not in text


def _signs_in(session: mcpnb.Session) -> None:
    """Sign in as a person does who agrees to everything; what does not lead there is told."""
    login = session.login(timeout=20)
    try:
        login.wait_for("waiting", timeout=20)
        if login.url is not None and login.url.startswith(session.server[:-4]):
            try:
                answer = answer_of(login.url)
            except Exception:  # noqa: BLE001  the server's page, and no answer
                return
            login.submit(answer)
            login.wait(timeout=20)
    finally:
        login.cancel()


@fuzzed(
    examples=50,
    named=_DOCUMENTS.filter(lambda found: _stays_here(found[1])),
    body=st.none() | JSON_TEXT,
    head=_HEAD,
)
def test_a_sign_in_with_any_metadata_ends_signed_in_or_in_our_words(
    server: FakeServer, named: tuple[str, Any], body: bytes | None, head: dict[str, str]
) -> None:
    path, document = named
    server.always(
        path, Reply(200, _at(server, document)) if body is None else Reply(200, body, head)
    )
    with only_ours():
        fit_to_show(repr(mcpnb.discover(server.url)), most=10_000)
        _signs_in(connect(server.url))
    server.restore(path)


@fuzzed(examples=25, fields=FIELDS.map(", ".join).filter(_stays_here))
def test_discovery_with_any_challenge_ends_in_facts_or_in_our_words(
    server: FakeServer, fields: str
) -> None:
    # What a server can send at all: no line ends, no controls.
    sent = "".join(c for c in fields.encode("latin-1", "replace").decode("latin-1") if c >= " ")
    server.always("/mcp", Reply(401, {}, {"WWW-Authenticate": sent.replace("\x7f", "")}))
    with only_ours():
        fit_to_show(repr(mcpnb.discover(server.url)), most=20_000)


@fuzzed(
    examples=25,
    path=st.sampled_from(["/register", "/token"]),
    status=_STATUS,
    body=st.one_of(_TOKENS, _TOKENS.map(lambda more: {"client_id": "a"} | more), JSON),
    raw=st.none() | st.none() | JSON_TEXT,
)
def test_a_sign_in_with_any_answer_of_an_endpoint_ends_signed_in_or_in_our_words(
    server: FakeServer, path: str, status: int, body: Any, raw: bytes | None
) -> None:
    body = raw if raw is not None else body if isinstance(body, dict | list) else [body]
    server.always(path, Reply(status, body))
    with only_ours(secrets=("access-5hVq2LmT8rZk",)):
        _signs_in(connect(server.url))
    server.restore(path)


@fuzzed(examples=25, status=_STATUS, body=_TOKENS | JSON.map(lambda value: [value]))
def test_a_renewal_with_any_answer_ends_renewed_or_in_our_words(
    server: FakeServer, status: int, body: Any
) -> None:
    session = connect(server.url)
    sign_in(session)
    server.expire()
    server.always("/token", Reply(status, body))
    with only_ours(secrets=("access-5hVq2LmT8rZk",)):
        session.call("echo", text="a")
    fit_to_show(repr(session))
    server.restore("/token")


@fuzzed(examples=20, name=TEXT, described=TEXT, schema=JSON, result=JSON)
def test_a_call_of_any_tool_with_any_result_ends_in_a_result_or_in_our_words(
    server: FakeServer, name: str, described: str, schema: Any, result: Any
) -> None:
    session = connect(server.url)
    sign_in(session)
    usual = server.routes["/mcp"]

    def answer(request: Any) -> Reply:
        message = request.json or {}
        replies: dict[str, Any] = {
            "tools/list": {
                "tools": [{"name": name, "description": described, "inputSchema": schema}]
            },
            "tools/call": result,
        }
        if message.get("method") not in replies:
            return usual(request)
        found = replies[message["method"]]
        return Reply(200, {"jsonrpc": "2.0", "id": message["id"], "result": found})

    server.routes["/mcp"] = answer
    try:
        with only_ours():
            fit_to_show(repr(session.tools()), most=60_000)
        with only_ours():
            fit_to_show(repr(session.call("echo", text="a")), most=60_000)
    finally:
        server.routes["/mcp"] = usual
