"""What token, registration and device endpoints answer, and their errors."""

from __future__ import annotations

import json
from typing import Any

import httpx
from hypothesis import strategies as st

from mcpnb.errors import GrantError
from mcpnb.oauth import client as oauth
from mcpnb.oauth import registration
from mcpnb.oauth.authorization import DeviceRequest, read_device_request
from mcpnb.oauth.credentials import LoginRecord, from_json, to_json
from mcpnb.oauth.http import Response
from tests.fuzz.running import fit_to_show, fuzzed, only_ours
from tests.fuzz.strategies import JSON, NUMBERS, TEXT, documents, objects
from tests.fuzz.values import CONFIG, REGISTRATION, SERVER, URL, request_for

_NOW = 1_700_000_000.0
_TOKENS: dict[str, Any] = {
    "access_token": "access-5hVq2LmT8rZk",
    "token_type": "Bearer",
    "expires_in": 3600,
    "refresh_token": "refresh-7wXp4NcB9sJd",
    "scope": "read write",
}
_CLIENT: dict[str, Any] = {
    "client_id": "client-1",
    "client_secret": "secret-3fGt6YhU1qEa",
    "client_secret_expires_at": 0,
    "token_endpoint_auth_method": "client_secret_basic",
    "redirect_uris": ["http://127.0.0.1:27182/callback"],
    "scope": "read",
}
_DEVICE: dict[str, Any] = {
    "device_code": "device-8kRz5DvM2xQp",
    "user_code": "ABCD-EFGH",
    "verification_uri": "https://as.example/device",
    "verification_uri_complete": "https://as.example/device?code=ABCD-EFGH",
    "expires_in": 600,
    "interval": 5,
}
_ERROR: dict[str, Any] = {
    "error": "invalid_grant",
    "error_description": "It has expired.",
    "error_uri": "https://as.example/errors",
}
_ASKED = registration.metadata("http://127.0.0.1:27182/callback", SERVER, ("read",))


def _record(document: Any) -> LoginRecord:
    tokens = oauth.read_tokens(document, now=_NOW, asked=("read",))
    return oauth.login_record(request_for(), tokens, CONFIG)


@fuzzed(examples=150, document=documents(_TOKENS) | JSON)
def test_a_token_answer_makes_a_login_that_can_be_kept_and_renewed_or_is_refused(
    document: Any,
) -> None:
    with only_ours(secrets=("access-5hVq2LmT8rZk", "refresh-7wXp4NcB9sJd")):
        record = _record(document)
        assert LoginRecord.from_dict(record.to_dict()) == record
        expires = record.tokens.expires_at
        assert expires is None or _NOW <= expires < _NOW + 11 * 365 * 86_400
        refresh_token = record.tokens.refresh_token
        form = {"refresh_token": refresh_token.reveal() if refresh_token else ""}
        body, headers = oauth.authenticated(form, record.registration)
        assert body.isascii()
        assert all(value.isascii() for value in headers.values())
        assert request_for(scopes=record.requested_scopes).url.isascii()


@fuzzed(examples=100, more=objects())
def test_members_of_a_token_answer_that_nobody_knows_change_nothing(more: dict[str, Any]) -> None:
    assert _record(more | _TOKENS).tokens == _record(_TOKENS).tokens


@fuzzed(
    examples=150,
    status=st.sampled_from([200, 201, 201, 400, 500]),
    document=documents(_CLIENT) | JSON,
)
def test_a_registration_answer_makes_a_client_that_can_be_used_or_is_refused(
    status: int, document: Any
) -> None:
    with only_ours(secrets=("secret-3fGt6YhU1qEa",)):
        client = registration.from_response(status, document, asked=_ASKED, server=SERVER)
        assert request_for(registration=client).url.isascii()
        assert len(request_for(registration=client).url) < 50_000
        body, headers = oauth.authenticated({"grant_type": "refresh_token"}, client)
        assert body.isascii()
        assert all(value.isascii() for value in headers.values())
        fit_to_show(repr(client), ("secret-3fGt6YhU1qEa",), most=100_000)


@fuzzed(examples=150, document=documents(_DEVICE) | JSON)
def test_a_device_answer_gives_a_code_that_can_be_shown_and_asked_for_or_is_refused(
    document: Any,
) -> None:
    with only_ours(secrets=("device-8kRz5DvM2xQp",)):
        request = read_device_request(document, SERVER, REGISTRATION, URL, ("read",), now=_NOW)
        fit_to_show(request.user_code, most=70)
        fit_to_show(request.url)
        assert 0 <= request.expires_at - _NOW <= 86_400
        assert 0 < request.interval <= 86_400
        form = {"device_code": request.device_code.reveal()}
        assert oauth.authenticated(form, REGISTRATION)[0].isascii()
        assert from_json(DeviceRequest, to_json(request)) == request


@fuzzed(
    examples=150,
    status=st.integers(100, 999),
    document=documents(_ERROR) | JSON,
    after=st.none() | NUMBERS,
    sent=st.lists(TEXT.filter(bool), max_size=3),
)
def test_an_error_answer_is_told_in_our_words(
    status: int, document: Any, after: Any, sent: list[str]
) -> None:
    headers = {} if after is None else {"Retry-After": str(after)}
    answer = Response(URL, status, httpx.Headers(headers), json.dumps(document).encode())
    error = oauth.grant_error(answer, "Renewing the login", sent=tuple(sent))
    assert isinstance(error, GrantError)
    fit_to_show(str(error))


@fuzzed(examples=100, before=TEXT, after=TEXT, name=st.sampled_from(["error", "error_description"]))
def test_a_secret_that_an_error_repeats_is_in_none_of_our_words(
    before: str, after: str, name: str
) -> None:
    secret = "code-6vBn1KjH4tFs"
    document = _ERROR | {name: f"{before}{secret}{after}"}
    answer = Response(URL, 400, httpx.Headers(), json.dumps(document).encode())
    error = oauth.grant_error(answer, "Exchanging the code", sent=(secret,))
    fit_to_show(str(error), (secret,))
    assert secret not in error.error
