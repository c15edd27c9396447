"""The key of stored logins in a real keyring: one that works, is locked, silent, gone, or none.

Everything happens in processes of their own, as in notebooks' kernels.
"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest

from mcpnb.stores import FileStore
from tests.fakes.people import until
from tests.fakes.server import FakeServer
from tests.storage.kernel import Kernel, Kernels
from tests.storage.secret_service import Item, SecretService, State
from tests.terminal import run

pytestmark = pytest.mark.peer

ONLY_PERMISSIONS = "only its permissions protect"
UNUSABLE: list[State] = [state for state in get_args(State) if state != "unlocked"]
GONE = [state for state in UNUSABLE if state != "no collection"]
NULL = "keyring.backends.null.Keyring"
# A keyring that anybody can install, and that tells who asks it.
PLUG_IN = """
import os
from pathlib import Path
from keyring.backend import KeyringBackend

class Keyring(KeyringBackend):
    priority = 9

    def get_password(self, *given):
        Path(os.environ["PLUG_IN_SAYS"]).write_text(f"asked for {given}")

    def set_password(self, *given):
        Path(os.environ["PLUG_IN_SAYS"]).write_text(f"given {given}")
"""
GIVEN = {"MCPNB_STORE_KEY": base64.urlsafe_b64encode(b"\xff" * 32).decode()}
CHOSEN = {"PYTHON_KEYRING_BACKEND": "plug_in.Keyring"}


def kept_by(given: dict[str, str]) -> str:
    """Return what a store that may not use the keyring says of its key."""
    return "MCPNB_STORE_KEY" if given else ONLY_PERMISSIONS


def the_key(service: SecretService) -> tuple[Item, str]:
    [item] = service.items()
    return item, service.secret(item)


@pytest.fixture
def signed_in(kernels: Kernels) -> Kernel:
    """A kernel that has signed in, with the key in the keyring."""
    kernel = kernels()
    kernel("sign_in(session)")
    return kernel


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        ("unlocked", "None"),
        ("locked", "KeyringLocked"),
        ("no collection", "InitError"),
        ("no daemon", "NoKeyringError"),
        ("no bus", "NoKeyringError"),
        ("hanging", None),
        ("frozen", None),
    ],
)
def test_the_states_are_what_the_keyring_library_finds(
    secret_service: SecretService, state: State, answer: str | None
) -> None:
    """The ground that all the rest stands on: `None` is no answer at all."""
    code = "import keyring\ntry: print(keyring.get_password('a', 'b'))\n"
    code += "except Exception as error: print(type(error).__name__)"
    secret_service.become(state)
    found = None
    with suppress(subprocess.TimeoutExpired):
        found = subprocess.check_output(
            [sys.executable, "-c", code],
            env=secret_service.environment(),
            text=True,
            timeout=20 if answer else 2,
        ).strip()

    assert found == answer


@pytest.mark.parametrize("store", ["auto", "keyring"])
def test_the_key_is_in_the_keyring_and_nowhere_else(
    kernels: Kernels, secret_service: SecretService, world: Path, store: str
) -> None:
    kernel = kernels(store)
    kernel("sign_in(session)")
    item, secret = the_key(secret_service)
    raw = base64.urlsafe_b64decode(secret + "=")

    assert "Secret Service" in kernel("session.info().location")
    assert item.service == "mcpnb"
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", secret)
    assert len(raw) == 32
    assert not (world / "mcpnb" / "key").exists()
    files = [path.read_bytes() for path in (world / "mcpnb").iterdir()]
    assert files
    assert not any(secret.encode() in content or raw in content for content in files)
    assert kernels(store)("session.headers()") == kernel("session.headers()")
    assert secret_service.items() == [item]


def test_processes_that_come_first_together_agree_on_one_key(
    kernels: Kernels, secret_service: SecretService
) -> None:
    """The keyring has no compare-and-swap: they have to take turns."""
    six = [kernels("keyring") for _ in range(6)]
    assert [kernel("1") for kernel in six] == [1] * 6, "all are there"
    for number, kernel in enumerate(six):
        kernel.type(f"open_store(store).write(RecordName('login', 'n{number}'), {{'n': {number}}})")
    assert [kernel.answer() for kernel in six] == [(None, None)] * 6

    read = "[open_store(store).read(RecordName('login', f'n{number}')) for number in range(6)]"
    assert kernels("keyring")(read) == [{"n": number} for number in range(6)]
    assert len(secret_service.items()) == 1


def test_every_folder_has_a_key_of_its_own(
    kernels: Kernels, secret_service: SecretService, world: Path
) -> None:
    for folder in ("one", "other"):
        kernels(MCPNB_HOME=str(world / folder))("sign_in(session)")

    items = secret_service.items()
    assert len(items) == len({item.username for item in items}) == 2
    assert len({secret_service.secret(item) for item in items}) == 2


@pytest.mark.parametrize("path", ["../mcpnb", "link", "{home}/../mcpnb"])
def test_a_folder_has_one_key_by_whatever_path_it_is_called(
    kernels: Kernels, secret_service: SecretService, world: Path, path: str
) -> None:
    """The working folder differs between a notebook and a terminal."""
    (world / "mcpnb").mkdir(mode=0o700, exist_ok=True)
    (world / "work" / "link").symlink_to(world / "mcpnb")
    kernels(MCPNB_HOME=path.format(home=world / "home"))("sign_in(session)")

    assert kernels()("session.status") == "authenticated"
    assert len(secret_service.items()) == 1


@pytest.mark.parametrize("store", ["file", "memory"])
def test_other_stores_never_ask_the_keyring(
    kernels: Kernels, secret_service: SecretService, store: str
) -> None:
    """Not even whether it is there."""
    kernel = kernels(store)
    kernel("sign_in(session)")

    assert ("memory" if store == "memory" else ONLY_PERMISSIONS) in kernel(
        "session.info().location"
    )
    assert [event for event in kernel("events") if "socket.connect" in event]
    assert [event for event in kernel("events") if "/secrets/run/bus" in event] == []
    assert secret_service.items() == []


@pytest.mark.parametrize("given", [{}, GIVEN], ids=["a file", "the environment"])
def test_a_login_made_without_the_keyring_keeps_its_key(
    kernels: Kernels, secret_service: SecretService, fake: FakeServer, given: dict[str, str]
) -> None:
    """A kernel on the desktop must not lock out what runs without one; a new login moves up."""
    secret_service.become("no bus")
    fake.lifetime = 1
    kernels(**given)("sign_in(session)")
    secret_service.become("unlocked")
    desktop = kernels(**given)
    until(lambda: bool(desktop("session.status") == "expired"))
    fake.lifetime = 3600
    renewed = desktop("session.headers()")

    assert fake.refreshes == 1
    assert kept_by(given) in desktop("session.info().location")
    assert secret_service.items() == []
    desktop("sign_in(other('new'))")
    assert "Secret Service" in desktop("other('new').info().location")
    assert len(secret_service.items()) == 1
    secret_service.become("no bus")
    assert kernels(**given)("session.headers()") == renewed


def test_the_key_never_shows(kernels: Kernels, secret_service: SecretService) -> None:
    """Not in a log, a `repr`, an argument or an environment, of it or of a child."""
    first = kernels("keyring")
    first("sign_in(session)")
    kernel = kernels("keyring")
    shown = [kernel("[repr(session), session.info().location, session.call('echo')]")]
    shown.append(kernel("repr(open_store(store))"))
    secret_service.lock()
    shown.append(first("[repr(session), session.info().location, session.status]"))
    late = kernels("keyring")
    shown += [late.fails("session.headers()"), late("repr(session)")]
    secret_service.become("unlocked")
    place = Path("/proc") / str(kernel.process.pid)
    shown += [(place / name).read_text() for name in ("cmdline", "environ")]
    shown += [kernel("events"), first("events"), first.err, kernel.err, late.err]
    secret = the_key(secret_service)[1]
    raw = base64.urlsafe_b64decode(secret + "=")

    assert "DEBUG" in first.err
    for form in (secret, raw.hex(), repr(raw)[2:-1], base64.b64encode(raw).decode()):
        assert form not in str(shown)


# Reading a login


@pytest.mark.parametrize("state", GONE)
def test_a_login_whose_key_is_out_of_reach_is_locked_and_not_lost(
    kernels: Kernels, secret_service: SecretService, signed_in: Kernel, state: State
) -> None:
    """Nobody is told to sign in again; the same process goes on once the keyring is back."""
    secret_service.become(state)
    kernel = kernels()

    for use in ("session.status", "session.headers()", "session.call('echo', text='hello')"):
        assert kernel.fails(use)[0] == "StoreLocked"
    line = kernel("repr(session)")
    assert "\n" not in line
    assert "keyring" in line
    assert "not signed in" not in line
    # Twenty waits of three seconds would be a minute; this has to be an answer's time.
    assert kernel("{repr(session) for _ in range(20)}").count("silent") == 0
    assert signed_in("session.call('echo', text='hello').text") == "hello", "it has the key already"

    secret_service.become("unlocked")
    until(lambda: "keyring" not in kernel("repr(session)"))
    assert kernel("session.status") == "authenticated"
    assert kernel("session.call('echo', text='hello').text") == "hello"


@pytest.mark.parametrize("how", ["answered late", "unlocked elsewhere", "restarted"])
@pytest.mark.usefixtures("signed_in")
def test_a_prompt_that_nobody_answers_in_time_does_not_outlive_its_reason(
    kernels: Kernels, secret_service: SecretService, how: str
) -> None:
    """Somebody types the password at the other screen, or logs in there: the prompt may stay."""
    secret_service.become("hanging")
    kernel = kernels()
    assert kernel.fails("session.status")[0] == "StoreLocked"

    if how == "answered late":
        secret_service.answer()
    if how == "restarted":
        secret_service.become("no daemon").become("unlocked")
    if how != "answered late":
        secret_service.unlock()

    until(lambda: "keyring" not in kernel("repr(session)"))
    assert kernel("session.status") == "authenticated"


# Without a keyring, and signing in


@pytest.mark.parametrize(
    ("state", "given"),
    [
        *((state, {}) for state in ("locked", "hanging", "no collection", "no daemon", "no bus")),
        *((state, GIVEN) for state in ("locked", "no bus")),
    ],
)
def test_where_the_keyring_cannot_be_used_the_key_is_of_the_environment_or_a_file(
    kernels: Kernels,
    secret_service: SecretService,
    world: Path,
    state: State,
    given: dict[str, str],
) -> None:
    """The login says plainly what protects it, and the keyring gets nothing later on."""
    secret_service.become(state)
    kernel = kernels(**given)
    kernel("sign_in(session)")

    file = world / "mcpnb" / "key"
    assert kept_by(given) in kernel("session.info().location")
    assert file.exists() is not bool(given)
    assert given or file.stat().st_mode & 0o777 == 0o600
    secret_service.become("unlocked")
    assert kernels(**given)("session.status") == "authenticated"
    assert secret_service.items() == []


def test_a_program_that_knows_of_no_bus_uses_the_file(kernels: Kernels) -> None:
    kernel = kernels(bus=False)
    kernel("sign_in(session)")

    assert ONLY_PERMISSIONS in kernel("session.info().location")


@pytest.mark.parametrize("state", UNUSABLE)
def test_a_login_for_the_keyring_only_fails_before_the_browser(
    kernels: Kernels, secret_service: SecretService, fake: FakeServer, world: Path, state: State
) -> None:
    """Whoever has signed in must not hear afterwards that it cannot be kept."""
    secret_service.become(state)

    error, text, url = kernels("keyring")("attempt()")

    is_there = state in ("locked", "hanging", "frozen")
    assert (error, url) == ("StoreLocked" if is_there else "StoreError", None)
    assert "keyring" in text
    assert fake.asked("/authorize") == []
    assert list((world / "mcpnb").glob("*.mcpnb")) == []
    assert not (world / "mcpnb" / "key").exists()


# Signing out


@pytest.mark.parametrize("state", ["locked", "hanging", "no bus"])
@pytest.mark.usefixtures("signed_in")
def test_signing_out_works_where_the_keyring_has_gone(
    kernels: Kernels, secret_service: SecretService, fake: FakeServer, state: State
) -> None:
    """It forgets, and does not claim that the server knows."""
    secret_service.become(state)
    kernel = kernels()

    assert kernel("session.logout()") is False
    assert kernel("session.status") == "none"
    assert "not signed in" in kernel("repr(session)")
    assert fake.asked("/revoke") == []


@pytest.mark.parametrize("state", ["locked", "no daemon"])
@pytest.mark.usefixtures("signed_in")
def test_the_terminal_says_what_a_sign_out_without_the_keyring_could_not_do(
    secret_service: SecretService, fake: FakeServer, world: Path, state: State
) -> None:
    environment = secret_service.become(state).environment()

    listed = run("list", **environment).expect(0)
    done = run("logout", fake.url, **environment).expect(0)

    assert fake.url in listed.out
    assert "keyring" in listed.out + listed.err
    assert "revoked at the server" not in done.err
    assert "read" in done.err, "it was not even tried, and why"
    assert FileStore(world / "mcpnb").keys("login") == []
    assert fake.asked("/revoke") == []


# Entries that a person changes


@pytest.mark.usefixtures("signed_in")
def test_a_deleted_entry_locks_its_logins_until_somebody_signs_in_again(
    kernels: Kernels, secret_service: SecretService
) -> None:
    [entry] = secret_service.items()
    secret_service.delete(entry)
    kernel = kernels()

    assert kernel.fails("session.headers()")[0] == "StoreLocked"
    assert secret_service.items() == [], "reading makes no key"
    kernel("sign_in(session)")
    assert "Secret Service" in kernel("session.info().location")
    assert secret_service.items() == [entry]
    assert kernels()("session.status") == "authenticated"


def test_a_long_lived_process_notices_that_the_entry_was_deleted(
    kernels: Kernels, secret_service: SecretService, signed_in: Kernel
) -> None:
    """Or it would seal a new login with a key that is kept nowhere, and lose it when it ends."""
    [entry] = secret_service.items()
    secret_service.delete(entry)
    signed_in("sign_in(other('new'))")

    assert kernels()("other('new').status") == "authenticated"
    assert secret_service.items() == [entry]


def test_a_long_lived_process_takes_the_key_that_another_one_made(
    kernels: Kernels, secret_service: SecretService, signed_in: Kernel
) -> None:
    """The entry was deleted, and somebody has signed in again in a terminal."""
    [entry] = secret_service.items()
    secret_service.delete(entry)
    kernels()("sign_in(session)")

    assert signed_in("session.status") == "authenticated"


@pytest.mark.usefixtures("signed_in")
def test_an_entry_that_is_no_key_is_told_and_left_alone(
    kernels: Kernels, secret_service: SecretService
) -> None:
    [entry] = secret_service.items()
    secret_service.change(entry, "a person's own note")

    found, text, url = kernels("keyring")("attempt()")

    assert (found, url) == ("StoreError", None)
    assert "mcpnb" in text, "it says which entry"
    assert "own note" not in text
    assert secret_service.secret(entry) == "a person's own note"
    assert kernels().fails("session.status")[0] == "StoreLocked"


# Keyrings that are none


@pytest.fixture
def plug_in(tmp_path: Path) -> dict[str, str]:
    """Install a plug-in for `keyring`; an environment that finds it is returned."""
    (tmp_path / "plug_in.py").write_text(PLUG_IN)
    about = tmp_path / "plug_in-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-in\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[keyring.backends]\nplug = plug_in\n")
    return {"PYTHONPATH": str(tmp_path), "PLUG_IN_SAYS": str(tmp_path / "said")}


@pytest.mark.parametrize(
    ("state", "chosen"),
    [("no bus", {}), ("locked", {}), ("unlocked", {}), ("unlocked", CHOSEN)],
)
def test_a_plug_in_is_no_keyring(
    kernels: Kernels,
    secret_service: SecretService,
    plug_in: dict[str, str],
    state: State,
    chosen: dict[str, str],
) -> None:
    """It may keep secrets as plain text, or ask for a password on a terminal (both exist)."""
    secret_service.become(state)
    environment = secret_service.environment() | plug_in | chosen
    code = "import keyring; keyring.get_password('a', 'b')"
    said = Path(plug_in["PLUG_IN_SAYS"])
    subprocess.run(
        [sys.executable, "-c", code], env=environment, check=False, timeout=20, capture_output=True
    )
    assert said.exists(), "the library itself would take it"
    said.unlink()

    kernel = kernels(**plug_in, **chosen)
    kernel("sign_in(session)")

    is_used = state == "unlocked" and not chosen
    assert ("Secret Service" if is_used else ONLY_PERMISSIONS) in kernel("session.info().location")
    assert not said.exists()


@pytest.mark.usefixtures("signed_in")
def test_the_keyring_can_be_switched_off(kernels: Kernels, secret_service: SecretService) -> None:
    """And what was sealed with it is locked, not lost."""
    items = secret_service.items()
    kernel = kernels(PYTHON_KEYRING_BACKEND=NULL)

    assert kernel.fails("session.status")[0] == "StoreLocked"
    kernel("sign_in(other('new'))")
    assert ONLY_PERMISSIONS in kernel("other('new').info().location")
    assert secret_service.items() == items
    assert kernels()("session.status") == "authenticated"
    assert kernels("keyring", PYTHON_KEYRING_BACKEND=NULL)("attempt()")[0] == "StoreError"
