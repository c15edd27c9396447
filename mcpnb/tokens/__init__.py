"""One login's fresh token, or `LoginRequired`."""

from mcpnb.tokens.record import AccessToken, login_key
from mcpnb.tokens.source import TokenSource
from mcpnb.tokens.static import Tokens

__all__ = ["AccessToken", "TokenSource", "Tokens", "login_key"]
