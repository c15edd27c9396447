"""What was found by fuzzing and mended: the input of each, as small as it got."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mcpnb
from mcpnb.config.files import File
from mcpnb.config.parse import parse
from mcpnb.errors import ConfigError, DiscoveryError, GrantError, ProtocolError, StoreError
from mcpnb.login.pending import PendingLogin, PendingLogins
from mcpnb.oauth import metadata
from mcpnb.oauth.authorization import read_device_request
from mcpnb.oauth.credentials import LoginRecord, from_json, to_json
from mcpnb.oauth.http import Http
from mcpnb.oauth.models import AuthorizationServer
from mcpnb.oauth.urls import canonical_server
from mcpnb.stores import FileStore, MemoryStore, RecordName
from tests.fakes.people import fails_before_the_browser
from tests.fakes.server import FakeServer
from tests.fuzz.test_records import KEY, RECORD
from tests.fuzz.values import METADATA, REGISTRATION, RESOURCE_METADATA, SERVER, URL, request_for

_NO_NAMES = ("https://xn--/", "https://xn--a/", "https://xn--0/x")
"""Hosts that look like encoded names, and are the encoding of nothing."""


@pytest.mark.parametrize("url", _NO_NAMES)
def test_a_host_that_encodes_no_name_is_no_usable_address(url: str) -> None:
    """The library raised idna.IDNAError, a UnicodeError, and none of its own."""
    http = Http(URL)
    with pytest.raises(DiscoveryError, match="is not a usable address"):
        http.get(url)
    http.close()


def test_an_issuer_whose_host_encodes_no_name_fails_the_sign_in_in_our_words(
    fake: FakeServer,
) -> None:
    fake.describe(authorization_servers=["https://xn--a"])
    error = fails_before_the_browser(fake.url, DiscoveryError, ProtocolError)
    assert "is not a usable address" in str(error)


def test_a_host_name_is_no_longer_than_one_in_dns_can_be() -> None:
    """Its encoding takes the square of its length: 13 s for ten thousand letters (measured)."""
    host = "é" * 254
    with pytest.raises(ConfigError, match="too long"):
        canonical_server(f"https://{host}/mcp")
    document = {**RESOURCE_METADATA, "resource": f"https://{host}/mcp"}
    with pytest.raises(ProtocolError, match="another resource"):
        metadata.protected_resource(document, server=URL, url=URL)
    document = {**METADATA, "token_endpoint": f"https://{host}/"}
    with pytest.raises(DiscoveryError, match="token_endpoint is not an address"):
        metadata.authorization_server(document, issuer=SERVER.issuer, url=URL)


@pytest.mark.parametrize("code", ["\ud800", "a\nb"])
def test_a_device_code_that_no_form_can_hold_is_refused(code: str) -> None:
    document = {
        "device_code": code,
        "user_code": "ABCD",
        "verification_uri": "https://as.example/device",
    }
    with pytest.raises(GrantError, match="not complete"):
        read_device_request(document, SERVER, REGISTRATION, URL, (), now=0.0)


@pytest.mark.parametrize(
    "changed",
    [
        {"tokens": {**RECORD["tokens"], "expires_at": "soon"}},
        {"tokens": {**RECORD["tokens"], "expires_at": 10**400}},
        {"tokens": {**RECORD["tokens"], "obtained_at": float("nan")}},
        {"tokens": {**RECORD["tokens"], "access_token": 1}},
        {"tokens": {**RECORD["tokens"], "scopes": "read"}},
        {"tokens": []},
        {"registration": None},
        {"registration": {**RECORD["registration"], "auth_method": "x"}},
        {"generation": "1"},
        {"setback": {"kind": "ended"}},
        {"setback": 1},
        {"server": None},
    ],
)
def test_a_record_with_a_member_of_another_type_is_no_login(changed: dict[str, Any]) -> None:
    """They were taken as they came, and failed where they were first reckoned with."""
    with pytest.raises(StoreError, match="incomplete"):
        LoginRecord.from_dict({**RECORD, **changed})


@pytest.mark.parametrize("record", [[], ["a"], "text", 1, [{"version": 2}]])
def test_a_record_that_is_no_object_is_told_as_such(tmp_path: Path, record: Any) -> None:
    store = FileStore(tmp_path)
    store.write(KEY, record)
    with pytest.raises(StoreError, match="something else than a record"):
        store.read(KEY)


def test_a_mark_of_a_time_that_never_comes_is_none(tmp_path: Path) -> None:
    """A whole number that no float can hold was an OverflowError."""
    store = FileStore(tmp_path)
    store.write(KEY, RECORD)
    [path] = tmp_path.glob("login-*.mcpnb")
    path.write_text('{"format": 1, "kind": "login", "deleted_at": 1' + "0" * 400 + "}")
    assert store.deleted_at(KEY) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"expires_at": "soon"},
        {"expires_at": float("nan")},
        {"claimed_at": "x"},
        {"via": []},
        {"request": []},
        {"request": {**to_json(request_for()), "server": []}},
        {"request": {**to_json(request_for()), "redirect_uri": None}},
        {"request": {**to_json(request_for()), "state": 1}},
        {"request": {**to_json(request_for()), "scopes": ["\ud800"]}},
        {"request": {**to_json(request_for()), "verifier": "é"}},
    ],
)
def test_a_pending_sign_in_with_a_member_of_another_type_is_none_or_as_usual(
    changed: dict[str, Any],
) -> None:
    store = MemoryStore()
    pendings = PendingLogins(store, KEY)
    pendings.put(PendingLogin(request_for(), expires_at=1e11))
    assert pendings.current() is not None
    key = RecordName("pending", KEY.name)
    store.write(key, {**(store.read(key) or {}), **changed})
    found = pendings.current()
    assert found is None or found.callback == "loopback"


def test_metadata_at_rest_without_a_member_is_incomplete() -> None:
    with pytest.raises(KeyError):
        from_json(AuthorizationServer, {"issuer": "https://as.example"})


def test_a_time_out_that_no_clock_can_count_is_no_number_of_seconds() -> None:
    """An integer of TOML has no end; milliseconds of it were an OverflowError."""
    for key in ("startup_timeout_ms", "startup_timeout_sec", "tool_timeout_sec"):
        text = f'[mcp_servers.a]\nurl = "{URL}"\n{key} = 1{"0" * 400}\n'
        with pytest.raises(ConfigError, match="a number of seconds"):
            parse(File(Path("mcpnb.toml"), "asked for"), text.encode(), trusted=True)


def test_a_key_of_too_many_parts_is_told_once() -> None:
    """Our own message was taken for the parser's, and the file named twice."""
    with pytest.raises(ConfigError) as caught:
        parse(File(Path("a.toml"), "own"), b"a." * 100 + b"a = 1", trusted=True)
    assert str(caught.value) == "a.toml has a key of more than 64 parts."


