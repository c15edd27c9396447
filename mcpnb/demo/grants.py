"""The rules of the demo's authorization server, as authlib's grants, extensions and endpoints.

authlib brings the flows (RFC 6749, 7636, 7591, 7009); written here is what it leaves to a server:
where things are kept, that PKCE means S256, that ``resource`` is required (RFC 8707), and that a
refresh token which was used before ends everything (OAuth 2.1 section 4.3.1).
"""

# authlib has no type information, so its classes are Any to subclass and untyped to call.
# mypy: disable-error-code="import-untyped", allow-subclassing-any, allow-untyped-calls
from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749 import InvalidRequestError, grants
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7591 import (
    ClientMetadataClaims,
    ClientRegistrationEndpoint,
    InvalidClientMetadataError,
    InvalidRedirectURIError,
)
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9207 import IssuerParameter
from joserfc import jwt
from joserfc.errors import JoseError

from mcpnb.demo.clients import AUTH_METHODS, Client, is_callback, is_loopback, usable_redirect
from mcpnb.demo.device import DEVICE_CODE, check_resource
from mcpnb.demo.storage import AccessToken, AuthorizationCode, Grant, RefreshToken

if TYPE_CHECKING:
    from joserfc.jwk import ECKey

    from mcpnb.demo.authorization_server import AuthorizationServer

__all__ = [
    "AccessTokens",
    "AuthorizationCodeGrant",
    "Issuer",
    "RefreshTokenGrant",
    "Registration",
    "ResourceRequired",
    "Revocation",
    "S256Required",
]

ALGORITHM = "ES256"


class ResourceRequired:
    """RFC 8707: whoever asks says for which MCP server, and gets a token for no other."""

    def __call__(self, grant: Any) -> None:
        """Hook into authorization and token requests."""
        grant.register_hook("after_validate_authorization_request_payload", self._asked)
        grant.register_hook("after_validate_token_request", self._redeemed)

    def _asked(self, grant: Any, _: object) -> None:
        check_resource(grant.request.resources, grant.server.resources)

    def _redeemed(self, grant: Any, _: object) -> None:
        code: AuthorizationCode = grant.request.authorization_code
        check_resource(grant.request.resources, {code.grant.resource})


class S256Required(CodeChallenge):
    """RFC 7636 without ``plain`` and for everybody (OAuth 2.1 section 4.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: Any, redirect_uri: str | None) -> None:
        """Refuse a request without challenge; authlib alone would let it pass here."""
        data = grant.request.payload.data
        if not data.get("code_challenge") or data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("PKCE is required: code_challenge with method S256.")
        super().validate_code_challenge(grant, redirect_uri)


class Issuer(IssuerParameter):
    """RFC 9207: every authorization response says who answers, errors included."""

    def __init__(self, server: AuthorizationServer) -> None:
        self._server = server

    def get_issuer(self) -> str | None:
        """Give the issuer, unless the demo plays an older server."""
        return self._server.issuer if self._server.announce_iss else None


class AuthorizationCodeGrant(grants.AuthorizationCodeGrant):
    """The authorization code, once, within a minute, to whom it was issued."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    server: AuthorizationServer

    def validate_authorization_redirect_uri(self, request: Any, client: Client) -> str:
        """Find out where to answer.

        authlib's own message would quote the URI, and it refuses to make an error of one with
        characters outside RFC 6749's set.
        """
        uri = request.payload.redirect_uri or client.get_default_redirect_uri()
        if not uri or not client.check_redirect_uri(uri):
            raise InvalidRequestError("The redirect_uri is not one that this client registered.")
        if self.server.localhost_redirects_only and not is_loopback(uri):
            raise InvalidRequestError("This server redirects to localhost only.")
        return str(uri)

    def save_authorization_code(self, code: str, request: Any) -> None:
        """Remember what was consented to."""
        grant = Grant(
            subject=request.user,
            client_id=request.client.client_id,
            resource=request.resources[0],
            scope=request.scope,
        )
        data = request.payload.data
        self.server.storage.add_code(
            code,
            grant,
            request.payload.redirect_uri,
            data["code_challenge"],
            data["code_challenge_method"],
        )

    def query_authorization_code(self, code: str, client: Client) -> AuthorizationCode | None:
        """Find the code, if it may be exchanged."""
        return self.server.storage.code(code, client)

    def delete_authorization_code(self, authorization_code: AuthorizationCode) -> None:
        """Keep it as used, so that a second use is noticed."""
        authorization_code.used = True

    def authenticate_user(self, authorization_code: AuthorizationCode) -> Grant:
        """Give the consent: what authlib hands through as the user, tokens are made from."""
        return authorization_code.grant


class RefreshTokenGrant(grants.RefreshTokenGrant):
    """A new access token, and with rotation a new refresh token instead of the old one."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    server: AuthorizationServer

    @property
    def INCLUDE_NEW_REFRESH_TOKEN(self) -> bool:  # noqa: N802 - authlib's name for it
        """Whether to rotate."""
        return self.server.rotate

    def validate_token_request(self) -> None:
        """Check the resource on top of authlib's rules: the one consented to, no other."""
        super().validate_token_request()
        check_resource(self.request.resources, {self.request.refresh_token.grant.resource})

    def authenticate_refresh_token(self, refresh_token: str) -> RefreshToken | None:
        """Find a refresh token that may be used.

        One that was rotated is known to two parties, of which one stole it. Nobody can tell which,
        so both lose everything: the newest tokens too (RFC 9700 section 4.14.2).
        """
        found = self.server.storage.refresh_token(refresh_token)
        if found is None or found.grant.revoked:
            return None
        if found.rotated:
            found.grant.revoked = True
            return None
        return found

    def authenticate_user(self, refresh_token: RefreshToken) -> Grant:
        """Give the consent that it came from."""
        return refresh_token.grant

    def revoke_old_credential(self, refresh_token: RefreshToken) -> None:
        """Mark the old one, unless it stays in use."""
        refresh_token.rotated = self.server.rotate


