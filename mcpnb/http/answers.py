"""What a server answered: small, and read as what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from mcpnb.errors import DiscoveryError, ServerError, quoted

__all__ = ["Answer", "Exchange"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, its body read as far as `MAX_BODY`."""

    url: str
    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Give the body as JSON.

        Raises:
            DiscoveryError: It is not JSON; the message says what it looks like instead.
        """
        try:
            return json.loads(self.body)
        # threat: metadata-not-json
        except (ValueError, RecursionError):
            kind = self.headers.get("content-type", "").partition(";")[0]
            what = f"{quoted(kind)} data" if kind else "other data"
            if "html" in kind:
                what = "a web page"
            elif "json" in kind:
                what = "garbled or incomplete data"
            raise DiscoveryError(
                f"{quoted(self.url)} answered with {what} where JSON was expected (HTTP "
                f"{self.status}). Try again in a moment; if it stays so, the server is at fault."
            ) from None

    def json_object(self) -> dict[str, Any] | None:
        """Give the body as a JSON object, or `None` if it is anything else."""
        try:
            document = self.json()
        except DiscoveryError:
            return None
        return document if isinstance(document, dict) else None

    @property
    def challenges(self) -> list[str]:
        """All ``WWW-Authenticate`` fields."""
        return self.headers.get_list("www-authenticate")

    @property
    def retry_after(self) -> float | None:
        """``Retry-After`` in seconds, a number or a date (RFC 9110 section 10.2.3), at most 3600.

        A date is measured against the server's own clock where it says what that shows.
        """
        value = self.headers.get("retry-after", "")
        # isascii: “²” is a digit, too, and no number.
        if value.isascii() and value.isdigit():
            return min(float(value), _LONGEST_WAIT)
        until = _date(value)
        if until is None:
            return None
        now = _date(self.headers.get("date", "")) or datetime.now(UTC)
        return min(max((until - now).total_seconds(), 0.0), _LONGEST_WAIT)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as it was sent, and what came of it: for who looks on. It holds secrets."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    content: str = field(repr=False)
    answer: Answer | None = None
    error: ServerError | None = None
    """Why there is no answer."""


_LONGEST_WAIT = 3600.0


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
