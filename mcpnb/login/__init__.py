"""Signing in: from the address of a server to a stored login."""

from mcpnb.login.login import Login
from mcpnb.login.progress import Observer, State

__all__ = ["Login", "Observer", "State"]
