"""In a cell: a call that needs a sign-in, and a wait for one, only for what can arrive there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

import mcpnb
from mcpnb import errors
from tests.fakes.kernels import Kernel
from tests.fakes.notebooks import Notebook
from tests.fakes.people import answer_of, browse, sign_in, until, waiting
from tests.fakes.server import FakeServer

Wait = Callable[[mcpnb.Session], mcpnb.Session]
Open = Callable[..., Notebook]
Cell = Callable[[], "Future[mcpnb.Session]"]


def by_wait(session: mcpnb.Session) -> mcpnb.Session:
    return session.wait(timeout=20)


def by_ready(session: mcpnb.Session) -> mcpnb.Session:
    return asyncio.run(session.ready(timeout=20))


def by_await(session: mcpnb.Session) -> mcpnb.Session:
    async def cell() -> mcpnb.Session:
        return await session

    return asyncio.run(cell())


def calls_of(session: mcpnb.Session) -> list[Callable[[], object]]:
    return [session.tools, lambda: asyncio.run(session.acall("echo", text="x"))]


@pytest.fixture(params=[by_wait, by_ready, by_await])
def wait(request: pytest.FixtureRequest) -> Wait:
    """One of the three ways to wait."""
    way: Wait = request.param
    return way


@pytest.fixture
def session(kernel: Kernel, show: object) -> mcpnb.Session:
    """Somebody's who is not signed in; a port of the test's own stands in for the usual one."""
    del show
    return kernel(callback_port=None)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Put a notebook around this process; see `Notebook`."""
    return lambda **given: Notebook(monkeypatch, **given)


@pytest.fixture
def page(notebook: Open) -> Notebook:
    """A notebook whose kernel hears the page while a cell is running."""
    return notebook()


@pytest.fixture
def deaf(notebook: Open) -> Notebook:
    """One in which what a person does in the panel arrives only after the cell."""
    return notebook(hears=False)


@pytest.fixture
def unattended(notebook: Open) -> Notebook:
    """One that papermill or nbconvert runs."""
    return notebook(allows_input=False, hears=False)


