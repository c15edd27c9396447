"""The same rows, for a person to look at."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from mcpnb.calls import display
from mcpnb.calls.display import Grid
from mcpnb.discreet import discreet
from mcpnb.errors import plain
from mcpnb.overview.asking import Row
from mcpnb.overview.rows import overview

__all__ = ["Servers", "servers"]


class Servers(list[Row]):
    """The rows of `overview`, shown as a table."""

    _COLUMNS = ("name", "url", "account", "auth_status", "scopes", "source")

    def __repr__(self) -> str:
        head = f"<Servers: {display.count(len(self), 'server')}>"
        return f"{head}\n{display.text_table(self._grid())}" if self else head

    def _repr_html_(self) -> str:
        parts = [display.paragraph(display.count(len(self), "server"))]
        return display.page([*parts, display.html_table(self._grid())] if self else parts)

    def _grid(self) -> Grid:
        def cell(value: Any) -> str:
            texts: Iterable[Any] = value if isinstance(value, list) else [value or ""]
            return plain(" ".join(map(str, texts)), 200)

        rows = [[cell(row.get(column)) for column in self._COLUMNS] for row in self]
        for shown, row in zip(rows, self, strict=True):
            if not row["enabled"] and row["auth_status"] != "untrusted":
                shown[3] = f"disabled ({shown[3]})"
        columns = ["name", "server", "account", "status", "scopes", "source"]
        return Grid(columns, rows, [False] * len(columns), len(self), len(columns))


@discreet
def servers(*, config: str | os.PathLike[str] | None = None, probe: bool = True) -> Servers:
    """List everything that is configured or stored: a table in a notebook, a list of dicts in code.

    Args:
        config: A configuration file to read first.
        probe: Ask servers that nobody is signed in to whether they want a sign-in, for five seconds
            at most. Signed-in ones are not contacted.

    Raises:
        ConfigError: A configuration file is wrong.
    """
    return Servers(overview(config, probe=probe))
