"""Good values, for a property to begin with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mcpnb.oauth.authorization import AuthorizationRequest
from mcpnb.oauth.credentials import Registration
from mcpnb.oauth.models import AuthorizationServer, Secret, ServerConfig

ISSUER = "https://as.example"
URL = "https://mcp.example/mcp"
CALLBACK = "http://127.0.0.1:27182/callback"
CONFIG = ServerConfig(url=URL)
STATE, VERIFIER = "state-4m7Kq2Zr8xWv", "verifier-9bTn3YcLp6Hs"
SECRETS = (STATE, VERIFIER)
SERVER = AuthorizationServer(
    issuer=ISSUER,
    authorization_endpoint=f"{ISSUER}/authorize",
    token_endpoint=f"{ISSUER}/token",
    registration_endpoint=f"{ISSUER}/register",
    iss_in_response=True,
)
REGISTRATION = Registration(issuer=ISSUER, client_id="client", method="dcr")
METADATA: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "registration_endpoint": f"{ISSUER}/register",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "device_authorization_endpoint": f"{ISSUER}/device",
    "scopes_supported": ["read", "write", "offline_access"],
    "response_types_supported": ["code"],
    "grant_types_supported": ["authorization_code", "refresh_token"],
    "code_challenge_methods_supported": ["S256"],
    "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
    "authorization_response_iss_parameter_supported": True,
    "client_id_metadata_document_supported": True,
}
RESOURCE_METADATA: dict[str, Any] = {
    "resource": URL,
    "authorization_servers": [ISSUER],
    "scopes_supported": ["read", "write"],
    "resource_name": "Example",
}


def request_for(**changed: Any) -> AuthorizationRequest:
    """Make an authorization request that differs in something."""
    request = AuthorizationRequest(
        server=SERVER,
        registration=REGISTRATION,
        redirect_uri=CALLBACK,
        resource=URL,
        scopes=("read",),
        state=Secret(STATE),
        verifier=Secret(VERIFIER),
    )
    return replace(request, **changed)
