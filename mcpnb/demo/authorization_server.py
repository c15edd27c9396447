"""The demo's authorization server: authlib's server side, with switches and counters.

Everything runs in one event loop, so nothing here is locked. A test may read and flip the public
attributes from any thread.
"""

# authlib has no type information.
# mypy: disable-error-code="import-untyped", allow-subclassing-any, allow-untyped-calls
from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from authlib.oauth2 import rfc6749, rfc8414, rfc9207
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from starlette.responses import Response

from mcpnb.demo.clients import AUTH_METHODS, Client, Clients
from mcpnb.demo.device import DEVICE_CODE, DeviceAuthorization, DeviceCodes, DeviceGrant
from mcpnb.demo.grants import (
    ALGORITHM,
    AccessTokens,
    AuthorizationCodeGrant,
    Issuer,
    RefreshTokenGrant,
    Registration,
    ResourceRequired,
    Revocation,
    S256Required,
)
from mcpnb.demo.scopes import DESCRIPTIONS
from mcpnb.demo.storage import Grant, Storage

__all__ = ["Answer", "AuthorizationServer", "Consent", "JsonRequest", "Request"]


@dataclass(frozen=True, slots=True)
class Consent:
    """One decision on the consent page."""

    client: str
    scopes: tuple[str, ...]
    resource: str
    approved: bool


class Payload(rfc6749.requests.OAuth2Payload):
    """The parameters of a request, once as a mapping and once with all repetitions."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._lists: dict[str, list[str]] = {}
        for key, value in fields:
            self._lists.setdefault(key, []).append(value)

    @property
    def data(self) -> dict[str, str]:
        """Give the first value of each."""
        return {key: values[0] for key, values in self._lists.items()}

    @property
    def datalist(self) -> dict[str, list[str]]:
        """Give all values of each."""
        return self._lists


class Request(rfc6749.OAuth2Request):
    """A request as authlib wants it: the query of an authorization, the form of anything else."""

    def __init__(
        self, method: str, uri: str, fields: list[tuple[str, str]], headers: Any = None
    ) -> None:
        super().__init__(method, uri, headers=headers)
        self.payload = Payload(fields)

    @property
    def args(self) -> dict[str, str]:
        """Give the parameters."""
        return dict(self.payload.data)

    @property
    def form(self) -> dict[str, str]:
        """Give the parameters."""
        return dict(self.payload.data)

    @property
    def resources(self) -> list[str]:
        """Give every ``resource`` (RFC 8707 allows several; here one is right)."""
        return list(self.payload.datalist.get("resource", []))


class JsonPayload(rfc6749.requests.JsonPayload):
    """The body of a registration."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    @property
    def data(self) -> dict[str, Any]:
        """Give the metadata that the client sent."""
        return self._data


class JsonRequest(rfc6749.JsonRequest):
    """A registration request as authlib wants it."""

    def __init__(self, uri: str, data: dict[str, Any]) -> None:
        super().__init__("POST", uri)
        self.payload = JsonPayload(data)


class Answer(Response):
    """An HTTP answer; ``location`` is what authlib's RFC 9207 extension adds ``iss`` to."""

    @property
    def location(self) -> str | None:
        """Where it redirects to."""
        return self.headers.get("location")

    @location.setter
    def location(self, value: str) -> None:
        self.headers["location"] = value


class TokenAnswer(dict[str, Any]):
    """What the token endpoint says, without showing it: authlib logs its ``repr`` at DEBUG."""

    def __repr__(self) -> str:
        return "TokenAnswer(…)"


