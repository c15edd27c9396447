"""A tool's arguments as JSON values: what a data scientist has at hand included."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

from mcpnb.errors import CallError, plain

__all__ = ["as_json"]


def as_json(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Give the arguments as plain JSON values.

    Scalars and arrays of NumPy, dates, paths and sets become what they stand for.

    Args:
        tool: The tool's name, for the message.
        arguments: What the caller gave.

    Raises:
        CallError: One of them has no JSON form; nothing was sent.
    """
    try:
        plain_values: dict[str, Any] = json.loads(
            json.dumps(arguments, default=_plain, allow_nan=False)
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise CallError(
            f"The arguments of {plain(tool, 80)!r} cannot be sent as JSON: {plain(error, 200)}. "
            "Nothing was sent."
        ) from None
    return plain_values


def _plain(value: Any) -> Any:
    # By what they can do, not by type: neither NumPy nor pandas is imported for it.
    for method in ("tolist", "isoformat"):
        if callable(convert := getattr(value, method, None)):
            return convert()
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
