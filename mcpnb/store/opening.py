"""From a word such as ``auto`` to a store."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import platformdirs

from mcpnb.errors import ConfigError
from mcpnb.store.base import TokenStore
from mcpnb.store.files import FileStore
from mcpnb.store.memory import MemoryStore

__all__ = ["open_store"]


def open_store(choice: str | TokenStore) -> TokenStore:
    """Give the store that a word names, one per folder and process.

    Args:
        choice: ``auto`` or ``file`` (encrypted files), ``memory``, or a store of one's own.

    Raises:
        ConfigError: The word is not known.
    """
    if not isinstance(choice, str):
        return choice
    if choice == "memory":
        return _memory()
    if choice in ("auto", "file"):
        return _files(_home())
    raise ConfigError(f"There is no store {choice!r}: use “auto”, “file” or “memory”.")


def _home() -> Path:
    given = os.environ.get("MCPNB_HOME")
    return (
        Path(given).expanduser()
        if given
        else Path(platformdirs.user_data_path("mcpnb", appauthor=False))
    )


@functools.lru_cache(maxsize=8)
def _files(folder: Path) -> FileStore:
    return FileStore(folder)


@functools.lru_cache(maxsize=1)
def _memory() -> MemoryStore:
    return MemoryStore()
