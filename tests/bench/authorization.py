"""The smallest authorization server that a sign-in can be measured and counted against.

It agrees to everything at once, checks PKCE, rotates refresh tokens, and counts what it grants. Its
issuer has a path, so that a client which guesses `/token` at the MCP server's origin is found out.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlencode

SCOPES = ("read", "admin")


@dataclass(frozen=True)
class Answer:
    """A status, a JSON body and headers."""

    status: int
    body: dict[str, object] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Grant:
    """What an access token, a refresh token or a code stands for."""

    scope: str
    challenge: str = ""
    generation: int = 1


class Authorization:
    """State and rules; `tests.bench.server` puts them behind URLs."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.issuer = f"{base}/as"
        self.resource = f"{base}/mcp"
        self.expires_in = 3600
        self.rejects_all = False
        """Accept no access token, although granting goes on."""
        self.granted: Counter[str] = Counter()
        """How often each grant type succeeded."""
        self._access: dict[str, Grant] = {}
        self._refresh: dict[str, Grant] = {}
        self._codes: dict[str, Grant] = {}

    def grant_of(self, header: str) -> Grant | None:
        """Give what the `Authorization` header's token stands for; `None` for no valid one."""
        scheme, _, token = header.partition(" ")
        if self.rejects_all or scheme.lower() != "bearer":
            return None
        return self._access.get(token)

    def expire(self) -> None:
        """Make every access token that is out there worthless."""
        self._access.clear()

    def protected_resource(self) -> Answer:
        """RFC 9728."""
        return Answer(200, {"resource": self.resource, "authorization_servers": [self.issuer]})

    def metadata(self) -> Answer:
        """RFC 8414."""
        return Answer(
            200,
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "registration_endpoint": f"{self.issuer}/register",
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "scopes_supported": list(SCOPES),
                "authorization_response_iss_parameter_supported": True,
            },
        )

    def register(self, wanted: dict[str, object]) -> Answer:
        """RFC 7591: everything is granted."""
        client = {"client_id": secrets.token_hex(8), "token_endpoint_auth_method": "none"}
        return Answer(201, wanted | client)

    def authorize(self, query: dict[str, str]) -> Answer:
        """Agree at once, as a person who was here before would."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = Grant(query.get("scope", "read"), query.get("code_challenge", ""))
        answer = urlencode({"code": code, "state": query.get("state", ""), "iss": self.issuer})
        return Answer(302, headers={"location": f"{query['redirect_uri']}?{answer}"})

    def token(self, form: dict[str, str]) -> Answer:
        """RFC 6749 sections 4.1.3 and 6; a refresh token works once."""
        kind = form.get("grant_type", "")
        if kind == "authorization_code":
            grant = self._codes.pop(form.get("code", ""), None)
            verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            proof = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
            if grant is None or proof != grant.challenge:
                return Answer(400, {"error": "invalid_grant"})
        elif kind == "refresh_token":
            grant = self._refresh.pop(form.get("refresh_token", ""), None)
            if grant is None:
                return Answer(400, {"error": "invalid_grant"})
            grant = Grant(grant.scope, generation=grant.generation + 1)
        else:
            return Answer(400, {"error": "unsupported_grant_type"})
        self.granted[kind] += 1
        access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._access[access] = self._refresh[refresh] = grant
        return Answer(
            200,
            {
                "access_token": access,
                "refresh_token": refresh,
                "token_type": "Bearer",
                "expires_in": self.expires_in,
                "scope": grant.scope,
            },
            {"cache-control": "no-store"},
        )
