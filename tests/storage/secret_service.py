"""A real Secret Service: gnome-keyring on a D-Bus session bus of its own, in any state.

The bus starts nothing by itself but the prompter, so that a daemon that is gone stays gone.
Without a display the prompter fails, and a locked keyring says so at once; with one (Xvfb) it shows
a prompt that nobody answers, and whoever asked waits for ever.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Self

import pytest

from tests.fakes.people import until

if TYPE_CHECKING:
    from secretstorage import Collection
    from secretstorage import Item as Entry


State = Literal[
    "unlocked",
    "locked",  # no display: whoever asks is told so at once
    "hanging",  # locked, and a prompt on a display that nobody looks at
    "frozen",  # the daemon is there and answers nothing
    "no collection",  # as after a first log-in without a desktop
    "no daemon",
    "no bus",
]
COMMANDS = ("gnome-keyring-daemon", "dbus-daemon", "Xvfb", "setpriv")
PROMPTER = "org.gnome.keyring.SystemPrompter"
PROMPTER_FILE = Path("/usr/share/dbus-1/services") / f"{PROMPTER}.service"
SECRETS = "org.freedesktop.secrets"
BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{services}</servicedir>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""
# Letters that stand next to each other in the key codes of a PC: "pw" and Return.
PASSWORD = b"pw"
KEY_CODES = (33, 25, 36)
# What would lead a program to another keyring than this one, or to another screen.
STRANGERS = ("DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "PYTHON_KEYRING_BACKEND", "WAYLAND_DISPLAY")


def commands_at_hand() -> None:
    """Check that the programs are there.

    Without them the test is skipped, but never in CI, where a skip would hide everything.
    """
    if sys.platform != "linux":
        pytest.skip("a Secret Service is a thing of Linux")
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if not missing and not PROMPTER_FILE.exists():
        missing.append(str(PROMPTER_FILE))
    if missing:
        reason = f"no {', '.join(missing)}: install gnome-keyring, dbus and xvfb"
        if os.environ.get("MCPNB_CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@dataclass(frozen=True)
class Item:
    """What the keyring shows of an entry to anybody."""

    service: str
    username: str
    label: str


class SecretService:
    """One keyring, unlocked to begin with."""

    def __init__(self, folder: Path) -> None:
        """Use a folder for everything; its path has to be short enough for a socket's address."""
        self._folder = folder
        self._run = folder / "run"
        self._keyring = folder / "data" / "keyrings" / "login.keyring"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._display = ""
        for place in ("home", "run", "data", "config", "cache", "services"):
            (folder / place).mkdir(mode=0o700, parents=True)
        shutil.copy(PROMPTER_FILE, folder / "services")
        (folder / "bus.conf").write_text(
            BUS.format(socket=self._run / "bus", services=folder / "services")
        )

    def __enter__(self) -> Self:
        try:
            return self.become("unlocked")
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """Where the bus is, also while it is not."""
        return f"unix:path={self._run / 'bus'}"

    def environment(self, *, bus: bool = True) -> dict[str, str]:
        """Give the whole environment for a program that shall find this keyring, and no other.

        Args:
            bus: Whether it shall even know of a bus.
        """
        kept = {name: value for name, value in os.environ.items() if name not in STRANGERS}
        return kept | ({"DBUS_SESSION_BUS_ADDRESS": self.address} if bus else {})

    # States

    def become(self, state: State) -> Self:
        """Bring it into a state, whatever state it is in. What it holds is kept where it can be."""
        self._thaw()
        if state == "no bus":
            self.stop()
            return self
        if state in ("no daemon", "no collection") or not self._keyring.exists():
            self._end("daemon")
        if state == "no collection":
            self._keyring.unlink(missing_ok=True)
        self._start_bus()
        self._show_prompts(state == "hanging")
        if state == "no daemon":
            return self
        self._start_daemon(with_collection=state != "no collection")
        if state != "no collection":
            self.unlock()
        if state in ("locked", "hanging"):
            self.lock()
        elif state == "frozen":
            self._processes["daemon"].send_signal(signal.SIGSTOP)
        return self

    def lock(self) -> None:
        """Lock the keyring, as leaving the screen does."""
        with self._collection() as collection:
            collection.lock()
            assert collection.is_locked()

    def unlock(self) -> None:
        """Unlock it as a log-in does (PAM's way); a prompt that is shown stays where it is."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(5)
            control.connect(str(self._run / "keyring" / "control"))
            message = struct.pack(">II", 1, len(PASSWORD)) + PASSWORD
            control.sendall(b"\0" + struct.pack(">I", len(message) + 4) + message)
            answer = control.recv(8, socket.MSG_WAITALL)
        assert answer == struct.pack(">II", 8, 0), self._said("daemon")

    def stop(self) -> None:
        """End everything, and wait for it; the folder stays."""
        self._thaw()
        for name in ("daemon", "bus", "screen"):
            self._end(name)
        # The prompter is a grandchild that the bus let go; nothing else has this runtime folder.
        for process in _with_environment(f"XDG_RUNTIME_DIR={self._run}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        until(lambda: not _with_environment(f"XDG_RUNTIME_DIR={self._run}"))
        (self._run / "bus").unlink(missing_ok=True)
        self._display = ""

    # The prompt

    @property
    def prompts(self) -> bool:
        """Whether a prompt is shown, or was, since somebody asked a locked keyring."""
        with self._connection() as connection:
            return bool(self._ask_bus(connection, "NameHasOwner", PROMPTER))

    def dismiss(self) -> None:
        """Close the prompt without an answer."""
        with self._connection() as connection:
            process = self._ask_bus(connection, "GetConnectionUnixProcessID", PROMPTER)
        os.kill(process, signal.SIGTERM)
        until(lambda: not self.prompts)

    def answer(self) -> None:
        """Type the password into the prompt, as somebody at that screen would."""
        with _keyboard(self._display) as press, self._collection() as collection:
            for _ in range(30):  # what is typed before the prompt listens is lost
                for code in KEY_CODES:
                    press(code)
                with contextlib.suppress(AssertionError):
                    until(lambda: not collection.is_locked(), timeout=0.3)
                    return
        raise AssertionError(self._said("bus"))

    # What it holds

    def items(self) -> list[Item]:
        """List the entries, in whatever order; it has to be unlocked."""
        with self._collection() as collection:
            return [_item(entry) for entry in collection.get_all_items()]

    def secret(self, item: Item) -> str:
        """Give the secret of an entry."""
        with self._collection() as collection:
            [entry] = collection.search_items(_attributes(item))
            return bytes(entry.get_secret()).decode()

    def change(self, item: Item, secret: str) -> None:
        """Give an entry another secret."""
        with self._collection() as collection:
            [entry] = collection.search_items(_attributes(item))
            entry.set_secret(secret.encode())

    def delete(self, item: Item) -> None:
        """Delete an entry, as a person who tidies up does."""
        with self._collection() as collection:
            [entry] = collection.search_items(_attributes(item))
            entry.delete()

    # The parts

    def _start(self, name: str, *command: str, said: int | IO[bytes] | None = None) -> Any:
        folders = {
            "HOME": "home",
            "XDG_CACHE_HOME": "cache",
            "XDG_CONFIG_HOME": "config",
            "XDG_DATA_HOME": "data",
            "XDG_RUNTIME_DIR": "run",
        }
        own = {variable: str(self._folder / folder) for variable, folder in folders.items()}
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = process = subprocess.Popen(
                # Whatever happens to pytest, this ends with it (and the daemon with its bus).
                ["setpriv", "--pdeathsig", "KILL", *command],  # noqa: S607  wherever it is
                stdin=subprocess.PIPE if name == "daemon" else subprocess.DEVNULL,
                stdout=said or log,
                stderr=log,
                env=self.environment(bus=name == "daemon") | own,
            )
        return process

    def _end(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=5)
        if process.stdout is not None:
            process.stdout.close()

    def _said(self, name: str) -> str:
        return f"{name}: {(self._folder / f'{name}.log').read_text(errors='replace')}"

    def _runs(self, name: str) -> bool:
        return name in self._processes and self._processes[name].poll() is None

    def _start_bus(self) -> None:
        if self._runs("bus"):
            return
        self.stop()
        config = f"--config-file={self._folder / 'bus.conf'}"
        process = self._start(
            "bus", "dbus-daemon", config, "--nofork", "--print-address", said=subprocess.PIPE
        )
        assert process.stdout.readline(), self._said("bus")

    def _start_daemon(self, *, with_collection: bool) -> None:
        if self._runs("daemon"):
            return
        self._end("daemon")
        command = ["gnome-keyring-daemon", "--foreground", "--components=secrets"]
        if with_collection:  # made if there is none yet, and unlocked
            command.append("--unlock")
        process = self._start("daemon", *command)
        process.stdin.write(PASSWORD)
        process.stdin.close()
        with self._connection() as connection:
            until(lambda: bool(self._ask_bus(connection, "NameHasOwner", SECRETS)))

    def _show_prompts(self, shown: bool) -> None:  # noqa: FBT001  a state, given on
        if shown and not self._runs("screen"):
            screen = ("Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "640x480x24")
            process = self._start("screen", *screen, said=subprocess.PIPE)
            self._display = process.stdout.readline().decode().strip()
            assert self._display, self._said("screen")
        with self._connection() as connection:
            # Where the next prompter goes; one of an earlier state must not stay.
            self._ask_bus(
                connection,
                "UpdateActivationEnvironment",
                {"DISPLAY": f":{self._display}" if shown else ""},
            )
        if self.prompts:
            self.dismiss()

    def _thaw(self) -> None:
        if self._runs("daemon"):
            self._processes["daemon"].send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        from jeepney.io.blocking import open_dbus_connection  # type: ignore[import-untyped]

        with contextlib.closing(open_dbus_connection(self.address)) as connection:
            yield connection

    @contextlib.contextmanager
    def _collection(self) -> Iterator[Collection]:
        from secretstorage import Collection

        with self._connection() as connection:
            yield Collection(connection)

    def _ask_bus(self, connection: Any, method: str, *given: object) -> Any:
        from jeepney import message_bus  # type: ignore[import-untyped]

        reply = connection.send_and_get_reply(getattr(message_bus, method)(*given), timeout=5)
        return reply.body[0] if reply.body else None


def _item(entry: Entry) -> Item:
    attributes = entry.get_attributes()
    return Item(attributes["service"], attributes["username"], entry.get_label())


def _attributes(item: Item) -> dict[str, str]:
    return {"service": item.service, "username": item.username}


def _with_environment(entry: str) -> list[int]:
    """Find the living processes that were started with this entry in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry.encode() in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return found


@contextlib.contextmanager
def _keyboard(display: str) -> Iterator[Any]:
    """Press keys on an X display, by its XTEST extension."""
    with socket.socket(socket.AF_UNIX) as x11:
        x11.settimeout(5)
        x11.connect(f"/tmp/.X11-unix/X{display}")  # noqa: S108  that is where it is
        x11.sendall(struct.pack("<BxHHHHxx", ord("l"), 11, 0, 0, 0))
        accepted, length = struct.unpack("<BxxxxxH", x11.recv(8, socket.MSG_WAITALL))
        assert accepted == 1
        x11.recv(4 * length, socket.MSG_WAITALL)
        x11.sendall(struct.pack("<BxHHxx8s", 98, 4, 5, b"XTEST"))
        extension = x11.recv(32, socket.MSG_WAITALL)[9]

        def press(code: int) -> None:
            for kind in (2, 3):  # down, up
                x11.sendall(struct.pack("<BBHBBxxII8xHH7xB", extension, 2, 9, kind, code, *[0] * 5))

        yield press
