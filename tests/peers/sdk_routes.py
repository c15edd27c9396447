"""The MCP SDK's own authorization routes: one application is authorization server and MCP server.

The routes, their checks and their metadata are the SDK's. What an author has to bring, a place for
clients, codes and tokens, is `Memory`. Quite unlike `oidc-provider`: no `iss` in the answer, no
`none` among its announced authentication methods, opaque tokens, a revocation that wants a
`client_secret` field from everybody.
"""
# The SDK's protocol hands the client to every method, whether it is needed or not.
# ruff: noqa: ARG002

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    TokenError,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from mcpnb.demo.servers import Listening, bind

SCOPES = ["notes:read", "notes:write"]


@dataclass
class Memory(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """Clients, codes and tokens in dictionaries; everybody agrees to everything."""

    lifetime: int = 60
    clients: dict[str, OAuthClientInformationFull] = field(default_factory=dict)
    codes: dict[str, AuthorizationCode] = field(default_factory=dict)
    access: dict[str, AccessToken] = field(default_factory=dict)
    refresh: dict[str, RefreshToken] = field(default_factory=dict)
    refreshes: int = 0
    redirects: list[str] = field(default_factory=list)

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.clients[client_info.client_id] = client_info

    async def authorize(
        self, client: OAuthClientInformationFull, params: AuthorizationParams
    ) -> str:
        self.redirects.append(str(params.redirect_uri))
        code = secrets.token_urlsafe(24)
        self.codes[code] = AuthorizationCode(
            code=code,
            scopes=params.scopes or SCOPES[:1],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
            subject="ada",
        )
        return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        return self._issue(authorization_code, authorization_code.scopes)

    async def load_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: str
    ) -> RefreshToken | None:
        return self.refresh.get(refresh_token)

    async def exchange_refresh_token(
        self,
        client: OAuthClientInformationFull,
        refresh_token: RefreshToken,
        scopes: list[str],
    ) -> OAuthToken:
        if self.refresh.pop(refresh_token.token, None) is None:
            raise TokenError("invalid_grant")
        self.refreshes += 1
        return self._issue(refresh_token, scopes)

    async def load_access_token(self, token: str) -> AccessToken | None:
        """Give an access token; the SDK looks at its expiry."""
        return self.access.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        """Forget everything this client holds."""
        for kept in (self.access, self.refresh):
            for value in [v for v, t in kept.items() if t.client_id == token.client_id]:
                del kept[value]

    def _issue(self, grant: AuthorizationCode | RefreshToken, scopes: list[str]) -> OAuthToken:
        common: dict[str, Any] = {
            "client_id": grant.client_id,
            "scopes": scopes,
            "resource": grant.resource,
            "subject": grant.subject,
        }
        access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        until = int(time.time()) + self.lifetime
        self.access[access] = AccessToken(token=access, expires_at=until, **common)
        self.refresh[refresh] = RefreshToken(token=refresh, **common)
        return OAuthToken(
            access_token=access,
            expires_in=self.lifetime,
            refresh_token=refresh,
            scope=" ".join(scopes),
        )


@dataclass(frozen=True)
class SdkServer:
    """A running server."""

    url: str
    memory: Memory


@contextlib.contextmanager
def sdk_server() -> Iterator[SdkServer]:
    """Run the SDK's server with its own authorization routes."""
    bound = bind()
    base = f"http://127.0.0.1:{bound.getsockname()[1]}"
    memory = Memory()
    server: MCPServer[Any] = MCPServer(
        "notes",
        log_level="ERROR",
        auth_server_provider=memory,
        auth=AuthSettings.model_validate(
            {
                "issuer_url": base,
                "resource_server_url": f"{base}/mcp",
                "required_scopes": SCOPES[:1],
                "validate_token_resource": True,
                "client_registration_options": {"enabled": True, "valid_scopes": SCOPES},
                "revocation_options": {"enabled": True},
            }
        ),
    )

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    with Listening(server.streamable_http_app(), bound, "the SDK's routes"):
        yield SdkServer(f"{base}/mcp", memory)
