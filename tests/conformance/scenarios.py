"""Which scenarios have to pass, and how the negative ones have to end."""

from __future__ import annotations

_AUTH_2025 = (
    "auth/metadata-default",
    "auth/metadata-var1",
    "auth/metadata-var2",
    "auth/metadata-var3",
    "auth/basic-cimd",
    "auth/scope-from-www-authenticate",
    "auth/scope-from-scopes-supported",
    "auth/scope-omitted-when-undefined",
    "auth/scope-step-up",
    "auth/scope-retry-limit",
    "auth/token-endpoint-auth-basic",
    "auth/token-endpoint-auth-post",
    "auth/token-endpoint-auth-none",
    "auth/pre-registration",
)
_AUTH_2026 = (
    *_AUTH_2025,
    "auth/resource-mismatch",
    "auth/offline-access-scope",
    "auth/offline-access-not-supported",
    "auth/authorization-server-migration",
    "auth/iss-supported",
    "auth/iss-not-advertised",
    "auth/iss-supported-missing",
    "auth/iss-wrong-issuer",
    "auth/iss-unexpected",
    "auth/iss-normalized",
    "auth/metadata-issuer-mismatch",
)
_OPEN_2026 = (
    "tools_call",
    "request-metadata",
    "http-standard-headers",
    "http-custom-headers",
    "http-invalid-tool-headers",
    "json-schema-ref-no-deref",
)
_OPEN_2025 = ("initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry")

SCENARIOS: dict[str, tuple[str, ...]] = {
    "2026-07-28": (*_AUTH_2026, *_OPEN_2026),
    "2025-11-25": (*_AUTH_2025, *_OPEN_2025),
    "2025-03-26": (
        "auth/2025-03-26-oauth-metadata-backcompat",
        "auth/2025-03-26-oauth-endpoint-fallback",
    ),
}
"""By wire version: what is scored for clients but `BEYOND_THE_SDK`, and two for old servers."""

BEYOND_THE_SDK = ("2026-07-28", "sep-2322-client-request-state")
"""The one scored scenario that mcp 2.3.0 itself does not pass strictly.

All its checks succeed, but the SDK refuses a result without ``resultType``, which the specification
says to take for a complete one, so the call raises and the client ends with an error.
"""

REFUSED = {
    "auth/resource-mismatch": "ProtocolError",
    "auth/scope-retry-limit": "ScopeRefused",
    "auth/iss-supported-missing": "ProtocolError",
    "auth/iss-wrong-issuer": "ProtocolError",
    "auth/iss-unexpected": "ProtocolError",
    "auth/iss-normalized": "ProtocolError",
    "auth/metadata-issuer-mismatch": "ProtocolError",
}
"""The negative scenarios, and the error that mcpnb has to refuse with."""

NOT_ON_THIS_WIRE = {
    ("2026-07-28", "http-standard-headers"): {
        "ClientMcpMethodHeader_initialize",
        "ClientMcpMethodHeader_notifications_initialized",
    },
}
"""Checks that are SKIPPED because the stateless wire has no such request at all (SEP-2575)."""
