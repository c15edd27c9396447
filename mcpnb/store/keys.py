"""Which key a record is sealed with, and which one opens it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from mcpnb.errors import ConfigError, StoreError, StoreLocked
from mcpnb.store.crypto import (
    ENVIRONMENT,
    IN_ENVIRONMENT,
    IN_FILE,
    KEY_BYTES,
    StoreKey,
    key_from_environment,
    key_from_file,
    make_key_file,
)
from mcpnb.store.system_keyring import SERVICE, SystemKeyring, system_keyring

__all__ = ["KeyChoice", "StoreKeys"]

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
