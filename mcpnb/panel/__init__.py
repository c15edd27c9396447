"""The panel: one click in a notebook, with no open port."""

from __future__ import annotations

from mcpnb.panel.addresses import passing
from mcpnb.panel.showing import display, hears, offer
from mcpnb.panel.widget import Panel

__all__ = ["Panel", "display", "hears", "offer", "passing"]
