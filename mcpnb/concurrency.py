"""Locks, threads and listeners, in a process that may fork and among processes."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, Self, SupportsIndex, TypeVar

if TYPE_CHECKING:
    from filelock import BaseFileLock


class ForkSafeLock:
    """A `threading.Lock` that is free in a forked child, where its holder does not exist."""

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
    """Take a lock that processes share; call its `release()` to free it.

    A holder that dies frees it: it is the kernel's lock. Only its holder may remove its file:
    filelock then drops the locks of those who opened it before, and they try again.

    Args:
        path: The lock's own file, created with mode 0600.
        timeout: Seconds to wait for it.

    Raises:
        TimeoutError: Somebody else holds it.
        OSError: It cannot be taken at all: the folder cannot be written, or has no locks.
    """
    from filelock import FileLock

    # Never the soft fallback: its marker survives a killed holder, and blocks everybody.
    # threat: readable-by-others
    lock = FileLock(path, timeout=timeout, mode=0o600, poll_interval=0.02, fallback_to_soft=False)
    try:
        lock.acquire()
    except NotImplementedError as error:
        raise OSError(str(error)) from None
    return lock


def interrupt_in(error: BaseException) -> KeyboardInterrupt | None:
    """Return the Ctrl-C that an error stands for, if it does.

    If it is pressed just as a wait for a condition begins, CPython's ``with`` raises “cannot
    release un-acquired lock” instead (measured).
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


class Listeners:
    """Functions to call after every change, in one thread of their own.

    Whoever reports a change may hold locks, and a listener may take others or call back. Called
    directly, the two could wait for each other forever.
    """

    def __init__(self) -> None:
        self._functions: list[Callable[[], object]] = []
        self._news: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="mcpnb-listeners", daemon=True).start()

    def add(self, function: Callable[[], object]) -> None:
        """Call `function` after every change from now on."""
        self._functions.append(function)

    def tell(self) -> None:
        """Report a change; returns at once."""
        self._news.put("changed")

    def close(self) -> None:
        """End the thread once everything reported so far has been told."""
        self._news.put("")

    def _run(self) -> None:
        while self._news.get():
            for function in list(self._functions):
                with contextlib.suppress(Exception):  # a view that fails must not stop the others
                    function()


class ProcessBound:
    """Base of what belongs to one login: a copy of it is itself, and it cannot be pickled.

    A second one could only refresh what the first one has: they share its locks and threads. A
    pickle would take tokens out of the process. A fork is no copy: a forked child finds the login
    in the store as its parent does.
    """

    # threat: session-copied
    def __copy__(self) -> Self:
        return self

    # threat: session-copied
    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        # threat: session-pickled
        raise TypeError(
            f"a {type(self).__name__} belongs to its process and cannot be pickled: call "
            "mcpnb.connect(...) in the other one, where a login on disk is found again"
        )


P = ParamSpec("P")
T = TypeVar("T")


def per_process(make: Callable[[], T]) -> Callable[[], T]:
    """Make one thing for each process, when it is first asked for: a fork has no threads."""
    made = lru_cache(maxsize=2)(lambda process: make())  # noqa: ARG005  the key
    return wraps(make)(lambda: made(os.getpid()))


SLICE = 0.5
"""Seconds that one wait of a person's thread lasts at most.

CPython handles a Ctrl-C that comes just before a wait only when that wait ends: without slices, 7
of 150 were lost (measured on 3.11, two busy cores). On Windows no wait without a time-out can be
interrupted.
"""


def finished(future: Future[T]) -> Future[T]:
    """Wait in slices until a future is done, and return it. A Ctrl-C ends the wait."""
    while not future.done():
        wait([future], timeout=SLICE)
    return future


def in_background(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Do something in one of this process's threads.

    The interpreter joins them at exit, so that a rotation under way is always written: an unwritten
    one loses the login (measured). From then on the pool takes no work, though other threads and
    `atexit` functions may still run: their work is done at once.
    """
    try:
        return _pool().submit(work, *args, **kwargs)
    except RuntimeError:
        future: Future[T] = Future()
        try:
            future.set_result(work(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  as the executor does
            future.set_exception(error)
        return future


@per_process
def _pool() -> ThreadPoolExecutor:
    # One for each login that is being refreshed: a server that hangs must not hold up others.
    return ThreadPoolExecutor(max_workers=64, thread_name_prefix="mcpnb-work")
