"""Attacks by what a server answers: its text acts nowhere, and its answers end."""

from __future__ import annotations

import gzip
import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpcore2
import httpx2
import pytest
from mcp.client.session import ClientSession

import mcpnb
from mcpnb import errors
from mcpnb.calls import limits
from mcpnb.calls.arguments import python_names
from mcpnb.calls.progress import ProgressLine
from mcpnb.stores import FileStore
from tests import figures
from tests.fakes import mcp as answers
from tests.fakes.broken import everything
from tests.fakes.front_end import Show
from tests.fakes.mcp import answer_method
from tests.fakes.people import answer_of, connect, sign_in, waiting
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\x00\x08\r"
DIRECTION = "\u202egnp.exe\u2066\u200f\u061c"
UNSEEN = "\u200b\u2060\ufeff\u3164\u115f\u034f\ufe01\U000e0101\U000e0041\u2800"
LINES = "one\ntwo\x0bthree\x85four\u2028five"
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>"
HOSTILE = f"a{ESCAPES}{DIRECTION}{UNSEEN}{LINES}{MARKUP}z"
HUGE = "x" * 2_000_000
LONGEST = 20_000

Place = Callable[[FakeServer, str], list[str]]


def unseen_in(text: str) -> set[str]:
    """Give the characters of a text that act on a terminal, turn it round, or show as nothing."""
    return {
        unicodedata.name(c, f"U+{ord(c):04X}")
        for c in text
        if c != "\n" and (not c.isprintable() or c in ESCAPES + DIRECTION + UNSEEN)
        if not (c.isascii() and c.isprintable())
    }


def assert_harmless(texts: list[str], *, most: int = LONGEST) -> None:
    assert texts
    for text in texts:
        assert unseen_in(text) == set(), text[:500]
        assert len(text) < most


def failed(login: Any, *kinds: type[Exception]) -> list[str]:
    """Give all that a failed sign-in says."""
    with pytest.raises(kinds or errors.McpnbError) as caught:
        login.wait(timeout=10)
    return [str(caught.value), repr(caught.value), repr(login), str(login.error), *login.notes]


def refuse_at(fake: FakeServer, path: str, text: str) -> None:
    said = text[:300_000]
    fake.always(path, Reply(400, {"error": said, "error_description": said}))


def an_authorization_error(fake: FakeServer, text: str) -> list[str]:
    # An address has a few thousand characters at most.
    said = text[:2_000]
    fake.authorize_error = {"error": said, "error_description": said, "error_uri": said}
    session = connect(fake.url)
    login, url = waiting(session)
    with pytest.raises(errors.McpnbError) as caught:
        login.submit(answer_of(url))
    return [str(caught.value), repr(session), *failed(login)]


def a_token_error(fake: FakeServer, text: str) -> list[str]:
    refuse_at(fake, "/token", text)
    login, url = waiting(connect(fake.url))
    with pytest.raises(errors.McpnbError) as caught:
        login.submit(answer_of(url))
    return [str(caught.value), *failed(login)]


def a_registration_error(fake: FakeServer, text: str) -> list[str]:
    refuse_at(fake, "/register", text)
    return failed(connect(fake.url).login())


def scopes(fake: FakeServer, text: str) -> list[str]:
    """A scope has no white space (RFC 6749 section 3.3): what is left of it, then."""
    fake.token_changes = {"scope": "".join(text[:300_000].split())}
    session = connect(fake.url)
    sign_in(session)
    table = mcpnb.servers(probe=False)
    return [repr(session), repr(table), str(session.status)]


def metadata(fake: FakeServer, text: str) -> list[str]:
    said = text[:300_000]
    fake.describe(resource_name=said, scopes_supported=[said], resource_documentation=said)
    fake.announce(scopes_supported=[said], service_documentation=said, op_policy_uri=said)
    try:
        shown = [repr(mcpnb.discover(fake.url))]
    except errors.McpnbError as error:
        shown = [str(error)]
    report = connect(fake.url).doctor()
    assert "<script" not in report._repr_html_()
    return [*shown, everything(report)]


def an_issuer(fake: FakeServer, text: str) -> list[str]:
    fake.describe(authorization_servers=[f"https://as.example/{text[:300_000]}"])
    return failed(connect(fake.url).login())


def _answering(fake: FakeServer, method: str, answer: dict[str, Any]) -> mcpnb.Session:
    answer_method(fake, method, answer)
    return _signed_in(fake)


