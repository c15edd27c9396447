"""What a person holds: one server, signed in or not."""

from mcpnb.session.info import SessionInfo
from mcpnb.session.session import Session

__all__ = ["Session", "SessionInfo"]
