"""The key that logins are encrypted with: where it is kept, and the cipher that uses it."""

from __future__ import annotations

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
from mcpnb.storage.keyring import SERVICE, SystemKeyring, decoded, no_keyring, system_keyring

KeyChoice = Literal["auto", "keyring", "file"]

_KEY_BYTES = 32
_NONCE_BYTES = 12
_ENVIRONMENT = "MCPNB_STORE_KEY"
_IN_ENVIRONMENT = f"key in: {_ENVIRONMENT}"
_A_FILE = "a file that only its permissions protect"


class StoreKey:
    """A 256-bit key for AES-GCM, and where it is kept."""

    def __init__(self, key: bytes, where: str) -> None:
        self._aead = AESGCM(key)
        # A fingerprint, to tell a record of another key from a damaged one.
        self.key_id = hashlib.sha256(b"mcpnb key id" + key).hexdigest()[:16]
        self.where = where

    def __repr__(self) -> str:
        return f"<StoreKey {self.where}>"

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """Encrypt, and authenticate together with `associated`, under a fresh nonce."""
        # threat: nonce-reuse
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """Decrypt.

        Raises:
            StoreError: The record or `associated` was changed.
        """
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], associated)
        except (InvalidTag, ValueError):
            # threat: ciphertext-tampered
            raise StoreError(
                "A stored login is damaged or was moved here from elsewhere. It was left "
                "unchanged. Sign out of that server and in again."
            ) from None


class StoreKeys:
    """The keys of one folder. A new record takes the best key there is; an old one keeps its key.

    In the order in which a key is looked for: ``MCPNB_STORE_KEY``, the key file, the keyring.
    """

    def __init__(
        self, folder: Path, choice: KeyChoice, lock: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Nothing is read or created yet.

        Args:
            folder: The folder of the records, and of the key file if there has to be one.
            choice: The keyring only (``keyring``), never (``file``), or the best there is
                (``auto``).
            lock: Held while a key is made: two first runs have to agree on one.
        """
        self._folder = folder
        self._choice = choice
        self._lock = lock
        self._keyring: SystemKeyring = system_keyring()
        self._known: dict[str, StoreKey] = {}
        self._newest: bytes | None = None

    @property
    def where(self) -> str:
        """Where the key of a new record would be. Nothing is unlocked for it.

        Raises:
            StoreError: There is no place of the kind that was chosen.
        """
        if self._choice != "file" and (name := self._keyring_name()) is not None:
            if self._choice == "auto" and self._keyring.is_locked:
                return f"key in: {name}, if it is unlocked, else {_A_FILE}"
            return f"key in: {name}"
        return _IN_ENVIRONMENT if _from_environment() else f"key in: {_A_FILE}"

    def for_new(self) -> StoreKey:
        """Return the key to seal a new record with. It is made if there is none yet.

        Raises:
            StoreError: No key can be had.
            ConfigError: ``MCPNB_STORE_KEY`` is malformed.
        """
        if self._choice != "file":
            try:
                return self._of_keyring(make=True)
            except StoreError:
                if self._choice == "keyring":
                    raise
        if (key := _from_environment() or self._from_file()) is not None:
            return key
        with self._lock():
            return self._from_file() or self._make_file()

    def for_existing(self, key_id: str) -> StoreKey | None:
        """Return the key that a stored record was sealed with, if the choice allows its use.

        A refreshed login keeps its key. Otherwise a kernel on the desktop would lock out a program
        that runs without the desktop's keyring.
        """
        if self._choice != "auto":
            # The keyring's, if it is known by now: the keyring may have locked itself since.
            return self._known.get(key_id) if self._choice == "keyring" else None
        try:
            return self.opening(key_id, what="")
        except StoreError:
            return None

    def opening(self, key_id: str, *, what: str, where: str = "") -> StoreKey:
        """Return the key that a record was sealed with. The keyring comes last: it may prompt.

        Args:
            key_id: The key's id, from the record.
            what: The name of the record, for a person.
            where: Where that key is, from the record.

        Raises:
            StoreLocked: It cannot be reached.
        """
        if (known := self._known.get(key_id)) is not None:
            return known
        problems: list[str] = []
        absent: list[str] = []
        for source, without in (
            (_from_environment, f"{_ENVIRONMENT} is not set. "),
            (self._from_file, "There is no key file. "),
            (lambda: None if self._choice == "file" else self._of_keyring(make=False), ""),
        ):
            try:
                key = source()
            except (StoreError, ConfigError) as error:
                problems.append(str(error))
                continue
            if key is None:
                absent.append(without)
            elif key.key_id == key_id:
                return key
        was = f" ({where})" if where else ""
        if problems:
            raise StoreLocked(
                f"The login for {what} is stored, but its key{was} cannot be reached. "
                + " ".join(problems)
            )
        raise StoreLocked(
            f"The login for {what} was stored with another key than the ones found here{was}. "
            f"{''.join(absent)}It is still there: bring that key back, or sign out and in again."
        )

    def _from_file(self) -> StoreKey | None:
        """Read the key file, if there is one. One that others could read or write is refused.

        Raises:
            StoreLocked: It cannot be read.
            StoreError: It is no key, is open to others, or belongs to another user.
        """
        path = self._folder / "key"
        try:
            key, mode = read_file(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreLocked(f"The key file {path} cannot be read: {error.strerror}.") from None
        # threat: key-file-open-to-others
        if mode & 0o077 and os.name == "posix":
            raise StoreError(f"The key file {path} is open to other users. Run: chmod 600 {path}")
        if len(key) != _KEY_BYTES:
            raise StoreError(
                f"The key file {path} is damaged. Without it, stored logins cannot be opened."
            )
        return StoreKey(key, f"key in: {_A_FILE}")

    def _make_file(self) -> StoreKey:
        key, path = os.urandom(_KEY_BYTES), self._folder / "key"
        try:
            write_file(path, key)
        except OSError as error:
            raise StoreError(f"The key file {path} cannot be made: {error.strerror}.") from None
        return StoreKey(key, f"key in: {_A_FILE}")

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
                    username, self._newest or os.urandom(_KEY_BYTES)
                )
        if len(found) != _KEY_BYTES:
            raise StoreError(
                f"{name} holds something else than a key under {SERVICE}, {username}. Delete that "
                "entry. Logins that were encrypted with the key are lost: sign in again."
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
        advice = (
            " Use store=“auto” to keep logins in encrypted files with their key in a file, or in "
            "MCPNB_STORE_KEY."
        )
        return no_keyring(advice if self._choice == "keyring" else "")

    def _username(self) -> str:
        # One for the folder, by whatever path it is called; and relative to the home folder, which
        # may be mounted elsewhere tomorrow.
        folder = self._folder.resolve()
        try:
            return f"key of ~/{folder.relative_to(Path.home().resolve()).as_posix()}"
        except (ValueError, RuntimeError):
            return f"key of {folder}"


def _from_environment() -> StoreKey | None:
    """Take the key from ``MCPNB_STORE_KEY`` (32 bytes, base64url), if it is set.

    Raises:
        ConfigError: It is set to something else.
    """
    text = os.environ.get(_ENVIRONMENT)
    if not text:
        return None
    if len(key := decoded(text)) != _KEY_BYTES:
        raise ConfigError(
            # threat: store-key-shown
            f"{_ENVIRONMENT} has to be 32 bytes in base64url. Make one with: "
            "python -c 'import base64, os; "
            "print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
        )
    return StoreKey(key, _IN_ENVIRONMENT)
