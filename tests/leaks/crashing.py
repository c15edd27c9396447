"""Letting a function fail at its end, when its variables are full, wherever it runs."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any

import mcpnb
from mcpnb import concurrency
from mcpnb.calls import live
from tests.house import PACKAGE, parsed

_OURS = str(mcpnb.__file__).removesuffix("__init__.py")
# Left out: what holds a lock would hold it for ever, and what a thread begins with takes it down.
_NOT_HERE = ("concurrency.py", "scrub.py")
_NOT_THESE = {"lock", "writing", "leader_lock", "claimed", "_run"}


class Crash(Exception):
    """Nobody expects it."""


def functions_of(act: Callable[[], object], *rooms: str) -> list[CodeType]:
    """Name every function of ours that something runs, in whatever thread.

    Args:
        act: What is done.
        rooms: Only those of these files and folders; left out: all.
    """
    here = [file.relative_to(PACKAGE).as_posix() for file in parsed()]
    assert [room for room in rooms if not any(file.startswith(room) for file in here)] == []
    found: dict[CodeType, None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "return":
            found.setdefault(frame.f_code)

    _have_new_workers()
    threading.setprofile(note)
    _in_every_thread(sys.setprofile, note)
    try:
        act()
    finally:
        _in_every_thread(sys.setprofile, None)
        threading.setprofile(None)
    return [code for code in found if _fits(code, rooms)]


def _fits(code: CodeType, rooms: Iterable[str]) -> bool:
    file = code.co_filename
    if not file.startswith(_OURS) or file.endswith(_NOT_HERE) or code.co_name in _NOT_THESE:
        return False
    if file.endswith("live.py") and "." not in code.co_qualname:
        return False  # the loop that all calls run on
    within = file.removeprefix(_OURS)
    return not rooms or within.startswith(tuple(rooms))


def _have_new_workers() -> None:
    """Only a thread that begins is looked into from outside (until Python 3.12)."""
    made_anew = concurrency.per_process(inspect.unwrap(concurrency._pool))  # noqa: SLF001
    concurrency._pool = made_anew  # noqa: SLF001


def _in_every_thread(put: Callable[[Any], None], function: Any) -> None:
    """Put something in place in this thread and in the one that calls are made in."""

    async def there() -> None:
        put(function)

    asyncio.run_coroutine_threadsafe(there(), live._loop()).result(10)  # noqa: SLF001
    put(function)


def crashes_at(
    code: CodeType, act: Callable[[], object], kind: type[BaseException] = Crash
) -> tuple[bool, BaseException | None]:
    """Do something in which a function fails as it returns, the first time.

    Returns:
        Whether it came to that, and what was raised in the end.
    """
    done = threading.Event()

    def within(frame: FrameType, event: str, argument: object) -> Any:
        del argument  # this frame shows, too
        if event == "return" and frame.f_code is code and not done.is_set():
            done.set()
            raise kind("a crash")
        return within

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        del event, argument
        return within if frame.f_code is code and not done.is_set() else None

    _have_new_workers()
    threading.settrace(trace)
    _in_every_thread(sys.settrace, trace)
    try:
        act()
    except BaseException as error:  # noqa: BLE001  whatever it is, it is searched
        return done.is_set(), error
    finally:
        _in_every_thread(sys.settrace, None)
        threading.settrace(None)
    return done.is_set(), None
