"""A server that puts the same hostile text wherever it has a say: it acts nowhere."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.calls.progress import ProgressLine
from mcpnb.calls.schema import python_names
from tests import figures
from tests.fakes.broken import everything
from tests.fakes.front_end import FrontEnd
from tests.fakes.mcp import answer_to, tool_of
from tests.fakes.people import answer_of, connect, sign_in, waiting
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\x00\x08\r"
DIRECTION = "\u202egnp.exe\u2066\u200f\u061c"
UNSEEN = "\u200b\u2060\ufeff\u3164\u115f\u034f\ufe01\U000e0101\U000e0041\u2800"
LINES = "one\ntwo\x0bthree\x85four\u2028five"
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>"
HOSTILE = f"a{ESCAPES}{DIRECTION}{UNSEEN}{LINES}{MARKUP}z"
HUGE = "x" * 2_000_000
LONGEST = 20_000

Show = Callable[..., FrontEnd]
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
    refused = {"error": text[:300_000], "error_description": text[:300_000]}
    fake.always("/token", Reply(400, refused))
    login, url = waiting(connect(fake.url))
    with pytest.raises(errors.McpnbError) as caught:
        login.submit(answer_of(url))
    return [str(caught.value), *failed(login)]


def a_registration_error(fake: FakeServer, text: str) -> list[str]:
    refused = {"error": text[:300_000], "error_description": text[:300_000]}
    fake.always("/register", Reply(400, refused))
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


def _answering(fake: FakeServer, method: str, result: dict[str, Any]) -> mcpnb.Session:
    """Have the fake answer one method with this, signed in."""
    usual = fake.routes["/mcp"]

    def answer(request: Request) -> Reply:
        message = request.json
        if isinstance(message, dict) and message.get("method") == method and request.bearer:
            body = {"jsonrpc": "2.0", "id": message["id"], **result}
            return Reply(200, body)
        return usual(request) if tool_of(message) is None else answer_to(message)

    fake.routes["/mcp"] = answer
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
    usual = fake.routes["/mcp"]

    def answer(request: Request) -> Reply:
        message = request.json
        if isinstance(message, dict) and message.get("method") == "tools/list" and request.bearer:
            result = {"jsonrpc": "2.0", "id": message["id"], "result": {"tools": [tool]}}
            return Reply(200, result)
        return usual(request)

    fake.routes["/mcp"] = answer
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
