"""Records that end with the process."""

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

__all__ = ["MemoryStore"]


class MemoryStore(ProcessBound):
    """Keeps records in this process only: nothing is written anywhere."""

    def __init__(self) -> None:
        self._records: dict[RecordName, Record] = {}
        self._marks: dict[RecordName, float] = {}
        self._versions: dict[RecordName, int] = defaultdict(int)
        self._writers: dict[RecordName, int] = {}
        # With the process: in a forked child, nobody is there to give back what was held.
        self._locks: dict[tuple[int, RecordName], threading.Lock] = defaultdict(threading.Lock)
        self._guard = ForkSafeLock()

    def __repr__(self) -> str:
        return f"<MemoryStore, {len(self._records)} records>"

    def kept(self, key: RecordName) -> str:  # noqa: ARG002  all alike
        """See `TokenStore.kept`."""
        return "in memory only, gone when this process ends"

    protection = kept

    def read(self, key: RecordName) -> Record | None:
        """See `TokenStore.read`."""
        with self._guard:
            return copy.deepcopy(self._records.get(key))

    def write(self, key: RecordName, record: Record) -> None:
        """See `TokenStore.write`."""
        with self._guard:
            self._records[key] = copy.deepcopy(record)
            self._writers[key] = os.getpid()
            self._marks.pop(key, None)
            self._versions[key] += 1

    def delete(self, key: RecordName, *, leave_tombstone: bool = False) -> None:
        """See `TokenStore.delete`."""
        with self._guard:
            if self._records.pop(key, None) is not None:
                self._versions[key] += 1
                if leave_tombstone:
                    self._marks[key] = time.time()

    def deleted_at(self, key: RecordName) -> float | None:
        """See `TokenStore.deleted_at`."""
        return self._marks.get(key)

    def keys(self, kind: str) -> list[RecordName]:
        """See `TokenStore.keys`."""
        with self._guard:
            return sorted(k for k in self._records if k.kind == kind)

    def damaged(self, kind: str) -> list[str]:  # noqa: ARG002  nothing here is read from outside
        """See `TokenStore.damaged`."""
        return []

    def clear(self, kind: str) -> None:
        """See `TokenStore.clear`."""
        for key in self.keys(kind):
            self.delete(key)

    def version(self, key: RecordName) -> object:
        """See `TokenStore.version`."""
        return self._versions[key]

    @contextmanager
    def lock(self, key: RecordName, timeout: float) -> Iterator[None]:
        """See `TokenStore.lock`."""
        with self._guard:
            lock = self._locks[os.getpid(), key]
            inherited = key in self._records and self._writers[key] != os.getpid()
        # threat: session-forked
        if inherited:
            raise StoreError(
                "This login is in the memory of the process that this one was forked from. If both "
                "renewed it, both would lose it: connect with a store on disk (store=“auto”) "
                "before the fork, or here with one of its own (mcpnb.stores.MemoryStore())."
            )
        if not lock.acquire(timeout=timeout):
            raise StoreBusy(
                f"Another thread has held this login for more than {timeout:.0f} seconds."
            )
        try:
            yield
        finally:
            lock.release()
