"""Signing in: from the address of a server to a stored login."""

from mcpnb.login.answers import complete
from mcpnb.login.login import Login
from mcpnb.login.progress import Snapshot, State
from mcpnb.login.request import Deps, Observer, SignInRequest

__all__ = ["Deps", "Login", "Observer", "SignInRequest", "Snapshot", "State", "complete"]
