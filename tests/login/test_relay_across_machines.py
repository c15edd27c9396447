"""The whole story of `mcpnb relay`: begun on one machine, approved on another, pasted back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import httpx2
import pytest

from tests.fakes import wire
from tests.fakes.people import browse, free_port
from tests.fakes.server import FakeServer
from tests.peers.machines import Machine, machine
from tests.terminal import Running, invoke, run

pytestmark = pytest.mark.slow


def begun(fake: FakeServer) -> str:
    """Begin a sign-in that nobody waits for; give the authorization URL."""
    done = invoke("login", fake.url, "--begin", "--port", str(free_port())).expect(0)
    return done.out.strip()


def relayed(address: str, code: int = 0) -> str:
    """Relay it with a browser of this machine; give the line to paste."""
    with Running("relay", address, "--no-browser") as command:
        assert command.address() == address
        browse(address)
        return command.end().expect(code).out


class TestOnOneMachine:
    @pytest.mark.threat("relayed-answer-of-another")
    def test_the_answer_to_another_sign_in_is_not_relayed(self, fake: FakeServer) -> None:
        """A page that somebody else had the browser open, say."""
        address = begun(fake)
        fake.state = "another"
        with Running("relay", address, "--no-browser", here=True) as command:
            command.address()
            assert browse(address).status_code == 400
            command.says("belongs to another sign-in")
            fake.state = "default"
            browse(address)
            line = command.end().expect(0).out
        invoke("login", fake.url, "--finish", "-", given=line).expect(0)

    def test_a_declined_sign_in_ends_what_was_begun(self, fake: FakeServer) -> None:
        fake.authorize_error = {"error": "access_denied"}
        line = relayed(begun(fake), code=1)

        finish = ("login", fake.url, "--finish", "-")
        assert "declined" in invoke(*finish, given=line).expect(1).err
        assert "is pending" in invoke(*finish, given=line).expect(1).err


# Two machines


@contextlib.contextmanager
def reaching(machine: Machine, fake: FakeServer) -> Iterator[None]:
    """Have the server reachable from a machine, under the address that it has everywhere.

    One and the same server, with a listening socket in each network. Its address has to be a
    loopback one, because any other would have to be https.
    """
    with machine.inside():
        door = wire._Listening(("127.0.0.1", fake.port), wire._Connection)  # noqa: SLF001
    door.wire = fake
    thread = threading.Thread(target=door.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        door.shutdown()
        door.server_close()
        thread.join(5)


@pytest.fixture
def machines(fake: FakeServer) -> Iterator[tuple[Machine, Machine]]:
    """Give a laptop with a browser and a kernel's machine; both reach only the server."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(2):
            made.append(stack.enter_context(machine()))
            stack.enter_context(reaching(made[-1], fake))
        yield made[0], made[1]


def test_a_sign_in_that_waits_on_another_machine_is_completed_by_the_line(
    fake: FakeServer, machines: tuple[Machine, Machine]
) -> None:
    laptop, kernel = machines
    with kernel.inside():
        waiting = Running("login", fake.url, "--no-browser")
    with waiting:
        address = waiting.address()
        with laptop.inside():
            with pytest.raises(httpx2.ConnectError):
                browse(address)  # what the person sees without it
            line = relayed(address)
        assert waiting.is_running
        assert fake.token_requests("authorization_code") == []
        waiting.type(line)
        done = waiting.end().expect(0)

    assert "Signed in" in done.err
    assert line.strip() not in done.err
    with kernel.inside():
        assert run("token", fake.url).expect(0).out.strip() in fake.access
