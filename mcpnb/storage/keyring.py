"""The key of stored records in the system's own keyring: bounded in time, known backends only."""

from __future__ import annotations

import base64
import binascii
import contextlib
import importlib
import logging
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mcpnb.concurrency import per_process
from mcpnb.errors import StoreError, StoreLocked
from mcpnb.text import sanitize

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")
_log = logging.getLogger(__name__)

SERVICE = "mcpnb"
_DEFAULT_COLLECTION = "/org/freedesktop/secrets/aliases/default"
_PATIENCE = 3.0
"""Seconds. A prompt that nobody can see makes the Secret Service silent for ever (measured)."""
_GLANCE = 0.5
"""Seconds to see whether it is locked: takes a fiftieth, unless the service hangs (measured)."""
_NO_MORE_PROMPTS = 60.0

# Concrete backends that keep a secret from other users and from a thief of the disk, best first.
# Nothing else that `keyring` would choose does: keyrings.alt, installed by accident, brings
# plaintext files, and backends that ask for a password on the terminal (measured).
_BACKENDS = {
    "keyring.backends.macOS.Keyring": "macOS Keychain",
    "keyring.backends.Windows.WinVaultKeyring": "Windows Credential Manager",
    "keyring.backends.SecretService.Keyring": "Secret Service",
    "keyring.backends.kwallet.DBusKeyring": "KWallet",
    "keyring.backends.libsecret.Keyring": "Secret Service",
}


class SystemKeyring:
    """The keyring of this system. It gets one question at a time, in a thread, with a time limit.

    Every question to a locked keyring is one more prompt on somebody's screen. So while a question
    is unanswered, and for a while after one was not answered by unlocking, the next one waits until
    the keyring is seen to be open.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._looking = threading.Lock()
        self._looks: dict[Callable[[], object], _Question[Any]] = {}
        self._refused: _Question[Any] | None = None
        """The last question, if it was not answered by unlocking."""

    @property
    def name(self) -> str | None:
        """The keyring's name, or `None` where there is no keyring. It is not unlocked for this.

        Raises:
            StoreLocked: It does not answer.
        """
        self._expect_no_silence()
        return self._looked(_name).answer()

    @property
    def is_locked(self) -> bool:
        """Whether it would have to be unlocked first, as far as that shows without a prompt."""
        return self._seen() is True

    def find(self, username: str) -> bytes | None:
        """Return the key stored under a name, or `None` if there is none.

        Raises:
            StoreLocked: The keyring is locked or does not answer.
            StoreError: There is no keyring, or it failed.
        """
        text = self._asked(lambda: _usable().get_password(SERVICE, username))
        return None if text is None else decoded(text)

    def keep(self, username: str, key: bytes) -> bytes:
        """Store a key. Return what the keyring holds afterwards, which is what counts.

        Raises:
            StoreLocked: The keyring is locked or does not answer.
            StoreError: There is no keyring, or it does not store what it is given.
        """
        text = base64.urlsafe_b64encode(key).decode().rstrip("=")

        def keep() -> str | None:
            backend = _usable()
            backend.set_password(SERVICE, username, text)
            return backend.get_password(SERVICE, username)

        stored = self._asked(keep)
        if stored is None:
            raise StoreError("The system keyring did not store the key that it was given.")
        return decoded(stored)

    def _asked(self, ask: Callable[[], T]) -> T:
        with self._turn:
            self._expect_no_silence()
            if self._refused is not None and self._refused.is_recent and self.is_locked:
                raise _locked()
            question = _Question(ask)
            try:
                answer = question.answer()
            except StoreLocked:
                self._refused = question
                raise
            self._refused = None
            return answer

    def _expect_no_silence(self) -> None:
        """Raise if a question is unanswered, and the keyring is not seen to be open since."""
        asked = self._refused
        if asked is not None and not asked.is_done and self._seen() is not False:
            raise _silent()

    def _seen(self) -> bool | None:
        """Look whether it is locked, without a prompt; `None`: that cannot be seen."""
        try:
            return self._looked(_is_locked).answer(_GLANCE)
        except StoreError:
            return None

    def _looked(self, look: Callable[[], T]) -> _Question[T]:
        """Start a look that opens no prompt, or join one that is under way."""
        with self._looking:
            known = self._looks.get(look)
            if known is None or known.is_done:
                known = self._looks[look] = _Question(look)
            return known


class _Question(Generic[T]):
    """A question in a thread of its own: the caller need not wait for ever."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._asked_at = time.monotonic()
        self._future: Future[T] = Future()
        threading.Thread(target=self._run, args=(ask,), name="mcpnb-keyring", daemon=True).start()

    def _run(self, ask: Callable[[], T]) -> None:
        try:
            self._future.set_result(ask())
        except BaseException as error:  # noqa: BLE001  it belongs to the caller
            self._future.set_exception(error)

    @property
    def is_done(self) -> bool:
        return self._future.done()

    @property
    def is_recent(self) -> bool:
        return time.monotonic() < self._asked_at + _NO_MORE_PROMPTS

    def answer(self, patience: float = _PATIENCE) -> T:
        """Return the answer, which may take so many seconds from when it was asked.

        Raises:
            StoreLocked: There is none in time, or the keyring is locked.
            StoreError: There is no keyring, or it failed.
        """
        try:
            left = self._asked_at + patience - time.monotonic()
            return self._future.result(timeout=max(left, 0.0))
        except TimeoutError:
            failure: StoreError = _silent()
        except StoreError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  backends raise what their libraries raise
            failure = _explained(error)
        raise failure


