"""``mcpnb list``, ``mcpnb get`` and ``mcpnb discover``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any, Self

import click

from mcpnb.cli.group import DONE, FAILED, SIGN_IN_REQUIRED, say
from mcpnb.text import redact, sanitize

__all__ = ["show_discovery", "show_entry", "show_list"]

_UNUSABLE = ("unreachable", "untrusted")
_WITHOUT_LOGIN = ("oauth_available", "reauth_required")


def show_list(config: str | None, *, as_json: bool, probe: bool) -> int:
    """Print configured servers and stored logins; fail if one that is required cannot be used."""
    from mcpnb.session.servers import overview
    from mcpnb.storage import open_store

    with _Progress() as progress:
        rows = overview(config, probe=probe, told=progress)
    for row in rows:
        if problem := row.get("error"):
            say(f"{sanitize(row['name'] or row['url'])}: {problem}")
    for problem in open_store("auto").damaged("login"):
        say(problem)
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
                    _status(r),
                    " ".join(r["scopes"]),
                    r["source"],
                    # The folder is the same for all; what protects a login is not.
                    r["store"].rpartition(", ")[2] if _held(r) else None,
                )
                for r in rows
            ],
        )
    return _judged(rows)


def show_entry(name: str, config: str | None, *, as_json: bool, probe: bool) -> int:
    """Print what is known of one configured server; fail if it is required and cannot be used."""
    from mcpnb.session.servers import entry

    row = entry(name, config, probe=probe)
    if as_json:
        click.echo(json.dumps(row, indent=2))
        return _judged([row])
    transport = row["transport"]
    facts = {
        **{k: v for k, v in row.items() if k != "transport"},
        **{k: v for k, v in transport.items() if k not in ("type", "url")},
    }
    for key, value in facts.items():
        if value in (None, [], {}):
            continue
        said = (
            ", ".join(f"{k}: {v}" for k, v in value.items())
            if isinstance(value, dict)
            else " ".join(map(str, value))
            if isinstance(value, list)
            else value
        )
        click.echo(f"{key + ':':<22}{sanitize(said)}")
    return _judged([row])


def _status(row: dict[str, Any]) -> str:
    if row["enabled"] or row["auth_status"] in _UNUSABLE:
        return str(row["auth_status"])
    return f"disabled ({row['auth_status']})"


def _held(row: dict[str, Any]) -> bool:
    return row["auth_status"] in ("authenticated", "expired", "reauth_required")


def _judged(rows: list[dict[str, Any]]) -> int:
    """Give the exit code: what is required has to work."""
    # An entry that is wrong has been left out, which nobody wanted; a disabled one is not in use.
    wrong = [row for row in rows if row["disabled_reason"] == row.get("error", "")]
    required = [row for row in rows if row["required"] and (row["enabled"] or row in wrong)]
    for row in required:
        if row["auth_status"] in (*_UNUSABLE, *_WITHOUT_LOGIN):
            click.echo(f"{sanitize(row['name'])} is required: {row['auth_status']}.", err=True)
    if any(row["auth_status"] in _UNUSABLE or _lacks_token(row) for row in required):
        return FAILED
    missing = any(row["auth_status"] in _WITHOUT_LOGIN for row in required)
    return SIGN_IN_REQUIRED if missing else DONE


def _lacks_token(row: dict[str, Any]) -> bool:
    return row["auth_status"] == "bearer_token" and "error" in row


class _Progress:
    """One line on a terminal that counts, and goes again."""

    def __init__(self) -> None:
        self._shown = False
        self._may = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __call__(self, answered: int, asked: int) -> None:
        if self._may:
            self._shown = True
            click.echo(f"\rAsking the servers: {answered} of {asked} ...", err=True, nl=False)

    def __exit__(self, *_: object) -> None:
        if self._shown:
            click.echo("\r" + " " * 60 + "\r", err=True, nl=False)


def show_discovery(url: str, config: str | None, *, as_json: bool) -> None:
    """Print how one would sign in to a server."""
    from mcpnb.session.connect import discover

    found = discover(url, config=config)
    if as_json:
        click.echo(redact(json.dumps(asdict(found), indent=2)))
        return
    for step in found.steps:
        click.echo(
            f"{sanitize(step.request)}\n    {sanitize(step.answer)}    [{step.rule}]", err=True
        )
    click.echo(repr(found))


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    texts = [tuple(sanitize(cell or "-", 80) for cell in row) for row in rows]
    widths = [max(len(row[i]) for row in [head, *texts]) for i in range(len(head))]
    for row in [head, *texts]:
        click.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
