"""Telling others that something changed, in order and with no lock held."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable

__all__ = ["Listeners"]


class Listeners:
    """Functions to call after every change, in one thread of their own.

    Whoever reports a change may hold locks, and a listener may take others or call back: called
    directly, the two could wait for each other for ever.
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
                with contextlib.suppress(Exception):  # a view that fails harms nobody else
                    function()
