"""A login, and the form of frozen dataclasses at rest: JSON.

Secrets become plain text here, for a store that encrypts, and nowhere else. What is read back was
written by mcpnb, maybe by another version: members that nobody knows are ignored, and a missing or
null member has the field's default, or is `None` where the field may be.
"""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Any, Literal, TypeVar

from mcpnb.errors import NewerFormat, StoreError
from mcpnb.oauth.models import Secret
from mcpnb.text import LONE_SURROGATE

AuthMethod = Literal["none", "client_secret_basic", "client_secret_post"]
RegistrationMethod = Literal["preregistered", "cimd", "dcr"]
T = TypeVar("T")

FORMAT_VERSION = 2
_READABLE = (1, 2)
"""Version 1 knows no ``setback``, ``doubted_at`` and ``vain_at``: they have their defaults."""
_MOST_EARLIER = 8
_STORED_AS = "stored as"
"""In the metadata of a field: the name of its member, where that is another one."""
_LARGEST = 1e15
"""The largest numbers stored are generations: milliseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A client id and its origin. Bound to `issuer` and useless anywhere else (SEP-2352)."""

    issuer: str
    client_id: str
    method: RegistrationMethod
    auth_method: AuthMethod = "none"
    client_secret: Secret | None = None
    secret_expires_at: float | None = None
    redirect_uri: str | None = None
    scopes: tuple[str, ...] | None = None
    """Scopes the client was registered for; `None` where the server set no bound."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """One response of a token endpoint, with absolute times (seconds since the epoch)."""

    access_token: Secret
    obtained_at: float
    expires_at: float | None = None
    """`None` where the server did not say: then only a 401 tells."""
    refresh_token: Secret | None = None
    scopes: tuple[str, ...] = ()
    """Scopes granted: the response's, else those asked for (RFC 6749 section 5.1)."""

    @property
    def lifetime(self) -> float | None:
        """Whole lifetime in seconds, if the server gave one."""
        return None if self.expires_at is None else self.expires_at - self.obtained_at


@dataclass(frozen=True, slots=True)
class ReplacedLogin:
    """A login that a later sign-in replaced: stored only to be revoked at the sign-out.

    Revoking it at once could end the later one, too: servers keep one grant per client and user.
    """

    registration: Registration
    revocation_endpoint: str | None
    """The endpoint of the issuer of `registration`, which is the only one that is told."""
    tokens: Tokens

    def lives(self, now: float) -> bool:
        """Whether there may be something to revoke."""
        expires = self.tokens.expires_at
        return self.tokens.refresh_token is not None or expires is None or expires > now


