"""The doctor at servers that are broken: a sign-in that it watches, and what its report shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import mcpnb
from mcpnb.doctor import Report, SignIn
from mcpnb.errors import McpnbError
from mcpnb.login import SignInRequest
from tests.fakes.people import answer_of, connect
from tests.fakes.server import FakeServer

Answer = Callable[[str], str]
Act = Callable[[Any], object]


def by_doing(session: mcpnb.Session, act: Act, timeout: float = 20) -> SignIn:
    """Start a sign-in, and do something as soon as it waits for its response."""

    def begin(observer: Any) -> Any:
        login = session.sign_in(SignInRequest(anew=True, timeout=timeout), observer=observer)
        try:
            login.wait_for("waiting", timeout=10)
            act(login)
        except McpnbError:
            pass  # it is in the report
        return login

    return begin


def by_pasting(session: mcpnb.Session, answer: Answer = answer_of, timeout: float = 20) -> SignIn:
    """Sign in as a person does who pastes the response, whatever it is."""
    return by_doing(session, lambda login: login.submit(answer(str(login.url))), timeout)


def watched(fake: FakeServer, answer: Answer = answer_of, **given: Any) -> Report:
    session = connect(fake.url, **given)
    return session.doctor(sign_in=by_pasting(session, answer))


def wrong(report: Report) -> dict[str, str]:
    """Return the verdict of everything that is not right."""
    return {c.id: c.verdict for c in report if c.verdict in ("warning", "problem")}


def assert_only_looked_at(fake: FakeServer, since: int = 0) -> None:
    """Nothing was requested that could have changed something."""
    for request in fake.requests[since:]:
        assert request.method == "GET" or request.path == "/mcp", request
        assert request.path not in ("/authorize", "/token", "/register", "/revoke")


def everything(report: Report) -> str:
    """Return all that a report shows anywhere."""
    return repr(report) + report._repr_html_() + json.dumps(report.to_dict(), ensure_ascii=False)
