"""What a person holds: its one honest line, its options, its life across restarts."""

from __future__ import annotations

import gc
import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from IPython.core.interactiveshell import InteractiveShell

import mcpnb
from mcpnb import errors
from mcpnb.stores import FileStore, MemoryStore
from tests.fakes.mcp import answer_method, answer_to
from tests.fakes.people import (
    answer_of,
    connect,
    query_of,
    refresh_tokens,
    sign_in,
    until,
    waiting,
)
from tests.fakes.server import FakeServer


def test_connecting_contacts_nobody(fake: FakeServer) -> None:
    """Nor do looking at it and asking for its status."""
    session = connect(fake.url, account="work")

    assert (session.status, session.signed_in, session.scopes) == ("none", False, ())
    assert repr(session) == f'<Session {fake.url.partition("://")[2]} ("work"), not signed in>'
    assert fake.requests == []


@pytest.mark.parametrize("name", ["server", "name", "account", "callback"])
def test_whose_session_it_is_never_changes(fake: FakeServer, name: str) -> None:
    """Messages and panels would name another server than the one that is called."""
    with pytest.raises(AttributeError):
        setattr(connect(fake.url), name, "https://other.example/mcp")


@pytest.mark.slow
def test_a_session_says_in_one_line_how_it_stands(fake: FakeServer, session: mcpnb.Session) -> None:
    """And never a secret."""
    line = repr(session)

    assert re.search(r"signed in, (59|60) min left, renews itself, in memory only", line)
    assert session.access_token() not in line
    fake.lifetime = 1
    fake.expire()
    session.call("echo", text="renewed")
    until(lambda: session.status == "expired")
    assert session.signed_in, "it renews itself"
    fake.end()
    with pytest.raises(mcpnb.LoginRequired):
        session.call("echo", text="over")
    assert session.status == "reauth_required"
    assert "sign in again" in repr(session)


