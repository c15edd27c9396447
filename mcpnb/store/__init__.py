"""Where records rest: encrypted files, or memory. What a record is for is not known here."""

from __future__ import annotations

from mcpnb.store.base import Key, TokenStore
from mcpnb.store.files import FileStore
from mcpnb.store.memory import MemoryStore
from mcpnb.store.opening import open_store

__all__ = ["FileStore", "Key", "MemoryStore", "TokenStore", "open_store"]
