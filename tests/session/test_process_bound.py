"""Sessions that leave by a pickle, a copy or a fork: no secret goes along, and no login is lost."""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import mcpnb
from mcpnb import concurrency, errors
from mcpnb.login.loopback import LoopbackListener, page
from mcpnb.login.loopback import Reply as Shown
from tests import figures
from tests.fakes.kernels import Kernel
from tests.fakes.people import answer_of, connect, free_port, refresh_tokens, sign_in, waiting
from tests.fakes.server import FakeServer


def forks(test: Callable[..., None]) -> Any:
    """Mark a test that forks this process, though it has threads."""
    warning = "ignore:This process .* is multi-threaded:DeprecationWarning"
    skipped = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    return skipped(pytest.mark.filterwarnings(warning)(test))


HOLDERS: dict[str, Callable[[mcpnb.Session], Any]] = {
    "session": lambda session: session,
    "view": lambda session: session.options(timeout=3),
    "auth": lambda session: session.auth,
    "store": lambda session: session.store,
    "login": lambda session: session._shared,  # noqa: SLF001  what holds the token
    "tools": lambda session: session.tools(),
    "tool": lambda session: session.tools()[0],
    "sign-in": lambda session: session.latest_login,
}


@contextlib.contextmanager
def forked(work: Callable[[], Any]) -> Iterator[Any]:
    """Do something in a forked child, as multiprocessing does on Linux; give a queue.

    It gets a word when the child begins, and then what came of the work, as text.
    """
    context = multiprocessing.get_context("fork")
    said = context.Queue()

    def run() -> None:
        said.put("begun")
        try:
            said.put(f"{work()}")
        except BaseException as error:  # noqa: BLE001  it is reported
            said.put(f"{type(error).__name__}: {error}")

    child = context.Process(target=run)
    child.start()
    try:
        assert said.get(timeout=20) == "begun"
        yield said
    finally:
        child.join(timeout=10)
        child.kill()


def in_a_fork(work: Callable[[], Any]) -> str:
    """Do something in a forked child; give what came of it, as text."""
    with forked(work) as said:
        return str(said.get(timeout=20))


@pytest.mark.threat("session-pickled")
@pytest.mark.parametrize("holder", HOLDERS)
def test_no_holder_of_a_login_can_be_pickled(session: mcpnb.Session, holder: str) -> None:
    """Nor sent to another process or a cluster's workers; the error says what to do instead."""
    figures.add("attacks tried")
    held = HOLDERS[holder](session)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=r"belongs to its process.*mcpnb\.connect") as caught:
            pickle.dumps(held, protocol)
        assert session.access_token() not in str(caught.value)


@pytest.mark.threat("session-pickled")
def test_a_process_that_is_spawned_is_not_given_one(session: mcpnb.Session) -> None:
    figures.add("attacks tried")
    child = multiprocessing.get_context("spawn").Process(target=print, args=(session,))

    with pytest.raises(TypeError, match="belongs to its process"):
        child.start()


@pytest.mark.threat("session-pickled")
def test_a_result_leaves_without_the_token_that_got_it(
    session: mcpnb.Session,
) -> None:
    """A notebook caches results, and sends them to workers."""
    pickled = pickle.dumps(session.call("echo", text="kept"))

    assert session.access_token().encode() not in pickled
    assert pickle.loads(pickled).text == "kept"  # noqa: S301  our own


@pytest.mark.threat("session-copied")
@pytest.mark.parametrize("holder", [h for h in HOLDERS if h not in ("tools", "tool")])
def test_a_copy_is_the_same_thing(session: mcpnb.Session, holder: str) -> None:
    """Two that refresh one login by themselves would lose it to each other."""
    figures.add("attacks tried")
    held = HOLDERS[holder](session)

    assert copy.copy(held) is held
    assert copy.deepcopy({"in": ["settings", held]})["in"][1] is held


@pytest.mark.threat("session-copied")
def test_copied_sessions_refresh_once(fake: FakeServer, session: mcpnb.Session) -> None:
    one, other = copy.deepcopy([session, session.options(timeout=5)])
    tool = copy.copy(session.tools())[0]
    fake.expire()

    assert one.call("echo", text="a").text == "a"
    assert other.call("echo", text="b").text == "b"
    assert tool(text="c").text == "c"
    assert len(refresh_tokens(fake)) == 1


@forks
@pytest.mark.threat("session-forked")
def test_a_forked_child_makes_a_connection_of_its_own(fake: FakeServer, kernel: Kernel) -> None:
    """Multiprocessing's way on Linux: threads and connections of the parent are not there."""
    session = kernel()
    sign_in(session)
    session.call("echo", text="parent")
    fake.expire()

    assert in_a_fork(lambda: session.call("echo", text="child").text) == "child"
    assert session.call("echo", text="parent again").text == "parent again"
    assert len(refresh_tokens(fake)) == 1