class AccessTokens(BearerTokenGenerator):
    """Access tokens as signed JWTs (RFC 9068), one audience each."""

    def __init__(self, server: AuthorizationServer, key: ECKey) -> None:
        super().__init__(
            self._sign,
            refresh_token_generator=lambda **_: secrets.token_urlsafe(32),
            expires_generator=lambda *_: server.access_token_lifetime,
        )
        self._server = server
        self._key = key

    def _sign(self, client: Client, user: Grant, scope: str, **_: object) -> str:
        # Fractions of a second count (RFC 7519 allows them): whole ones would end a token of three
        # seconds up to a second before its client expects it.
        now = time.time()
        expires_at = now + self._server.access_token_lifetime
        claims = {
            "iss": self._server.issuer,
            "sub": user.get_user_id(),
            "aud": user.resource,
            "client_id": client.client_id,
            "scope": scope,
            "iat": now,
            "exp": expires_at,
            "jti": self._server.storage.add_access_token(user, expires_at),
        }
        header = {"alg": ALGORITHM, "typ": "at+jwt", "kid": self._key.kid}
        return jwt.encode(header, claims, self._key)


class Claims(ClientMetadataClaims):
    """RFC 7591's client metadata, and OIDC's ``application_type``."""

    REGISTERED_CLAIMS = (*ClientMetadataClaims.REGISTERED_CLAIMS, "application_type")


class Registration(ClientRegistrationEndpoint):
    """Dynamic client registration, open to everybody on this computer (RFC 7591)."""

    server: AuthorizationServer

    def __init__(self, server: AuthorizationServer) -> None:
        super().__init__(server, claims_classes=[Claims])

    def authenticate_token(self, _request: object) -> bool:
        """Ask for no initial access token."""
        return True

    def get_server_metadata(self) -> dict[str, Any]:
        """Give what a registration is held against."""
        return self.server.metadata()

    def extract_client_metadata(self, request: Any) -> dict[str, Any]:
        """Check the metadata, its types first: authlib takes those for granted."""
        data = request.payload.data
        for key in ("redirect_uris", "grant_types", "response_types"):
            value = data.get(key, [])
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise InvalidClientMetadataError(f"{key} has to be a list of strings.")
        for key in ("client_name", "scope", "application_type", "token_endpoint_auth_method"):
            if not isinstance(data.get(key, ""), str):
                raise InvalidClientMetadataError(f"{key} has to be a string.")
        if data.get("application_type", "web") not in {"native", "web"}:
            raise InvalidClientMetadataError("application_type has to be native or web.")
        uris = data.get("redirect_uris", [])
        # Nobody is sent anywhere by the device grant.
        needs_none = self.server.device_grant and DEVICE_CODE in data.get("grant_types", [])
        if not (uris or needs_none) or not all(map(usable_redirect, uris)):
            raise InvalidRedirectURIError("A redirect URI is https, or http on the loopback.")
        if self.server.localhost_redirects_only and not all(map(is_loopback, uris)):
            raise InvalidRedirectURIError("This server redirects to localhost only.")
        if self.server.callback_redirects_only and not all(map(is_callback, uris)):
            raise InvalidRedirectURIError("This server redirects to a local /callback only.")
        metadata: dict[str, Any] = super().extract_client_metadata(request)
        return metadata

    def generate_client_info(self, request: Any) -> dict[str, Any]:
        """Make an id, and a secret only for a client that means to use one."""
        info = {
            "client_id": f"demo-{secrets.token_urlsafe(9)}",
            "client_id_issued_at": int(time.time()),
        }
        if request.payload.data.get("token_endpoint_auth_method", "client_secret_basic") != "none":
            info |= {"client_secret": secrets.token_urlsafe(24), "client_secret_expires_at": 0}
        return info

    def save_client(self, info: dict[str, Any], metadata: dict[str, Any], _: object) -> Client:
        """Remember the client."""
        client = Client(info["client_id"], metadata, info.get("client_secret"))
        self.server.clients.add(client)
        return client


class Revocation(RevocationEndpoint):
    """Sign-out at the server (RFC 7009)."""

    CLIENT_AUTH_METHODS = AUTH_METHODS
    server: AuthorizationServer

    def query_token(self, value: str, _hint: str | None) -> AccessToken | RefreshToken | None:
        """Find the token; the hint would only save a look-up."""
        refresh_token = self.server.storage.refresh_token(value)
        if refresh_token is not None:
            return refresh_token
        try:
            claims = self.server.decode(value)
        except JoseError:
            return None
        return self.server.storage.access_token(str(claims.get("jti")))

    def revoke_token(self, token: AccessToken | RefreshToken, _request: object) -> None:
        """End an access token, or with a refresh token everything (RFC 7009 section 2.1)."""
        if isinstance(token, RefreshToken):
            token.grant.revoked = True
        else:
            token.revoked = True
