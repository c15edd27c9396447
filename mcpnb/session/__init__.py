"""What a person holds: one server, signed in or not."""

from mcpnb.session.session import Session

__all__ = ["Session"]
