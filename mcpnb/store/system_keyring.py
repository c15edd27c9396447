"""The key of stored records in the system's own keyring: bounded in time, and known by name."""

from __future__ import annotations

import base64
import binascii
import functools
import importlib
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from mcpnb.errors import StoreError, StoreLocked, plain

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

__all__ = ["SystemKeyring", "system_keyring"]

T = TypeVar("T")
_log = logging.getLogger(__name__)

SERVICE = "mcpnb"
_PATIENCE = 3.0
"""Seconds; a prompt that nobody can see makes the Secret Service silent for ever (measured)."""

# Concrete backends that keep a secret from other users and from a thief of the disk, best first.
# Whatever else `keyring` would choose is not one: keyrings.alt, installed by accident, brings
# plaintext files, and backends that ask for a password on the terminal (measured).
_BACKENDS = {
    "keyring.backends.macOS.Keyring": "macOS Keychain",
    "keyring.backends.Windows.WinVaultKeyring": "Windows Credential Manager",
    "keyring.backends.SecretService.Keyring": "Secret Service",
    "keyring.backends.kwallet.DBusKeyring": "KWallet",
    "keyring.backends.libsecret.Keyring": "Secret Service",
}


class SystemKeyring:
    """The one keyring of this system, asked one question at a time, in a thread with a bound.

    A question that stays without answer is not asked again while it is open: a person may still be
    about to unlock the keyring, and every further question would be one more prompt.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: tuple[int, float, Future[object]] | None = None

    @property
    def name(self) -> str | None:
        """What the keyring is called, or `None` where there is none. It is not unlocked for this.

        Raises:
            StoreLocked: It does not answer.
        """
        return self._bounded(lambda: _name_of(_backend()))

    def find(self, username: str) -> bytes | None:
        """Give the key kept under a name, or `None` if there is none.

        Raises:
            StoreLocked: The keyring is locked or does not answer.
            StoreError: There is no keyring, or the entry is no key.
        """
        text = self._bounded(lambda: _usable().get_password(SERVICE, username))
        return None if text is None else _decoded(text)

    def keep(self, username: str, key: bytes) -> bytes:
        """Keep a key; give what the keyring holds afterwards, which is what counts.

        Raises:
            StoreLocked: The keyring is locked or does not answer.
            StoreError: There is no keyring, or it does not keep what it is given.
        """
        text = base64.urlsafe_b64encode(key).decode().rstrip("=")

        def keep() -> str | None:
            backend = _usable()
            backend.set_password(SERVICE, username, text)
            return backend.get_password(SERVICE, username)

        kept = self._bounded(keep)
        if kept is None:
            raise StoreError("The system keyring did not keep the key that it was given.")
        return _decoded(kept)

    def _bounded(self, question: Callable[[], T]) -> T:
        while True:
            with self._lock:
                # With the process: a fork has its parent's question, and nobody who answers it.
                if self._open is None or self._open[0] != os.getpid() or self._open[2].done():
                    mine = self._asked(question)
                    break
                asked, earlier = self._open[1], self._open[2]
            try:
                earlier.exception(timeout=max(0.0, asked + _PATIENCE - time.monotonic()))
            except TimeoutError:
                raise _silent() from None
        return self._answer(mine)

    def _asked(self, question: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def ask() -> None:
            try:
                future.set_result(question())
            except BaseException as error:  # noqa: BLE001  it belongs to the one who asked
                future.set_exception(error)

        self._open = (os.getpid(), time.monotonic(), future)  # type: ignore[assignment]
        threading.Thread(target=ask, name="mcpnb-keyring", daemon=True).start()
        return future

    def _answer(self, future: Future[T]) -> T:
        try:
            return future.result(timeout=_PATIENCE)
        except TimeoutError:
            failure: StoreError = _silent()
        except StoreError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  backends raise what their libraries raise
            failure = _explained(error)
        raise failure


@functools.lru_cache(maxsize=1)
def system_keyring() -> SystemKeyring:
    """Give the one of this process."""
    return SystemKeyring()


def _silent() -> StoreLocked:
    return StoreLocked(
        f"The system keyring has not answered within {_PATIENCE:.0f} seconds. It may be waiting "
        "for somebody to unlock it on another screen."
    )


def _explained(error: Exception) -> StoreError:
    from keyring.errors import InitError, KeyringLocked, NoKeyringError

    if isinstance(error, KeyringLocked):
        return StoreLocked("The system keyring is locked. Unlock it, and go on.")
    if isinstance(error, NoKeyringError):
        return _none()
    if isinstance(error, InitError):
        return StoreError(f"The system keyring cannot be used: {plain(error, 120)}")
    return StoreError(f"The system keyring failed ({type(error).__name__}: {plain(error, 120)}).")


def _none() -> StoreError:
    return StoreError("There is no system keyring that can be used here.")


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""  # the caller tells a key by its length


def _usable() -> KeyringBackend:
    backend = _backend()
    if backend is None:
        raise _none()
    return backend


def _backend() -> KeyringBackend | None:
    """Choose the backend: the person's own choice if it is one of ours, else the first that works.

    Plug-ins are not even loaded.
    """
    from keyring.core import load_config, load_env

    try:
        chosen = load_env() or load_config()
    except Exception as error:  # noqa: BLE001  a name that cannot be imported, a backend that cannot start
        _log.info("The configured keyring cannot be used: %s", plain(error, 120))
        return None
    if chosen is not None:  # a chain counts as its first member that we know
        members = list(getattr(chosen, "backends", [chosen]))
        return next((member for member in members if _name_of(member)), None)
    for dotted in _BACKENDS:
        module, _, name = dotted.rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        try:
            _ = kind.priority  # raises where it cannot work
        except Exception:  # noqa: BLE001, S112  that is how `keyring` has it
            continue
        return kind()  # type: ignore[no-any-return]
    return None


def _name_of(backend: KeyringBackend | None) -> str | None:
    # The class itself and not a base of it: a plug-in may derive from a backend of ours.
    kind = type(backend)
    return _BACKENDS.get(f"{kind.__module__}.{kind.__qualname__}")