@per_process
def system_keyring() -> SystemKeyring:
    """Return the one of this process: a fork has its parent's questions, and no thread for them."""
    return SystemKeyring()


def no_keyring(advice: str = "") -> StoreError:
    """Return the error that says there is no keyring."""
    return StoreError(f"There is no system keyring that can be used here.{advice}")


def decoded(text: str) -> bytes:
    """Decode base64url; nothing where it is not. The caller tells a key by its length."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""


def _locked() -> StoreLocked:
    return StoreLocked("The system keyring is locked. Unlock it, then try again.")


def _silent() -> StoreLocked:
    return StoreLocked(
        f"The system keyring has not answered within {_PATIENCE:.0f} seconds. It may be waiting "
        "for somebody to unlock it on another screen."
    )


def _explained(error: Exception) -> StoreError:
    from keyring.errors import KeyringLocked, NoKeyringError

    if isinstance(error, KeyringLocked):
        return _locked()
    if isinstance(error, NoKeyringError):
        return no_keyring()
    return StoreError(
        f"The system keyring failed ({type(error).__name__}: {sanitize(error, 120)})."
    )


def _usable() -> KeyringBackend:
    backend = _backend()
    if backend is None:
        raise no_keyring()
    return backend


def _backend() -> KeyringBackend | None:
    """Choose the backend: the person's own choice if it is in the list, else the first that works.

    Plug-ins are not even loaded.
    """
    from keyring.core import load_config, load_env

    try:
        chosen = load_env() or load_config()
    except Exception as error:  # noqa: BLE001  a name that cannot be imported, a backend that cannot start
        _log.info("The configured keyring cannot be used: %s", sanitize(error, 120))
        return None
    if chosen is not None:  # a chain counts as its first member that is in the list
        members = list(getattr(chosen, "backends", [chosen]))
        return next((member for member in members if _name_of(member)), None)
    for dotted in _BACKENDS:
        module, _, name = dotted.rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        try:
            _ = kind.priority  # raises where it cannot work
        except Exception:  # noqa: BLE001, S112  that is how `keyring` does it
            continue
        return kind()  # type: ignore[no-any-return]
    return None


def _name_of(backend: KeyringBackend | None) -> str | None:
    # The class itself and not a base of it: a plug-in may derive from a backend in the list.
    kind = type(backend)
    # threat: keyring-plug-in
    return _BACKENDS.get(f"{kind.__module__}.{kind.__qualname__}")


def _name() -> str | None:
    return _name_of(_backend())


def _is_locked() -> bool | None:
    """Whether the Secret Service's collection is locked; asking `keyring` would open a prompt."""
    backend = _backend()
    if backend is None or type(backend).__module__ != "keyring.backends.SecretService":
        return None
    # The library that the backend itself uses, in the version that it was made for.
    secretstorage = sys.modules["keyring.backends.SecretService"].secretstorage
    with contextlib.closing(secretstorage.dbus_init()) as bus:
        path = getattr(backend, "preferred_collection", _DEFAULT_COLLECTION)
        return bool(secretstorage.Collection(bus, path).is_locked())
