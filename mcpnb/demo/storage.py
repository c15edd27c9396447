"""What the demo's authorization server remembers: in memory, gone when it stops.

One `Grant` is one consent. Codes and tokens hang from it, so that ending a grant ends everything
that came out of it (RFC 9700 section 4.14.2). Everything here runs in the one event loop of the
authorization server; other threads only read.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from mcpnb.demo.clients import Client

__all__ = ["AccessToken", "AuthorizationCode", "Grant", "RefreshToken", "Storage"]

# RFC 6749 section 4.1.2 allows ten minutes; a loopback redirect needs seconds.
CODE_LIFETIME = 60.0


@dataclass(slots=True, eq=False)
class Grant:
    """What one consent allowed: who, which client, which resource, which scopes."""

    subject: str
    client_id: str
    resource: str
    scope: str
    revoked: bool = False

    def get_user_id(self) -> str:
        """Name the resource owner (authlib asks its "user" for this)."""
        return self.subject


@dataclass(slots=True, eq=False)
class AuthorizationCode:
    """A code on its way through the browser."""

    grant: Grant
    redirect_uri: str | None
    code_challenge: str = field(repr=False)
    code_challenge_method: str
    expires_at: float
    used: bool = False

    def get_redirect_uri(self) -> str | None:
        """Give the redirect URI of the authorization request, to compare at the token endpoint."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """Give the scopes that were consented to."""
        return self.grant.scope


@dataclass(slots=True, eq=False)
class RefreshToken:
    """A refresh token; `rotated` once its successor was issued."""

    grant: Grant
    rotated: bool = False

    def check_client(self, client: Client) -> bool:
        """Tell whether it was issued to this client."""
        return self.grant.client_id == client.client_id

    def get_scope(self) -> str:
        """Give the scopes that were consented to: the bound for a refresh."""
        return self.grant.scope


@dataclass(slots=True, eq=False)
class AccessToken:
    """An access token as the server that signed it sees it."""

    grant: Grant
    expires_at: float
    revoked: bool = False

    @property
    def live(self) -> bool:
        """Whether it still opens anything."""
        return not self.revoked and not self.grant.revoked and time.time() < self.expires_at

    def check_client(self, client: Client) -> bool:
        """Tell whether it was issued to this client."""
        return self.grant.client_id == client.client_id


class Storage:
    """Codes and tokens, each found by the string that a client presents."""

    def __init__(self) -> None:
        self.grants: list[Grant] = []
        self._codes: dict[str, AuthorizationCode] = {}
        self._refresh_tokens: dict[str, RefreshToken] = {}
        self._access_tokens: dict[str, AccessToken] = {}

    def add_code(
        self, value: str, grant: Grant, redirect_uri: str | None, challenge: str, method: str
    ) -> None:
        """Remember a code for a minute."""
        self.grants.append(grant)
        self._codes[value] = AuthorizationCode(
            grant, redirect_uri, challenge, method, time.time() + CODE_LIFETIME
        )

    def code(self, value: str, client: Client) -> AuthorizationCode | None:
        """Find a code that may be exchanged now.

        A code that comes a second time was stolen at one of the two times, so what the first time
        gave is revoked (RFC 6749 section 4.1.2).
        """
        found = self._codes.get(value)
        if found is None or found.grant.client_id != client.client_id:
            return None
        if found.used:
            found.grant.revoked = True
            return None
        return None if time.time() >= found.expires_at else found

    def add_refresh_token(self, value: str, grant: Grant) -> None:
        """Remember a refresh token."""
        self._refresh_tokens[value] = RefreshToken(grant)

    def refresh_token(self, value: str) -> RefreshToken | None:
        """Find a refresh token, whatever became of it."""
        return self._refresh_tokens.get(value)

    def add_access_token(self, grant: Grant, expires_at: float) -> str:
        """Remember an access token and give its `jti`."""
        jti = secrets.token_urlsafe(12)
        self._access_tokens[jti] = AccessToken(grant, expires_at)
        return jti

    def access_token(self, jti: str) -> AccessToken | None:
        """Find an access token by its `jti`, whatever became of it."""
        return self._access_tokens.get(jti)

    def live_access_tokens(self) -> list[AccessToken]:
        """List what still opens something."""
        return [token for token in list(self._access_tokens.values()) if token.live]
