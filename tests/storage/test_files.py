"""Files: what they look like from outside, and what happens to those who tamper with them."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpnb import errors
from mcpnb.stores import FileStore, RecordName

KEY = RecordName("login", "https://mcp.example/mcp")
SECRET = "access-token-nobody-may-read"
RECORD: dict[str, Any] = {"tokens": {"access_token": SECRET}}
posix = pytest.mark.skipif(os.name != "posix", reason="permissions and signals of POSIX")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "logins"


@pytest.fixture
def store(folder: Path) -> FileStore:
    made = FileStore(folder)
    made.write(KEY, RECORD)
    return made


def record_file(folder: Path) -> Path:
    [path] = folder.glob("login-*.mcpnb")
    return path


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # what it needs is imported once, here
        [sys.executable, "-c", PRELUDE + code, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


PRELUDE = """
import sys, signal
from mcpnb.errors import McpnbError
from mcpnb.stores import FileStore, RecordName
KEY = RecordName("login", "https://mcp.example/mcp")
store = FileStore(sys.argv[1])
"""


class TestFromOutside:
    @pytest.mark.threat("plain-text-at-rest")
    def test_no_secret_is_in_any_file(self, store: FileStore, folder: Path) -> None:
        """Not as text, not in base64, not after it was overwritten."""
        store.write(KEY, RECORD | {"n": 2})

        content = b"".join(p.read_bytes() for p in folder.iterdir())
        assert SECRET.encode() not in content
        assert base64.b64encode(SECRET.encode())[:20] not in content
        assert b"access_token" not in content

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


class TestTampering:
    @pytest.mark.threat("record-moved")
    def test_a_record_moved_to_anothers_place_is_refused(
        self, store: FileStore, folder: Path
    ) -> None:
        """Also with its head changed to fit: the head is sealed with it."""
        store.write(other := RecordName("login", "https://evil.example/mcp"), {"n": 1})
        own, others = sorted(folder.glob("*.mcpnb"), key=lambda p: "evil" in p.read_text())
        others.write_bytes(own.read_bytes())
        with pytest.raises(errors.StoreError, match="another record"):
            store.read(other)

        document = json.loads(own.read_text()) | {"name": other.name}
        others.write_text(json.dumps(document))
        with pytest.raises(errors.StoreError, match="moved here from elsewhere"):
            store.read(other)
        assert store.read(KEY) == RECORD

    @pytest.mark.threat("record-moved")
    def test_a_record_of_another_kind_is_refused(self, store: FileStore, folder: Path) -> None:
        document = json.loads(record_file(folder).read_text()) | {"kind": "client"}
        path = record_file(folder)
        path.with_name(path.name.replace("login", "client")).write_text(json.dumps(document))

        with pytest.raises(errors.StoreError):
            store.read(RecordName("client", KEY.name))

    @pytest.mark.threat("head-tampered")
    def test_an_added_member_of_the_head_is_noticed(self, store: FileStore, folder: Path) -> None:
        path = record_file(folder)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"more": 1}))

        with pytest.raises(errors.StoreError, match="damaged"):
            store.read(KEY)

    @pytest.mark.parametrize("length", [0, 1, 20, -1, -20])
    def test_a_truncated_file_is_a_clear_error_and_is_left(
        self, store: FileStore, folder: Path, length: int
    ) -> None:
        path = record_file(folder)
        short = path.read_bytes()[:length]
        path.write_bytes(short)

        with pytest.raises(errors.StoreError, match=r"damaged.*Sign out"):
            store.read(KEY)
        assert path.read_bytes() == short
        assert store.keys("login") == []
        store.write(KEY, RECORD)
        assert store.read(KEY) == RECORD

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "content",
        [
            b"[]",
            b"null",
            b'"text"',
            b"{}",
            b"\xff\xfe",
            b"[" * 200_000,
            b'{"sealed": 5, "format": 1}',
            b'{"sealed": "", "format": "1"}',
            b'{"sealed": "", "format": 1}',
            b'{"sealed": "AAAA", "format": 1, "kind": "login", "name": 5}',
        ],
        ids=range(10),
    )
    def test_any_other_content_is_a_clear_error(
        self, store: FileStore, folder: Path, content: bytes
    ) -> None:
        record_file(folder).write_bytes(content)

        with pytest.raises(errors.StoreError):
            store.read(KEY)
        store.keys("login")

    def test_a_newer_format_is_left_for_a_newer_mcpnb(self, store: FileStore, folder: Path) -> None:
        path = record_file(folder)
        newer = json.dumps(json.loads(path.read_text()) | {"format": 2})
        path.write_text(newer)

        with pytest.raises(errors.StoreError, match="newer mcpnb"):
            store.read(KEY)
        assert path.read_text() == newer


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200))
def test_no_content_of_a_file_is_more_than_a_store_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    store = FileStore(folder)
    store.write(KEY, RECORD)
    record_file(folder).write_bytes(content)

    with pytest.raises(errors.StoreError):
        store.read(KEY)


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
    @posix
    def test_a_failed_write_leaves_the_earlier_record(self, store: FileStore, folder: Path) -> None:
        before = sorted(p.name for p in folder.iterdir())

        done = run_python(self.LIMIT, str(folder))

        assert "StoreError" in done.stdout, done.stderr
        assert "unchanged" in done.stdout
        assert store.read(KEY) == RECORD
        assert sorted(p.name for p in folder.iterdir()) == before

    @posix
    def test_a_key_that_could_not_be_written_whole_is_none(self, folder: Path) -> None:
        """The next try, with room on the disk, works."""
        done = run_python(self.LIMIT, str(folder))
        assert "StoreError" in done.stdout, done.stderr

        store = FileStore(folder)
        store.write(KEY, RECORD)

        assert FileStore(folder).read(KEY) == RECORD

    @pytest.mark.parametrize("place", ["under a file", "/proc/nowhere/logins"])
    def test_a_folder_that_cannot_be_made_is_a_clear_error(
        self, tmp_path: Path, place: str
    ) -> None:
        if place == "under a file":
            (tmp_path / "file").write_text("a file")
            place = str(tmp_path / "file" / "logins")
        store = FileStore(place)

        with pytest.raises(errors.StoreError, match="MCPNB_HOME"):
            store.write(KEY, RECORD)
        with pytest.raises(errors.StoreError, match="MCPNB_HOME"), store.lock(KEY, 1):
            pass

    @pytest.mark.slow
    @posix
    def test_a_lock_freed_by_kill_9_is_free(self, folder: Path) -> None:
        code = """
with store.lock(KEY, 5):
    print("held", flush=True)
    signal.pause()
"""
        holder = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + code, str(folder)], stdout=subprocess.PIPE, text=True
        )
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

    @pytest.mark.slow
    @posix
    def test_processes_take_turns(self, folder: Path) -> None:
        """Four of them count to ten each; the first ones also have to agree on a key."""
        code = """
for _ in range(10):
    with store.lock(KEY, 20):
        record = store.read(KEY) or {"n": 0}
        store.write(KEY, {"n": record["n"] + 1})
"""
        processes = [
            subprocess.Popen([sys.executable, "-c", PRELUDE + code, str(folder)]) for _ in range(4)
        ]
        assert [p.wait(30) for p in processes] == [0] * 4

        assert FileStore(folder).read(KEY) == {"n": 40}
