"""Logins whose place a sign-in took: alive at the server until the sign-out, and not after it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpnb import errors
from mcpnb.stores import FileStore
from tests.fakes.kernels import Kernel, change, make_expired, stored
from tests.fakes.people import answer_of, connect, sign_in, waiting
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request
from tests.terminal import run


def revoked(fake: FakeServer) -> list[str]:
    return [request.form["token"][0] for request in fake.asked("/revoke")]


def tokens_of(folder: Path) -> tuple[str, str]:
    tokens = stored(folder)["tokens"]
    return tokens["refresh_token"], tokens["access_token"]


@pytest.mark.parametrize("again", [{"choose_account": True}, {"scopes": ("write",)}, {}])
def test_it_ends_with_the_login_that_took_its_place(
    fake: FakeServer, kernel: Kernel, folder: Path, again: dict[str, Any]
) -> None:
    sign_in(kernel())
    first = tokens_of(folder)
    login, url = waiting(kernel(), **again)
    login.submit(answer_of(url))
    login.wait(10)
    second = tokens_of(folder)
    assert revoked(fake) == []

    assert kernel().logout()

    assert revoked(fake) == [*second, *first]
    assert all(not grant.alive for grant, _ in fake.access.values())


@pytest.mark.slow
def test_renewals_add_nothing_and_lose_nothing(
    fake: FakeServer, kernel: Kernel, folder: Path
) -> None:
    sign_in(kernel())
    first = tokens_of(folder)
    sign_in(kernel())
    for _ in range(2):
        make_expired(folder)
        kernel().access_token()
    newest = tokens_of(folder)

    assert kernel().logout()

    assert revoked(fake) == [*newest, *first]


def test_it_is_said_if_the_server_confirms_but_one_of_them(
    fake: FakeServer, kernel: Kernel, folder: Path
) -> None:
    sign_in(kernel())
    first, _ = tokens_of(folder)
    sign_in(kernel())
    honest = fake.routes["/revoke"]

    def refuses_the_first(request: Request) -> Reply:
        return Reply(503) if request.form["token"] == [first] else honest(request)

    fake.routes["/revoke"] = refuses_the_first

    assert not kernel().logout()
    assert FileStore(folder).keys("login") == []


def test_what_the_server_has_ended_is_not_kept(
    fake: FakeServer, kernel: Kernel, folder: Path
) -> None:
    sign_in(kernel())
    make_expired(folder)
    fake.end()
    with pytest.raises(errors.LoginRequired):
        kernel().access_token()

    sign_in(kernel())

    assert stored(folder)["earlier"] == []


def test_without_a_refresh_token_it_is_kept_while_its_access_token_lives(
    fake: FakeServer, kernel: Kernel, folder: Path
) -> None:
    fake.token_changes = {"refresh_token": None}
    sign_in(kernel())
    over = stored(folder)["tokens"]["access_token"]
    make_expired(folder)
    sign_in(kernel())
    alive = stored(folder)["tokens"]["access_token"]
    sign_in(kernel())

    assert kernel().logout()

    assert alive in revoked(fake)
    assert over not in revoked(fake)


@pytest.mark.slow
def test_the_newest_eight_are_kept(kernel: Kernel, folder: Path) -> None:
    seen = []
    for _ in range(10):
        sign_in(kernel())
        seen.append(tokens_of(folder)[0])

    kept = [one["tokens"]["refresh_token"] for one in stored(folder)["earlier"]]
    assert kept == seen[-2:-10:-1]


def test_each_is_revoked_where_it_was_granted_and_nowhere_else(
    fakes: Callable[[], FakeServer], folder: Path
) -> None:
    """The server changed its authorization server in between."""
    fake, other = fakes(), fakes()
    sign_in(connect(fake.url, store=FileStore(folder)))
    first = tokens_of(folder)
    fake.describe(authorization_servers=[other.base])
    sign_in(connect(fake.url, store=FileStore(folder)))
    second = tokens_of(folder)

    connect(fake.url, store=FileStore(folder)).logout()

    assert revoked(fake) == [*first]
    assert revoked(other) == [*second]


@pytest.mark.slow
def test_a_server_that_is_slow_is_not_waited_for_once_for_each(
    fake: FakeServer, kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcpnb.tokens.refresh._REVOKING", 0.1)
    for _ in range(3):
        sign_in(kernel())
    newest, pause = tokens_of(folder), threading.Event()

    def slow(_: Request) -> Reply:
        pause.wait(0.2)
        return Reply(200)

    fake.routes["/revoke"] = slow

    assert not kernel().logout()
    assert revoked(fake) == [*newest]


def test_they_are_stored_encrypted(kernel: Kernel, folder: Path) -> None:
    sign_in(kernel())
    first = tokens_of(folder)
    sign_in(kernel())

    (file,) = folder.glob("login-*.mcpnb")
    assert not any(secret.encode() in file.read_bytes() for secret in first)


@pytest.mark.parametrize("damaged", [None, 7, "x", {"a": 1}, [7], [{}], [{"tokens": {}}]])
def test_a_damaged_memory_of_them_is_no_reason_to_lose_the_login(
    kernel: Kernel, folder: Path, damaged: object
) -> None:
    sign_in(kernel())
    change(folder, earlier=damaged)

    assert kernel().signed_in
    assert kernel().logout()


@pytest.mark.slow
def test_the_sign_out_of_everything_ends_them_too(fake: FakeServer, world: Path) -> None:
    for _ in range(2):
        sign_in(connect(fake.url, store=FileStore(world / "mcpnb")))

    done = run("logout", "--all").expect(0)

    assert "revoked at the server" in done.err
    assert len(revoked(fake)) == 4
    assert all(not grant.alive for grant, _ in fake.access.values())
