"""Records that end with the process."""

# ruff: noqa: D102  `TokenStore` documents its methods

from __future__ import annotations

import copy
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from mcpnb.concurrency import ForkSafeLock, ProcessBound
from mcpnb.errors import StoreBusy, StoreError
from mcpnb.storage.base import Record, RecordName


class MemoryStore(ProcessBound):
    """A store in this process only: nothing is written anywhere."""

    def __init__(self) -> None:
        self._records: dict[RecordName, tuple[int, Record]] = {}  # with the process that wrote it
        self._tombstones: dict[RecordName, float] = {}
        self._versions: dict[RecordName, int] = defaultdict(int)
        # By process: in a forked child, the thread that would release a held lock does not exist.
        self._locks: dict[tuple[int, RecordName], threading.Lock] = defaultdict(threading.Lock)
        self._guard = ForkSafeLock()

    def __repr__(self) -> str:
        return f"<MemoryStore, {len(self._records)} records>"

    def location(self, key: RecordName) -> str:  # noqa: ARG002  the same for all
        return "in memory only, gone when this process ends"

    protected_by = location

    def read(self, key: RecordName) -> Record | None:
        with self._guard:
            _, record = self._records.get(key, (0, None))
            return copy.deepcopy(record)

    def write(self, key: RecordName, record: Record) -> None:
        with self._guard:
            self._records[key] = os.getpid(), copy.deepcopy(record)
            self._tombstones.pop(key, None)
            self._versions[key] += 1

    def delete(self, key: RecordName, *, leave_tombstone: bool = False) -> None:
        with self._guard:
            if self._records.pop(key, None) is not None:
                self._versions[key] += 1
                if leave_tombstone:
                    self._tombstones[key] = time.time()

    def deleted_at(self, key: RecordName) -> float | None:
        return self._tombstones.get(key)

    def keys(self, kind: str) -> list[RecordName]:
        with self._guard:
            return sorted(k for k in self._records if k.kind == kind)

    def damaged(self, kind: str) -> list[str]:  # noqa: ARG002  nothing here comes from outside
        return []

    def clear(self, kind: str) -> None:
        for key in self.keys(kind):
            self.delete(key)

    def version(self, key: RecordName) -> object:
        return self._versions[key]

    @contextmanager
    def lock(self, key: RecordName, timeout: float) -> Iterator[None]:
        with self._guard:
            lock = self._locks[os.getpid(), key]
            inherited = key in self._records and self._records[key][0] != os.getpid()
        # threat: session-forked
        if inherited:
            raise StoreError(
                "This login is in the memory of the process that this one was forked from. If both "
                "refreshed it, both would lose it. Connect with a store on disk (store=“auto”) "
                "before the fork, or here with a store of its own (mcpnb.stores.MemoryStore())."
            )
        if not lock.acquire(timeout=timeout):
            raise StoreBusy(
                f"Another thread has held this login for more than {timeout:.0f} seconds."
            )
        try:
            yield
        finally:
            lock.release()
