"""The key that logins are encrypted with, and the ciphers that use it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mcpnb.errors import ConfigError, StoreError, StoreLocked
from mcpnb.storage.atomic import read_file, write_file
from mcpnb.storage.keyring import SERVICE, SystemKeyring, system_keyring

__all__ = [
    "ENVIRONMENT",
    "IN_ENVIRONMENT",
    "IN_FILE",
    "KEY_BYTES",
    "KeyChoice",
    "StoreKey",
    "StoreKeys",
    "key_from_environment",
    "key_from_file",
    "make_key_file",
]

KEY_BYTES = 32
_NONCE_BYTES = 12
ENVIRONMENT = "MCPNB_STORE_KEY"
IN_ENVIRONMENT = f"key in: {ENVIRONMENT}"
IN_FILE = "key in: a file that only its permissions protect"


class StoreKey:
    """A 256-bit key for AES-GCM, and where it comes from."""

    def __init__(self, key: bytes, where: str) -> None:
        self._aead = AESGCM(key)
        # A fingerprint, so that a record of another key is told from a damaged one.
        self.key_id = hashlib.sha256(b"mcpnb key id" + key).hexdigest()[:16]
        self.where = where

    def __repr__(self) -> str:
        return f"<StoreKey {self.where}>"

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """Encrypt and authenticate, together with `associated`, under a fresh nonce."""
        # threat: nonce-reuse
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """Decrypt, if neither the record nor its place was changed.

        Raises:
            StoreError: It was.
        """
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], associated)
        except (InvalidTag, ValueError):
            # threat: ciphertext-tampered
            raise StoreError(
                "A stored login is damaged or was moved here from elsewhere. It was left as it is; "
                "sign out of that server and in again."
            ) from None


def key_from_environment() -> StoreKey | None:
    """Take the key from ``MCPNB_STORE_KEY`` (32 bytes, base64url), if it is set.

    Raises:
        ConfigError: It is set to something else.
    """
    text = os.environ.get(ENVIRONMENT)
    if not text:
        return None
    try:
        key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            # threat: store-key-shown
            f"{ENVIRONMENT} has to be 32 bytes in base64url. Make one with: "
            "python -c 'import base64, os; "
            "print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
        )
    return StoreKey(key, IN_ENVIRONMENT)


def key_from_file(path: Path) -> StoreKey | None:
    """Read the key file, if there is one. One that others could have read or made is refused.

    Raises:
        StoreLocked: It cannot be read.
        StoreError: It is no key, is open to others, or is somebody else's.
    """
    try:
        key, mode = read_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreLocked(f"The key file {path} cannot be read: {error.strerror}.") from None
    # threat: key-file-open-to-others
    if mode & 0o077 and os.name == "posix":
        raise StoreError(f"The key file {path} is open to other users. Run: chmod 600 {path}")
    if len(key) != KEY_BYTES:
        raise StoreError(
            f"The key file {path} is damaged. Without it, stored logins cannot be opened."
        )
    return StoreKey(key, IN_FILE)


def make_key_file(path: Path) -> StoreKey:
    """Make the key file, mode 0600. Call it under a lock.

    Raises:
        StoreError: It cannot be made.
    """
    key = os.urandom(KEY_BYTES)
    try:
        write_file(path, key)
    except OSError as error:
        raise StoreError(f"The key file {path} cannot be made: {error.strerror}.") from None
    return StoreKey(key, IN_FILE)


_ELSE = IN_FILE.removeprefix("key in: ")

KeyChoice = Literal["auto", "keyring", "file"]


class StoreKeys:
    """The keys of one folder. New records take the best place for a key; old ones keep theirs."""

    def __init__(
        self, folder: Path, choice: KeyChoice, lock: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Nothing is read or made yet.

        Args:
            folder: Where the records are, and the key file if there has to be one.
            choice: ``keyring`` only, never (``file``), or the best there is (``auto``).
            lock: Held while a key is made: two first runs have to agree on one.
        """
        self._folder = folder
        self._choice = choice
        self._lock = lock
        self._keyring: SystemKeyring = system_keyring()
        self._known: dict[str, StoreKey] = {}
        self._newest: bytes | None = None

    @property
    def path(self) -> Path:
        """The key file."""
        return self._folder / "key"

    @property
    def where(self) -> str:
        """Where the key of a new record would be. Nothing is unlocked for it.

        Raises:
            StoreError: There is no place of the kind that was chosen.
        """
        if self._choice != "file":
            name = self._keyring_name()
            if name is not None and self._choice == "auto" and self._keyring.is_locked:
                return f"key in: {name}, if it is unlocked, else {_ELSE}"
            if name is not None:
                return f"key in: {name}"
        return IN_ENVIRONMENT if key_from_environment() else IN_FILE

    def for_new(self) -> StoreKey:
        """Give the key to seal a new record with, and make it if there is none yet.

        Raises:
            StoreError: None can be had.
            ConfigError: ``MCPNB_STORE_KEY`` is malformed.
        """
        if self._choice != "file":
            try:
                return self._of_keyring(make=True)
            except StoreError:
                if self._choice == "keyring":
                    raise
        if (key := key_from_environment() or key_from_file(self.path)) is not None:
            return key
        with self._lock():
            return key_from_file(self.path) or make_key_file(self.path)

    def for_existing(self, key_id: str) -> StoreKey | None:
        """Give the key that a stored record was sealed with, if the choice allows to seal with it.

        A renewed login keeps its key: else a kernel on the desktop would lock out a program that
        runs without the desktop's keyring.
        """
        if self._choice != "auto":
            # The keyring's, if it is known by now: it may have locked itself since.
            return self._known.get(key_id) if self._choice == "keyring" else None
        try:
            return self.opening(key_id, what="")
        except StoreError:
            return None

    def opening(self, key_id: str, *, what: str, where: str = "") -> StoreKey:
        """Give the key that a record was sealed with. The keyring is asked last: it may prompt.

        Args:
            key_id: What the record says of its key.
            what: Names the record, for a person.
            where: Where the record says that key is.

        Raises:
            StoreLocked: It cannot be reached.
        """
        if (known := self._known.get(key_id)) is not None:
            return known
        problems: list[str] = []
        absent: list[str] = []
        for source, without in (
            (key_from_environment, f"{ENVIRONMENT} is not set."),
            (self._in_file, "There is no key file."),
            (self._asked_keyring, ""),
        ):
            try:
                key = source()
            except (StoreError, ConfigError) as error:
                problems.append(str(error))
                continue
            if key is not None and key.key_id == key_id:
                return key
            absent += [without] if key is None and without else []
        was = f" ({where})" if where else ""
        if problems:
            raise StoreLocked(
                f"The login for {what} is kept, but its key{was} cannot be reached. "
                + " ".join(problems)
            )
        raise StoreLocked(
            f"The login for {what} was stored with another key than the ones at hand{was}. "
            + "".join(f"{text} " for text in absent)
            + "It is kept: give that key back, or sign out and in again."
        )

    def _in_file(self) -> StoreKey | None:
        return key_from_file(self.path)

    def _asked_keyring(self) -> StoreKey | None:
        if self._choice == "file":
            return None
        return self._of_keyring(make=False)

    def _of_keyring(self, *, make: bool) -> StoreKey:
        """Ask the keyring, whatever is known: its entry may have been deleted or replaced since."""
        name, username = self._keyring.name, self._username()
        if name is None:
            raise self._no_keyring()
        found = self._keyring.find(username)
        if found is None:
            if not make:
                raise StoreError(f"{name} holds no key of {self._folder}.")
            with self._lock():
                # What this process still knows, so that what it sealed can be opened again.
                found = self._keyring.find(username) or self._keyring.keep(
                    username, self._newest or os.urandom(KEY_BYTES)
                )
        if len(found) != KEY_BYTES:
            raise StoreError(
                f"{name} holds something else than a key under {SERVICE}, {username}. Delete that "
                "entry; logins that were encrypted with the key have to be made anew."
            )
        key, self._newest = StoreKey(found, f"key in: {name}"), found
        return self._known.setdefault(key.key_id, key)

    def _keyring_name(self) -> str | None:
        try:
            name = self._keyring.name
        except StoreLocked:
            if self._choice == "keyring":
                raise
            return None
        if name is None and self._choice == "keyring":
            raise self._no_keyring()
        return name

    def _no_keyring(self) -> StoreError:
        return StoreError(
            "There is no system keyring that can be used here."
            + (
                " Use store=“auto” to keep logins in encrypted files with their key in a file, or "
                "in MCPNB_STORE_KEY."
                if self._choice == "keyring"
                else ""
            )
        )

    def _username(self) -> str:
        # One for the folder, by whatever path it is called; and relative to the home folder, which
        # may be mounted elsewhere tomorrow.
        folder = self._folder.resolve()
        try:
            return f"key of ~/{folder.relative_to(Path.home().resolve()).as_posix()}"
        except (ValueError, RuntimeError):
            return f"key of {folder}"