def _signed_in(fake: FakeServer) -> mcpnb.Session:
    session = connect(fake.url)
    sign_in(session)
    return session


def tools(fake: FakeServer, text: str) -> list[str]:
    schema = {
        "type": "object",
        "required": [text],
        "properties": {
            text: {"type": "string", "description": text, "enum": [text[:50]]},
            "b": {"type": text, "default": text[:50], "title": text},
        },
    }
    tool = {
        "name": text,
        "title": text,
        "description": text,
        "inputSchema": schema,
        "annotations": {"title": text, "readOnlyHint": True},
    }
    session = _answering(fake, "tools/list", {"result": {"tools": [tool]}})
    found = session.tools()
    (one,) = found
    page = found._repr_html_()
    assert "<script" not in page
    with pytest.raises(TypeError) as wrong:
        one(nothing_of_the_kind=1)
    with pytest.raises(AttributeError) as missing:
        _ = found.somethingelse
    return [
        *(repr(found), repr(one), page, str(one.__doc__), str(one.acall.__doc__)),
        *(str(one.__signature__), one.__name__, str(dir(found)[-1])),
        *(str(wrong.value), str(missing.value)),
    ]


def a_rpc_error(fake: FakeServer, text: str) -> list[str]:
    problem = {"error": {"code": -32000, "message": text, "data": text}}
    session = _answering(fake, "tools/call", problem)
    with pytest.raises(errors.CallError) as caught:
        session.call("echo")
    return [str(caught.value), repr(caught.value)]


def a_tool_error(fake: FakeServer, text: str) -> list[str]:
    result = {"result": {"isError": True, "content": [{"type": "text", "text": text}]}}
    session = _answering(fake, "tools/call", result)
    with pytest.raises(errors.ToolError) as caught:
        session.call("echo")
    return [str(caught.value), *caught.value._render_traceback_()]


def a_result(fake: FakeServer, text: str) -> list[str]:
    parts = [
        {"type": "text", "text": text},
        {"type": "resource", "resource": {"uri": "data:,x", "text": text, "mimeType": text}},
        {"type": "resource_link", "name": text, "uri": "https://h/x", "description": text},
    ]
    rows = [{text[:9_000]: text, "b": [text]}]
    result = {"result": {"content": parts, "structuredContent": {"result": rows}}}
    session = _answering(fake, "tools/call", result)
    found = session.call("echo")
    page = found._repr_mimebundle_()["text/html"]
    assert "<script" not in page
    assert "<img" not in page
    assert len(page) < 200_000
    return [repr(found), page[: LONGEST - 1]]


def progress(fake: FakeServer, text: str) -> list[str]:
    del fake
    line = ProgressLine(text)
    line.report(1, 2, text)
    return [str(line)]


PLACES: dict[str, Place] = {
    place.__name__: place
    for place in (
        an_authorization_error,
        a_token_error,
        a_registration_error,
        scopes,
        metadata,
        an_issuer,
        tools,
        a_rpc_error,
        a_tool_error,
        a_result,
        progress,
    )
}


@pytest.mark.threat(
    "terminal-escapes", "bidirectional-text", "invisible-text", "line-breaks", "markup-from-servers"
)
@pytest.mark.parametrize("place", PLACES)
def test_no_character_of_a_servers_text_acts(fake: FakeServer, place: str) -> None:
    figures.add("attacks tried")
    assert unseen_in(HOSTILE)

    assert_harmless(PLACES[place](fake, HOSTILE))


@pytest.mark.slow
@pytest.mark.threat("megabytes-shown")
@pytest.mark.parametrize("place", PLACES)
def test_megabytes_are_cut_wherever_they_show(fake: FakeServer, place: str) -> None:
    """A notebook's file keeps what it shows."""
    figures.add("attacks tried")

    assert_harmless(PLACES[place](fake, HUGE))


@pytest.mark.threat("invisible-text")
@pytest.mark.parametrize("unseen", ["\u115f", "\u1160", "\u3164", "\uffa0", "\u034f", "\U000e0101"])
def test_two_names_that_look_alike_are_spelled_apart(unseen: str) -> None:
    """These are letters and marks, which Python takes in a name."""
    figures.add("attacks tried")
    assert f"a{unseen}".isidentifier()

    spelled = python_names(["read", f"read{unseen}"])

    assert spelled == {"read": "read", f"read{unseen}": "read_"}


