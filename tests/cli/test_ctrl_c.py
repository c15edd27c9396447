"""Ctrl-C at the worst moment: a wait for a condition has given its lock back and not yet begun.

CPython then raises a RuntimeError about the lock instead of KeyboardInterrupt (measured, once in
some hundred tests that press it on a busy machine).
"""

from __future__ import annotations

import threading
from typing import NoReturn

import click
import pytest

from mcpnb.cli.app import with_commands
from mcpnb.scrub import scrub_traceback
from tests.fakes.people import connect, waiting
from tests.fakes.server import FakeServer
from tests.terminal import invoke


def pressed_as_it_waits(condition: threading.Condition) -> None:
    """Have the next wait of a condition meet with Ctrl-C there."""
    release = condition._release_save  # type: ignore[attr-defined]  # noqa: SLF001

    def pressed() -> NoReturn:
        condition._release_save = release  # type: ignore[attr-defined]  # noqa: SLF001
        release()
        raise KeyboardInterrupt

    condition._release_save = pressed  # type: ignore[attr-defined]  # noqa: SLF001


def test_python_raises_another_error_there() -> None:
    """If it no longer does, what stands against it can go."""
    condition = threading.Condition()
    pressed_as_it_waits(condition)
    with pytest.raises(RuntimeError, match="un-acquired lock"), condition:
        condition.wait(1)


@pytest.mark.parametrize("wait", ["until", "wait"])
def test_waiting_for_a_sign_in_ends_with_ctrl_c_all_the_same(fake: FakeServer, wait: str) -> None:
    login, _ = waiting(connect(fake.url))
    pressed_as_it_waits(login._progress.changed)  # noqa: SLF001
    with pytest.raises(KeyboardInterrupt):
        login.wait_for("signed_in", 10) if wait == "until" else login.wait(10)

    assert login.state == "waiting"
    login.cancel()


def test_a_command_ends_as_it_does_at_any_other_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    condition = threading.Condition()
    pressed_as_it_waits(condition)

    def waits() -> None:
        with condition:
            condition.wait(1)

    command = click.Command("waits", callback=waits)
    monkeypatch.setitem(with_commands().commands, "waits", command)

    assert invoke("waits").expect(130).err == "Cancelled.\n"


def test_any_other_error_of_a_lock_is_one() -> None:
    @scrub_traceback
    def broken() -> None:
        threading.Lock().release()

    with pytest.raises(RuntimeError):
        broken()
