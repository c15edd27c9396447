"""The two scopes of the demo, and what each is called on the consent page."""

from __future__ import annotations

from typing import Final

__all__ = ["DESCRIPTIONS", "READ", "WRITE"]

READ: Final = "data:read"
WRITE: Final = "data:write"

DESCRIPTIONS: Final[dict[str, str]] = {
    READ: "Read the harbour traffic data",
    WRITE: "Publish reports in your name",
}
