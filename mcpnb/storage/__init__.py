"""Where records are stored: encrypted files, or memory. What a record means is not known here."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import cast, get_args

import platformdirs

from mcpnb.errors import ConfigError
from mcpnb.storage.base import Record, RecordName, TokenStore
from mcpnb.storage.files import FileStore
from mcpnb.storage.keys import KeyChoice
from mcpnb.storage.memory import MemoryStore

__all__ = ["FileStore", "MemoryStore", "Record", "RecordName", "TokenStore", "open_store"]


def open_store(choice: str | TokenStore) -> TokenStore:
    """Return the store that a word names: one per folder and process.

    Args:
        choice: ``memory``; or encrypted files: ``auto``, ``keyring`` or ``file``, as for
            `FileStore`; or a store of your own.

    Raises:
        ConfigError: The word is not known.
    """
    if not isinstance(choice, str):
        return choice
    if choice == "memory":
        return _memory()
    if choice not in get_args(KeyChoice):
        raise ConfigError(
            f"There is no store {choice!r:.80}: use “auto”, “keyring”, “file” or “memory”."
        )
    if home := os.environ.get("MCPNB_HOME"):
        folder = Path(home).expanduser().absolute()
    else:
        folder = platformdirs.user_data_path("mcpnb", appauthor=False)
    return _files(folder, cast("KeyChoice", choice))


@functools.lru_cache(maxsize=8)
def _files(folder: Path, key: KeyChoice) -> FileStore:
    return FileStore(folder, key=key)


@functools.lru_cache(maxsize=1)
def _memory() -> MemoryStore:
    return MemoryStore()
