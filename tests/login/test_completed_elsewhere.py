"""A sign-in that another process completes between two looks of this one.

Whoever completes it stores the login, and then forgets what was pending.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mcpnb.stores import FileStore, RecordName
from tests.fakes.kernels import Kernel
from tests.fakes.people import answer_of, connect, until, waiting
from tests.fakes.server import FakeServer


class Overtaken(FileStore):
    """Where another process does something just before a pending sign-in is read, once."""

    def __init__(self, folder: Path, other: Callable[[], object]) -> None:
        super().__init__(folder)
        self.other: Callable[[], object] | None = other
        self.when: Callable[[], bool] = lambda: True

    def read(self, key: RecordName) -> dict[str, Any] | None:
        if key.kind == "pending" and self.other is not None and self.when():
            other, self.other = self.other, None
            other()
        return super().read(key)


def test_the_one_that_waits_is_signed_in(fake: FakeServer, kernel: Kernel, folder: Path) -> None:
    store = Overtaken(folder, lambda: kernel().finish(answer_of(str(login.url))))
    session = connect(fake.url, store=store)
    store.when = lambda: "waiting" in repr(session.latest_login)
    login = session.login()

    assert login.wait(10).signed_in
    assert store.other is None


def test_the_one_that_comes_to_it_begins_no_other(
    fake: FakeServer, kernel: Kernel, folder: Path
) -> None:
    begun, url = waiting(kernel())
    begun.leave()
    store = Overtaken(folder, lambda: kernel().finish(answer_of(url)))

    login = connect(fake.url, store=store).login()
    assert login.wait(10).signed_in
    assert store.other is None
    assert login.url is None, "nobody is asked"


class Slow(FileStore):
    """Where what was pending is forgotten late."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.forgets, self.go_on = threading.Event(), threading.Event()

    def delete(self, key: RecordName, *, leave_tombstone: bool = False) -> None:
        if key.kind == "pending":
            self.forgets.set()
            assert self.go_on.wait(20)
        super().delete(key, leave_tombstone=leave_tombstone)


def test_one_that_begins_before_it_is_forgotten_is_signed_in(
    fake: FakeServer, kernel: Kernel, folder: Path
) -> None:
    """It finds the login there already, and what led to it, too."""
    begun, url = waiting(kernel())
    begun.leave()
    store = Slow(folder)
    with ThreadPoolExecutor(1) as pool:
        finishing = pool.submit(connect(fake.url, store=store).finish, answer_of(url))
        assert store.forgets.wait(10)
        login = kernel().login()
        until(lambda: login.is_follower)
        store.go_on.set()
        assert finishing.result(20).signed_in

    assert login.wait(10).signed_in
    assert len(fake.asked("/authorize")) == 1
