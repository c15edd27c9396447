"""Frozen values of the protocol: what servers announce, and how one server is configured."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NoReturn, Self, get_args

from mcpnb.errors import ConfigError, NoSignInNeeded
from mcpnb.oauth.urls import host_span
from mcpnb.text import sanitize

Callback = Literal["auto", "page", "loopback", "paste", "device"]
"""How an authorization response comes back. ``auto``: the first of the next two that works.
``page``: the notebook's page hands it to a panel. ``loopback``: the browser sends it to a port of
this machine. ``paste``: the person brings it. ``device``: the person signs in on another device,
and no response comes (RFC 8628)."""
Via = Callback | Literal["relay"]
"""What ``via=`` takes: ``relay`` is the earlier name of ``page``."""


def callback_from(via: object) -> Callback:
    """Return the kind of callback that a person chose.

    Raises:
        ConfigError: There is no such kind.
    """
    kinds: tuple[Callback, ...] = get_args(Callback)
    wanted = "page" if via == "relay" else via
    for kind in kinds:
        if wanted == kind:
            return kind
    raise ConfigError(f"via has to be one of {', '.join(kinds)}, not {via!r:.80}.")


class Secret:
    """A string that shows nowhere: not in `repr`, `str`, a format, a pickle or a locals dump."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the string itself, for the one line that sends or encrypts it."""
        return self._value

    def __repr__(self) -> str:
        # threat: secret-in-a-repr
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        # threat: secret-pickled
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
    """One step of discovery: the request, the response, and the rule that decided."""

    request: str
    answer: str
    rule: str


@dataclass(frozen=True, slots=True, repr=False)
class Discovery:
    """How to sign in to one MCP server. Without `authorization_server` it needs no sign-in."""

    server: str
    resource: str
    protected_resource: ProtectedResource | None
    authorization_server: AuthorizationServer | None
    challenged_scopes: tuple[str, ...] | None = None
    """Scopes of the 401 challenge; `None` if it named none."""
    steps: tuple[Step, ...] = ()

    def facts(self) -> dict[str, str]:
        """Return what a person wants to know, a line each, safe to print."""
        server = self.authorization_server
        if server is None:
            return {"Server": self.server, "Sign-in": "not needed"}
        scopes = " ".join(self.challenged_scopes or self.scopes_supported)
        ways = {
            "client metadata document": server.client_id_metadata,
            "dynamic registration": server.registration_endpoint,
        }
        registration = ", ".join(way for way, offered in ways.items() if offered)
        facts = {
            "Server": self.server,
            "Resource": self.resource,
            "Authorization server": server.issuer,
            "Scopes": scopes or "(the server decides)",
            "Registration": registration or "by hand: a client id has to be given",
            "PKCE": ", ".join(server.code_challenge_methods or ()) or "not announced",
            "Responses carry iss": "yes" if server.iss_in_response else "no",
            "Device sign-in": "yes" if server.device_authorization_endpoint else "no",
            "Revocation": "yes" if server.revocation_endpoint else "no",
        }
        return {name: sanitize(value) for name, value in facts.items()}

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
            NoSignInNeeded: There is none.
        """
        if self.authorization_server is None:
            raise NoSignInNeeded(f"{self.server} needs no sign-in: just call it.")
        return self.authorization_server


@dataclass(frozen=True, slots=True)
class Expanded:
    """A part of a URL that came from an environment variable (``${VAR}``)."""

    variable: str
    value: Secret

    @property
    def shown(self) -> str:
        """The text to show in its place."""
        return f"${{{self.variable}}}"


@dataclass(frozen=True, slots=True)
class Header:
    """A configured HTTP header: its value, or the environment variable that holds it."""

    name: str
    value: Secret | None = None
    variable: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ServerConfig:
    """What is known of one server before any request: arguments first, then configuration."""

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
    callback: Callback = "auto"
    allow_missing_pkce: bool = False
    allow_private_network: bool = False
    tool_timeout: float | None = None
    startup_timeout: float | None = None
    """Seconds for making a connection, the handshake included."""
    bearer_token_env_var: str | None = None
    headers: tuple[Header, ...] = ()
    """Sent with every call, to this server's origin only."""
    headers_helper: str | None = None
    """A local command that prints such headers (``http_headers_helper``)."""
    enabled: bool = True
    required: bool = False
    enabled_tools: tuple[str, ...] | None = None
    """The only tools that may be used; `None`: all."""
    disabled_tools: tuple[str, ...] = ()
    """Tools that may not be used, also where `enabled_tools` has them."""
    store: str | None = None
    """Where logins are stored by default (``mcp_oauth_credentials_store``)."""
    source: str | None = None
    """Which configuration file named it; `None` for a bare URL."""
    hidden: tuple[Expanded, ...] = ()
    """Parts of `url` after the host that came from environment variables."""

    def __repr__(self) -> str:
        values = ", ".join(
            f"{f.name}={self.shown if f.name == 'url' else getattr(self, f.name)!r}"
            for f in fields(self)
        )
        return f"ServerConfig({values})"

    @property
    def shown(self) -> str:
        """The URL to show, with ``${VAR}`` in place of values from the environment."""
        shown = {part.value.reveal(): part.shown for part in self.hidden}
        if not shown:
            return self.url
        begin, end = host_span(self.url)
        any_of = re.compile("|".join(map(re.escape, sorted(shown, key=len, reverse=True))))
        before, behind = (
            any_of.sub(lambda match: shown[match[0]], part)
            for part in (self.url[:begin], self.url[end:])
        )
        return f"{before}{self.url[begin:end]}{behind}"

    @property
    def name_in_store(self) -> str:
        """The name of its login in the store, where names are not encrypted.

        The URL; if that holds a secret, the URL to show with a digest of the whole one: another
        value leads to another server, and needs another login. Whoever could use the digest to
        guess a weak secret can read this person's files, and so the environment, too.
        """
        if not self.hidden:
            return self.url
        return f"{self.shown}#{hashlib.sha256(self.url.encode()).hexdigest()[:16]}"

    @property
    def authorization(self) -> Header | None:
        """What replaces a sign-in: the variable of a bearer token, or a configured header."""
        if self.bearer_token_env_var is not None:
            return Header("Authorization", variable=self.bearer_token_env_var)
        return next((h for h in self.headers if h.name.lower() == "authorization"), None)

    def without_authorization(self) -> Self:
        """Return the same server without anything that replaces a sign-in."""
        others = tuple(h for h in self.headers if h.name.lower() != "authorization")
        return replace(self, bearer_token_env_var=None, headers=others, headers_helper=None)