@pytest.mark.slow
def test_a_restart_with_a_valid_token_asks_nobody(fake: FakeServer, tmp_path: Path) -> None:
    """No discovery, no registration, no token request: the login is all there."""
    sign_in(connect(fake.url, store=FileStore(tmp_path)))
    fake.requests.clear()

    script = (
        "import sys, mcpnb; from mcpnb.stores import FileStore; "
        "s = mcpnb.connect(sys.argv[1], store=FileStore(sys.argv[2])); "
        "print(s.call('echo', text='back').text)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, fake.url, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "back\n", "")
    assert {request.path for request in fake.requests} == {"/mcp"}


def test_accounts_of_one_server_are_kept_apart(fake: FakeServer) -> None:
    """Two labels, two logins."""
    store = MemoryStore()
    work, home = (connect(fake.url, store=store, account=name) for name in ("work", "home"))
    sign_in(work)

    assert (work.signed_in, home.signed_in) == (True, False)
    sign_in(home)
    assert work.access_token() != home.access_token()
    work.logout()
    assert (work.signed_in, home.signed_in) == (False, True)


def test_another_session_of_the_same_login_notices_a_sign_out(fake: FakeServer) -> None:
    """Without being asked anything."""
    store = MemoryStore()
    one, other = (connect(fake.url, store=store) for _ in range(2))
    sign_in(one)
    assert other.call("echo", text="shared").text == "shared"

    assert one.logout()

    assert not other.signed_in
    with pytest.raises(mcpnb.LoginRequired):
        other.call("echo", text="late")


def test_a_view_with_other_options_is_the_same_session(
    fake: FakeServer, session: mcpnb.Session
) -> None:
    """It shares the login and the connection; only its calls differ."""
    view = session.options(timeout=20)

    view.call("echo", text="a")
    session.call("echo", text="b")

    methods = [request.json["method"] for request in fake.asked("/mcp") if request.bearer]
    assert methods.count("tools/call") == 2
    assert methods.count("initialize") == methods.count("tools/list") == 1


def test_who_has_looked_at_the_tools_need_not_have_them_listed_for_a_call(
    fake: FakeServer, session: mcpnb.Session
) -> None:
    session.tools()
    assert session.call("echo", text="hello").text == "hello"

    methods = [r.json["method"] for r in fake.asked("/mcp", "POST") if r.json]
    assert methods.count("tools/list") == 1


def test_waiting_for_a_sign_in_that_fails_says_why(fake: FakeServer) -> None:
    """`wait` ends with the failure, not with its own time-out."""
    fake.authorize_error = {"error": "access_denied"}
    session = connect(fake.url)
    login, url = waiting(session)
    with pytest.raises(errors.LoginDenied):
        login.submit(answer_of(url))

    with pytest.raises(errors.LoginDenied):
        session.wait(timeout=10)


def test_waiting_has_an_end(fake: FakeServer) -> None:
    """And says how long it waited."""
    with pytest.raises(errors.LoginTimeout, match="0 seconds"):
        connect(fake.url).wait(timeout=0)


def test_what_says_so_holds_no_address_with_a_state(fake: FakeServer) -> None:
    """Tracebacks are saved with notebooks, and the address is the login's to show."""
    login, url = waiting(connect(fake.url))
    with pytest.raises(errors.LoginTimeout) as caught:
        login.wait(timeout=0)
    login.cancel()
    said = str(caught.value) + repr(caught.value)
    (state,) = query_of(url)["state"]
    assert state not in said
    assert "state=" not in said
    assert "/authorize" not in said
    assert "continues" in said


@pytest.mark.parametrize("store", ["file", "auto"])
def test_its_repr_tells_that_the_stores_key_is_none(
    monkeypatch: pytest.MonkeyPatch, store: Literal["file", "auto"]
) -> None:
    """It raises nothing: a traceback that shows variables would break at it."""
    monkeypatch.setenv("MCPNB_STORE_KEY", "short")
    session = mcpnb.connect("https://mcp.example/mcp", store=store)
    said = "<Session mcp.example/mcp, not usable: MCPNB_STORE_KEY has to be 32 bytes"
    assert repr(session).startswith(said)
    assert session.status == "none"


class TestInVoila:
    """Each visitor has a kernel, and all of these are one system user's: its disk is no place."""

    @pytest.fixture(autouse=True)
    def voila(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5")

    def test_logins_are_kept_in_memory(self, fake: FakeServer, world: Path) -> None:
        session = mcpnb.connect(fake.url, callback_port=0)
        assert session.info().in_memory
        assert not session.info().memory_is_a_choice
        sign_in(session)
        assert list((world / "mcpnb").glob("*")) == []

    def test_unless_the_call_or_the_configuration_says_where(
        self, fake: FakeServer, own: Path, tmp_path: Path
    ) -> None:
        assert not mcpnb.connect(fake.url, store="file").info().in_memory
        store = FileStore(tmp_path)
        assert mcpnb.connect(fake.url, store=store).store is store
        own.write_text('mcp_oauth_credentials_store = "file"\n')
        assert not mcpnb.connect(fake.url).info().in_memory

    def test_elsewhere_they_are_kept_on_disk(
        self, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SERVER_SOFTWARE", "jupyter/2")
        assert not mcpnb.connect(fake.url).info().in_memory


def test_a_sign_in_under_way_is_given_again(fake: FakeServer) -> None:
    """Two cells, one sign-in."""
    session = connect(fake.url)
    login = session.login()
    try:
        assert session.login() is login
    finally:
        login.cancel()
    with pytest.raises(errors.LoginCancelled):
        login.wait(timeout=10)
    assert session.status == "none"


def test_arguments_that_have_no_json_form_are_refused_before_anything_is_sent(
    fake: FakeServer, session: mcpnb.Session
) -> None:
    """NumPy's values and dates have one; an open file has none."""
    numpy = pytest.importorskip("numpy")
    session.call("echo", text="first")
    sent = len(fake.asked("/mcp"))

    for wrong in (io.StringIO(), float("nan"), b"bytes"):
        with pytest.raises(errors.CallError, match="cannot be sent as JSON"):
            session.call("echo", text=wrong)

    assert len(fake.asked("/mcp")) == sent
    for value in (numpy.array([1, 2]), numpy.datetime64("2026-11-21")):
        session.call("echo", text=value)
    texts = [r.json["params"]["arguments"]["text"] for r in fake.asked("/mcp")[-2:]]
    assert texts == [[1, 2], "2026-11-21"]


def test_a_missing_login_is_one_friendly_line_in_a_notebook(
    fake: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback: what happened, and what to do."""
    shell = InteractiveShell.instance()
    shell.user_ns["session"] = connect(fake.url)

    run: Any = shell.run_cell  # IPython has no type information
    result = run("session.call('echo', text='too early')")

    assert isinstance(result.error_in_exec, mcpnb.LoginRequired)
    said = capsys.readouterr().out
    assert "LoginRequired: Not signed in to" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_an_abandoned_session_leaves_no_connection_behind(fake: FakeServer) -> None:
    """The collector ends what nobody can use any more."""
    named = {"Mcp-Session-Id": "one"}  # a server that names its sessions is told of their end
    answer_method(fake, "initialize", lambda m: replace(answer_to(m), headers=named))
    session = connect(fake.url)
    sign_in(session)
    session.call("echo", text="once")
    assert fake.asked("/mcp", "DELETE") == []

    del session
    gc.collect()

    until(lambda: len(fake.asked("/mcp", "DELETE")) == 1)
    assert refresh_tokens(fake) == []
