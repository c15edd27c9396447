"""Threads for what nobody waits for, or many wait for together."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import ParamSpec, TypeVar

__all__ = ["in_background"]

P = ParamSpec("P")
T = TypeVar("T")


def in_background(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Do something in one of this process's threads.

    The interpreter joins them at exit, so a rotation under way is always written: an unwritten one
    loses the login (measured). While it does so it takes no new work, though other threads and
    `atexit` functions may still run: theirs is done at once.
    """
    try:
        return _of(os.getpid()).submit(work, *args, **kwargs)
    except RuntimeError:
        future: Future[T] = Future()
        try:
            future.set_result(work(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  as the executor does
            future.set_exception(error)
        return future


@lru_cache(maxsize=2)
def _of(process: int) -> ThreadPoolExecutor:  # noqa: ARG001  the key: a fork has no threads
    # One for each login that is renewed just now, or one server that hangs would hold up others.
    return ThreadPoolExecutor(max_workers=64, thread_name_prefix="mcpnb-renewal")
