"""The panel: one click in a notebook, with no open port."""

from __future__ import annotations

from mcpnb.panel.widget import Panel, is_responsive, show_login_url, show_panel, show_session

__all__ = ["Panel", "is_responsive", "show_login_url", "show_panel", "show_session"]
