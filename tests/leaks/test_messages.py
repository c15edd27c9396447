"""Nothing that signs anybody in leaves a panel: not in messages, logs, reprs, nor in the file.

`tests/leaks/test_panel.py` searches what a real notebook leaves.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.panel import Panel, widget
from mcpnb.text import add_secret
from tests.fakes.front_end import FrontEnd, Show
from tests.fakes.kernels import Kernel
from tests.fakes.notebooks import Notebook
from tests.fakes.people import answer_of, query_of, until
from tests.fakes.secrets import Secrets
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply

KERNELS_OWN = "Comm"
"""The kernel's own log, which has every message whole at DEBUG: what we send, and what came."""


def is_the_browsers(record: logging.LogRecord) -> bool:
    """Whether it is of the browser in these tests; what is ours works in threads."""
    return record.threadName == "MainThread" and record.name.startswith(("httpx2", "httpcore2"))


def everything(front: FrontEnd, caplog: pytest.LogCaptureFixture) -> str:
    """Give all that was sent, logged, or can be printed."""
    session = front.panel.session
    shown: list[Any] = [front.panel, session, session.latest_login, session.store]
    logged = [
        f"{record.name} {record.getMessage()} {record.args!r} {record.exc_info!r}"
        for record in caplog.records
        if record.name != KERNELS_OWN and not is_the_browsers(record)
    ]
    assert any("httpcore" in line for line in logged), "there is something to be searched"
    said = [json.dumps(front.sent), *front.kept, front.what_is_kept(), *logged]
    return "\n".join([*said, *map(repr, shown)])


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.mark.slow
@pytest.mark.threat("widget-messages-leak")
def test_a_whole_sign_in_with_all_that_follows(
    fake: FakeServer, kernel: Kernel, show: Show, log: pytest.LogCaptureFixture
) -> None:
    front = show(kernel(callback_port=None))
    first = front.sign_in()
    fake.expire()
    front.act("tools")
    front.wait_for(lambda s: s["login"]["tools_state"] == "ready")
    front.act("another_account", page=front.page, via="auto")
    second = front.waiting()["wait"]["url"]
    front.answer(answer_of(second), kind="paste")
    front.phase("signed_in")
    front.act("sign_out")
    front.phase("signed_out")

    secrets = Secrets(fake)
    assert {"code", "verifier", "state"} <= secrets.kinds()
    # A person has to open them; what they hold shows nowhere else.
    secrets.absent_from({"messages": everything(front, log)}, without=(first, second))
    assert "state=" not in json.dumps(front.state), "and no longer than that"


@pytest.mark.parametrize(
    "failure",
    [Reply(400, {"error": "invalid_grant"}), Reply(500, "broken"), Reply(200, "no JSON")],
    ids=["refused", "broken", "nonsense"],
)
def test_an_exchange_that_fails(
    fake: FakeServer, kernel: Kernel, show: Show, log: pytest.LogCaptureFixture, failure: Reply
) -> None:
    front = show(kernel(callback_port=None))
    fake.always("/token", failure)
    url = front.click()["wait"]["url"]
    answer = answer_of(url)
    assert front.answer(answer)["outcome"] == "failed"
    front.phase("failed")

    secrets = Secrets(fake)
    assert {*query_of(answer)["code"]} <= set(secrets.known())
    secrets.absent_from({"messages": everything(front, log)}, without=[url])


def test_what_was_pasted_is_never_repeated(
    kernel: Kernel, show: Show, log: pytest.LogCaptureFixture
) -> None:
    """A bare code, another sign-in's answer, a password: whatever was in the clipboard."""
    front = show(kernel(callback_port=None))
    redirect = query_of(front.click()["wait"]["url"])["redirect_uri"][0]
    for text in (
        "planted-bare-code",
        f"{redirect}?code=planted-code&state=planted-state",
        f"{redirect}?code=planted-code&code=planted-code",
        "https://ada:planted-password@shop.example/?code=planted-code",
        "http://[planted",
        "planted" * 20_000,
    ):
        assert front.answer(text, kind="paste")["outcome"] == "refused"
    assert front.state["phase"] == "waiting"
    assert "planted" not in everything(front, log)


def test_a_secret_of_the_address_is_shown_nowhere(
    show: Show, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It came from a variable that a project's file names, for one."""
    monkeypatch.setattr("mcpnb.text._secrets", ())
    monkeypatch.setattr("mcpnb.panel.widget._PATIENCE", 0.01)
    add_secret("planted-key", "${KEY}")
    session = mcpnb.connect("https://mcp.example.com/planted-key/mcp", store="memory")
    front = show(session)
    outputs: list[str] = []
    monkeypatch.setattr(widget, "show", lambda data, **_: outputs.append(f"{data}"))
    Panel(session)._ipython_display_()
    until(lambda: any("mcpnb login" in output for output in outputs))
    Notebook(monkeypatch, allows_input=False)
    session._ipython_display_()
    with pytest.raises(errors.LoginRequired) as caught:
        session.wait()

    said = [json.dumps(front.sent), front.what_is_kept(), str(caught.value), *outputs]
    assert "planted" not in " ".join([*said, capsys.readouterr().out])
    assert "${KEY}" in said[0]


@pytest.mark.threat("fallback-markup")
def test_what_stands_in_for_a_panel_is_markup_of_ours_alone() -> None:
    text = widget.fallback("<b>team & co's</b>")
    assert "<b>" not in text
    assert "mcpnb login &#x27;&lt;b&gt;team" in text, "quoted for the shell, too"
