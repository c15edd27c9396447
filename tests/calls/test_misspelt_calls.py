"""A misspelt argument or tool: every way to call says so, as far as the server's list tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.calls.arguments import Verbatim
from tests.fakes import mcp as answers
from tests.fakes.mcp import answer_method, tool_of
from tests.fakes.people import connect, sign_in
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply

SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "max-hits": {"type": "integer"}},
}
Call = Callable[..., object]


@pytest.fixture
def session(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> mcpnb.Session:
    list_tools(monkeypatch, {"name": "echo", "inputSchema": SCHEMA})
    session = connect(fake.url)
    sign_in(session)
    return session


def list_tools(monkeypatch: pytest.MonkeyPatch, *tools: dict[str, Any]) -> None:
    monkeypatch.setattr(answers, "TOOLS", list(tools))


def sent(fake: FakeServer) -> list[Any]:
    """Return the arguments of all calls that the server got."""
    bodies = [r.json for r in fake.requests if r.path == "/mcp" and r.body]
    return [body["params"]["arguments"] for body in bodies if tool_of(body) is not None]


def by_name(session: mcpnb.Session, **arguments: Any) -> object:
    return session.call("echo", **arguments)


def in_a_dict(session: mcpnb.Session, **arguments: Any) -> object:
    return session.call("echo", arguments)


def awaited(session: mcpnb.Session, **arguments: Any) -> object:
    async def call() -> object:
        return await session.acall("echo", **arguments)

    return asyncio.run(call())


def as_a_function(session: mcpnb.Session, **arguments: Any) -> object:
    return session.tools().echo(**arguments)


EVERY_WAY = pytest.mark.parametrize("call", [by_name, in_a_dict, awaited, as_a_function])


@EVERY_WAY
def test_an_argument_that_the_tool_does_not_name_is_refused(
    fake: FakeServer, session: mcpnb.Session, call: Call
) -> None:
    """Servers ignore it silently; nothing is sent."""
    with pytest.raises(TypeError) as caught:
        call(session, txet="hi")

    assert str(caught.value) == (
        "echo(): there is no argument 'txet' (did you mean 'text'?). "
        "Its parameters: text (optional), max_hits (optional)."
    )
    assert sent(fake) == []


@EVERY_WAY
def test_a_name_that_python_cannot_write_has_two_spellings(
    fake: FakeServer, session: mcpnb.Session, call: Call
) -> None:
    call(session, max_hits=1)
    call(session, **{"max-hits": 2})

    assert sent(fake) == [{"max-hits": 1}, {"max-hits": 2}]


@EVERY_WAY
def test_a_schema_that_is_open_takes_any_argument(
    fake: FakeServer, session: mcpnb.Session, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_tools(
        monkeypatch, {"name": "echo", "inputSchema": SCHEMA | {"additionalProperties": True}}
    )
    call(session, other=1)

    assert sent(fake) == [{"other": 1}]


def test_verbatim_arguments_are_sent_as_they_are(fake: FakeServer, session: mcpnb.Session) -> None:
    """For a server that takes more than it says: `mcpnb call --args` sends them so."""
    session.call("echo", Verbatim(txet="hi"))

    assert sent(fake) == [{"txet": "hi"}]


def test_a_tool_that_has_changed_since_it_was_listed_takes_its_new_argument(
    fake: FakeServer, session: mcpnb.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.call("echo", text="hi")
    properties = {"other": {"type": "string"}}
    list_tools(
        monkeypatch, {"name": "echo", "inputSchema": {"type": "object", "properties": properties}}
    )
    session.call("echo", other="new")

    assert sent(fake)[1:] == [{"other": "new"}]


def test_a_tool_that_is_not_listed_is_called_all_the_same(
    fake: FakeServer, session: mcpnb.Session
) -> None:
    """The server decides what it has."""
    session.call("hidden", any_argument=1)

    assert sent(fake) == [{"any_argument": 1}]


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"code": -32602, "message": "Unknown tool"}},
        {"result": {"isError": True, "content": [{"type": "text", "text": "Unknown tool"}]}},
    ],
    ids=["error", "result"],
)
def test_an_unknown_tool_that_fails_suggests_near_names(
    fake: FakeServer, session: mcpnb.Session, answer: dict[str, Any]
) -> None:
    answer_method(fake, "tools/call", answer)
    with pytest.raises(errors.CallError) as caught:
        session.call("ecko")

    assert "“Unknown tool”" in str(caught.value)
    assert str(caught.value).endswith("There is no tool “ecko”. Did you mean: echo")
    with pytest.raises(errors.CallError) as caught:
        session.call("echo")
    assert "There is no tool" not in str(caught.value)


def test_all_pages_are_listed_before_a_tool_is_called_unknown(
    fake: FakeServer, session: mcpnb.Session
) -> None:
    def page(message: dict[str, Any]) -> Reply:
        later = (message.get("params") or {}).get("cursor") == "2"
        tool = {"name": "later" if later else "first", "inputSchema": {"type": "object"}}
        result = {"tools": [tool], **({} if later else {"nextCursor": "2"})}
        return Reply(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})

    answer_method(fake, "tools/list", page)
    answer_method(fake, "tools/call", {"error": {"code": -32602, "message": "no"}})
    with pytest.raises(errors.CallError) as caught:
        session.call("later")
    assert "There is no tool" not in str(caught.value)
    with pytest.raises(errors.CallError, match="Did you mean: later"):
        session.call("late")
