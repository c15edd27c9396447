"""Waiting in a cell, and only for what can arrive there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from tests.fakes.kernels import Kernel
from tests.fakes.notebooks import Notebook
from tests.fakes.people import answer_of, sign_in, until, waiting
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply

Wait = Callable[[mcpnb.Session], mcpnb.Session]

DEAF = (6, 31, 0)
"""An ipykernel that handles nothing before a cell has ended."""


def by_wait(session: mcpnb.Session) -> mcpnb.Session:
    return session.wait(timeout=20)


def by_ready(session: mcpnb.Session) -> mcpnb.Session:
    return asyncio.run(session.ready(timeout=20))


def by_await(session: mcpnb.Session) -> mcpnb.Session:
    async def cell() -> mcpnb.Session:
        return await session

    return asyncio.run(cell())


ways = pytest.mark.parametrize("wait", [by_wait, by_ready, by_await])


@pytest.fixture(autouse=True)
def port(show: object) -> None:
    """Have a port of the test's own stand in for the usual one."""


@pytest.fixture
def session(kernel: Kernel) -> mcpnb.Session:
    """Give a session that nobody is signed in to."""
    return kernel(callback_port=None)


def answers_everybody(fake: FakeServer) -> None:
    fake.always("/mcp", Reply(200, {"jsonrpc": "2.0", "id": 1, "result": {}}))
    fake.resource_metadata = fake.metadata = None


def shown_address(capsys: pytest.CaptureFixture[str], fake: FakeServer) -> str:
    """Read the address to open from what was printed."""
    [url] = [line for line in capsys.readouterr().out.splitlines() if fake.base in line][-1:]
    return url


