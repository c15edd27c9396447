"""Stores for ``connect(store=...)``: the public names of the room `mcpnb.store`."""

from mcpnb.store import FileStore, Key, MemoryStore, TokenStore

__all__ = ["FileStore", "Key", "MemoryStore", "TokenStore"]
