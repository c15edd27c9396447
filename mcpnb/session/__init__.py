"""What a person holds: one server, signed in or not."""

from mcpnb.session.session import Session
from mcpnb.session.state import SessionInfo

__all__ = ["Session", "SessionInfo"]
