"""Places that no login can be kept in safely: a clear error, nothing lost, nothing shown."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.stores import FileStore
from tests.fakes.people import connect, fails_before_the_browser, refresh_tokens, sign_in
from tests.fakes.server import FakeServer
from tests.storage.records import KEY, RECORD

pytestmark = pytest.mark.skipif(os.name != "posix", reason="users and permissions of POSIX")

NOBODY = 65_534


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


@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root can chown")
class TestPermissions:
    @pytest.fixture
    def place(self) -> Iterator[Path]:
        """Give a store's folder that belongs to nobody, with a record in it."""
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's own are root's
            os.chown(folder, NOBODY, NOBODY)
            store = FileStore(Path(folder) / "logins")
            assert as_nobody(lambda: store.write(KEY, RECORD)) == "None"
            yield store.folder

    def test_what_belongs_to_root_is_a_clear_error_for_others(self, place: Path) -> None:
        """As after one run with sudo."""
        for file in place.iterdir():
            os.chown(file, 0, 0)

        said = as_nobody(lambda: FileStore(place).read(KEY))

        assert said.startswith("StoreError")
        assert "cannot be read: Permission denied" in said

    def test_a_folder_that_cannot_be_entered_is_not_one_without_logins(self, place: Path) -> None:
        """Nobody is told to sign in again because of a wrong permission."""
        os.chown(place, 0, 0)
        session = mcpnb.connect(KEY.name, store=FileStore(place))

        said = as_nobody(lambda: session.status)

        assert said.startswith("StoreError"), said
        assert "Permission denied" in said

    @pytest.mark.slow
    def test_a_folder_that_cannot_be_written_says_so_and_loses_nothing(self, place: Path) -> None:
        place.chmod(0o500)

        said = as_nobody(lambda: FileStore(place).write(KEY, {"n": 2}))
        assert said.startswith("StoreError")
        assert "cannot be written: Permission denied" in said
        assert as_nobody(lambda: FileStore(place).read(KEY)) == repr(RECORD)
        said = as_nobody(lambda: FileStore(place).delete(KEY, leave_tombstone=True))
        assert "cannot be deleted: Permission denied" in said


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a real file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "mcpnb-test", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["/bin/umount", "-l", str(place)], check=True)


def test_on_a_full_disk_nothing_is_lost_and_a_login_can_be_ended(
    fakes: Callable[[], FakeServer], disk: Path
) -> None:
    """A token goes on to be used, and no refresh token is given away; no browser is opened."""
    fake, other = fakes(), fakes()
    store, ballast = FileStore(disk / "logins"), disk / "ballast"
    session = connect(fake.url, store=store)
    sign_in(session)

    def fill() -> None:
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass

    fill()
    assert session.call("echo", text="on").text == "on"
    fake.expire()
    with pytest.raises(errors.StoreError, match="No space left"):
        session.call("echo", text="no")
    assert refresh_tokens(fake) == []
    error = fails_before_the_browser(other.url, errors.StoreError, store=store)
    assert "No space left" in str(error)
    assert other.asked("/authorize") == []

    ballast.unlink()
    assert session.call("echo", text="room").text == "room"
    fill()
    assert session.logout()
    assert session.status == "none"


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_a_clear_error_and_nothing_is_renewed(
    fake: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
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
