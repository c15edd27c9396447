"""The values that the rooms hand to each other: frozen, and with secrets that never show."""

from mcpnb.models.login import (
    AuthMethod,
    Earlier,
    LoginRecord,
    Registration,
    RegistrationMethod,
    Setback,
    Tokens,
)
from mcpnb.models.staying import Staying
from mcpnb.models.values import (
    AuthorizationServer,
    Discovery,
    Expanded,
    Header,
    ProtectedResource,
    Secret,
    ServerConfig,
    Step,
    host_of,
)
from mcpnb.models.ways import Via, via_from

__all__ = [
    "AuthMethod",
    "AuthorizationServer",
    "Discovery",
    "Earlier",
    "Expanded",
    "Header",
    "LoginRecord",
    "ProtectedResource",
    "Registration",
    "RegistrationMethod",
    "Secret",
    "ServerConfig",
    "Setback",
    "Staying",
    "Step",
    "Tokens",
    "Via",
    "host_of",
    "via_from",
]
