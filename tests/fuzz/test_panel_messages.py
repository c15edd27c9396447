"""What a page may say to a panel: anything, for a notebook's page is not only ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st

from mcpnb.panel import Panel
from mcpnb.panel.state import described
from tests.fakes.front_end import FrontEnd, say
from tests.fakes.people import connect, free_port
from tests.fakes.server import FakeServer
from tests.fuzz.running import fit_to_show, fuzzed
from tests.fuzz.strategies import JSON, TEXT, URLS, documents
from tests.fuzz.values import STATE

_PAGE: dict[str, Any] = {
    "origin": "https://hub.example.com",
    "callback": "https://hub.example.com/lab/extensions/mcpnb/callback.html",
    "served": True,
    "secure": True,
    "top": True,
}
_MESSAGE: dict[str, Any] = {
    "kind": "act",
    "view": "one",
    "id": 7,
    "action": "draw",
    "page": _PAGE,
    "memory_only": False,
    "via": "auto",
}
_KINDS = st.sampled_from(["hello", "bye", "act", "answer", "paste", "pong"])
# Not those that write into the person's Jupyter folder or contact a server by themselves.
_ACTIONS = st.sampled_from(["draw", "cancel", "sign_out", "tools", "another_way", "nothing"])
_MESSAGES = (
    st.builds(
        lambda message, kind, action, page: (
            message | {"kind": kind, "action": action, "page": page}
        ),
        documents(_MESSAGE),
        _KINDS | JSON,
        _ACTIONS,
        documents(_PAGE) | JSON,
    )
    | JSON
)


def _as_buffer(raw: bytes) -> memoryview:
    return memoryview(raw)


_BUFFERS: st.SearchStrategy[list[Any]] = st.lists(
    st.binary(max_size=60).map(_as_buffer)
    | (TEXT | URLS).map(lambda text: memoryview(text.encode(errors="replace")))
    | st.sampled_from([None, "text", [], {}]),
    max_size=2,
)


@pytest.fixture
def front(fakes: Any) -> Iterator[FrontEnd]:
    """Show a panel; the server is there, and nobody signs in."""
    server: FakeServer = fakes()
    shown = FrontEnd(Panel(connect(server.url, callback_port=free_port())))
    shown.hello()
    yield shown
    shown.close()


def _settled() -> None:
    for thread in threading.enumerate():
        if thread.name == "mcpnb-panel":
            thread.join(20)


@fuzzed(examples=150, content=_MESSAGES, buffers=_BUFFERS)
def test_whatever_a_page_says_the_panel_goes_on(
    front: FrontEnd, content: Any, buffers: list[Any]
) -> None:
    """What it sends can be sent (JSON), and each note of it can be shown."""
    panel = front.panel
    before = len(front.sent)
    # Not through the widget: what is raised in there, ipywidgets logs and drops.
    panel._receive(panel, content, buffers)  # noqa: SLF001
    _settled()
    for message in front.sent[before:]:
        for text in _texts(message.get("state", {})):
            fit_to_show(text, (STATE,))
        if message["kind"] == "reply":
            fit_to_show(message["text"], (STATE,))
    for note in described(panel.session, panel._extras)["notes"]:  # noqa: SLF001  as it is sent
        fit_to_show(note)
    # A page that says what ours says is heard as before.
    say(panel, {"kind": "hello", "view": "one", "id": 1, "page": _PAGE})
    _settled()
    assert front.state["phase"]
    front.sent.clear()
    say(panel, {"kind": "bye", "view": "one"})
    front.hello()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
