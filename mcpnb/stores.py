"""Stores for ``connect(store=...)``: the public names of the room `mcpnb.storage`."""

from mcpnb.storage import FileStore, MemoryStore, RecordName, TokenStore

__all__ = ["FileStore", "Key", "MemoryStore", "RecordName", "TokenStore"]

Key = RecordName
"""The earlier name of `RecordName`."""
