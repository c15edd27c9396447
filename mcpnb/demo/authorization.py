"""The state and the rules of the demo's authorization server; `endpoints` puts them behind URLs.

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
from collections.abc import Container
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlencode

from mcpnb.demo.clients import CODE, REDIRECTS, Client, OAuthError, fetched

READ: Final = "data:read"
WRITE: Final = "data:write"
SCOPES: Final = {
    READ: "Read the harbour traffic data",
    WRITE: "Publish reports in your name",
}
"""What each scope is called on the consent page."""

REFRESH: Final = "refresh_token"
DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
# Seconds. RFC 6749 section 4.1.2 allows a code ten minutes; a loopback redirect needs seconds.
_CODE_LIFETIME: Final = 60
_DEVICE_CODE_LIFETIME: Final = 600
# RFC 8628 section 6.1: no vowels, so that a code is never a word.
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
# A SHA-256 digest in base64url (RFC 7636 section 4.2).
_CHALLENGE_LENGTH: Final = 43


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
    revoked: bool = False

    @property
    def live(self) -> bool:
        """Whether it still opens anything."""
        return not self.revoked and not self.grant.revoked and time.time() < self.expires_at


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
    deny: bool = False
    """Answer every authorization request with ``access_denied``."""
    redirects: Literal["anywhere", "localhost", "callback"] = "anywhere"
    """Which redirect URIs the operator allows."""
    device_grant: bool = False
    """Let people enter a code on another device (RFC 8628)."""
    subject: str = "ada"
    public_address: str | None = None
    """Where browsers reach the pages, if not at the issuer. For the demo behind Jupyter's proxy
    only: a real server has one address for everybody."""
    grants: Counter[str] = field(default_factory=Counter)
    """How many exchanges succeeded, by grant type."""
    consents: list[AuthorizationRequest] = field(default_factory=list)
    """Every request that was decided on the consent page, oldest first."""
    clients: dict[str, Client] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # By the digest of the code or token, so that no representation shows one.
        self._codes: dict[str, AuthorizationRequest] = {}
        self._devices: dict[str, AuthorizationRequest] = {}
        self._access_tokens: dict[str, Token] = {}
        self._refresh_tokens: dict[str, Token] = {}

    @property
    def pages_address(self) -> str:
        """Where browsers reach the pages; programs use the issuer's own address."""
        return self.public_address or self.issuer

    def metadata(self) -> dict[str, Any]:
        """Return the metadata document (RFC 8414)."""
        document: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.pages_address}/authorize",
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
            "client_id_metadata_document_supported": True,
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
        for uri in client.redirect_uris:
            self._check_redirect(uri, "invalid_redirect_uri")
        client = client.model_copy(update={"client_id": f"demo-{secrets.token_urlsafe(9)}"})
        self.clients[client.client_id] = client
        return client.model_dump(exclude_unset=True) | {
            "client_id_issued_at": int(time.time()),
            # RFC 7591's default would mean a secret.
            "token_endpoint_auth_method": client.token_endpoint_auth_method,
        }

    def _check_redirect(self, uri: str, error: str) -> None:
        if not REDIRECTS[self.redirects](uri):
            raise OAuthError(error, f"This server allows redirects to {self.redirects} only.")

    # Authorization

    async def authorization_request(self, parameters: Parameters) -> AuthorizationRequest:
        """Find out which client asks, and where to send the response.

        Raises:
            OAuthError: This is not certain, so only the person can be told (RFC 6749 4.1.2.1).
        """
        client_id = parameters["client_id"]
        if client_id.startswith(("https://", "http://")):
            self.clients[client_id] = await fetched(client_id)
        client = self._client(parameters)
        uri = parameters["redirect_uri"]
        if not client.may_redirect_to(uri):
            raise OAuthError("invalid_request", "The app did not register this redirect_uri.")
        self._check_redirect(uri, "invalid_request")
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

    def answer(self, request: AuthorizationRequest, *, approved: bool) -> None:
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
        page = f"{self.pages_address}/device"
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
        if request is None or request.grant is None or not _is_of(client, request.grant):
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
        if token is None or not token.live or not _is_of(client, token.grant):
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
        if token is not None and not _is_of(client, token.grant):
            raise OAuthError("invalid_grant", "The token was issued to another client.")
        if access is not None:
            access.revoked = True
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


def _is_of(client: Client, grant: Grant) -> bool:
    return client.client_id == grant.client_id


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
