"""Attacks by what a server answers to calls; and by who may write to the folder of logins."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import httpcore2
import httpx2
import pytest
from mcp.client.session import ClientSession

import mcpnb
from mcpnb import errors
from mcpnb.calls import limits
from mcpnb.stores import FileStore
from tests.fakes import mcp as answers
from tests.fakes.mcp import tool_of
from tests.fakes.people import connect, sign_in
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request

posix = pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")


@pytest.fixture
def session(fake: FakeServer) -> mcpnb.Session:
    session = connect(fake.url)
    sign_in(session)
    return session


def announce(monkeypatch: pytest.MonkeyPatch, schema: dict[str, Any]) -> None:
    echo, *others = answers.TOOLS
    monkeypatch.setattr(answers, "TOOLS", [{**echo, "outputSchema": schema}, *others])


def answer_calls(fake: FakeServer, body: Any, **headers: str) -> None:
    """Answer tool calls so; `body` gets the id of the call."""
    usual = fake.routes["/mcp"]

    def reply(request: Request) -> Reply:
        message: Any = json.loads(request.body) if request.body else None
        if tool_of(message) is None:
            return usual(request)
        return Reply(200, body(message["id"]), {"Content-Type": "application/json", **headers})

    fake.routes["/mcp"] = reply


def structured(content: Any) -> Any:
    result = {"content": [], "structuredContent": content}
    return lambda number: {"jsonrpc": "2.0", "id": number, "result": result}


def of_object(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}}


@pytest.mark.threat("endless-schema")
@pytest.mark.parametrize(
    "schema",
    [
        of_object({"type": "string", "pattern": "^(a+)+$"}),
        of_object({"type": "array", "uniqueItems": True}),
        {**of_object({}), "patternProperties": {"^(a+)+$": {}}},
        {"type": "object", "$defs": {"a": {}}, "anyOf": [{"$ref": "#/$defs/a"}] * 2},
    ],
    ids=["pattern", "uniqueItems", "patternProperties", "references"],
)
def test_a_schema_without_end_is_not_applied(
    fake: FakeServer,
    session: mcpnb.Session,
    monkeypatch: pytest.MonkeyPatch,
    schema: dict[str, Any],
) -> None:
    """A letter more would be twice the time: 16 are enough to count, and end."""
    announce(monkeypatch, schema)
    answer_calls(fake, structured({"x": "a" * 16 + "!"}))
    checked: list[object] = []
    monkeypatch.setattr(ClientSession, "_output_schema_validator", lambda *a: checked.append(a))

    assert session.call("echo", text="x").data == {"x": "a" * 16 + "!"}
    assert checked == []


@pytest.mark.slow
def test_one_that_refers_to_itself_says_nothing(
    fake: FakeServer, session: mcpnb.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(monkeypatch, {"type": "object", "allOf": [{"$ref": "#"}]})
    answer_calls(fake, structured({"x": 1}))
    assert session.call("echo", text="x").data == {"x": 1}


def test_an_ordinary_schema_is_applied(
    fake: FakeServer, session: mcpnb.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Specification, tools, output schema: clients SHOULD validate structured results."""
    announce(monkeypatch, of_object({"type": "integer"}))
    answer_calls(fake, structured({"x": 1}))
    assert session.call("echo", text="x").data == {"x": 1}
    answer_calls(fake, structured({"x": "no number"}))
    with pytest.raises(errors.CallError, match=r"does not fit its schema: .*'no number'"):
        session.call("echo", text="x")


def text(number: object, letters: int) -> bytes:
    result = {"content": [{"type": "text", "text": "a" * letters}]}
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()


@pytest.mark.threat("endless-answer")
@pytest.mark.parametrize("packing", [{"Content-Encoding": "gzip"}, {}], ids=["packed", "plain"])
def test_an_answer_is_given_up_beyond_its_limit(
    fake: FakeServer,
    session: mcpnb.Session,
    monkeypatch: pytest.MonkeyPatch,
    packing: dict[str, str],
) -> None:
    monkeypatch.setattr(limits, "MAX_ANSWER", 1 << 20)
    pack = gzip.compress if packing else bytes
    answer_calls(fake, lambda n: pack(text(n, 3 << 20)), **packing)
    with pytest.raises(errors.CallError, match="larger than 1 MiB"):
        session.call("echo", text="x")

    answer_calls(fake, lambda n: pack(text(n, 1 << 19)), **packing)
    assert len(session.call("echo", text="x").text) == 1 << 19


@pytest.mark.threat("unknown-packing")
def test_an_answer_packed_in_another_way_is_refused(
    fake: FakeServer, session: mcpnb.Session
) -> None:
    answer_calls(fake, lambda n: gzip.compress(text(n, 10)), **{"Content-Encoding": "br"})
    with pytest.raises(errors.McpnbError):
        session.call("echo", text="x")
    [accepted] = {r.headers["accept-encoding"] for r in fake.requests if r.path == "/mcp"}
    assert accepted == "gzip"


class Wrapped(httpx2.AsyncBaseTransport):
    """What another httpx2 might have: the same transport without the inside that is known."""

    def __init__(self, inner: Any) -> None:
        self.handle_async_request = inner.handle_async_request  # type: ignore[method-assign]


def without_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = httpx2.AsyncClient._init_transport  # noqa: SLF001
    monkeypatch.setattr(
        httpx2.AsyncClient, "_init_transport", lambda *a, **given: Wrapped(usual(*a, **given))
    )


class Opaque:
    def is_idle(self) -> bool:
        return True


def without_a_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    connections = property(lambda _: [Opaque()])
    monkeypatch.setattr(httpcore2.AsyncConnectionPool, "connections", connections)


def without_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ClientSession,
        "__getattribute__",
        lambda self, name: hidden(object.__getattribute__, self, name),
    )


def hidden(get: Any, self: object, name: str) -> Any:
    if name == "_tool_output_schemas":
        raise AttributeError(name)
    return get(self, name)


@pytest.mark.threat("endless-answer", "endless-schema")
@pytest.mark.parametrize("change", [without_a_pool, without_a_protocol, without_schemas])
def test_a_library_whose_inside_is_unknown_is_not_used(
    session: mcpnb.Session, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    """A guard that cannot see what it guards must not pass for one."""
    change(monkeypatch)
    for call in (session.tools, lambda: session.call("echo", text="x")):
        with pytest.raises(errors.CallError, match=r"does not know the inside of \w+ [\d.]+, and"):
            call()


@posix
@pytest.mark.threat("shared-store-folder")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_may_write_to_is_not_used(
    fake: FakeServer, folder: Path, mode: int
) -> None:
    sign_in(connect(fake.url, store=FileStore(folder)))
    folder.chmod(mode)
    with pytest.raises(errors.StoreError, match=f"mode {mode:o}.; run chmod 700"):
        sign_in(connect(fake.url, store=FileStore(folder)))
    folder.chmod(0o750)
    assert connect(fake.url, store=FileStore(folder)).signed_in
