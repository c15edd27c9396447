"""What earlier versions stored is read, and what is stored has the members that they read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcpnb import errors
from mcpnb.login.pending import PendingLogins
from mcpnb.oauth.authorization import AuthorizationRequest, DeviceRequest
from mcpnb.oauth.credentials import LoginRecord, RefreshFailure, Registration, from_json, to_json
from mcpnb.oauth.models import AuthorizationServer, Secret
from mcpnb.stores import MemoryStore, RecordName

# As written by the versions of 2026, literally.
REGISTRATION = """{"issuer": "https://as.example", "client_id": "client", "method": "dcr",
 "auth_method": "client_secret_post", "client_secret": "client-secret",
 "secret_expires_at": 1900000000.0, "redirect_uri": "http://127.0.0.1:27182/callback",
 "scopes": ["read"]}"""
SERVER = """{"issuer": "https://as.example",
 "authorization_endpoint": "https://as.example/authorize",
 "token_endpoint": "https://as.example/token",
 "registration_endpoint": "https://as.example/register",
 "revocation_endpoint": "https://as.example/revoke", "device_authorization_endpoint": null,
 "scopes_supported": ["read"], "code_challenge_methods": ["S256"], "token_auth_methods": null,
 "iss_in_response": true, "client_id_metadata": false,
 "url": "https://as.example/.well-known/oauth-authorization-server"}"""
LOGIN_1 = f"""{{"version": 1, "server": "https://mcp.example/mcp", "account": "work",
 "resource": "https://mcp.example/mcp", "registration": {REGISTRATION},
 "token_endpoint": "https://as.example/token",
 "revocation_endpoint": "https://as.example/revoke", "generation": 1700000000000,
 "signed_in_at": 1700000000.0, "requested_scopes": ["read"],
 "tokens": {{"access_token": "access", "refresh_token": "refresh", "obtained_at": 1700000000.0,
  "expires_at": 1700003600.0, "scopes": ["read"]}}}}"""
NEW_IN_2 = """{"version": 2, "setback": {"kind": "refused", "at": 1700000001.0,
 "error": "slow_down", "said": "Wait.", "until": 1700000031.0},
 "doubted_at": 1700000002.0, "vain_at": 1700000003.0,
 "earlier": [{"registration": {"issuer": "https://as.example", "client_id": "older",
  "method": "preregistered", "auth_method": "none", "client_secret": null,
  "secret_expires_at": null, "redirect_uri": null, "scopes": null},
  "revocation_endpoint": null, "tokens": {"access_token": "old", "refresh_token": null,
  "obtained_at": 1600000000.0, "expires_at": null, "scopes": []}}]}"""
REQUEST = f"""{{"server": {SERVER}, "registration": {REGISTRATION},
 "redirect_uri": "http://127.0.0.1:27182/callback", "resource": "https://mcp.example/mcp",
 "scopes": ["read"], "state": "state", "verifier": "verifier", "choose_account": true}}"""
DEVICE = f"""{{"grant": "urn:ietf:params:oauth:grant-type:device_code", "server": {SERVER},
 "registration": {REGISTRATION}, "resource": "https://mcp.example/mcp", "scopes": ["read"],
 "device_code": "device", "user_code": "ABCD", "verification_uri": "https://as.example/device",
 "verification_uri_complete": null, "expires_at": 1700000000.0, "interval": 5.0}}"""
LOGIN_2: dict[str, Any] = json.loads(LOGIN_1) | json.loads(NEW_IN_2)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (Registration, REGISTRATION),
        (AuthorizationServer, SERVER),
        (AuthorizationRequest, REQUEST),
        (DeviceRequest, DEVICE),
    ],
)
def test_what_is_stored_is_read_and_stored_the_same(kind: type, stored: str) -> None:
    assert to_json(from_json(kind, json.loads(stored))) == json.loads(stored)


def test_a_login_is_read_and_stored_the_same() -> None:
    record = LoginRecord.from_dict(LOGIN_2)

    assert record.to_dict() == LOGIN_2
    assert record.tokens.refresh_token == Secret("refresh")
    assert record.generation == 1_700_000_000_000
    assert record.refresh_failure == RefreshFailure(
        "refused", 1_700_000_001.0, "slow_down", "Wait.", 1_700_000_031.0
    )
    assert (record.rejected_at, record.refresh_failed_at) == (1_700_000_002.0, 1_700_000_003.0)
    assert record.earlier[0].registration.client_id == "older"


def test_a_login_of_the_first_version_is_read_and_stored_as_the_second() -> None:
    record = LoginRecord.from_dict(json.loads(LOGIN_1))

    empty: dict[str, Any] = {
        "version": 2,
        "setback": None,
        "doubted_at": None,
        "vain_at": 0.0,
        "earlier": [],
    }
    assert record.to_dict() == json.loads(LOGIN_1) | empty


@pytest.mark.parametrize(
    "stored", [REQUEST.replace(', "choose_account": true', ""), REQUEST, DEVICE]
)
def test_a_pending_sign_in_of_an_earlier_version_is_completed(stored: str) -> None:
    store = MemoryStore()
    name = RecordName("login", "https://mcp.example/mcp")
    head = '"format": 1, "expires_at": 9e9, "port": 27182, "via": "loopback"'
    text = f'{{{head}, "retry_without_scopes": true, "claimed_at": null, "request": {stored}}}'
    store.write(RecordName("pending", name.name), json.loads(text))

    pending = PendingLogins(store, name).current()

    assert pending is not None
    added = {} if stored == DEVICE else {"choose_account": False}
    assert to_json(pending.request) == added | json.loads(stored)
    assert (pending.expires_at, pending.port, pending.retry_without_scopes) == (9e9, 27182, True)


def test_damaged_earlier_logins_are_no_reason_to_lose_this_one() -> None:
    record = LoginRecord.from_dict(LOGIN_2 | {"earlier": [{"registration": 1}]})

    assert record.earlier == ()
    assert record.tokens.access_token == Secret("access")


@pytest.mark.parametrize("version", [0, 3, "2", None, []])
def test_another_version_is_told_as_such(version: Any) -> None:
    kind = errors.NewerFormat if version == 3 else errors.StoreError
    with pytest.raises(kind, match="format"):
        LoginRecord.from_dict(LOGIN_2 | {"version": version})


def test_an_empty_secret_is_none() -> None:
    """Some servers register a client with one."""
    stored = json.loads(REGISTRATION) | {"client_secret": ""}
    assert from_json(Registration, stored).client_secret is None
