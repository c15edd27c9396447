"""Signing in: from the address of a server to a stored login."""

from mcpnb.login.observing import Observer
from mcpnb.login.progress import State
from mcpnb.login.signing_in import Login

__all__ = ["Login", "Observer", "State"]
