"""`login --begin` and `--finish`: for scripts, papermill and CI, where nobody waits."""

from __future__ import annotations

import json

import pytest

from tests.fakes.people import answer_of, free_port, query_of
from tests.fakes.server import FakeServer
from tests.terminal import invoke, run


@pytest.mark.slow
def test_one_process_begins_and_another_finishes(fake: FakeServer) -> None:
    """Once: a code is good once, and a second attempt sends nothing."""
    begun = run("login", fake.url, "--begin", "--json").expect(0)
    said = json.loads(begun.out)
    assert set(said) == {"authorization_url", "expires_at"}
    answer = answer_of(said["authorization_url"])

    done = run("login", fake.url, "--finish", "-", given=answer + "\n").expect(0)
    assert "Signed in" in done.err
    assert answer not in done.err + done.out
    assert run("token", fake.url).expect(0).out.strip() in fake.access
    again = run("login", fake.url, "--finish", answer).expect(1)
    assert "is pending" in again.err
    assert "Start again" in again.err
    assert len(fake.token_requests("authorization_code")) == 1


def test_the_address_stands_alone_on_stdout_and_the_hint_repeats_what_chose_the_login(
    fake: FakeServer,
) -> None:
    for chosen, repeated in ((), ""), (("--account", "at work"), " --account 'at work'"):
        begun = invoke("login", fake.url, "--begin", *chosen).expect(0)

        assert begun.out.startswith(fake.base + "/authorize?")
        assert len(begun.out.split()) == 1
        assert f"mcpnb login {fake.url}{repeated} --finish -" in begun.err


def test_each_begin_has_its_own_address_and_one_registration(fake: FakeServer) -> None:
    """An address that turned out to be a dead end is not given again."""
    begin = ("login", fake.url, "--begin", "--port", str(free_port()))
    first = invoke(*begin).expect(0).out.strip()
    second = invoke(*begin).expect(0).out.strip()
    assert first != second

    refused = invoke("login", fake.url, "--finish", answer_of(first)).expect(1)
    assert "another sign-in" in refused.err
    assert fake.token_requests("authorization_code") == []
    invoke("login", fake.url, "--finish", answer_of(second)).expect(0)

    assert len(fake.asked("/register")) == 1


def test_refused_scopes_lead_to_a_second_address(fake: FakeServer) -> None:
    fake.describe(scopes_supported=["odd"])
    fake.known_scopes = set()
    url = invoke("login", fake.url, "--begin").expect(0).out.strip()

    refused = invoke("login", fake.url, "--finish", answer_of(url)).expect(1)
    second = next(word for word in refused.err.split() if word.startswith(fake.base))
    invoke("login", fake.url, "--finish", answer_of(second)).expect(0)

    assert "scope" not in query_of(second)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--begin", "--finish", "x"),
        ("--begin", "--store", "memory"),
        ("--json",),
        ("--finish", "x", "--json"),
        ("--device", "--begin"),
        ("--device", "--finish", "x"),
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(
    fake: FakeServer, wrong: tuple[str, ...]
) -> None:
    invoke("login", fake.url, *wrong).expect(2)
    assert fake.requests == []