class AuthorizationServer(rfc6749.AuthorizationServer):
    """An OAuth 2.1 authorization server for one MCP server, on the loopback.

    Attributes:
        access_token_lifetime: Seconds that an access token lives.
        auto_consent: Approve without showing the page.
        deny: Refuse every authorization request with ``access_denied``.
        localhost_redirects_only: Register and use no redirect away from this computer.
        callback_redirects_only: Register no redirect but ``/callback`` on this computer, as servers
            do whose operator has a list.
        device_grant: Let people enter a code on another device (RFC 8628).
        public_address: Where browsers reach the pages, if not at the issuer's own address. For the
            demo behind Jupyter's proxy only: a real server is at one address for everybody.
        announce_iss: Announce and send ``iss`` (RFC 9207); off, it plays an older server.
        rotate: Rotate refresh tokens, with reuse detection.
        resources: The MCP servers that tokens may be asked for.
        grants: How many exchanges succeeded, by grant type.
        consents: Every decision on the consent page, oldest first.
    """

    def __init__(  # noqa: PLR0913 - switches, all by name
        self,
        issuer: str,
        *,
        resource: str,
        access_token_lifetime: float = 3600,
        auto_consent: bool = False,
        deny: bool = False,
        localhost_redirects_only: bool = False,
        callback_redirects_only: bool = False,
        device_grant: bool = False,
        announce_iss: bool = True,
        rotate: bool = True,
        subject: str = "ada",
    ) -> None:
        super().__init__(scopes_supported=list(DESCRIPTIONS))
        self.issuer = issuer
        self.resources = {resource}
        self.access_token_lifetime = access_token_lifetime
        self.auto_consent = auto_consent
        self.deny = deny
        self.localhost_redirects_only = localhost_redirects_only
        self.callback_redirects_only = callback_redirects_only
        self.device_grant = device_grant
        self.public_address: str | None = None
        self.announce_iss = announce_iss
        self.rotate = rotate
        self.subject = subject
        self.grants: Counter[str] = Counter()
        self.consents: list[Consent] = []
        self.clients = Clients()
        self.storage = Storage()
        self.device_codes = DeviceCodes()
        key = ECKey.generate_key("P-256", {"use": "sig", "alg": ALGORITHM}, auto_kid=True)
        self.keys = KeySet([key])
        self.register_token_generator("default", AccessTokens(self, key))
        self.register_grant(AuthorizationCodeGrant, [S256Required(), ResourceRequired()])
        self.register_grant(RefreshTokenGrant)
        self.register_grant(DeviceGrant)
        self.register_endpoint(DeviceAuthorization(self))
        self.register_endpoint(Registration(self))
        self.register_endpoint(Revocation(self))
        self.iss = Issuer(self)
        self.register_extension(self.iss)
        rfc8414.AuthorizationServerMetadata(self.metadata()).validate(
            [rfc9207.AuthorizationServerMetadata]
        )

    # What authlib asks of a server.

    def query_client(self, client_id: str) -> Client | None:
        """Find a client."""
        return self.clients.get(client_id)

    def generate_token(self, *args: Any, **kwargs: Any) -> TokenAnswer:
        """Make the token endpoint's answer, in a form that no log can show."""
        return TokenAnswer(super().generate_token(*args, **kwargs))

    def save_token(self, token: dict[str, Any], request: Request) -> None:
        """Remember the refresh token, and count the exchange."""
        if "refresh_token" in token:
            self.storage.add_refresh_token(token["refresh_token"], request.user)
        self.grants[request.payload.grant_type] += 1

    def create_oauth2_request(self, request: Request) -> Request:
        """Take the request as it is: the endpoints make the right kind."""
        return request

    def create_json_request(self, request: JsonRequest) -> JsonRequest:
        """Take the request as it is: the endpoints make the right kind."""
        return request

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Tell nobody: nothing here listens to authlib's signals."""

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Answer:
        """Make an HTTP answer of authlib's three parts."""
        content = json.dumps(body) if isinstance(body, dict) else body
        answer = Answer(content, status, dict(headers))
        # An authorization answer holds a code: RFC 9700 section 4.2.4 and plain caution.
        answer.headers.setdefault("Cache-Control", "no-store")
        answer.headers.setdefault("Referrer-Policy", "no-referrer")
        return answer

    # What the MCP server and the tests ask.

    def metadata(self) -> dict[str, Any]:
        """Describe the server (RFC 8414)."""
        document: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.pages_address}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "registration_endpoint": f"{self.issuer}/register",
            "revocation_endpoint": f"{self.issuer}/revoke",
            "jwks_uri": f"{self.issuer}/jwks",
            "scopes_supported": list(DESCRIPTIONS),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
            "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
            "code_challenge_methods_supported": ["S256"],
            "client_id_metadata_document_supported": True,
        }
        if self.device_grant:
            document["device_authorization_endpoint"] = f"{self.issuer}/device_authorization"
            document["grant_types_supported"].append(DEVICE_CODE)
        if self.announce_iss:
            document["authorization_response_iss_parameter_supported"] = True
        return document

    @property
    def pages_address(self) -> str:
        """Where browsers reach the pages; programs use the issuer's own address."""
        return self.public_address or self.issuer

    def decode(self, access_token: str) -> dict[str, Any]:
        """Check the signature, kind and issuer of an access token and give its claims.

        Raises:
            JoseError: It is not one of this server's access tokens.
        """
        token = jwt.decode(access_token, self.keys, [ALGORITHM])
        if token.header.get("typ") != "at+jwt" or token.claims.get("iss") != self.issuer:
            raise JoseError("not an access token of this server")
        return token.claims

    def is_live(self, jti: str) -> bool:
        """Tell whether an access token is neither expired nor revoked, nor its grant."""
        token = self.storage.access_token(jti)
        return token is not None and token.live

    def grant_of(self, access_token: str) -> Grant | None:
        """Find the consent that an access token came from."""
        token = self.storage.access_token(str(self.decode(access_token).get("jti")))
        return None if token is None else token.grant

    def next_expiry(self) -> float | None:
        """Give the time when the last live access token will have expired."""
        return max((t.expires_at for t in self.storage.live_access_tokens()), default=None)

    def expire_access_tokens(self) -> int:
        """End all access tokens before their time; give how many. Refresh tokens stay."""
        tokens = self.storage.live_access_tokens()
        for token in tokens:
            token.expires_at = time.time()
        return len(tokens)

    def revoke_grants(self) -> int:
        """Withdraw every consent, as a person can at a real server; give how many."""
        grants = [grant for grant in self.storage.grants if not grant.revoked]
        for grant in grants:
            grant.revoked = True
        return len(grants)
