"""Lines that a person pastes, however long they are.

A terminal collects a line before it hands it over, and drops what does not fit: on Linux beyond
4,095 characters, on macOS beyond 1,023 (termios(3), ICANON). An address with a request object or a
long state in it has more. So each character is taken as it comes, and what a terminal does to a
line is done here: erasing, and the end of input.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

import click

__all__ = ["Pasting", "is_attended"]

_ENDED = ("SIGTERM", "SIGHUP", "SIGQUIT")
"""Signals that end a program that does not listen to them, with no chance to tidy up."""


def is_attended() -> bool:
    """Whether a person sits at stdin."""
    return sys.stdin is not None and sys.stdin.isatty()  # None: closed before we were started


class Pasting:
    """Reads lines from stdin; within it the terminal is given back as it was, on every way out.

    A prompt may be open in another thread while the program ends, is stopped or is killed: whoever
    leaves first restores the terminal. Through pipes, lines come as they are.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._before: list[Any] | None = None
        self._over = False
        self._prompt = ""
        """What stands on a line that has not ended."""
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if is_attended() and os.name == "posix" and _in_main_thread():
            for name in (*_ENDED, "SIGTSTP"):
                number = getattr(signal, name)
                if signal.getsignal(number) is signal.SIG_DFL:
                    answer = self._stopped if name == "SIGTSTP" else self._killed
                    self._handlers[number] = signal.signal(number, answer)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
            self._restore()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._end_line()  # what follows stands on a line of its own

    def line(self, prompt: str, *, hidden: bool = False) -> str:
        """Read a line, with its end; nothing at the end of input.

        Args:
            prompt: Shown on a terminal.
            hidden: Show nothing of what is typed there: a terminal keeps what it shows.
        """
        if not is_attended():
            return sys.stdin.readline() if sys.stdin is not None else ""
        if os.name != "posix":
            return _on_windows(prompt, hidden=hidden)
        with self._by_character() as erasing:
            if erasing is None:
                return ""
            self._ask(prompt)
            found = _typed(sys.stdin.fileno(), *erasing, shown=None if hidden else _show)
        self._end_line()
        return found.decode(errors="replace")

    @contextmanager
    def aside(self, *, again: bool) -> Iterator[None]:
        """Have something said on lines of its own while a prompt may be open.

        Args:
            again: Show the prompt once more afterwards, for it is still waited for an answer.
        """
        with self._lock:
            prompt = self._prompt
            self._end_line()
            yield
            if again and prompt and not self._over:
                self._ask(prompt)

    def _ask(self, prompt: str) -> None:
        with self._lock:
            if self._over:
                return
            self._prompt = prompt
            click.echo(prompt, nl=False, err=True)

    def _end_line(self) -> None:
        with self._lock:
            if self._prompt:
                click.echo(err=True)
            self._prompt = ""

    @contextmanager
    def _by_character(self) -> Iterator[tuple[bytes, bytes, bytes] | None]:
        """Have characters come one by one and unseen; Ctrl-C stays what it is."""
        import termios

        with self._lock:
            if not self._over:
                self._before = termios.tcgetattr(sys.stdin)
                self._set_by_character()
            before = self._before
        try:
            yield (
                None
                if before is None
                else tuple(before[6][key] for key in (termios.VERASE, termios.VKILL, termios.VEOF))
            )
        finally:
            with self._lock:
                self._restore()

    def _set_by_character(self) -> None:
        import termios

        if self._before is None:
            return
        changed = [*self._before]
        changed[3] &= ~(termios.ICANON | termios.ECHO)
        changed[6] = [*changed[6]]
        changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
        # Not flushed: what was typed before the prompt counts.
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, changed)

    def _restore(self) -> None:
        """Give the terminal back as it was."""
        before, self._before = self._before, None
        if before is None:
            return
        import termios

        with suppress(termios.error, ValueError, OSError):  # it may have been hung up
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)

    def _killed(self, number: int, _: object) -> None:
        self._restore()
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_kill(threading.get_ident(), number)

    def _stopped(self, number: int, _: object) -> None:
        """Stop as Ctrl-Z has it, with the terminal as it was; it goes on here."""
        before = self._before
        self._restore()
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_kill(threading.get_ident(), number)
        signal.signal(number, self._stopped)
        # In the background the terminal is somebody else's.
        if before is not None and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp():
            self._before = before
            self._set_by_character()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _typed(
    terminal: int,
    erase: bytes,
    kill: bytes,
    end: bytes,
    *,
    shown: Callable[[bytes], object] | None,
) -> bytes:
    """Collect one line, as a terminal would."""
    line = bytearray()
    tell = shown or (lambda _: None)
    while True:
        try:
            # One by one: what follows the line is the next one's.
            key = os.read(terminal, 1)
        except OSError:  # hung up
            key = b""
        if not key or (key == end and not line):
            return bytes(line)
        if key in (b"\n", b"\r", end):
            return bytes(line) + b"\n"
        if key in (erase, b"\x7f", b"\b"):
            if line:
                while line.pop() & 0xC0 == 0x80 and line:  # the rest of a character in UTF-8
                    pass
                tell(b"\b \b")
        elif key == kill:
            tell(b"\b \b" * len(line.decode(errors="replace")))
            line.clear()
        else:
            line += key
            tell(key if key >= b" " else b"")


def _show(keys: bytes) -> None:
    with suppress(OSError):
        os.write(2, keys)


def _on_windows(prompt: str, *, hidden: bool) -> str:
    if hidden:
        import getpass

        return f"{getpass.getpass(prompt)}\n"  # by character, too
    click.echo(prompt, nl=False, err=True)
    return sys.stdin.readline()
