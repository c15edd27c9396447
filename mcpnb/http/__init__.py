"""Our own OAuth traffic: small, bounded in time and size, and only to where it may go."""

from mcpnb.http.answers import Answer, Exchange
from mcpnb.http.conversation import Http
from mcpnb.http.reasons import reason

__all__ = ["Answer", "Exchange", "Http", "reason"]
