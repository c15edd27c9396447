"""The values that the rooms hand to each other: frozen, and with secrets that never show."""

from mcpnb.models.login import (
    AuthMethod,
    LoginRecord,
    Registration,
    RegistrationMethod,
    Setback,
    Tokens,
)
from mcpnb.models.values import (
    AuthorizationServer,
    Discovery,
    Header,
    ProtectedResource,
    Secret,
    ServerConfig,
    Step,
)

__all__ = [
    "AuthMethod",
    "AuthorizationServer",
    "Discovery",
    "Header",
    "LoginRecord",
    "ProtectedResource",
    "Registration",
    "RegistrationMethod",
    "Secret",
    "ServerConfig",
    "Setback",
    "Step",
    "Tokens",
]
