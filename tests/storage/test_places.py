"""Places that no login can be kept in safely: a clear error, nothing lost, nothing shown."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.stores import FileStore, RecordName
from mcpnb.tokens.source import Refusal
from tests.fakes.people import connect, refresh_tokens, sign_in
from tests.fakes.server import FakeServer

pytestmark = pytest.mark.skipif(os.name != "posix", reason="users and permissions of POSIX")

KEY = RecordName("login", "https://mcp.example/mcp")
RECORD = {"n": 1}
NOBODY = 65_534
root = pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root can chown")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "logins"


def record_file(folder: Path) -> Path:
    (file,) = folder.glob("login-*.mcpnb")
    return file


def as_nobody(work: Callable[[], object]) -> str:
    """Run it in a fork without root's powers; give what it returned or raised, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            said = repr(work())
        except BaseException as error:  # noqa: BLE001  it is reported
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def of_nobody() -> Iterator[Path]:
    """Give a folder that belongs to nobody, and that nobody can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's own are root's
        os.chown(folder, NOBODY, NOBODY)
        yield Path(folder)


class TestOwners:
    @pytest.mark.threat("file-of-another-user")
    @root
    @pytest.mark.parametrize("what", ["folder", "key", "record"])
    def test_what_belongs_to_another_user_is_refused_and_left(
        self, folder: Path, what: str
    ) -> None:
        """Who could put it there chose what is in it: a key of theirs opens our logins."""
        FileStore(folder).write(KEY, RECORD)
        place = {"folder": folder, "key": folder / "key", "record": record_file(folder)}[what]
        before = record_file(folder).read_bytes()
        os.chown(place, NOBODY, NOBODY)

        store = FileStore(folder)
        work: Callable[[], object] = lambda: store.read(KEY)  # noqa: E731
        if what == "folder":
            work = lambda: store.write(KEY, {"n": 2})  # noqa: E731
        with pytest.raises(errors.StoreError, match=f"belongs to user {NOBODY}"):
            work()

        assert record_file(folder).read_bytes() == before

    @root
    def test_a_folder_of_roots_is_a_clear_error_for_others(self, of_nobody: Path) -> None:
        """As after one run with sudo."""
        store = FileStore(of_nobody / "logins")
        assert as_nobody(lambda: store.write(KEY, RECORD)) == "None"
        for file in (of_nobody / "logins").iterdir():
            os.chown(file, 0, 0)

        said = as_nobody(lambda: FileStore(of_nobody / "logins").read(KEY))

        assert said.startswith("StoreError")
        assert "cannot be read: Permission denied" in said


class TestReadOnly:
    @root
    def test_a_folder_that_cannot_be_entered_is_not_one_without_logins(
        self, of_nobody: Path
    ) -> None:
        """Nobody is told to sign in again because of a wrong permission."""
        place = of_nobody / "logins"
        FileStore(place).write(KEY, RECORD)
        session = mcpnb.connect(KEY.name, store=FileStore(place))

        said = as_nobody(lambda: session.status)

        assert said.startswith("StoreError"), said
        assert "Permission denied" in said

    @pytest.mark.slow
    @root
    def test_a_folder_that_cannot_be_written_says_so_and_loses_nothing(
        self, of_nobody: Path
    ) -> None:
        store = FileStore(of_nobody / "logins")
        assert as_nobody(lambda: store.write(KEY, RECORD)) == "None"
        (of_nobody / "logins").chmod(0o500)

        said = as_nobody(lambda: FileStore(of_nobody / "logins").write(KEY, {"n": 2}))

        assert said.startswith("StoreError")
        assert "cannot be written: Permission denied" in said
        assert as_nobody(lambda: FileStore(of_nobody / "logins").read(KEY)) == repr(RECORD)
        said = as_nobody(lambda: FileStore(of_nobody / "logins").delete(KEY, leave_tombstone=True))
        assert "cannot be deleted: Permission denied" in said

    @root
    def test_a_refresh_token_is_not_given_away_where_its_successor_cannot_be_written(
        self, fake: FakeServer, of_nobody: Path
    ) -> None:
        place = of_nobody / "logins"
        sign_in(connect(fake.url, store=FileStore(place)))
        for file in (place, *place.iterdir()):
            os.chown(file, NOBODY, NOBODY)
        place.chmod(0o500)
        fake.expire()

        session = connect(fake.url, store=FileStore(place))  # nobody may not read root's settings
        said = as_nobody(lambda: _rejected(session))

        assert said.startswith("StoreError"), said
        assert refresh_tokens(fake) == []


def _rejected(session: mcpnb.Session) -> object:
    source = session._shared.source  # noqa: SLF001  what a 401 leads to, without the threads of a client
    found = source.after(source.get(), Refusal(401))
    return found.result(20) if isinstance(found, Future) else found


class TestFullDisk:
    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[Path]:
        """Give a real file system of one megabyte."""
        place = tmp_path / "disk"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "mcpnb-test", str(place)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("mounting is not permitted here")
        yield place
        subprocess.run(["/bin/umount", "-l", str(place)], check=True)

    def test_what_is_there_stays_and_goes_on_to_be_used(self, fake: FakeServer, disk: Path) -> None:
        session = connect(fake.url, store=FileStore(disk / "logins"))
        sign_in(session)
        _fill(disk)

        assert session.call("echo", text="on").text == "on"
        fake.expire()
        with pytest.raises(errors.StoreError, match="No space left"):
            session.call("echo", text="no")
        assert refresh_tokens(fake) == []

        (disk / "ballast").unlink()
        assert session.call("echo", text="room").text == "room"

    def test_a_sign_in_fails_before_the_browser_opens(self, fake: FakeServer, disk: Path) -> None:
        store = FileStore(disk / "logins")
        store.write(KEY, RECORD)
        _fill(disk)

        login = connect(fake.url, store=FileStore(disk / "logins")).login()

        with pytest.raises(errors.StoreError, match="No space left"):
            login.wait(10)
        assert login.url is None
        assert fake.asked("/authorize") == []
        assert FileStore(disk / "logins").read(KEY) == RECORD

    def test_signing_out_needs_no_room(self, fake: FakeServer, disk: Path) -> None:
        session = connect(fake.url, store=FileStore(disk / "logins"))
        sign_in(session)
        _fill(disk)

        assert session.logout()

        assert session.status == "none"


def _fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass


class TestNoLocks:
    @pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
    def test_a_file_system_without_locks_is_a_clear_error_and_nothing_is_renewed(
        self, fake: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        """No soft fallback: its marker would survive a killed holder."""
        session = connect(fake.url, store=FileStore(folder))
        sign_in(session)

        def unsupported(*_: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(fcntl, "flock", unsupported)
        fake.expire()

        with pytest.raises(errors.StoreError, match="No lock can be had"):
            session.call("echo", text="no")
        login = session.login()
        with pytest.raises(errors.StoreError, match="Set MCPNB_HOME"):
            login.wait(10)
        assert refresh_tokens(fake) == []
        assert login.url is None


class TestOddFiles:
    @pytest.mark.threat("pipe-in-the-store")
    def test_a_pipe_in_a_records_place_does_not_hang(self, folder: Path) -> None:
        FileStore(folder).write(KEY, RECORD)
        file = record_file(folder)
        file.unlink()
        os.mkfifo(file)

        with pytest.raises(errors.StoreError, match="damaged"):
            FileStore(folder).read(KEY)

    @pytest.mark.threat("readable-by-others")
    @pytest.mark.slow
    def test_nothing_is_readable_to_others_at_any_instant(self, folder: Path) -> None:
        """With the most careless umask; a second process looks all the time."""
        code = (
            "import os, sys; from mcpnb.stores import FileStore, RecordName; os.umask(0)\n"
            "store = FileStore(sys.argv[1]); key = RecordName('login', 'x')\n"
            "for n in range(300):\n"
            "    with store.lock(key, 5):\n"
            "        store.write(key, {'n': n})\n"
            "    store.delete(key, leave_tombstone=True)\n"
        )
        writer = subprocess.Popen([sys.executable, "-c", code, str(folder)])
        seen: set[tuple[str, int]] = set()
        while writer.poll() is None:
            for path in (folder, *folder.glob("*"), *folder.glob(".*")):
                try:
                    seen.add((path.suffix, path.stat().st_mode & 0o077))
                except FileNotFoundError:
                    continue
        assert writer.wait(30) == 0

        assert {suffix for suffix, _ in seen} >= {"", ".mcpnb", ".lock"}
        assert {mode for _, mode in seen} == {0}


class TestMarks:
    def test_a_mark_is_no_record_and_says_when(self, folder: Path) -> None:
        store = FileStore(folder)
        store.write(KEY, RECORD)
        before = store.version(KEY)

        store.delete(KEY, leave_tombstone=True)

        assert store.read(KEY) is None
        assert store.keys("login") == []
        assert store.version(KEY) != before
        assert abs((store.deleted_at(KEY) or 0) - time.time()) < 60
        store.write(KEY, RECORD)
        assert store.read(KEY) == RECORD
        assert store.deleted_at(KEY) is None

    def test_old_marks_and_leftovers_of_killed_writers_go_young_ones_stay(
        self, folder: Path
    ) -> None:
        store = FileStore(folder)
        other, third = RecordName("login", "other"), RecordName("login", "third")
        for key in (KEY, other, third):
            store.write(key, RECORD)
        store.delete(other, leave_tombstone=True)
        (mark,) = (f for f in folder.glob("login-*") if "deleted_at" in f.read_text())
        mark.write_text(json.dumps(json.loads(mark.read_text()) | {"deleted_at": 1.0}))
        old, young = folder / ".new-old", folder / ".new-young"
        for leftover in (old, young):
            leftover.write_bytes(b"half a record")
        os.utime(old, (1, 1))

        FileStore(folder).delete(third, leave_tombstone=True)
        FileStore(folder).write(KEY, RECORD)

        assert not mark.exists()
        assert not old.exists()
        assert young.exists()
        assert store.read(KEY) == RECORD
        assert store.deleted_at(third) is not None

    def test_lock_files_go_with_the_records_that_they_were_for(self, folder: Path) -> None:
        store = FileStore(folder)
        for name in ("one", "other", "in use", "third"):
            with store.lock(RecordName("waiting", name), 5):
                pass
        with store.lock(KEY, 5):
            store.write(KEY, RECORD)
        with store.lock(third := RecordName("login", "third"), 5):
            store.write(third, RECORD)
        with store.lock(RecordName("waiting", "in use"), 5):
            store.delete(third, leave_tombstone=True)

        # Those of the record, of the tombstone, and the one that somebody holds.
        assert len(list(folder.glob("*.lock"))) == 3

    @pytest.mark.slow
    def test_who_waits_for_a_lock_is_not_split_off_as_its_file_goes(self, folder: Path) -> None:
        """A lock on a file that was removed is none: two would have it at once."""
        code = (
            "import sys; from mcpnb.stores import FileStore, RecordName\n"
            "store = FileStore(sys.argv[1]); key = RecordName('counting', 'x')\n"
            "gone = RecordName('login', sys.argv[2]); count = store.folder / 'count'\n"
            "for n in range(100):\n"
            "    with store.lock(key, 20):\n"
            "        count.write_text(str(int(count.read_text()) + 1))\n"
            "    store.write(gone, {})\n"
            "    store.delete(gone, leave_tombstone=True)\n"
        )
        folder.mkdir(mode=0o700)
        (folder / "count").write_text("0")
        writers = [
            subprocess.Popen([sys.executable, "-c", code, str(folder), str(n)]) for n in range(3)
        ]
        assert [writer.wait(50) for writer in writers] == [0, 0, 0]

        assert (folder / "count").read_text() == "300"

    def test_a_newer_file_is_not_written_over(self, folder: Path) -> None:
        store = FileStore(folder)
        store.write(KEY, RECORD)
        file = record_file(folder)
        newer: dict[str, Any] = json.loads(file.read_text()) | {"format": 9}
        file.write_text(json.dumps(newer))

        with pytest.raises(errors.NewerFormat):
            store.write(KEY, {"n": 2})

        assert json.loads(file.read_text()) == newer
