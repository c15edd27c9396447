"""A login, and its form at rest."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from mcpnb.errors import NewerFormat, StoreError
from mcpnb.oauth.codec import STORED_AS, checked, from_json, to_json
from mcpnb.oauth.models import Secret

AuthMethod = Literal["none", "client_secret_basic", "client_secret_post"]
RegistrationMethod = Literal["preregistered", "cimd", "dcr"]

FORMAT_VERSION = 2
_READABLE = (1, 2)
"""Version 1 knows no ``setback``, ``doubted_at`` and ``vain_at``: they have their defaults."""
_MOST_EARLIER = 8


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

    @property
    def name(self) -> str:
        """Its name in the store: one client per issuer and redirect, or for the device grant."""
        return f"{self.issuer}\n{self.redirect_uri or 'device'}"


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
    message: str = field(default="", metadata={STORED_AS: "said"})
    """For a person, safe to print."""
    retry_after: float = field(default=0.0, metadata={STORED_AS: "until"})
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
    refresh_failure: RefreshFailure | None = field(default=None, metadata={STORED_AS: "setback"})
    """Set before a refresh is sent, cleared as its response is written."""
    rejected_at: float | None = field(default=None, metadata={STORED_AS: "doubted_at"})
    """When the server rejected the previous generation; until it accepts one, all are in doubt."""
    refresh_failed_at: float = field(default=0.0, metadata={STORED_AS: "vain_at"})
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
        found = replaced.earlier
        if replaced.refresh_failure is None or replaced.refresh_failure.kind != "ended":
            found = (
                ReplacedLogin(replaced.registration, replaced.revocation_endpoint, replaced.tokens),
                *found,
            )
        again = self.tokens.refresh_token  # a server may give the same one at each sign-in
        earlier = [
            one
            for one in found
            if one.lives(now) and (again is None or one.tokens.refresh_token != again)
        ]
        return replace(self, earlier=tuple(earlier[:_MOST_EARLIER]))

    def to_revoke(self) -> tuple[LoginRecord, ...]:
        """Return this login and the earlier ones, each as a login of its own."""
        return (
            self,
            *(
                replace(
                    self,
                    registration=one.registration,
                    revocation_endpoint=one.revocation_endpoint,
                    tokens=one.tokens,
                    earlier=(),
                )
                for one in self.earlier
            ),
        )

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
