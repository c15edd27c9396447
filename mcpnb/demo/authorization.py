"""The rules of the demo's authorization server, and its state; `endpoints` puts them behind URLs.

Everything runs in one event loop, so nothing here is locked. A test may read and change the public
attributes from any thread. All state is in memory and ends with the server.
"""

from __future__ import annotations

import base64
import hashlib
import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

READ: Final = "data:read"
WRITE: Final = "data:write"
SCOPES: Final = {
    READ: "Read the harbour traffic data",
    WRITE: "Publish reports in your name",
}
"""What each scope is called on the consent page."""

LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})
CODE: Final = "authorization_code"
REFRESH: Final = "refresh_token"
DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
# Seconds. RFC 6749 section 4.1.2 allows a code ten minutes; a loopback redirect needs seconds.
_CODE_LIFETIME: Final = 60
_DEVICE_CODE_LIFETIME: Final = 600
# RFC 8628 section 6.1: no vowels, so that a code is never a word.
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
# A SHA-256 digest in base64url (RFC 7636 section 4.2).
_CHALLENGE_LENGTH: Final = 43


class OAuthError(Exception):
    """An error response: ``error`` and ``error_description`` (RFC 6749 section 5.2)."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.status = status


def _split(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # Parsed on demand: raises for a port that is no number.
    except ValueError:
        return urlsplit("")
    return parts


def is_loopback(uri: str) -> bool:
    """Return whether a URI leads to this computer."""
    return _split(uri).hostname in LOOPBACK_HOSTS


def is_callback(uri: str) -> bool:
    """Return whether it is a redirect URI as command line tools have it: what some servers list."""
    return is_loopback(uri) and _split(uri).path == "/callback"


def _usable(uri: str) -> str:
    """Refuse a redirect URI that is neither https nor http on the loopback.

    OAuth 2.1 section 1.5, RFC 8252 section 7.3. Without user info, which can disguise the host, and
    without fragment (RFC 6749 section 3.1.2).
    """
    parts = _split(uri)
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(uri))
    if not safe or not parts.hostname or "@" in parts.netloc or "#" in uri:
        raise ValueError("a redirect URI is https, or http on the loopback")
    return uri


class Client(BaseModel):
    """A public client and its metadata (RFC 7591 section 2); it proves itself with PKCE alone."""

    model_config = ConfigDict(strict=True, frozen=True)

    client_id: str = ""
    client_name: str = ""
    redirect_uris: list[Annotated[str, AfterValidator(_usable)]] = []
    grant_types: list[str] = [CODE]
    response_types: list[Literal["code"]] = ["code"]
    scope: str = ""
    application_type: Literal["native", "web"] = "web"
    token_endpoint_auth_method: Literal["none"] = "none"  # noqa: S105 - no password

    @classmethod
    def read(cls, document: bytes) -> Client:
        """Read client metadata.

        Raises:
            OAuthError: Something is wrong with it (RFC 7591 section 3.2.2).
        """
        try:
            return cls.model_validate_json(document)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "The document"
            kind = "redirect_uri" if name == "redirect_uris" else "client_metadata"
            raise OAuthError(f"invalid_{kind}", f"{name} is not valid: {first['msg']}.") from None

    def may_redirect_to(self, uri: str) -> bool:
        """Compare exactly, except for the loopback port of a native application (RFC 8252 7.3).

        A client that does not say what it is counts as a web application (OIDC Registration 2).
        """
        if uri in self.redirect_uris:
            return True
        native = self.application_type == "native"
        if not (native and uri.startswith("http://") and is_loopback(uri) and "@" not in uri):
            return False
        parts = _split(uri)
        return any(
            parts._replace(netloc="") == other._replace(netloc="")
            and parts.hostname == other.hostname
            for other in map(_split, self.redirect_uris)
        )


class Parameters:
    """The parameters of a query or a form.

    One without a value counts as left out, and none may come twice (RFC 6749 section 3.1).
    """

    def __init__(self, encoded: str) -> None:
        self._values = parse_qs(encoded)

    def __getitem__(self, name: str) -> str:
        values = self._values.get(name, [""])
        if len(values) > 1:
            raise OAuthError("invalid_request", f"The request has more than one {name}.")
        return values[0]

    def resource(self, allowed: Container[str]) -> str:
        """Return the one ``resource``. RFC 8707 allows several; a token here is for one.

        Raises:
            OAuthError: It is missing, unknown, or not the only one.
        """
        values = self._values.get("resource", [])
        if len(values) != 1 or values[0] not in allowed:
            raise OAuthError("invalid_target", "Name the MCP server as resource, exactly once.")
        return values[0]

    def scopes(self, allowed: Container[str], default: tuple[str, ...]) -> tuple[str, ...]:
        """Return the scopes; without any, those that are meant (RFC 6749 section 3.3).

        Raises:
            OAuthError: One is not allowed.
        """
        scopes = tuple(dict.fromkeys(self["scope"].split())) or default
        if not all(scope in allowed for scope in scopes):
            raise OAuthError("invalid_scope", "There is no such scope to have.")
        return scopes


@dataclass(slots=True, eq=False)
class Grant:
    """What one consent allowed. Every token of it ends with it (RFC 9700 section 4.14.2)."""

    client_id: str
    resource: str
    scopes: tuple[str, ...]
    revoked: bool = False


@dataclass(slots=True, eq=False)
class AuthorizationRequest:
    """What a client asks a person for: by redirect, or with a user code for a device."""

    client: Client
    redirect_uri: str = ""
    state: str = field(default="", repr=False)
    scopes: tuple[str, ...] = ()
    resource: str = ""
    code_challenge: str = field(default="", repr=False)
    user_code: str = ""
    expires_at: float = 0.0
    """When the authorization code or the device code expires."""
    grant: Grant | None = None
    """What it led to, once it is approved."""
    denied: bool = False
    used: bool = False
    """Whether its code was exchanged."""


@dataclass(slots=True, eq=False)
class Token:
    """An access or refresh token; a refresh token is `used` once its successor was issued."""

    grant: Grant
    scopes: tuple[str, ...]
    expires_at: float
    used: bool = False

    @property
    def live(self) -> bool:
        """Whether it still opens anything."""
        return not self.grant.revoked and time.time() < self.expires_at


@dataclass(eq=False, repr=False)
class AuthorizationServer:
    """An OAuth 2.1 authorization server for MCP servers and public clients, on the loopback."""

    issuer: str
    resources: set[str]
    """The MCP servers that a client may ask tokens for."""
    _: KW_ONLY
    access_token_lifetime: float = 3600
    """Seconds."""
    auto_consent: bool = False
    """Approve without showing the page."""
    redirects: Callable[[str], bool] = field(default=lambda _: True)
    """Which redirect URIs the operator allows to register."""
    device_grant: bool = False
    """Let people enter a code on another device (RFC 8628)."""
    subject: str = "ada"
    pages: str = ""
    """Where browsers reach the pages: at the issuer, but behind Jupyter's proxy. A real server has
    one address for everybody."""
    grants: Counter[str] = field(default_factory=Counter)
    """How many exchanges succeeded, by grant type."""
    consents: list[AuthorizationRequest] = field(default_factory=list)
    """Every request that was decided on the consent page, oldest first."""
    clients: dict[str, Client] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pages = self.pages or self.issuer
        # By the digest of the code or token, so that no representation shows one.
        self._codes: dict[str, AuthorizationRequest] = {}
        self._devices: dict[str, AuthorizationRequest] = {}
        self._access_tokens: dict[str, Token] = {}
        self._refresh_tokens: dict[str, Token] = {}

    def metadata(self) -> dict[str, Any]:
        """Return the metadata document (RFC 8414)."""
        document: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.pages}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "registration_endpoint": f"{self.issuer}/register",
            "revocation_endpoint": f"{self.issuer}/revoke",
            "scopes_supported": list(SCOPES),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": [CODE, REFRESH],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        if self.device_grant:
            document["device_authorization_endpoint"] = f"{self.issuer}/device_authorization"
            document["grant_types_supported"].append(DEVICE)
        return document

    def register(self, document: bytes) -> dict[str, Any]:
        """Register a client, and return its metadata with its id (RFC 7591).

        Raises:
            OAuthError: The metadata is wrong, or asks for what this server does not do.
        """
        client = Client.read(document)
        if not set(client.grant_types) <= set(self.metadata()["grant_types_supported"]):
            raise OAuthError("invalid_client_metadata", "This server has no such grant type.")
        if not set(client.scope.split()) <= SCOPES.keys():
            raise OAuthError("invalid_client_metadata", "This server has no such scope.")
        # The device grant redirects nobody.
        if not client.redirect_uris and DEVICE not in client.grant_types:
            raise OAuthError("invalid_redirect_uri", "The client needs a redirect URI.")
        if not all(map(self.redirects, client.redirect_uris)):
            raise OAuthError(
                "invalid_redirect_uri", "This server does not allow this redirect URI."
            )
        client = client.model_copy(update={"client_id": f"demo-{secrets.token_urlsafe(9)}"})
        self.clients[client.client_id] = client
        return client.model_dump(exclude_unset=True) | {
            "client_id_issued_at": int(time.time()),
            # RFC 7591's default would mean a secret.
            "token_endpoint_auth_method": client.token_endpoint_auth_method,
        }

    # Authorization

    def authorization_request(self, parameters: Parameters) -> AuthorizationRequest:
        """Find out which client asks, and where to send the response.

        Raises:
            OAuthError: This is not certain, so only the person can be told (RFC 6749 4.1.2.1).
        """
        client = self._client(parameters)
        uri = parameters["redirect_uri"]
        if not client.may_redirect_to(uri):
            raise OAuthError("invalid_request", "The app did not register this redirect_uri.")
        return AuthorizationRequest(client, uri, parameters["state"])

    def complete(self, request: AuthorizationRequest, parameters: Parameters) -> None:
        """Check the rest of an authorization request.

        Raises:
            OAuthError: Something is missing or wrong; the client is told so by redirect.
        """
        if parameters["response_type"] != "code":
            raise OAuthError("unsupported_response_type", "The response_type has to be code.")
        if CODE not in request.client.grant_types:
            raise OAuthError("unauthorized_client", "The client did not register for codes.")
        request.code_challenge = parameters["code_challenge"]
        # For everybody, and without `plain` (OAuth 2.1 section 4.1.1).
        if (
            parameters["code_challenge_method"] != "S256"
            or len(request.code_challenge) != _CHALLENGE_LENGTH
        ):
            raise OAuthError("invalid_request", "PKCE with the method S256 is required.")
        request.resource = parameters.resource(self.resources)
        request.scopes = parameters.scopes(SCOPES, (READ,))

    def decide(self, request: AuthorizationRequest, *, approved: bool) -> None:
        """Approve or deny a request."""
        request.denied = not approved
        if approved:
            request.grant = Grant(request.client.client_id, request.resource, request.scopes)

    def redirect(self, request: AuthorizationRequest, error: OAuthError | None = None) -> str:
        """Return the redirect of an answered request, or of one with an error.

        Each response names the issuer (RFC 9207), also an error.
        """
        if error is not None:
            response = {"error": error.error, "error_description": str(error)}
        elif request.grant is None:
            response = {"error": "access_denied"}
        else:
            response = {"code": secrets.token_urlsafe(24)}
            request.expires_at = time.time() + _CODE_LIFETIME
            self._codes[_digest(response["code"])] = request
        if request.state:
            response["state"] = request.state
        joined = "&" if "?" in request.redirect_uri else "?"
        return f"{request.redirect_uri}{joined}{urlencode(response | {'iss': self.issuer})}"

    def device_authorization(self, parameters: Parameters) -> dict[str, Any]:
        """Begin a sign-in on another device (RFC 8628 section 3.1).

        Raises:
            OAuthError: The client may not, or asks for what this server does not have.
        """
        client = self._client(parameters)
        if DEVICE not in client.grant_types:
            raise OAuthError("unauthorized_client", "The client did not register for devices.")
        letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
        user_code, device_code = f"{letters[:4]}-{letters[4:]}", secrets.token_urlsafe(24)
        self._devices[_digest(device_code)] = AuthorizationRequest(
            client,
            scopes=parameters.scopes(SCOPES, (READ,)),
            resource=parameters.resource(self.resources),
            user_code=user_code,
            expires_at=time.time() + _DEVICE_CODE_LIFETIME,
        )
        page = f"{self.pages}/device"
        return {
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={user_code}",
            "expires_in": _DEVICE_CODE_LIFETIME,
            # The shortest that helps anybody: the server is on the same computer.
            "interval": 1,
        }

    def device_request(self, user_code: str) -> AuthorizationRequest | None:
        """Find the undecided request of a code, typed as people do: small letters, no hyphen."""
        typed = "".join(filter(str.isalnum, user_code)).upper()
        for request in self._devices.values():
            undecided = request.grant is None and not request.denied
            if undecided and request.user_code.replace("-", "") == typed:
                return request if time.time() < request.expires_at else None
        return None

    # Tokens

    def token(self, parameters: Parameters) -> dict[str, Any]:
        """Exchange a code, a refresh token or a device code for tokens.

        Raises:
            OAuthError: There are no tokens for it.
        """
        client, grant_type = self._client(parameters), parameters["grant_type"]
        exchanges = {CODE: self._by_code, REFRESH: self._by_refresh_token, DEVICE: self._by_device}
        if grant_type not in exchanges or (grant_type == DEVICE and not self.device_grant):
            raise OAuthError("unsupported_grant_type", "This server has no such grant.")
        if grant_type not in client.grant_types:
            raise OAuthError("unauthorized_client", "The client did not register for this grant.")
        grant, scopes = exchanges[grant_type](client, parameters)
        self.grants[grant_type] += 1
        lifetime, access_token = self.access_token_lifetime, secrets.token_urlsafe(24)
        token = Token(grant, scopes, time.time() + lifetime)
        self._access_tokens[_digest(access_token)] = token
        response = {"access_token": access_token, "token_type": "Bearer", "expires_in": lifetime}
        if REFRESH in client.grant_types:
            response["refresh_token"] = refresh_token = secrets.token_urlsafe(32)
            self._refresh_tokens[_digest(refresh_token)] = Token(grant, grant.scopes, math.inf)
        return response | {"scope": " ".join(scopes)}

    def _client(self, parameters: Parameters) -> Client:
        client = self.clients.get(parameters["client_id"])
        if client is None:
            raise OAuthError("invalid_client", "This server does not know the app.", 401)
        return client

    def _by_code(self, client: Client, parameters: Parameters) -> tuple[Grant, tuple[str, ...]]:
        verifier = parameters["code_verifier"]
        if not verifier:
            raise OAuthError("invalid_request", "The code_verifier is missing.")
        request = self._codes.get(_digest(parameters["code"]))
        if request is None or request.grant is None or request.grant.client_id != client.client_id:
            raise OAuthError("invalid_grant", "There is no such code.")
        if request.used:
            # It was stolen at one of the two times: what it gave ends (RFC 6749 section 4.1.2).
            request.grant.revoked = True
            raise OAuthError("invalid_grant", "The code was used before.")
        if time.time() >= request.expires_at:
            raise OAuthError("invalid_grant", "The code has expired.")
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        if digest.decode().rstrip("=") != request.code_challenge:
            raise OAuthError("invalid_grant", "The code_verifier does not match.")
        if parameters["redirect_uri"] != request.redirect_uri:
            raise OAuthError("invalid_grant", "The redirect_uri does not match.")
        parameters.resource({request.resource})
        request.used = True
        return request.grant, request.scopes

    def _by_refresh_token(
        self, client: Client, parameters: Parameters
    ) -> tuple[Grant, tuple[str, ...]]:
        token = self._refresh_tokens.get(_digest(parameters["refresh_token"]))
        if token is None or not token.live or token.grant.client_id != client.client_id:
            raise OAuthError("invalid_grant", "The refresh token is not valid.")
        if token.used:
            # Two parties have it, and one of them stole it. Nobody can tell which, so both lose
            # everything, the newest tokens too (OAuth 2.1 section 4.3.1, RFC 9700 section 4.14.2).
            token.grant.revoked = True
            raise OAuthError("invalid_grant", "The refresh token was used before.")
        parameters.resource({token.grant.resource})
        scopes = parameters.scopes(token.scopes, token.scopes)
        token.used = True
        return token.grant, scopes

    def _by_device(self, client: Client, parameters: Parameters) -> tuple[Grant, tuple[str, ...]]:
        digest = _digest(parameters["device_code"])
        request = self._devices.get(digest)
        if request is None or request.client.client_id != client.client_id:
            raise OAuthError("invalid_grant", "There is no such device code.")
        parameters.resource({request.resource})
        if request.denied:
            raise OAuthError("access_denied", "The person said no.")
        if time.time() >= request.expires_at:
            raise OAuthError("expired_token", "The device code has expired.")
        if request.grant is None:
            raise OAuthError("authorization_pending", "The person has not decided yet.")
        del self._devices[digest]
        return request.grant, request.scopes

    def revoke(self, parameters: Parameters) -> None:
        """End an access token, or with a refresh token the whole grant (RFC 7009 section 2.1).

        Raises:
            OAuthError: It is another client's. An unknown token is revoked already (section 2.2).
        """
        client, digest = self._client(parameters), _digest(parameters["token"])
        access, refresh = self._access_tokens.get(digest), self._refresh_tokens.get(digest)
        token = access or refresh
        if token is not None and token.grant.client_id != client.client_id:
            raise OAuthError("invalid_grant", "The token was issued to another client.")
        if access is not None:
            access.expires_at = time.time()
        if refresh is not None:
            refresh.grant.revoked = True

    # For the MCP server, the story and tests

    def access_token(self, value: str) -> Token | None:
        """Find an access token, also one that has ended."""
        return self._access_tokens.get(_digest(value))

    def refresh_token(self, value: str) -> Token | None:
        """Find a refresh token, also one that has ended."""
        return self._refresh_tokens.get(_digest(value))

    def next_expiry(self) -> float | None:
        """Return the time when the last live access token will have expired."""
        return max((token.expires_at for token in self._live()), default=None)

    def expire_access_tokens(self) -> int:
        """End all access tokens before their time, and return how many. Refresh tokens stay."""
        tokens = self._live()
        for token in tokens:
            token.expires_at = time.time()
        return len(tokens)

    def _live(self) -> list[Token]:
        return [token for token in list(self._access_tokens.values()) if token.live]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
