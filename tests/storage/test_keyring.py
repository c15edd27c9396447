"""The key of stored logins in a real keyring that works.

Everything happens in processes of their own, as in notebooks' kernels. Where the keyring does not
work: `test_keyring_out_of_reach.py`.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fakes.people import until
from tests.fakes.server import FakeServer
from tests.peers.kernel import Kernels
from tests.peers.secret_service import Item, SecretService, State

pytestmark = pytest.mark.peer

ONLY_PERMISSIONS = "only its permissions protect"


def the_key(service: SecretService) -> tuple[Item, str]:
    [item] = service.items()
    return item, service.secret(item)


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

    assert "Secret Service" in kernel("session.kept")
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
        kernel.ask(f"open_store(store).write(Key('login', 'n{number}'), {{'n': {number}}})")
    assert [kernel.answer() for kernel in six] == [(None, None)] * 6

    read = "[open_store(store).read(Key('login', f'n{number}')) for number in range(6)]"
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

    assert ("memory" if store == "memory" else ONLY_PERMISSIONS) in kernel("session.kept")
    assert [event for event in kernel("events") if "socket.connect" in event]
    assert [event for event in kernel("events") if "/secrets/run/bus" in event] == []
    assert secret_service.items() == []


@pytest.mark.parametrize("by", ["file", "MCPNB_STORE_KEY"])
def test_a_login_made_without_the_keyring_keeps_its_key(
    kernels: Kernels, secret_service: SecretService, fake: FakeServer, by: str
) -> None:
    """A kernel on the desktop must not lock out what runs without one; a new login moves up."""
    key = base64.urlsafe_b64encode(os.urandom(32)).decode()
    given = {"MCPNB_STORE_KEY": key} if by == "MCPNB_STORE_KEY" else {}
    said = by if given else ONLY_PERMISSIONS
    secret_service.become("no bus")
    fake.lifetime = 1
    kernels(**given)("sign_in(session)")
    secret_service.become("unlocked")
    desktop = kernels(**given)
    until(lambda: bool(desktop("session.status") == "expired"))
    fake.lifetime = 3600
    renewed = desktop("session.headers()")

    assert fake.refreshes == 1
    assert said in desktop("session.kept")
    assert secret_service.items() == []
    desktop("sign_in(other('new'))")
    assert "Secret Service" in desktop("other('new').kept")
    assert len(secret_service.items()) == 1
    secret_service.become("no bus")
    assert kernels(**given)("session.headers()") == renewed


def test_the_key_never_shows(kernels: Kernels, secret_service: SecretService) -> None:
    """Not in a log, a `repr`, an argument or an environment, of it or of a child."""
    first = kernels("keyring")
    first("sign_in(session)")
    kernel = kernels("keyring")
    shown = [kernel("[repr(session), session.kept, repr(open_store(store)), session.call('echo')]")]
    secret_service.lock()
    shown.append(first("[repr(session), session.kept, session.status]"))
    late = kernels("keyring")
    shown += [late.fails("session.headers()"), late("repr(session)")]
    secret_service.become("unlocked")
    place = Path("/proc") / str(kernel.process.pid)
    shown += [(place / name).read_text() for name in ("cmdline", "environ")]
    shown += [kernel("events"), first("events"), first.said, kernel.said, late.said]
    secret = the_key(secret_service)[1]
    raw = base64.urlsafe_b64decode(secret + "=")

    assert "DEBUG" in first.said
    for form in (secret, raw.hex(), repr(raw)[2:-1], base64.b64encode(raw).decode()):
        assert form not in str(shown)
