"""The panel: one click in a notebook, with no open port."""

from __future__ import annotations

from mcpnb.panel.outputs import passing
from mcpnb.panel.widget import Panel, display, hears, offer

__all__ = ["Panel", "display", "hears", "offer", "passing"]