def test_a_name_that_stands_twice_is_not_repeated_whole() -> None:
    """A message of the TOML parser holds the key, as long as it is."""
    with pytest.raises(ConfigError) as caught:
        parse(File(Path("a.toml"), "own"), (f"[{'a' * 5_000}]\n" * 2).encode(), trusted=True)
    assert len(str(caught.value)) < 500


def test_the_name_of_a_variable_is_shown_without_what_a_terminal_obeys() -> None:
    text = f'[mcp_servers.a]\nurl = "{URL}"\noauth.client_secret_env_var = "\\u001b[2J"\n'
    with pytest.warns(UserWarning, match="is not set") as told:
        parse(File(Path("a.toml"), "own"), text.encode(), trusted=True)
    assert str(told[0].message).isprintable()


def test_a_variable_with_bytes_that_are_no_text_is_put_into_an_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Concealing it, in its percent-encoded form too, was a UnicodeEncodeError."""
    monkeypatch.setattr("mcpnb.text._secrets", ())
    monkeypatch.setenv("EXAMPLE_PATH", "\udc80abcdefgh")
    text = '{"mcpServers": {"a": {"url": "https://mcp.example/${EXAMPLE_PATH}"}}}'
    found = parse(File(Path(".mcp.json"), "own"), text.encode(), trusted=True)
    assert found.servers["a"].shown == "https://mcp.example/${EXAMPLE_PATH}"


@pytest.mark.parametrize("argument", ["via", "store", "registration", "callback_port"])
def test_a_wrong_argument_is_not_repeated_whole(argument: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mcpnb.connect(URL, **{argument: "x" * 5_000})  # type: ignore[arg-type]
    assert len(str(caught.value)) < 300
