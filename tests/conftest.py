"""What holds for every test: a world of its own, and no network but loopback."""

from __future__ import annotations

import gc
import ipaddress
import itertools
import os
import signal
import ssl
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpcore2
import pytest

pytest_plugins = ["tests.fakes.plugin", "tests.figures", "tests.peers.plugin"]

# Folders that mcpnb, platformdirs, the servers and the interpreter look for things in.
_FOLDERS = {
    "APPDATA": "appdata",
    "HOME": "home",
    "LOCALAPPDATA": "localappdata",
    "MCPNB_HOME": "mcpnb",
    "USERPROFILE": "home",
    "XDG_CACHE_HOME": "xdg/cache",
    "XDG_CONFIG_HOME": "xdg/config",
    "XDG_DATA_HOME": "xdg/data",
    "XDG_RUNTIME_DIR": "run",
    "XDG_STATE_HOME": "xdg/state",
}
# A browser that somebody has open must never be reached from here.
_UNWANTED = {"BROWSER", "CODEX_HOME", "DISPLAY", "WAYLAND_DISPLAY"}
# Nor the keyring of who runs the tests. `tests/storage/secret_service.py` starts one of its own.
_NO_KEYRING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
# Certificates of the tester's own choice.
_CERTIFICATES = {"SSL_CERT_DIR", "SSL_CERT_FILE"}
# What tests/run says to the tests.
_OURS = {"MCPNB_CI", "MCPNB_TEST_NODE"}


def _is_unwanted(name: str) -> bool:
    upper = name.upper()
    return (
        upper in _UNWANTED
        or upper.endswith("_PROXY")
        or (upper.startswith("MCPNB_") and upper not in _OURS)
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect tests without a garbage collector, which finds nothing there and takes half the time.

    What is there afterwards stays to the end: later collections need not look through it.
    """
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that may take longest: at the end nobody shall wait for one of them."""
    items.sort(key=_limit, reverse=True)


def _limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Name one folder after another; pytest looks through all that there are for each new one."""
    folder = tmp_path_factory.mktemp("w", numbered=False)
    return (folder / str(number) for number in itertools.count(1))


@pytest.fixture(autouse=True)
def world(worlds: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a home, a store and a working folder of its own; the folder is returned.

    Subprocesses inherit all of it. `tmp_path` stays empty for the test.
    """
    # What a test has hidden from messages is hidden for the rest of a process.
    monkeypatch.setattr("mcpnb.text._secrets", ())
    # The browsers of a machine are looked for once in a process.
    monkeypatch.setattr(webbrowser, "_tryorder", None)
    monkeypatch.setattr(webbrowser, "_browsers", {})
    for name in filter(_is_unwanted, list(os.environ)):
        monkeypatch.delenv(name)
    place = next(worlds)
    for name, value in _NO_KEYRING.items():
        monkeypatch.setenv(name, value)
    for name, folder in _FOLDERS.items():
        monkeypatch.setenv(name, str(place / folder))
    # What is there on every machine; a runtime folder that others can read is refused.
    for folder in ("home", "run"):
        (place / folder).mkdir(mode=0o700, parents=True)
    # The search for project configuration goes upwards until a repository's root.
    (place / "work" / ".git").mkdir(parents=True)
    monkeypatch.chdir(place / "work")
    return place


@pytest.fixture(scope="session", autouse=True)
def certificates_read_once() -> Iterator[None]:
    """Read this machine's certificates once: a run makes thousands of clients, at 15 ms each."""
    read, shared = httpcore2.default_ssl_context, httpcore2.default_ssl_context(_trust_env=False)

    def once(*, _trust_env: bool = True) -> ssl.SSLContext:
        named = _trust_env and not os.environ.keys().isdisjoint(_CERTIFICATES)
        return read() if named else shared

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", once)
        yield


@pytest.fixture
def anyio_backend() -> str:
    """Run `@pytest.mark.anyio` tests on asyncio, which is what notebooks have."""
    return "asyncio"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse_the_outside(event: str, arguments: tuple[Any, ...]) -> None:
    # The address of a Unix socket is no tuple.
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = str(arguments[1][0])
        if not _is_loopback(host):
            raise AssertionError(f"a test tried to connect to {host}: tests stay on loopback")


# Who runs the tests in the background has these ignored, and what they start would inherit that:
# nobody could press Ctrl-C in a test (measured: six fail).
_USUAL: dict[str, Any] = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
for _name, _usual in _USUAL.items():
    _number = getattr(signal, _name, None)  # Windows has no SIGHUP
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

# An audit hook sees every connection, whichever library makes it, and cannot be forgotten.
sys.addaudithook(_refuse_the_outside)
