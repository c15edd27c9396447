"""A login, and its form at rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from mcpnb.errors import NewerFormat, StoreError
from mcpnb.oauth.models import Secret, number, number_or_none, text, text_or_none, texts

__all__ = [
    "AuthMethod",
    "LoginRecord",
    "RefreshFailure",
    "Registration",
    "RegistrationMethod",
    "ReplacedLogin",
    "Tokens",
]

AuthMethod = Literal["none", "client_secret_basic", "client_secret_post"]
RegistrationMethod = Literal["preregistered", "cimd", "dcr"]

FORMAT_VERSION = 2
_MOST_EARLIER = 8


@dataclass(frozen=True, slots=True)
class Registration:
    """A client id, and how it came about. Bound to `issuer` and of use nowhere else (SEP-2352)."""

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
        """What it is kept under: one client per issuer and redirect, or for the device grant."""
        return f"{self.issuer}\n{self.redirect_uri or 'device'}"

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form, secrets included: only for an encrypting store."""
        return {
            "issuer": self.issuer,
            "client_id": self.client_id,
            "method": self.method,
            "auth_method": self.auth_method,
            "client_secret": self.client_secret.reveal() if self.client_secret else None,
            "secret_expires_at": self.secret_expires_at,
            "redirect_uri": self.redirect_uri,
            "scopes": None if self.scopes is None else list(self.scopes),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Registration:
        """Read the JSON form back.

        Raises:
            KeyError: It is incomplete.
            TypeError: It is something else.
        """
        method, auth_method = text(data, "method"), text(data, "auth_method")
        if method not in get_args(RegistrationMethod) or auth_method not in get_args(AuthMethod):
            raise TypeError("a method that nobody knows")
        secret = text_or_none(data, "client_secret")
        return cls(
            issuer=text(data, "issuer"),
            client_id=text(data, "client_id"),
            method=method,  # type: ignore[arg-type]  # it is one of them
            auth_method=auth_method,  # type: ignore[arg-type]  # as above
            client_secret=Secret(secret) if secret else None,
            secret_expires_at=number_or_none(data, "secret_expires_at"),
            redirect_uri=text_or_none(data, "redirect_uri"),
            scopes=None if data.get("scopes") is None else texts(data, "scopes"),
        )


@dataclass(frozen=True, slots=True)
class Tokens:
    """One answer of a token endpoint, with absolute times (seconds since the epoch)."""

    access_token: Secret
    obtained_at: float
    expires_at: float | None = None
    """`None` where the server did not say: then only a 401 tells."""
    refresh_token: Secret | None = None
    scopes: tuple[str, ...] = ()
    """Scopes granted: the answer's, else those asked for (RFC 6749 section 5.1)."""

    @property
    def lifetime(self) -> float | None:
        """Whole lifetime in seconds, as far as the server gave one."""
        return None if self.expires_at is None else self.expires_at - self.obtained_at

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form, secrets included: only for an encrypting store."""
        return {
            "access_token": self.access_token.reveal(),
            "refresh_token": self.refresh_token.reveal() if self.refresh_token else None,
            "obtained_at": self.obtained_at,
            "expires_at": self.expires_at,
            "scopes": list(self.scopes),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Tokens:
        """Read the JSON form back. Raises as `Registration.from_dict`."""
        refresh = text_or_none(data, "refresh_token")
        return cls(
            access_token=Secret(text(data, "access_token")),
            refresh_token=Secret(refresh) if refresh else None,
            obtained_at=number(data, "obtained_at"),
            expires_at=number_or_none(data, "expires_at"),
            scopes=texts(data, "scopes"),
        )


@dataclass(frozen=True, slots=True)
class ReplacedLogin:
    """A login that a later sign-in took the place of: kept for nothing but its revocation.

    Revoked as the later one comes, it could take that along: servers keep one grant for each client
    and user.
    """

    registration: Registration
    revocation_endpoint: str | None
    """Of the issuer of `registration`, which is the only one that is told."""
    tokens: Tokens

    def lives(self, now: float) -> bool:
        """Whether there may be something to revoke."""
        expires = self.tokens.expires_at
        return self.tokens.refresh_token is not None or expires is None or expires > now

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form, secrets included: only for an encrypting store."""
        return {
            "registration": self.registration.to_dict(),
            "revocation_endpoint": self.revocation_endpoint,
            "tokens": self.tokens.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ReplacedLogin:
        """Read the JSON form back. Raises as `Registration.from_dict`."""
        return cls(
            registration=Registration.from_dict(data["registration"]),
            revocation_endpoint=text_or_none(data, "revocation_endpoint"),
            tokens=Tokens.from_dict(data["tokens"]),
        )


@dataclass(frozen=True, slots=True)
class RefreshFailure:
    """Why a login was not renewed the last time; all who share the login see it."""

    kind: Literal["unknown", "unreachable", "refused", "ended"]
    """``unknown``: the request was sent, and its answer not written (yet). ``unreachable`` and
    ``refused``: the server did not process it. ``ended``: the server ended the login."""
    at: float
    """Seconds since the epoch."""
    error: str = ""
    """The server's error code (RFC 6749 section 5.2), where it sent one."""
    said: str = ""
    """For a person, safe to print."""
    until: float = 0.0
    """Not to be tried again before, seconds since the epoch."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RefreshFailure:
        """Read the JSON form back. Raises as `Registration.from_dict`."""
        kind = text(data, "kind")
        if kind not in ("unknown", "unreachable", "refused", "ended"):
            raise TypeError("a setback that nobody knows")
        return cls(
            kind=kind,  # type: ignore[arg-type]  # it is one of them
            at=number(data, "at"),
            error=text(data, "error"),
            said=text(data, "said"),
            until=number(data, "until"),
        )


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
    """Counts token answers; a 401 for an older generation is no reason to refresh."""
    requested_scopes: tuple[str, ...] = ()
    """What was last asked for: step-up asks for this and more (SEP-2350)."""
    revocation_endpoint: str | None = None
    signed_in_at: float = 0.0
    """When a person last signed in, seconds since the epoch; a refresh leaves it."""
    refresh_failure: RefreshFailure | None = None
    """Set before a renewal is sent, cleared as its answer is written."""
    rejected_at: float | None = None
    """When the server rejected the generation before; until it accepts one, all are in doubt."""
    refresh_failed_at: float = 0.0
    """When a renewal after a rejection was last in vain: the server rejected that token, too."""
    earlier: tuple[ReplacedLogin, ...] = ()
    """Logins whose place this one took, newest first. They end with it, at the sign-out."""

    @property
    def issuer(self) -> str:
        """The authorization server that granted this login."""
        return self.registration.issuer

    def renewed(self, tokens: Tokens) -> LoginRecord:
        """Give the record after a refresh: one generation on."""
        return replace(self, tokens=tokens, generation=self.generation + 1, refresh_failure=None)

    def in_place_of(self, replaced: LoginRecord | None, now: float) -> LoginRecord:
        """Give the record of a sign-in that remembers the login whose place it takes."""
        if replaced is None:
            return self
        found = replaced.earlier
        if replaced.refresh_failure is None or replaced.refresh_failure.kind != "ended":
            own = ReplacedLogin(
                replaced.registration, replaced.revocation_endpoint, replaced.tokens
            )
            found = (own, *found)
        again = self.tokens.refresh_token  # a server may give the same one at each sign-in
        kept = [
            one
            for one in found
            if one.lives(now) and (again is None or one.tokens.refresh_token != again)
        ]
        return replace(self, earlier=tuple(kept[:_MOST_EARLIER]))

    def to_revoke(self) -> tuple[LoginRecord, ...]:
        """Give this login and the earlier ones, each as a login of its own."""
        earlier = (
            replace(
                self,
                registration=one.registration,
                revocation_endpoint=one.revocation_endpoint,
                tokens=one.tokens,
                earlier=(),
            )
            for one in self.earlier
        )
        return (self, *earlier)

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form, secrets included: only for an encrypting store."""
        return {
            "version": FORMAT_VERSION,
            "server": self.server,
            "account": self.account,
            "resource": self.resource,
            "registration": self.registration.to_dict(),
            "token_endpoint": self.token_endpoint,
            "revocation_endpoint": self.revocation_endpoint,
            "generation": self.generation,
            "signed_in_at": self.signed_in_at,
            "requested_scopes": list(self.requested_scopes),
            "setback": asdict(self.refresh_failure) if self.refresh_failure else None,
            "doubted_at": self.rejected_at,
            "vain_at": self.refresh_failed_at,
            "earlier": [one.to_dict() for one in self.earlier],
            "tokens": self.tokens.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LoginRecord:
        """Read the JSON form back.

        Raises:
            StoreError: The record is from a newer mcpnb, or is not a login.
        """
        try:
            data = _upgraded(data)
            refresh_failure = data["setback"]
            return cls(
                server=text(data, "server"),
                account=text_or_none(data, "account"),
                resource=text(data, "resource"),
                registration=Registration.from_dict(data["registration"]),
                token_endpoint=text(data, "token_endpoint"),
                revocation_endpoint=text_or_none(data, "revocation_endpoint"),
                generation=int(number(data, "generation")),
                signed_in_at=number_or_none(data, "signed_in_at") or 0.0,
                requested_scopes=texts(data, "requested_scopes"),
                refresh_failure=RefreshFailure.from_dict(refresh_failure)
                if refresh_failure
                else None,
                rejected_at=number_or_none(data, "doubted_at"),
                refresh_failed_at=number(data, "vain_at"),
                earlier=_earlier(data.get("earlier")),
                tokens=Tokens.from_dict(data["tokens"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"A stored login is incomplete ({error}). Sign out of that server and in again."
            ) from None


def _earlier(stored: Any) -> tuple[ReplacedLogin, ...]:
    """Read what is there of earlier logins: damaged, it is no reason to lose this one."""
    try:
        return tuple(ReplacedLogin.from_dict(one) for one in (stored or ())[:_MOST_EARLIER])
    except (KeyError, TypeError, AttributeError):
        return ()


def _from_1(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "version": 2, "setback": None, "doubted_at": None, "vain_at": 0.0}


_UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}
"""From each earlier format to the one after it. The next write of the record stores the newest."""


def _upgraded(data: dict[str, Any]) -> dict[str, Any]:
    version = data.get("version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise NewerFormat(
            f"A stored login has format {version}, this mcpnb knows {FORMAT_VERSION}. "
            "Update mcpnb; the record was left as it is."
        )
    while (version := data.get("version")) != FORMAT_VERSION:
        upgrade = _UPGRADES.get(version) if isinstance(version, int) else None
        if upgrade is None:
            raise StoreError(
                f"A stored login has an unknown format ({version!r:.20}). Sign out of that server "
                "and in again."
            )
        data = upgrade(data)
    return data
