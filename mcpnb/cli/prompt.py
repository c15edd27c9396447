"""A prompt for lines that a person pastes, however long they are.

A terminal collects a line before it hands the line over, and drops what does not fit: on Linux
beyond 4,095 characters, on macOS beyond 1,023 (termios(3), ICANON). An address with a request
object or a long state is longer. So the prompt reads each character as it comes, and does itself
what a terminal does to a line: erasing, and the end of input.
"""

from __future__ import annotations

import getpass
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

import click

_ENDING = ("SIGTERM", "SIGHUP", "SIGQUIT")
"""Signals that by default end a program without a chance to tidy up."""


def is_attended() -> bool:
    """Whether a person sits at stdin."""
    return sys.stdin is not None and sys.stdin.isatty()  # None: closed before the program started


class Prompt:
    """Reads lines from stdin, and owns the line of stderr that has not ended.

    A prompt may be open in another thread while the program ends or is killed: whoever leaves
    first restores the terminal. Through pipes, lines come as they are.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._before: list[Any] | None = None
        """Attributes of the terminal, while they are changed."""
        self._over = False
        self._text = ""
        self._status = ""
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        if is_attended() and os.name == "posix" and main:
            for name in _ENDING:
                number = getattr(signal, name)
                if signal.getsignal(number) is signal.SIG_DFL:
                    self._handlers[number] = signal.signal(number, self._killed)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
            self._restore()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._end_line()

    def line(self, text: str) -> str:
        """Read a line, with its end. Return an empty string at the end of input.

        What is typed is not shown: an address may hold a code, and a terminal keeps what it shows.

        Args:
            text: The prompt, shown on a terminal only.
        """
        if not is_attended():
            return sys.stdin.readline() if sys.stdin is not None else ""
        if os.name != "posix":
            return f"{getpass.getpass(text)}\n"  # it reads by character, too
        if (editing := self._by_character()) is None:
            return ""
        self._show(text)
        found = _typed(sys.stdin.fileno(), *editing)
        self._end_line()
        return found.decode(errors="replace")

    def status(self, text: str) -> None:
        """Show a short text on the last line of a terminal, until the next message or the end."""
        with self._lock:
            if not self._over and sys.stderr.isatty():
                self._status = text
                click.echo(f"\r{text}", nl=False, err=True)

    @contextmanager
    def interrupted(self, *, again: bool) -> Iterator[None]:
        """Write messages inside on lines of their own: a prompt may be open.

        Args:
            again: Show the prompt again afterwards, because it still waits for a line.
        """
        with self._lock:
            text = self._text
            self._end_line()
            yield
            if again and text:
                self._show(text)

    def _show(self, text: str) -> None:
        with self._lock:
            if not self._over:
                self._text = text
                click.echo(text, nl=False, err=True)

    def _end_line(self) -> None:
        with self._lock:
            if self._status:
                click.echo(f"\r{' ' * len(self._status)}\r", nl=False, err=True)
            elif self._text:
                click.echo(err=True)
            self._text = self._status = ""

    def _by_character(self) -> tuple[bytes, bytes, bytes] | None:
        """Read characters one by one, without echo, until the prompt closes. Ctrl-C still works.

        Text that is pasted between two lines is secret, too. Return the keys that edit a line, or
        `None` if the prompt is closed.
        """
        import termios
        import tty

        with self._lock:
            if self._over:
                return None
            if self._before is None:
                self._before = termios.tcgetattr(sys.stdin)
            # Each time: a shell resets the terminal when the program is stopped and continued.
            # Not TCSAFLUSH: what was typed before the prompt counts.
            tty.setcbreak(sys.stdin, termios.TCSADRAIN)
            keys = self._before[6]
            return keys[termios.VERASE], keys[termios.VKILL], keys[termios.VEOF]

    def _restore(self) -> None:
        before, self._before = self._before, None
        if before is None:
            return
        import termios

        with suppress(termios.error, ValueError, OSError):  # the terminal may have been closed
            # TCSAFLUSH: a shell would show what was pasted and not read, run it, and remember it.
            termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, before)

    def _killed(self, number: int, _: object) -> None:
        self._restore()
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_kill(threading.get_ident(), number)


def _typed(terminal: int, erase: bytes, kill: bytes, end: bytes) -> bytes:
    """Collect one line as a terminal would. The keys to edit it are those of the terminal."""
    line = bytearray()
    while True:
        try:
            key = os.read(terminal, 1)  # one by one: what follows the line belongs to the next one
        except OSError:  # the terminal has been closed
            key = b""
        if not key or (key == end and not line):
            return bytes(line)
        if key in (b"\n", b"\r", end):
            return bytes(line) + b"\n"
        if key == kill:
            line.clear()
        elif key in (erase, b"\x7f", b"\b"):
            while line and line.pop() & 0xC0 == 0x80:  # the other bytes of a UTF-8 character
                pass
        else:
            line += key
