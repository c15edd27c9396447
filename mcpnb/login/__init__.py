"""Signing in: from the address of a server to a stored login."""

from mcpnb.login.login import Login
from mcpnb.login.progress import Observer, State
from mcpnb.login.request import Deps, SignInRequest

__all__ = ["Deps", "Login", "Observer", "SignInRequest", "State"]
