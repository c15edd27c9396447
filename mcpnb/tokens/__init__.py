"""One login's fresh token, or `LoginRequired`."""

from mcpnb.tokens.source import TokenSource
from mcpnb.tokens.stored import Held, login_key

__all__ = ["Held", "TokenSource", "login_key"]
