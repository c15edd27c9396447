"""The contract of every store."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, runtime_checkable

Record = dict[str, Any]
"""A JSON object. It holds secrets: a store keeps it in memory or encrypted, never otherwise."""


class RecordName(NamedTuple):
    """The name of a record."""

    kind: str
    """Lower-case letters, such as ``login``."""
    name: str


@runtime_checkable
class TokenStore(Protocol):
    """A place for records; each write is atomic.

    Every method may be called from any thread. Pass a store of your own as ``store=`` to `connect`.
    """

    def location(self, key: RecordName) -> str:
        """Return where this record is, or would be, and what protects it, in a few words.

        Raises:
            StoreError: It could not be stored at all.
        """

    def protected_by(self, key: RecordName) -> str:
        """Return the part of `location` that fits on a short line. Raises as `location`."""

    def read(self, key: RecordName) -> Record | None:
        """Return the record, or `None` if there is none.

        Raises:
            StoreLocked: It exists, but its key cannot be reached.
            StoreError: It exists and cannot be read.
        """

    def write(self, key: RecordName, record: Record) -> None:
        """Write the record, replacing an earlier one: whole, or not at all.

        Raises:
            StoreError: It could not be written. An earlier record is unchanged.
        """

    def delete(self, key: RecordName, *, leave_tombstone: bool = False) -> None:
        """Delete the record, if there is one, readable or not; a tombstone is for `deleted_at`.

        Raises:
            StoreError: It could not be deleted.
        """

    def deleted_at(self, key: RecordName) -> float | None:
        """Return the time of deletion from the tombstone, if any, in seconds since the epoch."""

    def keys(self, kind: str) -> list[RecordName]:
        """List the names of all records of one kind."""

    def damaged(self, kind: str) -> list[str]:
        """Describe each record of a kind that cannot be read, or not even be named."""

    def clear(self, kind: str) -> None:
        """Delete every record of a kind, readable or not. Tombstones stay.

        Raises:
            StoreError: One could not be deleted.
        """

    def version(self, key: RecordName) -> object:
        """Return a value that changes with every write. Cheap: the record is not opened."""

    def lock(self, key: RecordName, timeout: float) -> AbstractContextManager[None]:
        """Hold the record's lock across threads and, for stores on disk, processes.

        Raises:
            StoreBusy: It was not free within `timeout` seconds.
            StoreError: There can be no lock here.
        """
