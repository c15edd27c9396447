"""A sign-in in a plain script, on a machine without a browser: somebody has to say the address."""

from __future__ import annotations

import webbrowser
from typing import NoReturn

import pytest

from mcpnb import errors
from tests.fakes.people import answer_of, connect, until, waiting
from tests.fakes.server import FakeServer


@pytest.fixture(autouse=True)
def no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> NoReturn:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)


@pytest.mark.slow
def test_who_waits_is_told_the_address_once(
    fake: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    session = connect(fake.url)
    login = session.login(open_browser=True)
    for _ in range(2):
        with pytest.raises(errors.LoginTimeout):
            login.wait(1)

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines().count(str(login.url)) == 1
    assert "No browser could be opened here" in err
    assert f"comes back to {login.redirect_uri}" in err
    assert "login.submit(" in err
    login.submit(answer_of(str(login.url)))
    assert login.wait(10).signed_in
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_it_is_not_said_that_a_pasted_answer_comes_back_by_itself(
    fake: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    login = connect(fake.url).login(open_browser=True, via="paste")
    with pytest.raises(errors.LoginTimeout):
        login.wait(1)

    err = capsys.readouterr().err
    assert str(login.url) in err.splitlines()
    assert "comes back" not in err
    login.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("shown", ["a view", "a notebook", "no browser was wanted"])
def test_what_is_shown_elsewhere_is_not_said_again(
    fake: FakeServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    shown: str,
) -> None:
    if shown == "a notebook":
        monkeypatch.setattr("mcpnb.login.login.place", lambda: "notebook")
    login, _ = waiting(connect(fake.url), open_browser=shown != "no browser was wanted")
    if shown == "a view":
        login.on_change(lambda _: None)
    else:
        until(lambda: bool(login.notes) or shown == "no browser was wanted")
    with pytest.raises(errors.LoginTimeout):
        login.wait(0.3)

    assert capsys.readouterr().err == ""
    login.cancel()
