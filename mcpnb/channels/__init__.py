"""How an answer comes back from the browser. What it means is not known here."""

from __future__ import annotations

from mcpnb.channels.base import Deliver, Reply
from mcpnb.channels.loopback import DEFAULT_PORT, LoopbackListener

__all__ = ["DEFAULT_PORT", "Deliver", "LoopbackListener", "Reply"]
