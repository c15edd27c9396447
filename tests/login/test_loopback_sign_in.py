"""A sign-in through the loopback listener: who may answer it, and what the browser is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from mcpnb import errors
from mcpnb.login.loopback import LoopbackListener
from mcpnb.stores import MemoryStore, RecordName
from tests.fakes.people import answer_of, connect, free_port, query_of, until, waiting
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request


def browse(url: str, **headers: str) -> httpx2.Response:
    """Open an address as a browser does, redirects followed."""
    with httpx2.Client(trust_env=False, timeout=10, follow_redirects=True) as browser:
        return browser.get(url, headers=headers)


@pytest.fixture
def tabs() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


class Gate:
    """Holds the token endpoint until it is opened."""

    def __init__(self, fake: FakeServer) -> None:
        self._fake, self._open = fake, threading.Event()
        self._real = fake.routes["/token"]
        fake.routes["/token"] = self._held

    def _held(self, request: Request) -> Reply:
        assert self._open.wait(10)
        return self._real(request)

    def reached(self) -> None:
        until(lambda: bool(self._fake.asked("/token")))

    def open(self) -> None:
        self._open.set()


def test_the_page_says_signed_in_only_after_the_exchange(
    fake: FakeServer, tabs: ThreadPoolExecutor
) -> None:
    """And after the login is stored."""
    gate = Gate(fake)
    session = connect(fake.url)
    login, url = waiting(session)
    tab: Future[httpx2.Response] = tabs.submit(browse, url)
    gate.reached()
    assert not tab.done()
    assert login.state == "exchanging"
    assert session.status == "none"
    gate.open()

    assert "<h1>Signed in</h1>" in tab.result(10).text
    assert session.signed_in
    assert login.wait(10) is session


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Reply(400, {"error": "invalid_grant", "error_description": "<b>too late"}), "too late"),
        (Reply(500, "down"), "500"),
        (Reply(drop=True), "broke"),
        (Reply(200, {"access_token": "x", "expires_in": 10**400, "token_type": "mac"}), "mac"),
    ],
)
def test_the_page_says_what_went_wrong_in_the_exchange(
    fake: FakeServer, answer: Reply, told: str
) -> None:
    fake.always("/token", answer)
    session = connect(fake.url)
    login, url = waiting(session)
    page = browse(url)

    assert "<h1>Not signed in</h1>" in page.text
    assert told in page.text
    assert "<b>" not in page.text
    with pytest.raises(errors.McpnbError):
        login.wait(10)
    assert not session.signed_in


def test_an_absurd_lifetime_does_not_hang_the_sign_in(fake: FakeServer) -> None:
    """A number too large for a float is still valid JSON."""
    fake.token_changes = {"expires_in": 10**400}
    session = connect(fake.url)
    _, url = waiting(session)

    assert "<h1>Signed in</h1>" in browse(url).text
    assert session.signed_in


class BrokenStore(MemoryStore):
    """A store of somebody's own, with a fault."""

    def write(self, key: RecordName, record: dict[str, Any]) -> None:
        if key.kind == "login":
            raise RuntimeError("the disk is on fire")
        super().write(key, record)


def test_a_store_that_breaks_ends_the_sign_in(fake: FakeServer) -> None:
    """The wait does not go on for ever, and the page does not say "Signed in"."""
    session = connect(fake.url, store=BrokenStore())
    login, url = waiting(session)
    page = browse(url)

    assert "<h1>Not signed in</h1>" in page.text
    with pytest.raises(errors.LoginError, match="RuntimeError"):
        login.wait(10)


@pytest.mark.threat("callback-page-xss")
def test_what_the_server_says_is_text_on_the_page(fake: FakeServer) -> None:
    fake.authorize_error = {
        "error": "access_denied",
        "error_description": "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31m",
        "error_uri": "javascript:alert(1)",
    }
    login, url = waiting(connect(fake.url))
    page = browse(url)

    assert "declined" in page.text
    assert "&lt;script&gt;" in page.text
    for part in ("<script", "<img", "javascript:", "\x1b"):
        assert part not in page.text
    with pytest.raises(errors.LoginDenied) as caught:
        login.wait(10)
    assert "\x1b" not in str(caught.value)


@pytest.mark.threat("csrf", "forged-error")
def test_forged_and_stray_requests_are_ignored_and_the_wait_goes_on(fake: FakeServer) -> None:
    """Told on the page and in the notes; then the real one is taken."""
    session = connect(fake.url)
    login, url = waiting(session)
    callback = login.redirect_uri
    assert callback is not None
    for forged in (
        "?code=x&state=forged",
        "?error=access_denied&state=forged",
        "?code=x",
        "",
        "?" + "&".join(f"a{n}=1" for n in range(200)),
        "?code=" + "x" * 20_000,
    ):
        page = browse(callback + forged)
        assert page.status_code == 400
        assert "Not the expected response" in page.text
    assert browse(callback.replace("/callback", "/favicon.ico")).status_code == 404
    assert browse(callback + "?code=x", Host="evil.example").status_code == 421
    assert login.state == "waiting"
    assert any("Ignored" in note for note in login.notes)

    assert "<h1>Signed in</h1>" in browse(url).text
    assert login.wait(10).signed_in


@pytest.mark.threat("answer-replay")
def test_a_second_tab_that_comes_later_changes_nothing(
    fake: FakeServer, tabs: ThreadPoolExecutor
) -> None:
    """The same address opened twice: the first answer is used, the second told so."""
    gate = Gate(fake)
    login, url = waiting(connect(fake.url))
    first, second = answer_of(url), answer_of(url)
    tab = tabs.submit(browse, second)
    gate.reached()

    late = browse(first)
    gate.open()

    assert late.status_code == 400
    assert "not waiting" in late.text
    assert "<h1>Signed in</h1>" in tab.result(10).text
    assert login.wait(10).signed_in
    assert len(fake.asked("/token")) == 1


