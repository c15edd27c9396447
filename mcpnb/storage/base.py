"""What every store can do."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, runtime_checkable

__all__ = ["Record", "RecordName", "TokenStore"]

Record = dict[str, Any]
"""A JSON object. It holds secrets: a store keeps it in memory or encrypted, never otherwise."""


class RecordName(NamedTuple):
    """Names a record."""

    kind: str
    """Lower-case letters, such as ``login``."""
    name: str


@runtime_checkable
class TokenStore(Protocol):
    """Keeps records, one atomic write each.

    Every method may be called from any thread. A store of your own passes as ``store=`` to
    `connect`.
    """

    def kept(self, key: RecordName) -> str:
        """Where this record rests and what protects it, in a few honest words; or would.

        Raises:
            StoreError: It could not be kept at all.
        """

    def protection(self, key: RecordName) -> str:
        """The part of `kept` that fits on a short line.

        Raises:
            StoreError: It could not be kept at all.
        """

    def read(self, key: RecordName) -> Record | None:
        """Give the record, or `None` if there is none.

        Raises:
            StoreLocked: It exists, but its key cannot be reached.
            StoreError: It exists and cannot be read.
        """

    def write(self, key: RecordName, record: Record) -> None:
        """Put the record in the place of an earlier one: whole, or not at all.

        Raises:
            StoreError: It could not be written. An earlier record is as it was.
        """

    def delete(self, key: RecordName, *, leave_tombstone: bool = False) -> None:
        """Remove the record, if there is one, whether or not it can be read.

        Args:
            key: Names the record.
            leave_tombstone: Leave a mark in its place, for `deleted_at`.

        Raises:
            StoreError: It could not be removed.
        """

    def deleted_at(self, key: RecordName) -> float | None:
        """When the record was deleted, seconds since the epoch, if it left a mark."""

    def keys(self, kind: str) -> list[RecordName]:
        """List the keys of one kind."""

    def damaged(self, kind: str) -> list[str]:
        """Say of each record of a kind that cannot be read, or even named, what is wrong."""

    def clear(self, kind: str) -> None:
        """Remove every record of a kind, readable or not. Marks stay.

        Raises:
            StoreError: One could not be removed.
        """

    def version(self, key: RecordName) -> object:
        """Give a value that changes with every write: cheap, without opening the record."""

    def lock(self, key: RecordName, timeout: float) -> AbstractContextManager[None]:
        """Hold the key's lock across threads and, for stores on disk, processes.

        Raises:
            StoreBusy: It was not free within `timeout` seconds.
            StoreError: It cannot be had at all.
        """
