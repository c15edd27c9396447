"""What every store promises: one suite for all of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mcpnb import errors
from mcpnb.storage import open_store
from mcpnb.stores import FileStore, MemoryStore, RecordName, TokenStore
from tests.storage.records import KEY, OTHER, RECORD, SECRET


@pytest.fixture(params=["memory", "files"])
def store(request: pytest.FixtureRequest, folder: Path) -> TokenStore:
    return MemoryStore() if request.param == "memory" else FileStore(folder)


def test_what_was_written_last_is_read_until_it_is_deleted(store: TokenStore) -> None:
    assert isinstance(store, TokenStore)
    store.delete(KEY)
    assert store.read(KEY) is None
    for record in (RECORD, {"n": 2}):
        store.write(KEY, record)
        assert store.read(KEY) == record
        assert store.keys("login") == [KEY]

    store.delete(KEY)
    assert store.read(KEY) is None
    assert store.keys("login") == []
    store.write(KEY, RECORD)
    assert store.read(KEY) == RECORD


def test_a_record_is_a_value_that_nobody_shares(store: TokenStore) -> None:
    """Changing what was given or got changes nothing that is stored."""
    given_record: dict[str, Any] = {"tokens": {"scopes": ["a"]}}
    store.write(KEY, given_record)
    given_record["tokens"]["scopes"].append("b")
    got = store.read(KEY)
    assert got is not None
    got["tokens"]["scopes"].append("c")

    assert store.read(KEY) == {"tokens": {"scopes": ["a"]}}


def test_keys_are_listed_by_kind(store: TokenStore) -> None:
    """Two accounts of a server are two records; kinds do not mix."""
    work = RecordName("login", f"{KEY.name}\nwork")
    client = RecordName("client", KEY.name)
    for key in (work, client, KEY):
        store.write(key, {"name": key.name, "kind": key.kind})

    assert store.keys("login") == [KEY, work]
    assert store.keys("client") == [client]
    assert store.keys("issuer") == []
    assert store.read(client) == {"name": KEY.name, "kind": "client"}


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "a/b\\c", "x" * 5000, "é\u202e\0", "\n\n", "CON"]
)
def test_any_name_is_only_a_name(store: TokenStore, name: str) -> None:
    """No name leads out of the store or stands for another one."""
    store.write(RecordName("login", name), {"name": name})
    store.write(KEY, RECORD)

    assert store.read(RecordName("login", name)) == {"name": name}
    assert store.read(RecordName("login", name + "x")) is None


def test_the_version_changes_with_every_change(store: TokenStore) -> None:
    seen = [store.version(KEY)]
    for number in range(5):
        store.write(KEY, {"n": number})
        assert store.version(KEY) == store.version(KEY)
        seen.append(store.version(KEY))
    store.delete(KEY)
    seen.append(store.version(KEY))

    assert all(one != following for one, following in pairwise(seen))


@pytest.mark.slow
def test_the_lock_excludes_other_threads(store: TokenStore) -> None:
    """Read, think, write: no count is lost."""
    store.write(KEY, {"n": 0})

    def add_one(_: int) -> None:
        with store.lock(KEY, 20):
            record = store.read(KEY)
            assert record is not None
            store.write(KEY, {"n": record["n"] + 1})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_one, range(40)))

    assert store.read(KEY) == {"n": 40}


def test_a_lock_that_is_not_free_in_time_is_a_clear_error(store: TokenStore) -> None:
    """It is free again when its holder ends, or fails; that of another login is free all along."""

    def take(key: RecordName) -> None:
        with store.lock(key, 0.05):
            pass

    with ThreadPoolExecutor(1) as pool, store.lock(KEY, 1):
        pool.submit(take, OTHER).result(5)
        with pytest.raises(errors.StoreBusy, match="seconds"):
            pool.submit(take, KEY).result(5)
    with pytest.raises(LookupError), store.lock(KEY, 1):
        raise LookupError
    take(KEY)


def test_it_says_where_records_rest_and_shows_none(store: TokenStore) -> None:
    store.write(KEY, RECORD)

    assert "memory" in store.location(KEY) or "encrypted" in store.location(KEY)
    assert SECRET not in repr(store) + store.location(KEY) + store.protected_by(KEY)


@pytest.mark.parametrize("word", ["auto", "file"])
def test_the_usual_store_is_in_mcpnb_home(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCPNB_HOME", str(tmp_path / "elsewhere"))
    opened = open_store(word)
    assert not (tmp_path / "elsewhere").exists(), "made before the first record"
    opened.write(KEY, RECORD)

    assert open_store(word) is opened
    assert list((tmp_path / "elsewhere").glob("login-*"))


def test_a_store_of_ones_own_is_taken_and_an_unknown_word_is_a_clear_error(
    store: TokenStore,
) -> None:
    assert open_store(store) is store
    with pytest.raises(errors.ConfigError, match="memory"):
        open_store("keychain of my own")