class TestNobodyThere:
    """As papermill and nbconvert run a notebook."""

    @ways
    def test_the_command_to_run_once_is_named_at_once(
        self, session: mcpnb.Session, fake: FakeServer, monkeypatch: pytest.MonkeyPatch, wait: Wait
    ) -> None:
        notebook = Notebook(monkeypatch, allows_input=False, hears=False)
        with pytest.raises(errors.LoginRequired) as caught:
            wait(session)
        assert str(caught.value).endswith(f"mcpnb login {fake.url}")
        assert caught.value.server == fake.url
        assert [*notebook.panels, *notebook.prompts, *fake.requests] == []

    def test_so_it_is_by_a_call(
        self, session: mcpnb.Session, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        notebook = Notebook(monkeypatch, allows_input=False)
        calls: list[Callable[[], object]] = [
            lambda: session.call("echo"),
            lambda: asyncio.run(session.acall("echo")),
        ]
        for call in calls:
            with pytest.raises(errors.LoginRequired) as caught:
                call()
            assert str(caught.value).endswith(f"mcpnb login {fake.url}")
        assert notebook.panels == []

    def test_it_is_one_line_without_a_traceback(
        self, session: mcpnb.Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Notebook(monkeypatch, allows_input=False)
        with pytest.raises(errors.LoginRequired) as caught:
            session.call("echo", text="x")
        [line] = caught.value._render_traceback_()
        assert line.startswith("LoginRequired: Not signed in")
        assert "\n" not in line

    @ways
    def test_a_login_goes_on(
        self, session: mcpnb.Session, monkeypatch: pytest.MonkeyPatch, wait: Wait
    ) -> None:
        sign_in(session)
        Notebook(monkeypatch, allows_input=False)
        assert wait(session) is session

    def test_a_shown_session_is_a_line_without_an_account(
        self,
        kernel: Kernel,
        fake: FakeServer,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """The file keeps it."""
        notebook = Notebook(monkeypatch, allows_input=False)
        session = kernel(account="ada")
        session._ipython_display_()
        assert f"once: mcpnb login {fake.url}" in capsys.readouterr().out
        sign_in(session)
        session._ipython_display_()
        assert capsys.readouterr().out == f"<Session 127.0.0.1:{fake.port}, signed in>\n"
        assert notebook.panels == []

    def test_voila_says_the_same_and_shows_its_pages_to_people(
        self, session: mcpnb.Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        notebook = Notebook(monkeypatch, allows_input=False)
        monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.13")
        session._ipython_display_()
        assert notebook.panel.phase("signed_out")
        with pytest.raises(errors.LoginRequired, match="with the panel above"):
            session.call("echo", text="x")


class TestATerminal:
    @pytest.mark.slow
    def test_the_address_is_printed(
        self, session: mcpnb.Session, fake: FakeServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(by_await, session)
            until(lambda: session.latest_login is not None and bool(session.latest_login.url))
            login = session.latest_login
            assert login is not None
            login.submit(answer_of(str(login.url)))
            assert waits.result(20) is session
        assert shown_address(capsys, fake) == login.url

    def test_a_refused_call_says_what_to_run(self, session: mcpnb.Session) -> None:
        with pytest.raises(errors.LoginRequired, match=r"session\.login\(\), or mcpnb login"):
            session.call("echo", text="x")

    def test_a_shown_session_is_its_repr(
        self, session: mcpnb.Session, capsys: pytest.CaptureFixture[str]
    ) -> None:
        session._ipython_display_()
        assert capsys.readouterr().out == f"{session!r}\n"


class TestAPageThatHears:
    @pytest.mark.slow
    @ways
    def test_a_panel_is_shown_and_waited_for(
        self, session: mcpnb.Session, monkeypatch: pytest.MonkeyPatch, wait: Wait
    ) -> None:
        notebook = Notebook(monkeypatch)
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(wait, session)
            until(lambda: bool(notebook.panels))
            notebook.panel.phase("signed_out")
            notebook.panel.sign_in()
            assert waits.result(20) is session
        assert notebook.prompts == []

    @pytest.mark.slow
    @ways
    def test_a_sign_in_that_is_denied_ends_the_wait(
        self,
        session: mcpnb.Session,
        fake: FakeServer,
        monkeypatch: pytest.MonkeyPatch,
        wait: Wait,
    ) -> None:
        notebook = Notebook(monkeypatch)
        fake.authorize_error = {"error": "access_denied"}
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(wait, session)
            until(lambda: bool(notebook.panels))
            notebook.panel.answer(answer_of(notebook.panel.click()["wait"]["url"]))
            with pytest.raises(errors.LoginDenied):
                waits.result(20)

    @pytest.mark.slow
    @ways
    def test_the_cell_can_be_run_again_after_that(
        self,
        session: mcpnb.Session,
        fake: FakeServer,
        monkeypatch: pytest.MonkeyPatch,
        wait: Wait,
    ) -> None:
        """The failure from before is no news: the panel offers to try again."""
        notebook = Notebook(monkeypatch)
        session._ipython_display_()
        fake.authorize_error = {"error": "access_denied"}
        notebook.panel.answer(answer_of(notebook.panel.click()["wait"]["url"]))
        notebook.panel.phase("failed")
        fake.authorize_error = None
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(wait, session)
            until(lambda: any(m["kind"] == "ping" for m in notebook.panel.sent))
            notebook.panel.sign_in()
            assert waits.result(20) is session

    @pytest.mark.slow
    @ways
    def test_cancelling_ends_the_wait(
        self, session: mcpnb.Session, monkeypatch: pytest.MonkeyPatch, wait: Wait
    ) -> None:
        notebook = Notebook(monkeypatch)
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(wait, session)
            until(lambda: bool(notebook.panels))
            notebook.panel.click()
            notebook.panel.act("cancel")
            with pytest.raises(errors.LoginCancelled):
                waits.result(20)

    @pytest.mark.slow
    @ways
    def test_a_server_that_needs_no_sign_in_is_gone_on_with(
        self,
        session: mcpnb.Session,
        fake: FakeServer,
        monkeypatch: pytest.MonkeyPatch,
        wait: Wait,
    ) -> None:
        answers_everybody(fake)
        notebook = Notebook(monkeypatch)
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(wait, session)
            until(lambda: bool(notebook.panels))
            front = notebook.panel
            front.act("sign_in", page=front.page, memory_only=False, via="auto")
            assert waits.result(20) is session
        assert wait(session) is session, "nor is it asked about again"
        assert len(notebook.panels) == 1

    @pytest.mark.slow
    def test_nobody_in_time_is_a_time_out(
        self, session: mcpnb.Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Notebook(monkeypatch)
        with pytest.raises(errors.LoginTimeout, match="Nobody has signed in"):
            session.wait(timeout=0.5)

    @pytest.mark.slow
    @ways
    def test_a_sign_in_that_goes_on_by_itself_needs_no_panel(
        self, session: mcpnb.Session, monkeypatch: pytest.MonkeyPatch, wait: Wait
    ) -> None:
        """Its answer comes to a port of this machine."""
        notebook = Notebook(monkeypatch, hears=False)
        login, url = waiting(session, via="loopback")
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(wait, session)
            login.submit(answer_of(url))
            assert waits.result(20) is session
        assert [*notebook.panels, *notebook.prompts] == []


class TestAPageThatDoesNotHear:
    """What the person does in the panel arrives only after the cell."""

    @pytest.mark.slow
    @ways
    def test_the_address_is_asked_for(
        self,
        session: mcpnb.Session,
        fake: FakeServer,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        wait: Wait,
    ) -> None:
        notebook = Notebook(monkeypatch, hears=False)
        said: list[str] = []

        def wrong() -> str:
            said.append(notebook.address(fake.base))
            return "https://shop.example/?code=planted&state=planted"

        def right() -> str:
            said.append(capsys.readouterr().out)
            return answer_of(said[0])

        notebook.typed = [wrong, lambda: " ", right]
        assert wait(session) is session
        assert len(notebook.prompts) == 3
        assert "Not used: " in said[1]
        assert "Nothing has come back yet." in said[1]
        assert "planted" not in said[1]
        assert len(notebook.panels) == 1, "it is there all the same, for later"

    @pytest.mark.slow
    def test_enter_is_enough_once_the_page_says_so(
        self,
        session: mcpnb.Session,
        fake: FakeServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        import httpx2

        notebook = Notebook(monkeypatch, hears=False)

        def browse() -> str:
            with httpx2.Client(trust_env=False, follow_redirects=True, timeout=10) as browser:
                assert "Signed in" in browser.get(notebook.address(fake.base)).text
            return ""

        notebook.typed = [browse]
        assert by_wait(session).signed_in

    @pytest.mark.slow
    def test_a_denied_one_ends_the_wait(
        self,
        session: mcpnb.Session,
        fake: FakeServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        fake.authorize_error = {"error": "access_denied"}
        notebook = Notebook(monkeypatch, hears=False)
        notebook.typed = [lambda: answer_of(notebook.address(fake.base))]
        with pytest.raises(errors.LoginDenied):
            by_wait(session)

    @pytest.mark.slow
    @ways
    def test_a_server_that_needs_no_sign_in_is_gone_on_with(
        self,
        session: mcpnb.Session,
        fake: FakeServer,
        monkeypatch: pytest.MonkeyPatch,
        wait: Wait,
    ) -> None:
        answers_everybody(fake)
        notebook = Notebook(monkeypatch, hears=False)
        assert wait(session) is session
        assert notebook.prompts == []

    def test_an_older_kernel_is_not_even_tried_in_an_awaiting_cell(
        self,
        session: mcpnb.Session,
        fake: FakeServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        notebook = Notebook(monkeypatch, hears=False, version=DEAF)
        notebook.typed = [lambda: answer_of(notebook.address(fake.base))]
        assert by_await(session).signed_in
        assert not any(message["kind"] == "ping" for message in notebook.panel.sent)

    @pytest.mark.slow
    @ways
    def test_one_that_may_not_ask_either_says_so(
        self, session: mcpnb.Session, fake: FakeServer, monkeypatch: pytest.MonkeyPatch, wait: Wait
    ) -> None:
        notebook = Notebook(monkeypatch, allows_input=False, hears=False)
        monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.13")
        with pytest.raises(errors.LoginRequired, match="then run this cell again") as caught:
            wait(session)
        assert "with the panel" in str(caught.value)
        assert [*notebook.prompts, *fake.requests] == []


@pytest.mark.slow
def test_many_waiters_are_all_let_go(
    session: mcpnb.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = Notebook(monkeypatch)
    session._ipython_display_()
    notebook.panel.phase("signed_out")
    with ThreadPoolExecutor(8) as pool:
        waits: list[Any] = [pool.submit(by_wait, session) for _ in range(4)]
        waits += [pool.submit(by_ready, session) for _ in range(4)]
        notebook.panel.sign_in()
        assert {id(wait.result(20)) for wait in waits} == {id(session)}
    assert len(notebook.panels) == 1
