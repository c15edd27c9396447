"""A call that needs a sign-in shows a panel once, and one friendly line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.config import review
from tests.fakes.kernels import Kernel
from tests.fakes.notebooks import Notebook
from tests.fakes.server import FakeServer


@pytest.fixture(autouse=True)
def port(show: object) -> None:
    """Have a port of the test's own stand in for the usual one."""


@pytest.fixture
def session(kernel: Kernel) -> mcpnb.Session:
    """Give a session that nobody is signed in to."""
    return kernel(callback_port=None)


class TestARefusedCall:
    def test_a_panel_is_shown_once_and_the_line_says_where(
        self, session: mcpnb.Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        notebook = Notebook(monkeypatch)
        with pytest.raises(errors.LoginRequired, match="with the panel below, then run this cell"):
            session.call("echo", text="x")
        notebook.panel.phase("signed_out")
        calls: list[Callable[[], object]] = [
            session.tools,
            lambda: asyncio.run(session.atools()),
        ]
        for call in calls:
            with pytest.raises(errors.LoginRequired, match="with the panel above, then run this"):
                call()
        assert len(notebook.panels) == 1
        notebook.panel.sign_in()
        assert session.call("echo", text="x").text == "x"

    def test_one_of_another_connect_counts(
        self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        notebook = Notebook(monkeypatch)
        store = kernel(callback_port=None).store
        first, second = (mcpnb.connect(kernel().server, store=store) for _ in range(2))
        first._ipython_display_()
        notebook.panel.phase("signed_out")
        with pytest.raises(errors.LoginRequired, match="panel above"):
            second.call("echo", text="x")
        notebook.panel.sign_in()
        assert second.call("echo", text="x").text == "x"

    def test_one_that_keeps_its_login_elsewhere_does_not(
        self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Signing in there would be of no use here."""
        notebook = Notebook(monkeypatch)
        mcpnb.connect(kernel().server, store="memory")._ipython_display_()
        notebook.panel.phase("signed_out")
        with pytest.raises(errors.LoginRequired, match="panel below"):
            kernel(callback_port=None).call("echo", text="x")
        assert len(notebook.panels) == 2

    def test_where_nobody_is_the_command_is_for_this_login_and_does_not_name_it(
        self, fake: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without ``--account`` it would be another login; the label itself stays out of files."""
        Notebook(monkeypatch, allows_input=False, hears=False)
        labelled = mcpnb.connect(fake.url, account="finance", store="memory")
        with pytest.raises(errors.LoginRequired) as waited:
            labelled.wait()
        with pytest.raises(errors.LoginRequired) as called:
            labelled.tools()
        labelled._ipython_display_()
        for said in (str(waited.value), str(called.value), capsys.readouterr().out):
            assert f"mcpnb login {fake.url} --account LABEL" in said
            assert "finance" not in said

    def test_one_that_nobody_shows_any_more_does_not(
        self, session: mcpnb.Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        notebook = Notebook(monkeypatch)
        session._ipython_display_()
        front = notebook.panel
        front.phase("signed_out")
        front.say("bye")
        with pytest.raises(errors.LoginRequired, match="panel below"):
            session.call("echo", text="x")
        assert len(notebook.panels) == 2

    def test_what_it_needed_is_in_the_panel(
        self, fake: FakeServer, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        notebook = Notebook(monkeypatch)
        session = kernel(callback_port=None, scopes=("read",))
        session._ipython_display_()
        notebook.panel.sign_in()
        fake.tool_scopes = {"echo": "write"}
        with pytest.raises(errors.LoginRequired, match="panel above"):
            session.call("echo", text="x")
        assert notebook.panel.wait_for(lambda s: s["login"]["missing"] == ["write"])

    def test_what_the_panel_itself_lists_shows_no_other_panel(
        self, session: mcpnb.Session, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        notebook = Notebook(monkeypatch)
        session._ipython_display_()
        notebook.panel.sign_in()
        fake.end()
        fake.expire()
        notebook.panel.act("tools")
        notebook.panel.phase("signed_out")
        assert len(notebook.panels) == 1


class TestASecretOfTheAddress:
    """What ``${TEAM_KEY}`` in a configured address stands for."""

    SECRET = "pLanted-k3y-0f-the-address"

    @pytest.fixture
    def keyed(
        self, fake: FakeServer, world: Path, monkeypatch: pytest.MonkeyPatch
    ) -> mcpnb.Session:
        monkeypatch.setattr("mcpnb.text._secrets", ())
        monkeypatch.setenv("TEAM_KEY", self.SECRET)
        server = {"type": "http", "url": f"{fake.url}?key=${{TEAM_KEY}}"}
        (world / "work" / ".mcp.json").write_text(json.dumps({"mcpServers": {"team": server}}))
        for each in review():
            each.agree()
        return mcpnb.connect("team", store="memory")

    @pytest.mark.parametrize(
        ("watched", "advice"),
        [(True, "with the panel below"), (False, "on this machine: mcpnb login ")],
        ids=["notebook", "headless"],
    )
    def test_is_not_in_the_line_that_says_what_to_do(
        self, keyed: mcpnb.Session, monkeypatch: pytest.MonkeyPatch, advice: str, *, watched: bool
    ) -> None:
        Notebook(monkeypatch, allows_input=watched)
        for call in (keyed.tools, lambda: asyncio.run(keyed.atools())):
            with pytest.raises(errors.LoginRequired) as caught:
                call()
            said = str(caught.value) + repr(caught.value)
            assert self.SECRET not in said
            assert "${TEAM_KEY}" in said
            assert advice in said
            advice = advice.replace("below", "above")