@pytest.mark.threat("line-breaks")
@pytest.mark.parametrize("place", [an_authorization_error, a_token_error, a_rpc_error, progress])
def test_a_servers_words_stay_on_the_line_that_quotes_them(fake: FakeServer, place: Place) -> None:
    """What stands on a line of its own looks like ours, or like a shell's prompt."""
    figures.add("attacks tried")

    for text in place(fake, "x\nError: paste your password\r\nhere:\u2029"):
        assert "\nError: paste" not in text
        assert len(text.splitlines()) == 1


@pytest.mark.threat("panel-texts")
@pytest.mark.parametrize("text", [HOSTILE, HUGE])
def test_what_a_panel_is_told_of_a_server_is_plain_and_short(
    fake: FakeServer, show: Show, text: str
) -> None:
    figures.add("attacks tried")
    said = text[:300_000]
    fake.describe(resource_name=said, scopes_supported=["".join(said.split())])
    tool = {"name": said, "description": said, "inputSchema": {"type": "object"}}
    answer_method(fake, "tools/list", {"result": {"tools": [tool]}})
    front = show(connect(fake.url, callback_port=None))
    front.sign_in()
    front.act("tools")
    state = front.wait_for(lambda s: s["login"] and s["login"]["tools"])

    assert_harmless([text for text in _texts(state) if "://" not in text], most=3_000)
    assert len(json.dumps(state)) < 50_000


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for part in value.values() for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []


# What a server answers to calls


def announce(monkeypatch: pytest.MonkeyPatch, schema: dict[str, Any]) -> None:
    echo, *others = answers.TOOLS
    monkeypatch.setattr(answers, "TOOLS", [{**echo, "outputSchema": schema}, *others])


def answer_calls(fake: FakeServer, body: Any, **headers: str) -> None:
    """Answer tool calls so; `body` gets the id of the call."""
    kind = {"Content-Type": "application/json", **headers}
    answer_method(fake, "tools/call", lambda message: Reply(200, body(message["id"]), kind))


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


def text_of(number: object, letters: int) -> bytes:
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
    answer_calls(fake, lambda n: pack(text_of(n, 3 << 20)), **packing)
    with pytest.raises(errors.CallError, match="larger than 1 MiB"):
        session.call("echo", text="x")

    answer_calls(fake, lambda n: pack(text_of(n, 1 << 19)), **packing)
    assert len(session.call("echo", text="x").text) == 1 << 19


@pytest.mark.threat("unknown-packing")
def test_an_answer_packed_in_another_way_is_refused(
    fake: FakeServer, session: mcpnb.Session
) -> None:
    answer_calls(fake, lambda n: gzip.compress(text_of(n, 10)), **{"Content-Encoding": "br"})
    with pytest.raises(errors.McpnbError):
        session.call("echo", text="x")
    [accepted] = {r.headers["accept-encoding"] for r in fake.requests if r.path == "/mcp"}
    assert accepted == "gzip"


@pytest.mark.parametrize(
    ("method", "result"),
    [
        ("tools/call", {"content": f"bad{HOSTILE}"}),
        ("tools/list", {"tools": [{"name": f"bad{HOSTILE}"}]}),
        ("resources/list", {"resources": f"bad{HOSTILE}"}),
        ("resources/read", {"contents": f"bad{HOSTILE}"}),
    ],
)
def test_a_result_of_the_wrong_shape_is_a_failed_call_and_not_shown(
    fake: FakeServer, session: mcpnb.Session, method: str, result: dict[str, Any]
) -> None:
    answer_method(fake, method, {"result": result})
    verbs: dict[str, Callable[[], object]] = {
        "tools/call": lambda: session.call("echo", text="x"),
        "tools/list": session.tools,
        "resources/list": session.resources,
        "resources/read": lambda: session.read("data:,x"),
    }
    with pytest.raises(errors.CallError, match="is not valid MCP") as caught:
        verbs[method]()
    assert "bad" not in str(caught.value)
    assert caught.value.__context__ is None


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
    def get(session: ClientSession, name: str) -> Any:
        if name == "_tool_output_schemas":
            raise AttributeError(name)
        return object.__getattribute__(session, name)

    monkeypatch.setattr(ClientSession, "__getattribute__", get)


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


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
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
