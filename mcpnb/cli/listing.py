"""``mcpnb list`` and ``mcpnb discover``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from mcpnb.errors import plain

__all__ = ["show_discovery", "show_list"]


def show_list(config: str | None, *, as_json: bool) -> None:
    """Print configured servers and stored logins; nobody is contacted."""
    from mcpnb.connecting import overview

    rows = overview(config)
    for row in rows:
        if problem := row.get("error"):
            click.echo(f"{row['url']}: {problem}", err=True)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        click.echo(
            "No server is configured and no login is stored. Begin with: mcpnb login URL", err=True
        )
    else:
        _table(
            ("Name", "Server", "Account", "Status", "Scopes", "Source", "Kept"),
            [
                (
                    r["name"],
                    r["url"],
                    r["account"],
                    r["auth_status"],
                    " ".join(r["scopes"]),
                    r["source"],
                    # The folder is the same for all; what protects a login is not.
                    None if r["auth_status"] == "none" else r["store"].rpartition(", ")[2],
                )
                for r in rows
            ],
        )


def show_discovery(url: str, config: str | None, *, as_json: bool) -> None:
    """Print how one would sign in to a server."""
    from mcpnb.connecting import discover

    found = discover(url, config=config)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    for step in found.steps:
        click.echo(f"{plain(step.request)}\n    {plain(step.answer)}    [{step.rule}]", err=True)
    click.echo(repr(found))


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    texts = [tuple(plain(cell or "-", 80) for cell in row) for row in rows]
    widths = [max(len(row[i]) for row in [head, *texts]) for i in range(len(head))]
    for row in [head, *texts]:
        click.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
