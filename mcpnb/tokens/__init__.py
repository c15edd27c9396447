"""One login's fresh token, or `LoginRequired`."""

from mcpnb.tokens.record import AccessToken, login_key
from mcpnb.tokens.source import TokenSource

__all__ = ["AccessToken", "TokenSource", "login_key"]
