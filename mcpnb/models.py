"""The values that the rooms hand to each other: frozen, and with secrets that never show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, Self

from mcpnb.errors import DiscoveryError, StoreError, plain

__all__ = [
    "AuthMethod",
    "AuthorizationServer",
    "Discovery",
    "LoginRecord",
    "ProtectedResource",
    "Registration",
    "RegistrationMethod",
    "Secret",
    "ServerConfig",
    "Step",
    "Tokens",
]

AuthMethod = Literal["none", "client_secret_basic", "client_secret_post"]
RegistrationMethod = Literal["preregistered", "cimd", "dcr"]

# Version 1 is the first; a reader refuses newer ones instead of guessing (StoreError).
FORMAT_VERSION = 1


class Secret:
    """A string that shows nowhere: not in `repr`, `str`, a format, a pickle or a locals dump."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Give the string itself, for the one line that sends or encrypts it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied out of the process")

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """Protected-resource metadata (RFC 9728 section 2) that passed validation."""

    resource: str
    """The identifier, byte for byte as the server wrote it: what goes into ``resource``."""
    authorization_servers: tuple[str, ...]
    scopes_supported: tuple[str, ...] = ()
    name: str | None = None
    url: str = ""
    """Where the document came from."""


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """Authorization-server metadata (RFC 8414 section 2, OIDC Discovery) that passed validation."""

    issuer: str
    """Byte for byte as the document has it; what RFC 9207's ``iss`` is compared with."""
    authorization_endpoint: str
    token_endpoint: str
    registration_endpoint: str | None = None
    revocation_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    scopes_supported: tuple[str, ...] = ()
    code_challenge_methods: tuple[str, ...] | None = None
    token_auth_methods: tuple[str, ...] | None = None
    iss_in_response: bool = False
    client_id_metadata: bool = False
    url: str = ""
    """Where the document came from; empty for the 2025-03-26 default endpoints."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of discovery: what was asked, what came, which rule decided."""

    request: str
    answer: str
    rule: str


@dataclass(frozen=True, slots=True, repr=False)
class Discovery:
    """How to sign in to one MCP server; no `authorization_server`: it needs no sign-in."""

    server: str
    resource: str
    protected_resource: ProtectedResource | None
    authorization_server: AuthorizationServer | None
    challenged_scopes: tuple[str, ...] | None = None
    """Scopes of the 401 challenge; `None` where it named none."""
    steps: tuple[Step, ...] = ()

    def facts(self) -> dict[str, str]:
        """Give what a person wants to know, a line each, safe to print."""
        server = self.authorization_server
        if server is None:
            return {"Server": self.server, "Sign-in": "not needed"}
        ways = [
            *(["client metadata document"] if server.client_id_metadata else []),
            *(["dynamic registration"] if server.registration_endpoint else []),
        ]
        facts = {
            "Server": self.server,
            "Resource": self.resource,
            "Authorization server": server.issuer,
            "Scopes": " ".join(self.challenged_scopes or self.scopes_supported)
            or "(the server decides)",
            "Registration": ", ".join(ways) or "by hand: a client id has to be given",
            "PKCE": ", ".join(server.code_challenge_methods or ()) or "not announced",
            "Answers carry iss": "yes" if server.iss_in_response else "no",
            "Device sign-in": "yes" if server.device_authorization_endpoint else "no",
            "Revocation": "yes" if server.revocation_endpoint else "no",
        }
        return {name: plain(value) for name, value in facts.items()}

    def __repr__(self) -> str:
        return "\n".join(f"{name + ':':<22}{value}" for name, value in self.facts().items())

    @property
    def scopes_supported(self) -> tuple[str, ...]:
        """The scopes that the protected resource announces."""
        return self.protected_resource.scopes_supported if self.protected_resource else ()

    @property
    def sign_in_at(self) -> AuthorizationServer:
        """The authorization server.

        Raises:
            DiscoveryError: The server needs no sign-in.
        """
        if self.authorization_server is None:
            raise DiscoveryError(f"{self.server} needs no sign-in: just call it.")
        return self.authorization_server


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
        """What it is kept under: one client per issuer and redirect."""
        return f"{self.issuer}\n{self.redirect_uri}"

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
        """Read the JSON form back."""
        secret = data.get("client_secret")
        scopes = data.get("scopes")
        return cls(
            issuer=data["issuer"],
            client_id=data["client_id"],
            method=data["method"],
            auth_method=data["auth_method"],
            client_secret=Secret(secret) if secret else None,
            secret_expires_at=data.get("secret_expires_at"),
            redirect_uri=data.get("redirect_uri"),
            scopes=None if scopes is None else tuple(scopes),
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

    @property
    def issuer(self) -> str:
        """The authorization server that granted this login."""
        return self.registration.issuer

    def renewed(self, tokens: Tokens) -> LoginRecord:
        """Give the record after a refresh: one generation on."""
        return replace(self, tokens=tokens, generation=self.generation + 1)

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form, secrets included: only for an encrypting store."""
        t = self.tokens
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
            "tokens": {
                "access_token": t.access_token.reveal(),
                "refresh_token": t.refresh_token.reveal() if t.refresh_token else None,
                "obtained_at": t.obtained_at,
                "expires_at": t.expires_at,
                "scopes": list(t.scopes),
            },
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LoginRecord:
        """Read the JSON form back.

        Raises:
            StoreError: The record is from a newer mcpnb, or is not a login.
        """
        version = data.get("version")
        if version != FORMAT_VERSION:
            raise StoreError(
                f"A stored login has format {version!r}, this mcpnb knows {FORMAT_VERSION}. "
                "Update mcpnb; the record was left as it is."
            )
        try:
            t = data["tokens"]
            refresh = t.get("refresh_token")
            return cls(
                server=data["server"],
                account=data["account"],
                resource=data["resource"],
                registration=Registration.from_dict(data["registration"]),
                token_endpoint=data["token_endpoint"],
                revocation_endpoint=data.get("revocation_endpoint"),
                generation=data["generation"],
                signed_in_at=data.get("signed_in_at", 0.0),
                requested_scopes=tuple(data["requested_scopes"]),
                tokens=Tokens(
                    access_token=Secret(t["access_token"]),
                    refresh_token=Secret(refresh) if refresh else None,
                    obtained_at=t["obtained_at"],
                    expires_at=t["expires_at"],
                    scopes=tuple(t["scopes"]),
                ),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"A stored login is incomplete ({error}). Sign out of that server and in again."
            ) from None


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What is known of one server before anybody is contacted: arguments over configuration."""

    url: str
    name: str | None = None
    account: str | None = None
    scopes: tuple[str, ...] | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    issuer: str | None = None
    registration: Literal["auto", "preregistered", "cimd", "dcr"] = "auto"
    client_metadata_url: str | None = None
    resource: str | None = None
    """Replaces the discovered value in every request (``oauth_resource``)."""
    callback_port: int | None = None
    callback_url: str | None = None
    allow_missing_pkce: bool = False
    allow_private_network: bool = False
    tool_timeout: float | None = None
    source: str | None = None
    """Which configuration file named it; `None` for a bare URL."""
