"""The device authorization grant (RFC 8628): a code to enter on another device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard
from urllib.parse import urlencode

from authlib.oauth2.rfc6749.parameters import prepare_token_request

from mcpnb.errors import GrantError, LoginError, ServerError
from mcpnb.oauth.credentials import Registration
from mcpnb.oauth.models import AuthorizationServer, Secret
from mcpnb.oauth.registration import GRANT
from mcpnb.oauth.token import Request, authenticated
from mcpnb.oauth.urls import require_endpoint
from mcpnb.text import quote, sanitize

_INTERVAL = 5.0
"""Seconds between two polls if the server names none (RFC 8628 section 3.2)."""
_LIFETIME = 600.0
_LONGEST_CODE = 64


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """One device authorization: what a person enters where, and how to poll for the result."""

    server: AuthorizationServer
    registration: Registration
    resource: str
    scopes: tuple[str, ...]
    device_code: Secret
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_at: float
    """Seconds since the epoch."""
    interval: float
    """Seconds between two polls, at least."""
    grant: str = GRANT
    """What tells it from an authorization request at rest."""

    @property
    def url(self) -> str:
        """The address to open: with the code in it, if the server gives such a one."""
        return self.verification_uri_complete or self.verification_uri

    @property
    def redirect_uri(self) -> None:
        """No browser is sent anywhere."""
        return

    @property
    def nonce(self) -> Secret:
        """What distinguishes it from every other request."""
        return self.device_code


def endpoint_of(server: AuthorizationServer) -> str:
    """Return the device authorization endpoint (RFC 8628 section 4).

    Raises:
        LoginError: The server has none.
    """
    if server.device_authorization_endpoint is None:
        raise LoginError(
            f"The authorization server {quote(server.issuer)} offers no sign-in on another "
            "device. Sign in with a browser instead. If that runs on another machine, paste the "
            "address that it ends at."
        )
    return server.device_authorization_endpoint


def begin(registration: Registration, resource: str, scopes: tuple[str, ...]) -> Request:
    """Make the device authorization request (RFC 8628 section 3.1)."""
    fields = {"scope": " ".join(scopes), "resource": resource}
    return authenticated(urlencode({k: v for k, v in fields.items() if v}), registration)


def poll(request: DeviceRequest) -> Request:
    """Make the request that asks whether the person has approved (RFC 8628 section 3.4)."""
    body = prepare_token_request(
        GRANT, device_code=request.device_code.reveal(), resource=request.resource
    )
    return authenticated(body, request.registration)


def read_begun(  # noqa: PLR0913  all that the response leaves out
    document: Any,
    *,
    now: float,
    server: AuthorizationServer,
    registration: Registration,
    resource: str,
    scopes: tuple[str, ...],
) -> DeviceRequest:
    """Validate a device authorization response (RFC 8628 section 3.2).

    Args:
        document: The JSON body.
        now: When the request was sent, seconds since the epoch.
        server: The authorization server.
        registration: The client.
        resource: The MCP server's identifier.
        scopes: What was asked for.

    Raises:
        GrantError: Nobody could sign in with it.
    """
    found = document if isinstance(document, dict) else {}
    device_code, user_code = found.get("device_code"), found.get("user_code")
    # Google's name for it; RFC 8628 settled on the other.
    uri = found.get("verification_uri") or found.get("verification_url")
    complete = found.get("verification_uri_complete")
    # JSON can hold lone surrogates, which no form can.
    if not _is_text(device_code) or not device_code.isprintable():
        device_code = None
    if device_code is None or not _is_text(user_code) or not _is_page(uri):
        raise GrantError("The response of the device authorization endpoint is not complete.")
    return DeviceRequest(
        server=server,
        registration=registration,
        resource=resource,
        scopes=scopes,
        device_code=Secret(device_code),
        user_code=sanitize(user_code, _LONGEST_CODE),
        verification_uri=uri,
        verification_uri_complete=complete if _is_page(complete) else None,
        expires_at=now + (_number(found.get("expires_in")) or _LIFETIME),
        interval=_number(found.get("interval")) or _INTERVAL,
    )


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())


def _is_page(value: object) -> TypeGuard[str]:
    """Whether a person can be sent there: https, or http on this machine, and one line."""
    try:
        # threat: dangerous-device-page
        return bool(require_endpoint(value, "verification_uri"))
    except ServerError:
        return False


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 86_400:
        return None
    return float(value)