@pytest.mark.slow
@forks
@pytest.mark.threat("session-forked")
def test_a_login_in_memory_is_not_renewed_by_a_forked_child(
    fake: FakeServer, session: mcpnb.Session
) -> None:
    """Each would present the refresh token that the other has spent: the server ends both."""
    figures.add("attacks tried")
    assert in_a_fork(lambda: session.call("echo", text="child").text) == "child"
    fake.expire()

    said = in_a_fork(lambda: session.call("echo", text="child").text)

    assert said.startswith("StoreError: This login is in the memory of the process")
    assert refresh_tokens(fake) == []
    assert session.call("echo", text="parent").text == "parent"
    assert len(refresh_tokens(fake)) == 1


@pytest.mark.slow
@forks
@pytest.mark.threat("session-forked")
def test_a_forked_child_can_sign_in_by_itself(fake: FakeServer, session: mcpnb.Session) -> None:
    def own() -> str:
        mine = connect(fake.url)
        sign_in(mine)
        fake.expire()  # of the child's copy of the fake: the parent's goes on
        return mine.call("echo", text="own").text

    assert in_a_fork(own) == "own"
    assert session.call("echo", text="parent").text == "parent"


@forks
@pytest.mark.threat("fork-with-a-port")
def test_a_forked_child_does_not_keep_the_port_of_the_sign_in() -> None:
    """A pool of workers outlives it: a browser would wait there for an answer, for ever."""
    figures.add("attacks tried")
    port = free_port()
    listener = LoopbackListener(port)
    listener.listen(f"http://127.0.0.1:{port}/callback", lambda _: Shown("done"))

    looked = multiprocessing.get_context("fork").Event()
    with forked(lambda: looked.wait(20)):
        listener.close()
        with socket.socket() as browser:
            assert browser.connect_ex(("127.0.0.1", port)) != 0
        looked.set()


@forks
@pytest.mark.threat("fork-amid-a-sign-in")
def test_a_forked_child_follows_the_sign_in_that_its_parent_waits_for(
    fake: FakeServer, kernel: Kernel
) -> None:
    """The copy of it that a child inherits has nobody who would bring it to an end."""
    figures.add("attacks tried")
    session = kernel()
    login, url = waiting(session)

    def followed() -> str:
        inherited = login.under_way
        own, shown = waiting(session)
        own.leave()
        return f"{inherited} {shown == url}"

    assert in_a_fork(followed) == "False True"
    login.submit(answer_of(url))
    assert login.wait(10).call("echo", text="parent").text == "parent"
    assert len(fake.token_requests("authorization_code")) == 1


@forks
@pytest.mark.threat("fork-amid-a-lock")
def test_a_forked_child_waits_for_no_lock_of_a_thread_that_it_has_not(
    kernel: Kernel,
) -> None:
    """All that a call takes, held by other threads of the parent at just that moment."""
    figures.add("attacks tried")
    session = kernel()
    sign_in(session)
    session.call("echo", text="parent")
    with contextlib.ExitStack() as held:
        for lock in list(concurrency._ALL):  # noqa: SLF001  every one of this process
            held.enter_context(lock)
        said = in_a_fork(lambda: session.call("echo", text="child").text)

    assert said == "child"


@pytest.mark.threat("callback-page-xss")
def test_title_and_text_of_the_last_page_are_words() -> None:
    """Whoever wrote them: the page escapes what it is given."""
    figures.add("attacks tried")
    shown = page("<b>title</b>", "<script>alert(1)</script>\"'", good=False).decode()

    assert shown.count("&lt;b&gt;title") == 2
    assert "<b>" not in shown
    assert "<script" not in shown


ERRORS: list[errors.McpnbError] = [
    errors.ProtocolError("No.", rule="RFC 9700"),
    errors.LoginRequired("No.", server="https://h/mcp", scopes=("a",), advice="Sign in."),
    errors.LoginDenied("No.", error="access_denied"),
    errors.GrantError("No.", error="invalid_grant", status=400, retry_after=3.0),
    errors.ServerUnreachable("No.", sent=True),
    errors.CallError("No.", code=-32000),
    errors.ToolError("No.", result={"a": 1}),
    errors.ScopeRefused("No.", scopes=("a",)),
    errors.ConfigError("No."),
    errors.CallTimeout("No."),
]


@pytest.mark.threat("error-pickled")
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_a_worker_arrives_as_it_was(error: errors.McpnbError) -> None:
    """One that cannot be made again has `multiprocessing.Pool` wait for ever (measured)."""
    figures.add("attacks tried")

    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301  our own
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def _denied(_: int) -> None:
    raise errors.LoginDenied("No.", error="access_denied")


@forks
@pytest.mark.threat("error-pickled")
def test_a_pool_is_told_of_it() -> None:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        waits = pool.map_async(_denied, [1])
        with pytest.raises(errors.LoginDenied, match="No") as caught:
            waits.get(timeout=20)
    assert caught.value.error == "access_denied"
