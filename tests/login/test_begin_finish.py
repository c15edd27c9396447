"""`login --begin` and `login --finish`: for scripts, papermill and CI, where nobody waits."""

from __future__ import annotations

import json

import pytest

import mcpnb
from mcpnb import errors
from tests.fakes.kernels import Kernel
from tests.fakes.people import answer_of, query_of, until, waiting
from tests.fakes.server import FakeServer
from tests.terminal import run


@pytest.mark.slow
def test_one_process_begins_and_another_finishes(fake: FakeServer) -> None:
    """What scripts, papermill and CI need: nobody waits in between."""
    begun = run("login", fake.url, "--begin", "--json").expect(0)
    said = json.loads(begun.out)
    assert set(said) == {"authorization_url", "expires_at"}
    answer = answer_of(said["authorization_url"])

    done = run("login", fake.url, "--finish", "-", given=answer + "\n").expect(0)

    assert "Signed in" in done.err
    assert answer not in done.err + done.out
    assert run("token", fake.url).expect(0).out.strip() in fake.access
    assert len(fake.token_requests("authorization_code")) == 1


@pytest.mark.slow
def test_without_json_the_address_stands_alone_on_stdout(fake: FakeServer) -> None:
    begun = run("login", fake.url, "--begin").expect(0)

    assert begun.out.strip().startswith(fake.base + "/authorize?")
    assert f"mcpnb login {fake.url} --finish -" in begun.err


@pytest.mark.slow
def test_a_wrong_address_is_refused_and_the_right_one_still_works(fake: FakeServer) -> None:
    url = run("login", fake.url, "--begin").expect(0).out.strip()
    answer = answer_of(url)
    forged = answer.replace("state=", "state=x")

    refused = run("login", fake.url, "--finish", forged).expect(1)

    assert "another sign-in" in refused.err
    assert fake.token_requests("authorization_code") == []
    run("login", fake.url, "--finish", answer).expect(0)


@pytest.mark.slow
def test_it_can_be_finished_once(fake: FakeServer) -> None:
    """A code is good once: the second attempt sends nothing."""
    url = run("login", fake.url, "--begin").expect(0).out.strip()
    answer = answer_of(url)
    run("login", fake.url, "--finish", answer).expect(0)

    again = run("login", fake.url, "--finish", answer).expect(1)

    assert "is pending" in again.err
    assert len(fake.token_requests("authorization_code")) == 1


@pytest.mark.slow
@pytest.mark.threat("late-answer")
def test_it_expires(fake: FakeServer, kernel: Kernel) -> None:
    session = kernel()
    login, url = waiting(session, timeout=1)
    login.leave()
    answer = answer_of(url)

    until(lambda: not pending_is_alive(session, answer))

    assert fake.token_requests("authorization_code") == []
    assert not session.signed_in


@pytest.mark.slow
def test_a_declined_sign_in_ends_what_was_begun(fake: FakeServer) -> None:
    fake.authorize_error = {"error": "access_denied"}
    url = run("login", fake.url, "--begin").expect(0).out.strip()

    done = run("login", fake.url, "--finish", answer_of(url)).expect(1)

    assert "declined" in done.err
    assert "is waiting" in run("login", fake.url, "--finish", answer_of(url)).expect(1).err


@pytest.mark.slow
def test_refused_scopes_lead_to_a_second_address_for_the_same_two_steps(fake: FakeServer) -> None:
    fake.describe(scopes_supported=["odd"])
    fake.known_scopes = set()
    url = run("login", fake.url, "--begin").expect(0).out.strip()

    refused = run("login", fake.url, "--finish", answer_of(url)).expect(1)
    second = next(word for word in refused.err.split() if word.startswith(fake.base))
    run("login", fake.url, "--finish", answer_of(second)).expect(0)

    assert "scope" not in query_of(second)


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        ("--begin", "--finish", "x"),
        ("--begin", "--store", "memory"),
        ("--json",),
        ("--finish", "x", "--json"),
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(
    fake: FakeServer, wrong: tuple[str, ...]
) -> None:
    run("login", fake.url, *wrong).expect(2)
    assert fake.requests == []


@pytest.mark.slow
def test_nothing_to_finish_says_how_to_begin(fake: FakeServer) -> None:
    done = run("login", fake.url, "--finish", "http://127.0.0.1/callback?code=x").expect(1)

    assert "Begin again" in done.err


def pending_is_alive(session: mcpnb.Session, answer: str) -> bool:
    try:
        session.finish(answer.replace("state=", "state=x"))
    except errors.AnswerRefused:
        return True
    except errors.LoginError:
        return False
    raise AssertionError("a forged answer was taken")