@pytest.fixture
def cell(session: mcpnb.Session, wait: Wait) -> Iterator[Cell]:
    """A cell that waits, in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda: pool.submit(wait, session)


@pytest.fixture
def waits(cell: Cell, page: Notebook) -> Future[mcpnb.Session]:
    """Such a cell, whose panel is on the page."""
    running = cell()
    until(lambda: bool(page.panels))
    return running


class TestARefusedCall:
    def test_shows_a_panel_once_and_says_where(
        self, session: mcpnb.Session, page: Notebook
    ) -> None:
        with pytest.raises(errors.LoginRequired, match="with the panel below, then run this cell"):
            session.call("echo", text="x")
        page.panel.phase("signed_out")
        for call in calls_of(session):
            with pytest.raises(errors.LoginRequired, match="with the panel above, then run this"):
                call()
        assert len(page.panels) == 1
        page.panel.sign_in()
        assert session.call("echo", text="x").text == "x"

    def test_counts_the_panel_of_another_connect(self, kernel: Kernel, page: Notebook) -> None:
        store = kernel(callback_port=None).store
        first, second = (mcpnb.connect(kernel().server, store=store) for _ in range(2))
        first._ipython_display_()
        page.panel.phase("signed_out")
        with pytest.raises(errors.LoginRequired, match="panel above"):
            second.call("echo", text="x")
        page.panel.sign_in()
        assert second.call("echo", text="x").text == "x"

    def test_does_not_count_one_that_keeps_its_login_elsewhere(
        self, session: mcpnb.Session, page: Notebook
    ) -> None:
        """Signing in there would be of no use here."""
        mcpnb.connect(session.server, store="memory")._ipython_display_()
        page.panel.phase("signed_out")
        with pytest.raises(errors.LoginRequired, match="panel below"):
            session.call("echo", text="x")
        assert len(page.panels) == 2

    def test_does_not_count_one_that_nobody_shows_any_more(
        self, session: mcpnb.Session, page: Notebook
    ) -> None:
        session._ipython_display_()
        front = page.panel
        front.phase("signed_out")
        front.say("bye")
        with pytest.raises(errors.LoginRequired, match="panel below"):
            session.call("echo", text="x")
        assert len(page.panels) == 2

    def test_tells_the_panel_what_it_needed(
        self, fake: FakeServer, kernel: Kernel, page: Notebook, show: object
    ) -> None:
        del show
        session = kernel(callback_port=None, scopes=("read",))
        session._ipython_display_()
        page.panel.sign_in()
        fake.tool_scopes = {"echo": "write"}
        with pytest.raises(errors.LoginRequired, match="panel above"):
            session.call("echo", text="x")
        assert page.panel.wait_for(lambda s: s["login"]["missing"] == ["write"])

    def test_of_the_panel_itself_shows_no_other_panel(
        self, session: mcpnb.Session, fake: FakeServer, page: Notebook
    ) -> None:
        session._ipython_display_()
        page.panel.sign_in()
        fake.end()
        fake.expire()
        page.panel.act("tools")
        page.panel.phase("signed_out")
        assert len(page.panels) == 1


class TestNobodyThere:
    """As papermill and nbconvert run a notebook."""

    def test_a_wait_names_the_command_to_run_once(
        self, session: mcpnb.Session, fake: FakeServer, unattended: Notebook, wait: Wait
    ) -> None:
        with pytest.raises(errors.LoginRequired) as caught:
            wait(session)
        assert str(caught.value).endswith(f"mcpnb login {fake.url}")
        assert caught.value.server == fake.url
        assert [*unattended.panels, *unattended.prompts, *fake.requests] == []

    def test_so_does_a_call_in_one_line_without_a_traceback(
        self, session: mcpnb.Session, fake: FakeServer, unattended: Notebook
    ) -> None:
        for call in calls_of(session):
            with pytest.raises(errors.LoginRequired) as caught:
                call()
            assert str(caught.value).endswith(f"mcpnb login {fake.url}")
            [line] = caught.value._render_traceback_()
            assert line.startswith("LoginRequired: Not signed in")
            assert "\n" not in line
        assert unattended.panels == []

    def test_the_command_is_for_this_login_and_does_not_name_it(
        self, fake: FakeServer, unattended: Notebook, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without ``--account`` it would be another login; the label itself stays out of files."""
        labelled = mcpnb.connect(fake.url, account="finance", store="memory")
        said = []
        for act in (labelled.wait, labelled.tools):
            with pytest.raises(errors.LoginRequired) as caught:
                act()
            said.append(str(caught.value))
        labelled._ipython_display_()
        for text in (*said, capsys.readouterr().out):
            assert f"mcpnb login {fake.url} --account LABEL" in text
            assert "finance" not in text
        assert unattended.panels == []

    @pytest.mark.usefixtures("unattended")
    def test_a_login_goes_on(self, session: mcpnb.Session, wait: Wait) -> None:
        sign_in(session)
        assert wait(session) is session

    def test_a_shown_session_is_a_line_without_an_account(
        self,
        kernel: Kernel,
        fake: FakeServer,
        unattended: Notebook,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """The file keeps it."""
        session = kernel(account="ada")
        session._ipython_display_()
        assert f"once: mcpnb login {fake.url}" in capsys.readouterr().out
        sign_in(session)
        session._ipython_display_()
        assert capsys.readouterr().out == f"<Session 127.0.0.1:{fake.port}, signed in>\n"
        assert unattended.panels == []

    def test_voila_shows_its_pages_to_people_all_the_same(
        self, session: mcpnb.Session, notebook: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        voila = notebook(allows_input=False)
        monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.13")
        session._ipython_display_()
        assert voila.panel.phase("signed_out")
        with pytest.raises(errors.LoginRequired, match="with the panel above"):
            session.call("echo", text="x")


class TestATerminal:
    @pytest.mark.slow
    def test_the_address_is_printed(
        self, session: mcpnb.Session, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(by_await, session)
            until(lambda: session.latest_login is not None and bool(session.latest_login.url))
            login = session.latest_login
            assert login is not None
            login.submit(answer_of(str(login.url)))
            assert waits.result(20) is session
        assert str(login.url) in capsys.readouterr().out.splitlines()

    def test_a_refused_call_says_what_to_run(self, session: mcpnb.Session) -> None:
        with pytest.raises(errors.LoginRequired, match=r"session\.login\(\), or mcpnb login"):
            session.call("echo", text="x")

    def test_a_shown_session_is_its_repr(
        self, session: mcpnb.Session, capsys: pytest.CaptureFixture[str]
    ) -> None:
        session._ipython_display_()
        assert capsys.readouterr().out == f"{session!r}\n"


@pytest.mark.slow
class TestAPageThatHears:
    def test_a_panel_is_shown_and_waited_for(
        self, session: mcpnb.Session, page: Notebook, waits: Future[mcpnb.Session]
    ) -> None:
        page.panel.phase("signed_out")
        page.panel.sign_in()
        assert waits.result(20) is session
        assert page.prompts == []

    def test_a_sign_in_that_is_denied_ends_the_wait(
        self, fake: FakeServer, page: Notebook, waits: Future[mcpnb.Session]
    ) -> None:
        fake.authorize_error = {"error": "access_denied"}
        page.panel.answer(answer_of(page.panel.click()["wait"]["url"]))
        with pytest.raises(errors.LoginDenied):
            waits.result(20)

    def test_the_cell_can_be_run_again_after_that(
        self, session: mcpnb.Session, fake: FakeServer, page: Notebook, cell: Cell
    ) -> None:
        """The failure from before is no news: the panel offers to try again."""
        session._ipython_display_()
        fake.authorize_error = {"error": "access_denied"}
        page.panel.answer(answer_of(page.panel.click()["wait"]["url"]))
        page.panel.phase("failed")
        fake.authorize_error = None
        waits = cell()
        until(lambda: any(m["kind"] == "ping" for m in page.panel.sent))
        page.panel.sign_in()
        assert waits.result(20) is session

    def test_cancelling_ends_the_wait(self, page: Notebook, waits: Future[mcpnb.Session]) -> None:
        page.panel.click()
        page.panel.act("cancel")
        with pytest.raises(errors.LoginCancelled):
            waits.result(20)

    def test_a_server_that_needs_no_sign_in_ends_the_wait(
        self,
        session: mcpnb.Session,
        fake: FakeServer,
        page: Notebook,
        waits: Future[mcpnb.Session],
        wait: Wait,
    ) -> None:
        fake.need_no_sign_in()
        page.panel.act("sign_in", page=page.panel.page, memory_only=False, via="auto")
        assert waits.result(20) is session
        assert wait(session) is session, "nor is it asked about again"
        assert len(page.panels) == 1

    @pytest.mark.usefixtures("page")
    def test_nobody_in_time_is_a_time_out(self, session: mcpnb.Session) -> None:
        with pytest.raises(errors.LoginTimeout, match="Nobody has signed in"):
            session.wait(timeout=0.5)

    def test_many_waiters_are_all_let_go(self, session: mcpnb.Session, page: Notebook) -> None:
        session._ipython_display_()
        page.panel.phase("signed_out")
        with ThreadPoolExecutor(8) as pool:
            waits = [pool.submit(way, session) for way in (by_wait, by_ready) * 4]
            page.panel.sign_in()
            assert {id(wait.result(20)) for wait in waits} == {id(session)}
        assert len(page.panels) == 1


@pytest.mark.slow
class TestAPageThatDoesNotHear:
    """What the person does in the panel arrives only after the cell."""

    def test_the_address_is_asked_for(
        self,
        session: mcpnb.Session,
        fake: FakeServer,
        deaf: Notebook,
        capsys: pytest.CaptureFixture[str],
        wait: Wait,
    ) -> None:
        said: list[str] = []

        def wrong() -> str:
            said.append(deaf.address(fake.base))
            return "https://shop.example/?code=planted&state=planted"

        def right() -> str:
            said.append(capsys.readouterr().out)
            return answer_of(said[0])

        deaf.typed = [wrong, lambda: " ", right]
        assert wait(session) is session
        assert len(deaf.prompts) == 3
        assert "Not used: " in said[1]
        assert "Nothing has come back yet." in said[1]
        assert "planted" not in said[1]
        assert len(deaf.panels) == 1, "it is there all the same, for later"

    def test_enter_is_enough_once_the_page_says_so(
        self, session: mcpnb.Session, fake: FakeServer, deaf: Notebook
    ) -> None:
        def in_the_browser() -> str:
            assert "Signed in" in browse(deaf.address(fake.base)).text
            return ""

        deaf.typed = [in_the_browser]
        assert by_wait(session).signed_in

    def test_a_denied_one_ends_the_wait(
        self, session: mcpnb.Session, fake: FakeServer, deaf: Notebook
    ) -> None:
        fake.authorize_error = {"error": "access_denied"}
        deaf.typed = [lambda: answer_of(deaf.address(fake.base))]
        with pytest.raises(errors.LoginDenied):
            by_wait(session)

    def test_a_server_that_needs_no_sign_in_ends_the_wait(
        self, session: mcpnb.Session, fake: FakeServer, deaf: Notebook, wait: Wait
    ) -> None:
        fake.need_no_sign_in()
        assert wait(session) is session
        assert deaf.prompts == []

    def test_a_sign_in_that_goes_on_by_itself_needs_no_panel(
        self, session: mcpnb.Session, deaf: Notebook, cell: Cell
    ) -> None:
        """Its response comes to a port of this machine."""
        login, url = waiting(session, via="loopback")
        waits = cell()
        login.submit(answer_of(url))
        assert waits.result(20) is session
        assert [*deaf.panels, *deaf.prompts] == []

    def test_one_that_may_not_ask_either_says_so(
        self,
        session: mcpnb.Session,
        fake: FakeServer,
        unattended: Notebook,
        monkeypatch: pytest.MonkeyPatch,
        wait: Wait,
    ) -> None:
        monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.13")
        with pytest.raises(errors.LoginRequired, match="with the panel, then run this cell again"):
            wait(session)
        assert [*unattended.prompts, *fake.requests] == []


def test_an_older_kernel_is_not_even_tried_in_an_awaiting_cell(
    session: mcpnb.Session, fake: FakeServer, notebook: Open
) -> None:
    """Ipykernel 6 handles no message before the cell has ended."""
    older = notebook(hears=False, version=(6, 31, 0))
    older.typed = [lambda: answer_of(older.address(fake.base))]
    assert by_await(session).signed_in
    assert not any(message["kind"] == "ping" for message in older.panel.sent)
