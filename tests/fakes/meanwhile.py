"""A store in which two kernels meet just where a test wants them to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mcpnb import errors
from mcpnb.stores import MemoryStore, RecordName


class Meanwhile(MemoryStore):
    """A store in which another kernel does something at a moment of the test's choosing."""

    def __init__(self) -> None:
        super().__init__()
        self.at: tuple[str, RecordName] | None = None
        self.locked_away: RecordName | None = None
        """What this thread cannot open, and other ones can."""
        self._me = threading.get_ident()
        self._taken: set[RecordName] = set()
        self._news = threading.Condition()
        self._others: list[threading.Thread] = []

    def then(self, method: str, key: RecordName, work: Callable[[], object]) -> None:
        """Have another thread do something just after this one read, or before it deletes."""
        self.at, self._work = (method, key), work

    def _happen(self, method: str, key: RecordName) -> None:
        if self.at != (method, key) or threading.get_ident() != self._me:
            return
        self.at = None

        def run() -> None:
            self._work()
            self._tell("done")

        self._said = ""
        self._others.append(threading.Thread(target=run))
        self._others[-1].start()
        with self._news:
            assert self._news.wait_for(lambda: self._said, 20), "neither done nor in the queue"

    def _tell(self, what: str) -> None:
        with self._news:
            self._said = what
            self._news.notify_all()

    def join(self) -> None:
        """Wait for the other kernel to be done."""
        for thread in self._others:
            thread.join(20)
            assert not thread.is_alive()

    def read(self, key: RecordName) -> dict[str, Any] | None:
        if key == self.locked_away and threading.get_ident() == self._me:
            raise errors.StoreLocked("Its key is out of reach.")
        found = super().read(key)
        self._happen("read", key)
        return found

    def delete(self, key: RecordName, *, leave_tombstone: bool = False) -> None:
        self._happen("delete", key)
        super().delete(key, leave_tombstone=leave_tombstone)

    @contextmanager
    def lock(self, key: RecordName, timeout: float) -> Iterator[None]:
        if key in self._taken and threading.get_ident() != self._me:
            self._tell("in the queue")
        with super().lock(key, timeout):
            self._taken.add(key)
            try:
                yield
            finally:
                self._taken.discard(key)
