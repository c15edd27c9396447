"""Threads for what nobody waits for, or many wait for together."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

__all__ = ["workers"]


def workers() -> ThreadPoolExecutor:
    """Give this process's threads.

    The interpreter joins them at exit, so a rotation under way is always written: an unwritten one
    loses the login (measured).
    """
    return _of(os.getpid())


@lru_cache(maxsize=2)
def _of(process: int) -> ThreadPoolExecutor:  # noqa: ARG001  the key: a fork has no threads
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix="mcpnb-renewal")
