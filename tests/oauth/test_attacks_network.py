"""A signed-in server's attempts to send calls, and their token, elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mcpnb import errors
from tests import figures
from tests.fakes.people import connect, sign_in
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, redirect


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
