"""From a word such as ``auto`` to a store."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import cast, get_args

import platformdirs

from mcpnb.errors import ConfigError
from mcpnb.storage.base import TokenStore
from mcpnb.storage.files import FileStore
from mcpnb.storage.keys import KeyChoice
from mcpnb.storage.memory import MemoryStore


def open_store(choice: str | TokenStore) -> TokenStore:
    """Return the store that a word names: one per folder and process.

    Args:
        choice: ``auto``, ``keyring`` or ``file``: encrypted files. Their key is in the system's
            keyring where there is one (``auto``), only there (``keyring``), or in
            ``MCPNB_STORE_KEY`` or a file. ``memory``; or a store of your own.

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
    home = os.environ.get("MCPNB_HOME")
    folder = (
        Path(home).expanduser().absolute()
        if home
        else Path(platformdirs.user_data_path("mcpnb", appauthor=False))
    )
    return _files(folder, cast("KeyChoice", choice))


@functools.lru_cache(maxsize=8)
def _files(folder: Path, key: KeyChoice) -> FileStore:
    return FileStore(folder, key=key)


@functools.lru_cache(maxsize=1)
def _memory() -> MemoryStore:
    return MemoryStore()
