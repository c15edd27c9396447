"""The demo's sign-in on another device (RFC 8628): a code to enter where a browser is."""

# authlib has no type information.
# mypy: disable-error-code="import-untyped", allow-subclassing-any, allow-untyped-calls
from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc8628 import (
    DEVICE_CODE_GRANT_TYPE,
    DeviceAuthorizationEndpoint,
    DeviceCodeGrant,
)

from mcpnb.demo.clients import AUTH_METHODS
from mcpnb.demo.storage import Grant

if TYPE_CHECKING:
    from mcpnb.demo.authorization_server import AuthorizationServer

__all__ = [
    "DEVICE_CODE",
    "DeviceAuthorization",
    "DeviceCode",
    "DeviceCodes",
    "DeviceGrant",
    "InvalidTargetError",
    "check_resource",
]

DEVICE_CODE: str = DEVICE_CODE_GRANT_TYPE


class InvalidTargetError(OAuth2Error):
    """The resource is missing, unknown, or not the one that was consented to (RFC 8707 2)."""

    error = "invalid_target"


def check_resource(values: list[str], allowed: set[str] | frozenset[str]) -> None:
    """Insist on exactly one ``resource``, and on one that is meant.

    Raises:
        InvalidTargetError: There is none, another one, or more than one.
    """
    if len(values) != 1 or values[0] not in allowed:
        raise InvalidTargetError("The resource parameter has to name the MCP server, exactly once.")


@dataclass(slots=True, eq=False)
class DeviceCode:
    """What one device asked for, and what a person said to it."""

    client_id: str
    scope: str
    resource: str
    user_code: str
    expires_at: float
    decision: tuple[Grant, bool] | None = field(default=None, repr=False)

    def get_client_id(self) -> str:
        """Name the client that asked."""
        return self.client_id

    def get_scope(self) -> str:
        """Give the scopes that were asked for."""
        return self.scope

    def get_user_code(self) -> str:
        """Give what a person enters."""
        return self.user_code

    def is_expired(self) -> bool:
        """Tell whether its time is over."""
        return time.time() >= self.expires_at

    def decide(self, subject: str, *, approved: bool) -> Grant:
        """Take a person's word."""
        grant = Grant(subject, self.client_id, self.resource, self.scope)
        self.decision = grant, approved
        return grant


class DeviceCodes:
    """Every code that waits for somebody."""

    def __init__(self) -> None:
        self._by_device_code: dict[str, DeviceCode] = {}

    def add(self, device_code: str, asked: DeviceCode) -> None:
        """Remember one; forget those whose time is over."""
        self._by_device_code = {
            code: waiting
            for code, waiting in self._by_device_code.items()
            if not waiting.is_expired()
        }
        self._by_device_code[device_code] = asked

    def of_device(self, device_code: str) -> DeviceCode | None:
        """Find what a device asks for again."""
        return self._by_device_code.get(device_code)

    def of_person(self, user_code: str) -> DeviceCode | None:
        """Find what a person entered: as written, or without the hyphen, or in small letters."""
        entered = _letters(user_code)
        for waiting in self._by_device_code.values():
            if _letters(waiting.user_code) == entered and waiting.decision is None:
                return None if waiting.is_expired() else waiting
        return None

    def forget(self, device_code: str) -> None:
        """Forget one: it gave its tokens."""
        self._by_device_code.pop(device_code, None)


def _letters(code: str) -> str:
    return "".join(filter(str.isalnum, code)).upper()


class DeviceAuthorization(DeviceAuthorizationEndpoint):
    """Where a device asks for a code (RFC 8628 section 3.1)."""

    CLIENT_AUTH_METHODS = AUTH_METHODS
    EXPIRES_IN = 600
    # The shortest that anybody needs: the server is on the same computer.
    INTERVAL = 1
    server: AuthorizationServer

    def create_endpoint_response(self, request: Any) -> Any:
        """Check the resource on top of authlib's rules."""
        check_resource(request.resources, self.server.resources)
        self._request = request
        return super().create_endpoint_response(request)

    def get_verification_uri(self) -> str:
        """Give the page that a person opens."""
        return f"{self.server.pages_address}/device"

    def save_device_credential(self, client_id: str, scope: str | None, data: Any) -> None:
        """Remember what was asked for."""
        request = self._request
        asked = DeviceCode(
            client_id=client_id,
            scope=request.client.get_allowed_scope(scope),
            resource=request.resources[0],
            user_code=data["user_code"],
            expires_at=time.time() + self.EXPIRES_IN,
        )
        self.server.device_codes.add(data["device_code"], asked)


class DeviceGrant(DeviceCodeGrant):
    """What a device gets for its code, once somebody agreed (RFC 8628 section 3.4)."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    server: AuthorizationServer

    def query_device_credential(self, device_code: str) -> DeviceCode | None:
        """Find what was asked for."""
        found = self.server.device_codes.of_device(device_code)
        if found is not None:
            check_resource(self.request.resources, {found.resource})
            self._asked = found
        return found

    def query_user_grant(self, _user_code: str) -> tuple[Grant, bool] | None:
        """Give the person's word, if there is one."""
        return self._asked.decision

    def should_slow_down(self, _credential: DeviceCode) -> bool:
        """Let it ask as often as it likes."""
        return False

    def create_token_response(self) -> Any:
        """Give the tokens once."""
        self.server.storage.grants.append(self.request.user)
        self.server.device_codes.forget(self.request.payload.data["device_code"])
        return super().create_token_response()
