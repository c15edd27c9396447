"""What a server reports of a call that is running reaches the person's function, and that acts."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterator

import pytest

import mcpnb
from mcpnb.demo.servers import DemoServers
from tests.fakes.people import sign_in

Call = Callable[[mcpnb.Session], str]
Heard = list[tuple[float, float | None, str | None]]


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoServers]:
    """Run the demo's servers; its tool `slow` reports ten times."""
    with DemoServers(auto_consent=True) as servers:
        yield servers


@pytest.fixture
def session(demo: DemoServers) -> mcpnb.Session:
    """Somebody signed in there."""
    made = mcpnb.connect(demo.mcp_url, store="memory")
    sign_in(made)
    return made


def blocking(session: mcpnb.Session) -> str:
    return session.call("slow", seconds=0.2).text


def awaited(session: mcpnb.Session) -> str:
    async def call() -> str:
        return (await session.acall("slow", seconds=0.2)).text

    return asyncio.run(call())


@pytest.fixture(params=[blocking, awaited])
def call(request: pytest.FixtureRequest) -> Call:
    way: Call = request.param
    return way


def test_every_report_is_heard(session: mcpnb.Session, call: Call) -> None:
    heard: Heard = []
    watched = session.options(progress=lambda *report: heard.append(report))

    assert call(watched) == "That took 0.2 seconds."

    assert heard[:1] + heard[-1:] == [(0, 10, "step 1 of 10"), (10, 10, "done")]
    assert len(heard) == 11


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_a_listener_raises_ends_the_call_and_nothing_else(
    session: mcpnb.Session, call: Call, kind: type[BaseException]
) -> None:
    """`sys.exit` there would take the event loop of all calls with it."""
    heard: Heard = []

    def listener(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))
        raise kind("enough")

    with pytest.raises(kind, match="enough"):
        call(session.options(progress=listener))

    assert len(heard) == 1
    assert call(session) == "That took 0.2 seconds."


def test_a_listener_that_fails_can_be_debugged(session: mcpnb.Session, call: Call) -> None:
    """``%debug`` shows its variables; those of the frames around it may hold a token."""

    def listener(progress: float, total: float | None, message: str | None) -> None:
        mine = {"step": progress}
        raise KeyError(mine["none"], total, message)

    with pytest.raises(KeyError) as caught:
        call(session.options(progress=listener))

    frames = {frame.f_code.co_name: frame for frame, _ in traceback.walk_tb(caught.tb)}
    assert frames["listener"].f_locals["mine"] == {"step": 0}
    scrubbed = [frame for name, frame in frames.items() if name in ("call", "_wait_for")]
    assert all("token" not in repr(frame.f_locals) for frame in scrubbed)
