"""``WWW-Authenticate`` by its grammar (RFC 9110 section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from mcpnb.oauth.scopes import named

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105  the grammar calls it so
# A separator, a parameter, a scheme (with its token68, if it has one), or what fits nothing.
_PART = re.compile(
    r"[\s,]+"
    rf"|(?P<name>{_TOKEN})[ \t]*=[ \t]*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<bare>[^,\"]*))"
    rf"|(?P<scheme>{_TOKEN})(?=[ \t]|,|$)(?:[ \t]+[A-Za-z0-9\-._~+/]+=*[ \t]*(?=,|$))?"
    r"|[^,]+"
)
# Real challenges have a few hundred characters; a longer field is not read further.
_LIMIT = 16_384


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: its scheme in lower case and its parameters, names in lower case."""

    scheme: str
    params: dict[str, str] = field(default_factory=dict)

    @property
    def scopes(self) -> tuple[str, ...] | None:
        """The ``scope`` parameter as a tuple; `None` if it is absent or names none."""
        # threat: command-in-a-scope
        return named(self.params.get("scope", "")) or None

    @property
    def error(self) -> str | None:
        """The ``error`` parameter (RFC 6750 section 3)."""
        return self.params.get("error")


def parse_challenges(fields: Iterable[str]) -> list[Challenge]:
    """Read all challenges of all ``WWW-Authenticate`` fields of a response.

    What does not fit the grammar is skipped, not guessed at. The first of a repeated parameter
    counts.
    """
    found: list[Challenge] = []
    for raw in fields:
        current: Challenge | None = None
        for part in _PART.finditer(raw[:_LIMIT]):
            if part["scheme"] is not None:
                current = Challenge(part["scheme"].lower())
                found.append(current)
            elif part["name"] is not None and current is not None:
                value = (part["bare"] or "").strip()
                if part["quoted"] is not None:
                    value = re.sub(r"\\(.)", r"\1", part["quoted"])
                # threat: challenge-injection
                current.params.setdefault(part["name"].lower(), value)
    return found


def bearer_challenge(fields: Iterable[str]) -> Challenge | None:
    """Return the Bearer challenge; of several, one with metadata, then with most parameters."""
    # threat: challenge-injection
    bearers = [c for c in parse_challenges(fields) if c.scheme == "bearer"]
    return max(
        bearers, key=lambda c: ("resource_metadata" in c.params, len(c.params)), default=None
    )
