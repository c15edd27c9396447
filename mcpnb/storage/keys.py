"""The key that logins are encrypted with: where it is kept, and which one a record takes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mcpnb.errors import ConfigError, StoreError, StoreLocked
from mcpnb.storage.atomic import read_file, write_file
from mcpnb.storage.keyring import SERVICE, decoded, no_keyring, system_keyring

KeyChoice = Literal["auto", "keyring", "file"]

_BYTES = 32
_ENVIRONMENT = "MCPNB_STORE_KEY"
_A_FILE = "a file that only its permissions protect"


@dataclass(frozen=True, slots=True)
class StoreKey:
    """A key of 256 bits."""

    value: bytes = field(repr=False)
    where: str
    """Where it is kept, for a person: ``key in: ...``."""

    @property
    def key_id(self) -> str:
        """A fingerprint, to tell a record of another key from a damaged one."""
        return hashlib.sha256(b"mcpnb key id" + self.value).hexdigest()[:16]


class StoreKeys:
    """The keys of one folder. A new record takes the best key there is; an old one keeps its key.

    In the order in which a key is looked for: ``MCPNB_STORE_KEY``, the key file, the keyring.
    """

    def __init__(
        self, folder: Path, choice: KeyChoice, lock: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Take the folder of the records; nothing is read or created yet.

        Args:
            folder: Also the folder of the key file, if there has to be one.
            choice: As for `FileStore`.
            lock: Held while a key is made: two first runs have to agree on one.
        """
        self._folder = folder
        self._file = folder / "key"
        self._choice = choice
        self._lock = lock
        self._of_keyring: dict[str, StoreKey] = {}
        self._newest: StoreKey | None = None

    @property
    def where(self) -> str:
        """Where the key of a new record would be. Nothing is unlocked for it.

        Raises:
            StoreError: There is no place of the kind that was chosen.
        """
        if self._choice != "file":
            try:
                name = self._keyring_name()
            except StoreError:
                if self._choice == "keyring":
                    raise
            else:
                if self._choice == "auto" and system_keyring().is_locked:
                    return f"key in: {name}, if it is unlocked, else {_A_FILE}"
                return f"key in: {name}"
        return f"key in: {_ENVIRONMENT if _from_environment() else _A_FILE}"

    def sealing(self, key_id: str | None) -> StoreKey:
        """Return the key to seal a record with. It is made if there is none yet.

        A refreshed login keeps its key, if the choice allows it. Otherwise a kernel on the desktop
        would lock out a program that runs without the desktop's keyring.

        Args:
            key_id: The key that the record was sealed with before.

        Raises:
            StoreError: No key can be had.
            ConfigError: ``MCPNB_STORE_KEY`` is malformed.
        """
        if key_id is not None and self._choice == "auto":
            with suppress(StoreError):
                return self.opening(key_id, what="")
        if self._choice == "keyring" and (known := self._of_keyring.get(key_id or "")) is not None:
            return known  # the keyring may have locked itself since
        if self._choice != "file":
            try:
                return self._from_keyring(make=True)
            except StoreError:
                if self._choice == "keyring":
                    raise
        if (key := _from_environment() or self._from_file()) is not None:
            return key
        with self._lock():
            return self._from_file() or self._make_file()

    def opening(self, key_id: str, *, what: str, where: str = "") -> StoreKey:
        """Return the key that a record was sealed with. The keyring comes last: it may prompt.

        Args:
            key_id: The key's id, from the record.
            what: The name of the record, for a person.
            where: Where that key is, from the record.

        Raises:
            StoreLocked: It cannot be reached.
        """
        if (known := self._of_keyring.get(key_id)) is not None:
            return known
        problems: list[str] = []
        absent: list[str] = []
        for source, without in (
            (_from_environment, f"{_ENVIRONMENT} is not set. "),
            (self._from_file, "There is no key file. "),
            (lambda: None if self._choice == "file" else self._from_keyring(make=False), ""),
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
        """Read the key file, if there is one. One that others could read or write is refused."""
        try:
            key, mode = read_file(self._file)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreLocked(
                f"The key file {self._file} cannot be read: {error.strerror}."
            ) from None
        # threat: key-file-open-to-others
        if mode & 0o077 and os.name == "posix":
            raise StoreError(
                f"The key file {self._file} is open to other users. Run: chmod 600 {self._file}"
            )
        if len(key) != _BYTES:
            raise StoreError(
                f"The key file {self._file} is damaged. Without it, stored logins cannot be opened."
            )
        return StoreKey(key, f"key in: {_A_FILE}")

    def _make_file(self) -> StoreKey:
        key = StoreKey(os.urandom(_BYTES), f"key in: {_A_FILE}")
        try:
            write_file(self._file, key.value)
        except OSError as error:
            raise StoreError(
                f"The key file {self._file} cannot be made: {error.strerror}."
            ) from None
        return key

    def _from_keyring(self, *, make: bool) -> StoreKey:
        """Ask the keyring, whatever is known: its entry may have been deleted or replaced since."""
        keyring, name, username = system_keyring(), self._keyring_name(), self._username()
        found = keyring.find(username)
        if found is None:
            if not make:
                raise StoreError(f"{name} holds no key of {self._folder}.")
            with self._lock():
                # What this process still knows, so that what it sealed can be opened again.
                new = self._newest.value if self._newest else os.urandom(_BYTES)
                found = keyring.find(username) or keyring.keep(username, new)
        if len(found) != _BYTES:
            raise StoreError(
                f"{name} holds something else than a key under {SERVICE}, {username}. Delete that "
                "entry. Logins that were encrypted with the key are lost: sign in again."
            )
        self._newest = key = StoreKey(found, f"key in: {name}")
        return self._of_keyring.setdefault(key.key_id, key)

    def _keyring_name(self) -> str:
        if (name := system_keyring().name) is not None:
            return name
        advice = (
            " Use store=“auto” to keep logins in encrypted files with their key in a file, or in "
            "MCPNB_STORE_KEY."
        )
        raise no_keyring(advice if self._choice == "keyring" else "")

    def _username(self) -> str:
        # One for the folder, by whatever path it is called; and relative to the home folder, which
        # may be mounted elsewhere tomorrow.
        folder = self._folder.resolve()
        try:
            return f"key of ~/{folder.relative_to(Path.home().resolve()).as_posix()}"
        except (ValueError, RuntimeError):
            return f"key of {folder}"


def _from_environment() -> StoreKey | None:
    """Take the key from ``MCPNB_STORE_KEY`` (32 bytes, base64url), if it is set."""
    text = os.environ.get(_ENVIRONMENT)
    if not text:
        return None
    if len(key := decoded(text)) != _BYTES:
        raise ConfigError(
            # threat: store-key-shown
            f"{_ENVIRONMENT} has to be 32 bytes in base64url. Make one with: "
            "python -c 'import base64, os; "
            "print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
        )
    return StoreKey(key, f"key in: {_ENVIRONMENT}")
