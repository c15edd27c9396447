"""Sign in to MCP servers from a notebook, and stay signed in.

::

    import mcpnb

    linear = await mcpnb.connect("https://mcp.example.com/mcp")   # in a notebook: one click
    linear.tools()
    linear.call("search", query="report").df()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mcpnb import ui
from mcpnb.version import __version__

if TYPE_CHECKING:
    from mcpnb import errors, stores
    from mcpnb.errors import LoginRequired, McpnbError, ToolError
    from mcpnb.login import Login
    from mcpnb.panel import Panel
    from mcpnb.session import Session
    from mcpnb.session.connect import allow_nested_asyncio, connect, discover
    from mcpnb.session.servers import servers

__all__ = [
    "Login",
    "LoginRequired",
    "McpnbError",
    "Panel",
    "Session",
    "ToolError",
    "__version__",
    "allow_nested_asyncio",
    "connect",
    "discover",
    "errors",
    "servers",
    "stores",
]

# Resolved on first use: importing mcpnb costs milliseconds, whatever it can do.
_HOMES = {
    "errors": ("LoginRequired", "McpnbError", "ToolError"),
    "login": ("Login",),
    "panel": ("Panel",),
    "session": ("Session",),
    "session.connect": ("allow_nested_asyncio", "connect", "discover"),
    "session.servers": ("servers",),
}


if not TYPE_CHECKING:  # or no misspelt name would be told to who checks types

    def __getattr__(name: str) -> Any:
        home = next((home for home, names in _HOMES.items() if name in names), None)
        if home is not None:
            value = getattr(importlib.import_module(f"mcpnb.{home}"), name)
        elif name in ("errors", "stores"):
            value = importlib.import_module(f"mcpnb.{name}")
        else:
            raise AttributeError(f"module 'mcpnb' has no attribute {name!r}")
        globals()[name] = value
        return value


class _Panels:
    """Shows sessions as panels; loads the widget at its first use."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("mcpnb.panel"), name)


# The one call upwards: a session that is displayed shows a panel.
ui.default = _Panels()


def __dir__() -> list[str]:
    return sorted(__all__)
