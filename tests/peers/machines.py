"""A second machine: a network of its own, in which nothing of this one can be reached."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator

import pytest

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1


class Machine:
    """A network of its own: one loopback, and no way to anywhere else (a Linux namespace).

    Whoever is `inside`, and the processes they start, are on this machine. It ends with its file
    descriptor and the last of its processes.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        before = self._network()
        try:
            self._done(self._libc.unshare(CLONE_NEWNET))
            try:
                self._own = self._network()
                self._loopback_up()
            finally:
                self._done(self._libc.setns(before, CLONE_NEWNET))
        finally:
            os.close(before)

    @staticmethod
    def _network() -> int:
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @staticmethod
    def _done(code: int) -> None:
        if code:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    @staticmethod
    def _loopback_up() -> None:
        import fcntl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Be on this machine: sockets and processes made by this thread are."""
        before = self._network()
        try:
            self._done(self._libc.setns(self._own, CLONE_NEWNET))
            yield
        finally:
            self._done(self._libc.setns(before, CLONE_NEWNET))
            os.close(before)

    @property
    def command(self) -> tuple[str, ...]:
        """What to put before a command that other processes shall run on this machine."""
        return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self._own}", "--")

    def close(self) -> None:
        """Let go of it."""
        os.close(self._own)


@contextlib.contextmanager
def machine() -> Iterator[Machine]:
    """Make one, where that is possible: it takes Linux, and its administrator."""
    if sys.platform != "linux":
        pytest.skip("network namespaces are Linux's")
    try:
        made = Machine()
    except OSError as error:
        pytest.skip(f"network namespaces are not permitted here ({error.strerror})")
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def reaching(far: Machine, port: int) -> Iterator[None]:
    """Have a loopback port of this machine at the same address of the other one.

    The address has to be a loopback one, because any other would have to be https.
    """
    with far.inside():
        door = socket.create_server(("127.0.0.1", port))
    thread = threading.Thread(target=_open, args=(door, port), name=f"door {port}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # `close` alone leaves a thread in `accept` for ever (measured on Linux).
        with contextlib.suppress(OSError):
            door.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        door.close()
        assert not thread.is_alive(), "the door did not close"


def _open(door: socket.socket, port: int) -> None:
    while True:
        try:
            caller, _ = door.accept()
        except OSError:
            return
        try:
            server = socket.create_connection(("127.0.0.1", port), timeout=10)
        except OSError:
            caller.close()
            continue
        server.settimeout(None)
        threading.Thread(target=_join, args=(caller, server), daemon=True).start()


def _join(caller: socket.socket, server: socket.socket) -> None:
    with caller, server:
        back = threading.Thread(target=_pass_on, args=(server, caller), daemon=True)
        back.start()
        _pass_on(caller, server)
        back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