@pytest.mark.threat("answer-to-an-earlier-sign-in")
def test_an_old_tab_of_a_cancelled_sign_in_changes_nothing(fake: FakeServer) -> None:
    """Its state is another one, although it arrives at the same port."""
    session = connect(fake.url, callback_port=free_port())
    old, old_url = waiting(session)
    old.cancel()
    with pytest.raises(errors.LoginCancelled):
        old.wait(10)
    login, url = waiting(session)

    assert "another sign-in" in browse(old_url).text
    assert login.state == "waiting"
    assert "<h1>Signed in</h1>" in browse(url).text


def test_sign_ins_at_several_servers_wait_side_by_side(fake: FakeServer) -> None:
    """One has the port, the others take another one and register it."""
    port = free_port()
    store = MemoryStore()
    sessions = [connect(fake.url, store=store, account=name, callback_port=port) for name in "abc"]
    logins = [waiting(session) for session in sessions]
    ports = [urlsplit(str(login.redirect_uri)).port for login, _ in logins]

    assert ports[0] == port
    assert len(set(ports)) == 3
    assert any("in use" in note for note in logins[1][0].notes)
    for login, url in reversed(logins):
        assert "<h1>Signed in</h1>" in browse(url).text
        login.wait(10)
    assert all(session.signed_in for session in sessions)


@pytest.mark.threat("port-taken-by-another")
def test_a_busy_port_is_a_clear_error_where_the_redirect_is_registered_by_hand(
    fake: FakeServer,
) -> None:
    """And no address is shown that could not be answered."""
    with_port = LoopbackListener(0)
    try:
        session = connect(fake.url, client_id="by hand", callback_port=with_port.port)
        login = session.login()
        with pytest.raises(errors.LoginError, match="callback port is in use"):
            login.wait(10)
    finally:
        with_port.close()
    assert login.url is None


@pytest.mark.parametrize("end", ["signed in", "cancelled", "denied"])
def test_the_port_is_free_after_the_end(fake: FakeServer, end: str) -> None:
    port = free_port()
    login, url = waiting(connect(fake.url, callback_port=port))
    if end == "cancelled":
        login.cancel()
    else:
        if end == "denied":
            fake.authorize_error = {"error": "access_denied"}
        browse(url)

    def is_free() -> bool:
        try:
            LoopbackListener(port, fallback=False).close()
        except errors.LoginError:
            return False
        return True

    until(is_free)


def test_a_public_callback_is_listened_for_everywhere_and_says_so(fake: FakeServer) -> None:
    """The proxy in front leads to this machine under its own name."""
    port = free_port()
    session = connect(
        fake.url, callback_url="https://hub.example/user/ada/callback?x=1", callback_port=port
    )
    login, url = waiting(session)

    assert any("all interfaces" in note for note in login.notes)
    assert query_of(url)["redirect_uri"] == ["https://hub.example/user/ada/callback?x=1"]
    assert fake.asked("/register")[0].json["application_type"] == "web"
    answer = urlsplit(answer_of(url).replace("callback?x=1?", "callback?x=1&"))
    assert answer.netloc == "hub.example"

    local = f"http://127.0.0.2:{port}{answer.path}?{answer.query}"
    assert browse(local, Host="evil.example").status_code == 421
    assert "<h1>Signed in</h1>" in browse(local, Host="hub.example").text
    assert session.signed_in


def test_refused_scopes_lead_the_browser_on_to_a_second_request(fake: FakeServer) -> None:
    """Without any scope; the person sees one page only, and the notes say it."""
    fake.describe(scopes_supported=["read", "odd"])
    fake.known_scopes = {"read"}
    session = connect(fake.url)
    login, url = waiting(session)
    assert query_of(url)["scope"] == ["read odd"]

    page = browse(url)

    assert "<h1>Signed in</h1>" in page.text
    assert [r.query.get("scope") for r in fake.asked("/authorize")] == [["read odd"], None]
    states = [r.query["state"] for r in fake.asked("/authorize")]
    assert states[0] != states[1]
    assert any("once more without" in note for note in login.notes)
    assert login.wait(10).signed_in


@pytest.mark.threat("open-redirect-at-the-callback")
def test_scopes_are_dropped_only_once_and_only_for_the_right_answer(fake: FakeServer) -> None:
    fake.describe(scopes_supported=["odd"])
    fake.authorize_error = {"error": "invalid_scope"}
    login, url = waiting(connect(fake.url))
    forged = f"{login.redirect_uri}?error=invalid_scope&state=forged"
    assert browse(forged).status_code == 400
    assert login.url == url

    page = browse(url)

    assert "does not grant the scopes" in page.text
    assert len(fake.asked("/authorize")) == 2
    with pytest.raises(errors.LoginDenied):
        login.wait(10)


@pytest.mark.threat("mix-up-without-iss")
def test_a_redirect_has_a_part_of_its_own_where_answers_carry_no_issuer(fake: FakeServer) -> None:
    """RFC 9700 section 4.4: two servers cannot be mixed up; the plain path is not answered."""
    fake.announce(authorization_response_iss_parameter_supported=None)
    fake.iss = None
    login, url = waiting(connect(fake.url))
    redirect_uri = str(login.redirect_uri)
    path, _, part = redirect_uri.rpartition("/")
    assert path.endswith("/callback")
    assert part
    query = urlsplit(answer_of(url)).query
    assert parse_qs(query)["code"]

    assert browse(f"{path}?{query}").status_code == 404
    assert login.state == "waiting"
    assert "<h1>Signed in</h1>" in browse(f"{redirect_uri}?{query}").text
