"""What objects say of themselves, what a browser is shown, and what a story tells."""

from __future__ import annotations

import gc
import io
import pprint
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest

import mcpnb
from mcpnb.demo import story
from mcpnb.oauth.models import Secret
from mcpnb.panel import Panel
from mcpnb.stores import FileStore
from tests.fakes.people import answer_of, connect, sign_in, waiting
from tests.fakes.secrets import Secrets
from tests.fakes.server import FakeServer
from tests.leaks.planted import parrot

_HOLDERS = (dict, list, tuple, set, frozenset)


def reached_from(*roots: object) -> Iterator[object]:
    """Give every object of a class of ours that can be reached, by whatever way."""
    seen: set[int] = set()
    ahead: list[object] = list(roots)
    while ahead:
        found = ahead.pop()
        if id(found) in seen or isinstance(found, ModuleType | type):
            continue
        seen.add(id(found))
        if type(found).__module__.partition(".")[0] == "mcpnb":
            yield found
        elif not (isinstance(found, _HOLDERS) or _is_a_function_of_ours(found)):
            continue
        # Functions as well: what they close over. Not what they see of their modules.
        ahead += [each for each in gc.get_referents(found) if not _is_a_module(each)]


def _is_a_function_of_ours(found: object) -> bool:
    module = getattr(found, "__module__", None) or ""
    return callable(found) and module.partition(".")[0] == "mcpnb"


def _is_a_module(found: object) -> bool:
    return isinstance(found, dict) and "__builtins__" in found


def said_by(found: object) -> str:
    """Have an object say itself in every usual way."""
    return "\n".join(
        (
            repr(found),
            str(found),
            f"{found}",
            f"{found!s:>10}",
            "%s %r" % (found, found),  # noqa: UP031  an older way is a way, too
            pprint.pformat(found),
            pprint.pformat([found, {"it": found}]),
            ascii(found),
        )
    )


@pytest.mark.slow
def test_no_object_says_one(fake: FakeServer, folder: Path) -> None:
    fake.register_adds = {
        "client_secret": "pLanted-81f0c2a9e7d4b6",
        "token_endpoint_auth_method": "client_secret_post",
        "registration_access_token": "pLanted-4be2709c55d1a8",
    }
    fake.announce(token_endpoint_auth_methods_supported=["client_secret_post"])
    secrets = Secrets(fake)
    sessions: list[mcpnb.Session] = []
    for store in (FileStore(folder), None):
        given: dict[str, Any] = {} if store is None else {"store": store}
        session = connect(fake.url, client_secret=None, **given)
        sign_in(session)
        session.headers()
        sessions.append(session)
    session = sessions[-1]
    result = session.call("echo", text="hi")
    pending, url = waiting(session, anew=True)
    panel = Panel(sessions[0])
    roots = [sessions, result, session.tools(), pending, panel, mcpnb.discover(fake.url)]
    roots += [session.options(timeout=5), session.auth, session.doctor(), mcpnb.servers()]
    roots.append(session._shared.source.record())  # noqa: SLF001
    try:
        found = list(reached_from(*roots))
        kinds = {type(each).__name__ for each in found}
        assert kinds >= {"Session", "Login", "LoginRecord", "Tokens", "Registration", "Secret"}
        assert kinds >= {"AuthorizationRequest", "PendingLogin", "TokenSource", "BearerAuth"}
        said = {f"{type(each).__name__} {n}": said_by(each) for n, each in enumerate(found)}
        # The address that a person has to open.
        secrets.absent_from(said, without=[url])
    finally:
        pending.cancel()
        panel.close()


def page_of(url: str) -> bytes:
    """Open an address as a browser does, without going on; give all that it is sent."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    try:
        with urllib.request.build_opener(Stay).open(url, timeout=10) as page:
            return bytes(page.headers) + bytes(page.read())
    except urllib.error.HTTPError as page:
        with page:
            return bytes(page.headers) + page.read()


@pytest.mark.parametrize("end", ["done", "refused", "denied", "parrot", "wrong path"])
def test_no_page_shows_one(fake: FakeServer, end: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Nor is anything written beside, though the request's first line holds the code."""
    login, url = waiting(connect(fake.url))
    if end == "denied":
        fake.authorize_error = {"error": "access_denied", "error_description": "no"}
    elif end == "parrot":
        fake.routes["/token"] = parrot
    answer = answer_of(url)
    if end == "refused":
        answer = answer.replace("state=", "state=x")
    elif end == "wrong path":
        answer = answer.replace(urlsplit(answer).path, "/elsewhere")
    try:
        page = page_of(answer)
    finally:
        login.cancel()
    said = capfd.readouterr()
    places: dict[str, str | bytes] = {"the page": page, "stdout": said.out, "stderr": said.err}
    Secrets(fake).absent_from(places)


@pytest.mark.slow
def test_the_demo_tells_none(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its servers are its own: what is secret is what mcpnb takes for it."""
    monkeypatch.setattr(story, "LIFETIME", 1)
    secrets, keep = Secrets(), Secret.__init__

    def kept(self: Secret, value: str) -> None:
        secrets.add("a secret", value)
        keep(self, value)

    monkeypatch.setattr(Secret, "__init__", kept)
    out = io.StringIO()
    assert story.run_story(out) == 0
    assert len(secrets.known()) > 10
    said = capfd.readouterr()
    secrets.absent_from({"the story": out.getvalue(), "stdout": said.out, "stderr": said.err})
