"""What lies in the store's folder: any bytes, and any JSON under the right key."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

import mcpnb
from mcpnb.login.pending import PendingLogin, PendingLogins
from mcpnb.login.registrations import Registrations
from mcpnb.oauth.authorization import DeviceRequest
from mcpnb.oauth.client import login_record
from mcpnb.oauth.credentials import LoginRecord, Tokens, to_json
from mcpnb.oauth.http import Http
from mcpnb.oauth.models import Secret, ServerConfig
from mcpnb.stores import FileStore, MemoryStore, RecordName
from mcpnb.tokens import TokenSource
from tests.fuzz.running import fit_to_show, fuzzed, only_ours
from tests.fuzz.strategies import ANY_BYTES, JSON, JSON_TEXT, documents, objects
from tests.fuzz.values import CONFIG, ISSUER, REGISTRATION, SERVER, URL, request_for

KEY = RecordName("login", URL)
_NOW = 1_700_000_000.0
RECORD = login_record(
    request_for(),
    Tokens(
        access_token=Secret("access-5hVq2LmT8rZk"),
        obtained_at=_NOW,
        expires_at=_NOW + 3600,
        refresh_token=Secret("refresh-7wXp4NcB9sJd"),
        scopes=("read",),
    ),
    CONFIG,
).to_dict()
_SECRETS = ("access-5hVq2LmT8rZk", "refresh-7wXp4NcB9sJd")
_HEAD: dict[str, Any] = {
    "format": 1,
    "kind": "login",
    "name": URL,
    "key_id": "0123456789abcdef",
    "where": "key in: a file that only its permissions protect",
    "sealed": "AAAA",
}
_MARK: dict[str, Any] = {"format": 1, "kind": "login", "name": URL, "deleted_at": _NOW}
_RECORDS = st.one_of(
    documents(RECORD),
    documents(RECORD["tokens"]).map(lambda tokens: {**RECORD, "tokens": tokens}),
    documents(RECORD["registration"]).map(lambda found: {**RECORD, "registration": found}),
    documents({"kind": "unknown", "at": _NOW, "error": "", "said": "", "until": 0.0}).map(
        lambda refresh_failure: {**RECORD, "setback": refresh_failure}
    ),
    JSON,
)


@contextmanager
def _stored(written: bytes | None = None) -> Iterator[tuple[FileStore, Path]]:
    """Give a store of one example's own with a login in it; its file may then be overwritten."""
    folder = Path(tempfile.mkdtemp())
    try:
        store = FileStore(folder)
        store.write(KEY, RECORD)
        [path] = folder.glob("login-*.mcpnb")
        if written is not None:
            path.write_bytes(written)
        yield store, path
    finally:
        shutil.rmtree(folder)


def _looked_at(store: FileStore) -> None:
    with only_ours(secrets=_SECRETS):
        store.read(KEY)
    fit_to_show(store.protected_by(KEY), _SECRETS)
    store.deleted_at(KEY)
    for key in store.keys("login"):
        assert key.kind == "login"
    for said in store.damaged("login"):
        fit_to_show(said, _SECRETS)
    session = mcpnb.connect(URL, store=store)
    fit_to_show(repr(session), _SECRETS)
    with only_ours(secrets=_SECRETS):
        _ = session.status
    with only_ours(secrets=_SECRETS):
        _ = session.signed_in


def _mended(store: FileStore) -> None:
    """Whatever lies there, a new sign-in is written in its place, or it is from a newer mcpnb."""
    with only_ours():
        store.write(KEY, RECORD)
        assert store.read(KEY) == RECORD
    store.delete(KEY)
    assert store.read(KEY) is None


@fuzzed(
    examples=150,
    written=ANY_BYTES
    | JSON_TEXT
    | documents(_HEAD).map(json.dumps).map(str.encode)
    | documents(_MARK).map(json.dumps).map(str.encode),
)
def test_a_file_of_any_bytes_is_a_record_or_none_or_told_in_our_words(written: bytes) -> None:
    with _stored(written) as (store, _):
        _looked_at(store)
        _mended(store)


@fuzzed(examples=120, record=_RECORDS)
def test_json_of_any_shape_under_our_key_is_a_login_or_told_in_our_words(record: Any) -> None:
    """By another version, say. The panel and `list` ask for all of this."""
    with _stored() as (store, _):
        with only_ours(secrets=_SECRETS):
            store.write(KEY, record)
            assert json.dumps(store.read(KEY)) == json.dumps(record)  # NaN is not equal to NaN
        _looked_at(store)
        source = TokenSource(CONFIG, store)
        with only_ours(secrets=_SECRETS):
            LoginRecord.from_dict(store.read(KEY) or {})
        with only_ours(secrets=_SECRETS):
            source.usable()


@fuzzed(examples=100, more=objects())
def test_members_of_a_record_that_nobody_knows_change_nothing(more: dict[str, Any]) -> None:
    assert LoginRecord.from_dict(more | RECORD) == LoginRecord.from_dict(RECORD)


_DEVICE = DeviceRequest(
    server=SERVER,
    registration=REGISTRATION,
    resource=URL,
    scopes=("read",),
    device_code=Secret("device-8kRz5DvM2xQp"),
    user_code="ABCD-EFGH",
    verification_uri=f"{ISSUER}/device",
    verification_uri_complete=None,
    expires_at=_NOW,
    interval=5.0,
)
_PENDING: dict[str, Any] = {
    "format": 1,
    "expires_at": _NOW * 2,
    "port": 27182,
    "via": "loopback",
    "retry_without_scopes": False,
    "claimed_at": None,
}
_OBJECTS = JSON.filter(lambda value: isinstance(value, dict))
_PENDINGS = st.one_of(
    documents(_PENDING | {"request": to_json(request_for())}),
    documents(to_json(request_for())).map(lambda found: {**_PENDING, "request": found}),
    documents(to_json(_DEVICE)).map(lambda found: {**_PENDING, "request": found}),
    documents(to_json(request_for())["server"]).map(
        lambda found: {**_PENDING, "request": {**to_json(request_for()), "server": found}}
    ),
    _OBJECTS,
)


@fuzzed(examples=200, record=_PENDINGS)
def test_a_pending_sign_in_of_any_shape_is_one_or_none(record: Any) -> None:
    store = MemoryStore()
    store.write(RecordName("pending", URL), record)
    pendings = PendingLogins(store, KEY)
    found = pendings.current()
    assert found is None or isinstance(found, PendingLogin)
    assert isinstance(pendings.is_claimed(request_for()), bool)
    assert isinstance(pendings.replace(request_for(), PendingLogin(request_for(), 0)), bool)
    if found is not None:
        found.request.url.encode()
        found.is_for(request_for())
        pendings.put(found)
    pendings.drop()
    assert pendings.current() is None


@fuzzed(examples=120, record=documents(to_json(REGISTRATION)) | _OBJECTS)
def test_a_kept_registration_of_any_shape_is_used_or_made_anew_or_told_in_our_words(
    record: Any,
) -> None:
    """Nobody is asked: without a registration endpoint, to make a new one is an error of ours."""
    store = MemoryStore()
    store.write(RecordName("client", f"{ISSUER}\ndevice"), record)
    config = ServerConfig(url=URL)
    with only_ours():
        Registrations(config, store, _http()).obtain(
            "dcr",
            replace(SERVER, registration_endpoint=None),
            None,
            wanted=("read",),
            bound=(),
            keep=False,
        )


@cache
def _http() -> Http:
    return Http(URL)
