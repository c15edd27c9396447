"""Which scopes to ask for (specification, scope selection strategy and step-up)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from mcpnb.errors import ConfigError
from mcpnb.oauth.models import AuthorizationServer
from mcpnb.text import quote

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_MOST, _LONGEST = 200, 6_000
"""The most scopes that a server may name at once, and their length: they go into a URL."""


def named(text: str) -> tuple[str, ...]:
    """Read the scopes that a server names: only scope tokens (RFC 6749 section 3.3), each once.

    No more of them than a URL can carry.
    """
    found: list[str] = []
    room = _LONGEST
    # threat: flood-of-scopes
    for scope in dict.fromkeys(filter(_SCOPE.fullmatch, text.split())):
        # threat: flood-of-scopes
        if len(found) == _MOST:
            break
        # threat: flood-of-scopes
        if len(scope) < room:
            found.append(scope)
            room -= len(scope) + 1
    return tuple(found)


def as_option(scopes: Iterable[str]) -> str:
    """Return scopes as an option of ``mcpnb login``, for a line that a person may copy.

    A server chose them. RFC 6749 section 3.3 allows ``;``, ``$()`` and backticks in a scope, which
    are commands to a shell.
    """
    # threat: command-in-a-scope
    return f"--scopes {shlex.quote(','.join(scopes))}"


def scopes_from(value: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Read scopes that a person gave: a string with spaces or commas, or a sequence.

    Raises:
        ConfigError: One of them is no scope token (RFC 6749 section 3.3).
    """
    if value is None:
        return None
    parts = value.replace(",", " ").split() if isinstance(value, str) else [str(v) for v in value]
    for part in parts:
        if not _SCOPE.fullmatch(part):
            raise ConfigError(f"{quote(part)} is not a scope: no spaces, quotes or backslashes.")
    return tuple(dict.fromkeys(parts))


def union(*sets: Iterable[str] | None) -> tuple[str, ...]:
    """Join scopes, in order and each once (SEP-2350)."""
    return tuple(dict.fromkeys(s for one in sets for s in (one or ())))


def covers(granted: Iterable[str] | None, wanted: Iterable[str]) -> bool:
    """Whether all wanted scopes are granted; `None` is no bound and covers everything."""
    return granted is None or set(wanted) <= set(granted)


def chosen(
    by_person: tuple[str, ...] | None,
    challenged: tuple[str, ...] | None,
    of_resource: tuple[str, ...],
    server: AuthorizationServer,
) -> tuple[tuple[str, ...], bool]:
    """Return the scopes of a first sign-in, and whether they were discovered.

    What the person gave or configured, else the 401 challenge's, else the protected resource's,
    else none. ``offline_access`` is added to discovered ones if the authorization server announces
    it (SEP-2207), never to what a person asked for.
    """
    # threat: scope-widening
    if by_person is not None:
        return by_person, False
    found = challenged or of_resource
    if found and "offline_access" in server.scopes_supported:
        found = union(found, ("offline_access",))
    return found, bool(found)
