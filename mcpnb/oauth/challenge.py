"""``WWW-Authenticate`` by its grammar (RFC 9110 section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from mcpnb.oauth.scopes import named

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105  the grammar calls it so
_SKIP = re.compile(r"[\s,]*")
_PARAM = re.compile(rf"({_TOKEN})[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|([^,\"]*))")
_SCHEME = re.compile(rf"({_TOKEN})(?=[ \t]|,|$)")
_TOKEN68 = re.compile(r"[ \t]+[A-Za-z0-9\-._~+/]+=*[ \t]*(?=,|$)")
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
        text, at = raw[:_LIMIT], 0
        current: Challenge | None = None
        while at < len(text):
            at = _end(_SKIP.match(text, at), at)
            if at >= len(text):
                break
            if param := _PARAM.match(text, at):
                name, in_quotes, bare = param.group(1, 2, 3)
                value = (
                    re.sub(r"\\(.)", r"\1", in_quotes) if in_quotes is not None else bare.strip()
                )
                if current is not None:
                    # threat: challenge-injection
                    current.params.setdefault(name.lower(), value)
                at = param.end()
            elif scheme := _SCHEME.match(text, at):
                current = Challenge(scheme.group(1).lower())
                found.append(current)
                at = _end(_TOKEN68.match(text, scheme.end()), scheme.end())
            else:
                at = (text.find(",", at) + 1) or len(text)
    return found


def _end(match: re.Match[str] | None, otherwise: int) -> int:
    return match.end() if match else otherwise


def bearer_challenge(fields: Iterable[str]) -> Challenge | None:
    """Return the Bearer challenge; of several, one with metadata, then with most parameters."""
    # threat: challenge-injection
    bearers = [c for c in parse_challenges(fields) if c.scheme == "bearer"]
    return max(
        bearers, key=lambda c: ("resource_metadata" in c.params, len(c.params)), default=None
    )
