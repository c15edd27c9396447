"""Files: what they look like from outside, what damage does, and how long each of them stays."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mcpnb import errors
from mcpnb.stores import FileStore, RecordName
from tests.storage.records import KEY, OTHER, RECORD, SECRET, change, posix, record_file


@pytest.fixture
def store(folder: Path) -> FileStore:
    made = FileStore(folder)
    made.write(KEY, RECORD)
    return made


PRELUDE = """
import os, signal, sys
from mcpnb.errors import McpnbError
from mcpnb.stores import FileStore, RecordName
KEY = RecordName("login", "https://mcp.example/mcp")
store = FileStore(sys.argv[1])
"""


def process(folder: Path, code: str, *more: str) -> subprocess.Popen[str]:
    """Start another process with a store of its own in the folder."""
    command = [sys.executable, "-c", PRELUDE + code, str(folder), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(*processes: subprocess.Popen[str]) -> list[str]:
    """Wait for processes; return what they printed."""
    said = [each.communicate(timeout=50) for each in processes]
    assert [each.returncode for each in processes] == [0] * len(processes), said
    return [out for out, _ in said]


class TestFromOutside:
    @pytest.mark.threat("plain-text-at-rest")
    def test_no_secret_is_in_any_file(self, store: FileStore, folder: Path) -> None:
        """Not as text, not in base64, not after it was overwritten."""
        store.write(KEY, RECORD | {"n": 2})

        content = b"".join(p.read_bytes() for p in folder.iterdir())
        assert SECRET.encode() not in content
        assert b"access_token" not in content
        runs = re.findall(rb"(?:[A-Za-z0-9+/]{4}){4,}", content)
        assert SECRET.encode() not in b"".join(map(base64.b64decode, runs))

    @pytest.mark.threat("temporary-file-left")
    def test_a_write_leaves_nothing_else_behind(self, store: FileStore, folder: Path) -> None:
        for number in range(5):
            store.write(KEY, {"n": number})

        assert {p.name.split("-")[0] for p in folder.iterdir()} == {"key", "login"}
        assert len(list(folder.glob("*.mcpnb"))) == 1

    def test_looking_makes_nothing(self, folder: Path) -> None:
        looking = FileStore(folder)
        assert looking.read(KEY) is None
        assert looking.keys("login") == []
        assert looking.version(KEY) is None
        looking.delete(KEY)

        assert not folder.exists()

    @pytest.mark.threat("readable-by-others")
    @posix
    @pytest.mark.slow
    def test_nothing_is_readable_to_others_at_any_instant(self, folder: Path) -> None:
        """With the most careless umask; this process looks all the time."""
        code = """
os.umask(0)
for n in range(300):
    with store.lock(KEY, 5):
        store.write(KEY, {"n": n})
    store.delete(KEY, leave_tombstone=True)
"""
        writer = process(folder, code)
        seen: set[tuple[str, int]] = set()
        while writer.poll() is None:
            for path in (folder, *folder.glob("*"), *folder.glob(".*")):
                try:
                    seen.add((path.suffix, path.stat().st_mode & 0o077))
                except FileNotFoundError:
                    continue
        ended(writer)

        assert {suffix for suffix, _ in seen} >= {"", ".mcpnb", ".lock"}
        assert {mode for _, mode in seen} == {0}


class TestDamage:
    @pytest.mark.threat("record-moved")
    def test_a_record_of_another_kind_is_refused(self, store: FileStore, folder: Path) -> None:
        path = record_file(folder)
        change(path, kind="client")
        path.rename(path.with_name(path.name.replace("login", "client")))

        with pytest.raises(errors.StoreError, match="moved here from elsewhere"):
            store.read(RecordName("client", KEY.name))

    @pytest.mark.threat("head-tampered")
    def test_an_added_member_of_the_head_is_noticed(self, store: FileStore, folder: Path) -> None:
        change(record_file(folder), more=1)

        with pytest.raises(errors.StoreError, match="damaged"):
            store.read(KEY)

    @pytest.mark.parametrize(
        "content",
        [
            *(0, 1, 20, -1, -20),
            *(b"[]", b"null", b'"text"', b"{}", b"\xff\xfe", b"[" * 200_000),
            *(b'{"sealed": 5, "format": 1}', b'{"sealed": "", "format": "1"}'),
        ],
        ids=range(13),
    )
    def test_a_damaged_file_is_a_clear_error_and_is_left_until_the_next_write(
        self, store: FileStore, folder: Path, content: int | bytes
    ) -> None:
        """Cut off at a length, or another content."""
        path = record_file(folder)
        if isinstance(content, int):
            content = path.read_bytes()[:content]
        path.write_bytes(content)

        with pytest.raises(errors.StoreError, match=r"damaged.*Sign out"):
            store.read(KEY)
        assert path.read_bytes() == content
        assert store.keys("login") == []
        store.write(KEY, RECORD)
        assert store.read(KEY) == RECORD

    def test_a_newer_format_is_left_for_a_newer_mcpnb(self, store: FileStore, folder: Path) -> None:
        path = record_file(folder)
        newer = change(path, format=2)

        with pytest.raises(errors.NewerFormat, match="newer mcpnb"):
            store.read(KEY)
        with pytest.raises(errors.NewerFormat):
            store.write(KEY, {"n": 2})
        assert path.read_text() == newer


@posix
class TestFailingWrites:
    """These run in a process of their own, whose files may not grow: a disk that is full."""

    LIMIT = """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))
try:
    store.write(KEY, {"n": "new" * 100})
except McpnbError as error:
    print(type(error).__name__, error)