@dataclass(frozen=True, slots=True)
class RefreshFailure:
    """Why the last refresh of a login failed; all who share the login see it."""

    kind: Literal["unknown", "unreachable", "refused", "ended"]
    """``unknown``: the request was sent, and its response not written (yet). ``unreachable`` and
    ``refused``: the server did not process it. ``ended``: the server ended the login."""
    at: float
    """Seconds since the epoch."""
    error: str = ""
    """The server's error code (RFC 6749 section 5.2), if it sent one."""
    message: str = field(default="", metadata={_STORED_AS: "said"})
    """For a person, safe to print."""
    retry_after: float = field(default=0.0, metadata={_STORED_AS: "until"})
    """No new try before this time, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class LoginRecord:
    """Everything that one login needs after a restart, in one record (design section 3)."""

    server: str
    account: str | None
    resource: str
    registration: Registration
    token_endpoint: str
    tokens: Tokens
    generation: int = 1
    """Rises with every token response; a 401 for an older generation is no reason to refresh."""
    requested_scopes: tuple[str, ...] = ()
    """The scopes that were asked for last: step-up asks for these and more (SEP-2350)."""
    revocation_endpoint: str | None = None
    signed_in_at: float = 0.0
    """When a person last signed in, seconds since the epoch; a refresh does not change it."""
    refresh_failure: RefreshFailure | None = field(default=None, metadata={_STORED_AS: "setback"})
    """Set before a refresh is sent, cleared as its response is written."""
    rejected_at: float | None = field(default=None, metadata={_STORED_AS: "doubted_at"})
    """When the server rejected the previous generation; until it accepts one, all are in doubt."""
    refresh_failed_at: float = field(default=0.0, metadata={_STORED_AS: "vain_at"})
    """When a refresh after a rejection last did not help: that token was rejected, too."""
    earlier: tuple[ReplacedLogin, ...] = ()
    """Logins that this one replaced, newest first. They end with it, at the sign-out."""

    @property
    def issuer(self) -> str:
        """The authorization server that granted this login."""
        return self.registration.issuer

    def renewed(self, tokens: Tokens) -> LoginRecord:
        """Return the record after a refresh: one generation on."""
        return replace(self, tokens=tokens, generation=self.generation + 1, refresh_failure=None)

    def in_place_of(self, replaced: LoginRecord | None, now: float) -> LoginRecord:
        """Return the record of a new sign-in that remembers the login it replaces."""
        if replaced is None:
            return self
        last = ReplacedLogin(replaced.registration, replaced.revocation_endpoint, replaced.tokens)
        ended = replaced.refresh_failure is not None and replaced.refresh_failure.kind == "ended"
        again = self.tokens.refresh_token  # a server may give the same one at each sign-in
        before = replaced.earlier if ended else (last, *replaced.earlier)
        earlier = [
            one
            for one in before
            if one.lives(now) and (again is None or one.tokens.refresh_token != again)
        ]
        return replace(self, earlier=tuple(earlier[:_MOST_EARLIER]))

    def to_revoke(self) -> tuple[LoginRecord, ...]:
        """Return this login and the earlier ones, each as a login of its own."""
        earlier = [
            replace(
                self,
                registration=one.registration,
                revocation_endpoint=one.revocation_endpoint,
                tokens=one.tokens,
                earlier=(),
            )
            for one in self.earlier
        ]
        return (self, *earlier)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, secrets included: only for an encrypting store."""
        return {"version": FORMAT_VERSION, **to_json(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LoginRecord:
        """Read the JSON form back.

        Raises:
            NewerFormat: The record is from a newer mcpnb.
            StoreError: It is not a login.
        """
        version = data.get("version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise NewerFormat(
                f"A stored login has format {version}, this mcpnb knows {FORMAT_VERSION}. "
                "Update mcpnb; the record was left unchanged."
            )
        if version not in _READABLE:
            raise StoreError(
                f"A stored login has an unknown format ({version!r:.20}). Sign out of that server "
                "and in again."
            )
        try:
            record = from_json(cls, {**data, "earlier": None})
        except (KeyError, TypeError) as error:
            raise StoreError(
                f"A stored login is incomplete ({error}). Sign out of that server and in again."
            ) from None
        try:
            earlier = checked(tuple[ReplacedLogin, ...], data.get("earlier") or (), "earlier")
        except (KeyError, TypeError):
            return record  # damaged earlier logins are no reason to lose this one
        return replace(record, earlier=earlier[:_MOST_EARLIER])


# JSON and back


def to_json(value: Any) -> Any:
    """Return the JSON form of a dataclass, secrets included: only for an encrypting store."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, tuple):
        return [to_json(one) for one in value]
    if is_dataclass(value):
        return {_key(one): to_json(getattr(value, one.name)) for one in fields(value)}
    return value


def from_json(kind: type[T], data: Any) -> T:
    """Read a dataclass from its JSON form.

    Raises:
        KeyError: A member is missing.
        TypeError: It is no object, or a member has another type.
    """
    if not isinstance(data, dict):
        raise TypeError(f"no {kind.__name__}")
    found = {}
    hints = _hints(kind)  # type: ignore[arg-type]  # it is hashable
    for one in fields(kind):  # type: ignore[arg-type]  # of a dataclass
        key = _key(one)
        if data.get(key) is not None:
            found[one.name] = checked(hints[one.name], data[key], key)
        elif one.default is MISSING:
            if types.NoneType not in typing.get_args(hints[one.name]):
                raise KeyError(key)
            found[one.name] = None
    return kind(**found)


def checked(hint: Any, value: Any, name: str) -> Any:  # noqa: PLR0911  one for each kind
    """Return a value of JSON as what a type hint says. Raises as `from_json`."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        [kind] = (one for one in inside if one is not types.NoneType)
        absent = value is None or (kind is Secret and value == "")
        return None if absent else checked(kind, value, name)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(checked(inside[0], one, name) for one in value)
    if origin is Literal and value in inside:
        return value
    if is_dataclass(hint):
        return from_json(hint, value)  # type: ignore[arg-type]  # it is a type
    if hint is bool:
        return value is True
    if hint in (str, Secret) and isinstance(value, str) and not LONE_SURROGATE.search(value):
        return hint(value)
    if hint in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        if not -_LARGEST < value < _LARGEST:  # not a number that time can be computed with
            raise TypeError(f"{name} is out of range")
        return int(value) if hint is int else value
    raise TypeError(f"{name} has another type")


def _key(one: Field[Any]) -> str:
    return str(one.metadata.get(_STORED_AS, one.name))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
