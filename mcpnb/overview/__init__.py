"""Everything that is configured or stored, in one table."""

from mcpnb.overview.rows import entry, overview
from mcpnb.overview.table import Servers, servers

__all__ = ["Servers", "entry", "overview", "servers"]