"""

    @pytest.mark.threat("half-written-record")
    def test_a_failed_write_leaves_the_earlier_record(self, store: FileStore, folder: Path) -> None:
        before = sorted(p.name for p in folder.iterdir())

        (said,) = ended(process(folder, self.LIMIT))

        assert "StoreError" in said
        assert "unchanged" in said
        assert store.read(KEY) == RECORD
        assert sorted(p.name for p in folder.iterdir()) == before

    def test_a_key_that_could_not_be_written_whole_is_none(self, folder: Path) -> None:
        """The next try, with room on the disk, works."""
        (said,) = ended(process(folder, self.LIMIT))
        assert "StoreError" in said

        FileStore(folder).write(KEY, RECORD)
        assert FileStore(folder).read(KEY) == RECORD

    @pytest.mark.parametrize("place", ["under a file", "/proc/nowhere/logins"])
    def test_a_folder_that_cannot_be_made_is_a_clear_error(
        self, tmp_path: Path, place: str
    ) -> None:
        (tmp_path / "under a file").write_text("a file")
        store = FileStore(tmp_path / place / "logins")

        with pytest.raises(errors.StoreError, match="MCPNB_HOME"):
            store.write(KEY, RECORD)
        with pytest.raises(errors.StoreError, match="MCPNB_HOME"), store.lock(KEY, 1):
            pass


@posix
@pytest.mark.slow
class TestLocks:
    def test_a_lock_freed_by_kill_9_is_free(self, folder: Path) -> None:
        code = """
with store.lock(KEY, 5):
    print("held", flush=True)
    signal.pause()
"""
        holder = process(folder, code)
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            store = FileStore(folder)
            with pytest.raises(errors.StoreError, match="Another program"), store.lock(KEY, 0.1):
                pass
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.communicate(timeout=10)
        with store.lock(KEY, 5):
            store.write(KEY, RECORD)

    def test_processes_take_turns(self, folder: Path) -> None:
        """Four of them count to ten each; the first ones also have to agree on a key."""
        code = """
for _ in range(10):
    with store.lock(KEY, 20):
        record = store.read(KEY) or {"n": 0}
        store.write(KEY, {"n": record["n"] + 1})
"""
        ended(*(process(folder, code) for _ in range(4)))

        assert FileStore(folder).read(KEY) == {"n": 40}

    def test_who_waits_for_a_lock_is_not_split_off_as_its_file_goes(self, folder: Path) -> None:
        """A lock on a file that was removed is none: two would have it at once."""
        code = """
key, gone = RecordName("counting", "x"), RecordName("login", sys.argv[2])
count = store.folder / "count"
for n in range(100):
    with store.lock(key, 20):
        count.write_text(str(int(count.read_text()) + 1))
    store.write(gone, {})
    store.delete(gone, leave_tombstone=True)
"""
        folder.mkdir(mode=0o700)
        (folder / "count").write_text("0")
        ended(*(process(folder, code, str(number)) for number in range(3)))

        assert (folder / "count").read_text() == "300"


class TestTombstones:
    def test_a_tombstone_is_no_record_and_says_when(self, store: FileStore) -> None:
        before = store.version(KEY)

        store.delete(KEY, leave_tombstone=True)

        assert store.read(KEY) is None
        assert store.keys("login") == []
        assert store.version(KEY) != before
        assert abs((store.deleted_at(KEY) or 0) - time.time()) < 60
        store.write(KEY, RECORD)
        assert store.read(KEY) == RECORD
        assert store.deleted_at(KEY) is None

    def test_old_ones_go_and_young_ones_stay(self, store: FileStore, folder: Path) -> None:
        """At the next sign-out; but not while somebody signs in to that server."""
        third = RecordName("login", "third")
        for key in (OTHER, third):
            store.write(key, RECORD)
        store.delete(OTHER, leave_tombstone=True)
        (tombstone,) = (f for f in folder.glob("login-*") if "deleted_at" in f.read_text())
        change(tombstone, deleted_at=1.0)

        with store.lock(OTHER, 5):
            FileStore(folder).delete(third, leave_tombstone=True)
            assert tombstone.exists()
        assert store.deleted_at(third) is not None

        store.write(third, RECORD)
        FileStore(folder).delete(third, leave_tombstone=True)
        assert not tombstone.exists()
        assert store.read(KEY) == RECORD
        assert store.deleted_at(third) is not None

    @pytest.mark.threat("temporary-file-left")
    def test_leftovers_of_killed_writers_go_as_the_next_process_writes(
        self, store: FileStore, folder: Path
    ) -> None:
        """Most people never sign out. Young ones may be somebody's who is writing now."""
        old, young = folder / ".new-old", folder / ".new-young"
        for leftover in (old, young):
            leftover.write_bytes(b"half a record, or the key")
        os.utime(old, (1, 1))

        FileStore(folder).write(KEY, RECORD)

        assert not old.exists()
        assert young.exists()
        assert store.read(KEY) == RECORD

    def test_lock_files_go_with_the_records_that_they_were_for(self, folder: Path) -> None:
        store = FileStore(folder)
        for name in ("one", "other", "in use", "third"):
            with store.lock(RecordName("waiting", name), 5):
                pass
        for key in (KEY, OTHER):
            with store.lock(key, 5):
                store.write(key, RECORD)
        with store.lock(RecordName("waiting", "in use"), 5):
            store.delete(OTHER, leave_tombstone=True)

        # Those of the record, of the tombstone, and the one that somebody holds.
        assert len(list(folder.glob("*.lock"))) == 3
