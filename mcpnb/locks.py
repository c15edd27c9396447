"""Locks: those that a forked child finds free, and those that processes share."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["ForkSafeLock", "file_lock", "interrupt_in"]


class ForkSafeLock:
    """A `threading.Lock`; free in a forked child, where the thread that held it does not exist."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _ALL.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _renew(self) -> None:
        self._lock = threading.Lock()


def file_lock(path: Path, timeout: float) -> BaseFileLock:
    """Take a lock that processes share; give it back with its `release()`.

    A holder that dies frees it: it is the kernel's lock. The file stays: to remove it would split
    those who wait.

    Args:
        path: The lock's own file, made with mode 0600.
        timeout: Seconds to wait for it.

    Raises:
        TimeoutError: Somebody else holds it.
        OSError: It cannot be had at all: the folder cannot be written, or has no locks.
    """
    from filelock import FileLock

    # Never the soft fallback: its marker survives a killed holder and blocks everybody.
    # threat: readable-by-others
    lock = FileLock(path, timeout=timeout, mode=0o600, poll_interval=0.02, fallback_to_soft=False)
    try:
        lock.acquire()
    except NotImplementedError as error:
        raise OSError(str(error)) from None
    return lock


def interrupt_in(error: BaseException) -> KeyboardInterrupt | None:
    """Give the Ctrl-C that an error stands for, if it does.

    One that is pressed just as a wait for a condition begins comes out of CPython's ``with`` as
    “cannot release un-acquired lock” (measured).
    """
    cause = error.__context__ if isinstance(error, RuntimeError) else None
    return cause if isinstance(cause, KeyboardInterrupt) else None


_ALL: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in list(_ALL):
        lock._renew()  # noqa: SLF001  our own


if hasattr(os, "register_at_fork"):
    # threat: fork-amid-a-lock
    os.register_at_fork(after_in_child=_renew_all)
