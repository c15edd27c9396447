"""Where records are stored: encrypted files, or memory. What a record means is not known here."""

from __future__ import annotations

from mcpnb.storage.base import RecordName, TokenStore
from mcpnb.storage.files import FileStore
from mcpnb.storage.memory import MemoryStore
from mcpnb.storage.open import open_store

__all__ = ["FileStore", "MemoryStore", "RecordName", "TokenStore", "open_store"]
