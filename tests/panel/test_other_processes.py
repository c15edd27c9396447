"""What a panel shows of what happens in other processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import mcpnb
from tests.fakes.front_end import HUB, LAB, Show, page_at
from tests.fakes.kernels import Kernel
from tests.fakes.people import answer_of, sign_in, until
from tests.fakes.server import FakeServer

WAITER = """
import sys, mcpnb
from mcpnb.login import SignInRequest
from mcpnb.stores import FileStore
server, folder, page = sys.argv[1:]
session = mcpnb.connect(server, store=FileStore(folder))
login = session.sign_in(SignInRequest(callback="page", page=page))
login.until("waiting", 20)
print(login.url, flush=True)
login.wait()
"""


@pytest.fixture
def waiter(fake: FakeServer, folder: Path) -> Any:
    """Start a sign-in through the page of another kernel; give that process and the address."""
    started: list[subprocess.Popen[str]] = []

    def start(relay: str = LAB) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WAITER, fake.url, str(folder), relay],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=20)


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(20)


class TestOtherProcesses:
    @pytest.mark.slow
    def test_a_sign_in_that_a_killed_kernel_left_is_gone_on_with(
        self, fake: FakeServer, kernel: Kernel, show: Show, waiter: Any
    ) -> None:
        """The kernel was restarted: the tab that is open still counts."""
        process, url = waiter()
        killed(process)
        asked = len(fake.requests)

        front = show(kernel(callback_port=None))
        state = front.waiting()

        assert state["wait"]["url"] == url
        assert state["wait"]["way"] == "page"
        assert len(fake.requests) == asked, "nobody is contacted for that"
        assert front.answer(answer_of(url))["outcome"] == "done"
        assert front.phase("signed_in")

    @pytest.mark.slow
    def test_one_that_was_begun_at_another_address_is_left_alone(
        self, kernel: Kernel, show: Show, waiter: Any, folder: Path
    ) -> None:
        """Its answer would go to a page that hands nothing to this one."""
        process, url = waiter(HUB)
        killed(process)

        front = show(kernel(callback_port=None))
        until(lambda: front.panel.session.latest_login is not None)
        assert front.phase("signed_out")["error"] is None
        assert len(list(folder.glob("pending-*.mcpnb"))) == 1
        assert front.hello("two", page_at(HUB))
        assert front.waiting()["wait"]["url"] == url

    @pytest.mark.slow
    def test_a_cell_that_waits_does_not_take_that_for_an_end(
        self, kernel: Kernel, show: Show, waiter: Any
    ) -> None:
        process, _ = waiter(HUB)
        killed(process)
        session = kernel(callback_port=None)
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(session.wait, 1)
            show(session)
            until(
                lambda: (
                    session.latest_login is not None and session.latest_login.now.nothing_pending
                )
            )
            with pytest.raises(mcpnb.errors.LoginTimeout):
                waits.result(10)

    @pytest.mark.slow
    def test_a_sign_in_in_another_notebook_is_followed(
        self, kernel: Kernel, show: Show, waiter: Any
    ) -> None:
        _, url = waiter()
        front = show(kernel(callback_port=None))
        state = front.waiting()
        assert state["wait"]["way"] == "elsewhere"
        assert state["wait"]["url"] == url
        assert state["wait"]["offers_loopback"] is False
        assert state["headline"] == "A sign-in is under way in another notebook"

        assert front.answer(answer_of(url))["outcome"] == "done"
        assert front.phase("signed_in")

    @pytest.mark.slow
    def test_one_that_ends_there_with_its_process_is_gone_on_with_here(
        self, kernel: Kernel, show: Show, waiter: Any
    ) -> None:
        process, url = waiter()
        front = show(kernel(callback_port=None))
        front.waiting()
        killed(process)
        assert front.wait_for(lambda s: s["wait"] and s["wait"]["url"] == url)
        assert front.answer(answer_of(url))["outcome"] == "done"
        assert front.phase("signed_in")

    @pytest.mark.slow
    def test_being_signed_in_and_out_elsewhere_is_seen(self, kernel: Kernel, show: Show) -> None:
        front, other = show(kernel(callback_port=None)), kernel()
        sign_in(other)
        assert front.phase("signed_in")["login"]["renews"] == "It refreshes itself."
        other.logout()
        assert front.phase("signed_out")["login"] is None

    @pytest.mark.slow
    def test_a_sign_in_that_failed_here_is_no_news_once_somebody_signed_in(
        self, fake: FakeServer, kernel: Kernel, show: Show
    ) -> None:
        front, other = show(kernel(callback_port=None)), kernel()
        fake.authorize_error = {"error": "access_denied"}
        front.answer(answer_of(front.click()["wait"]["url"]))
        front.phase("failed")
        fake.authorize_error = None
        sign_in(other)
        assert front.phase("signed_in")["error"] is None
        front.act("sign_out")
        assert front.phase("signed_out", "failed")["phase"] == "signed_out"

    def test_a_panel_that_nobody_looks_at_reads_nothing(self, kernel: Kernel, show: Show) -> None:
        front = show(kernel())
        front.say("bye")
        until(lambda: not front.panel.live)
        front.panel.refresh()  # waits for one under way that began while it was shown
        before = len(front.sent)
        sign_in(front.panel.session)
        front.panel.refresh()
        assert len(front.sent) == before
