"""Fixtures of the fake server, as a pytest plugin."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import mcpnb
from mcpnb.stores import FileStore
from tests.fakes.kernels import Kernel
from tests.fakes.people import connect, free_port, sign_in
from tests.fakes.server import FakeServer

if TYPE_CHECKING:
    from tests.fakes.front_end import FrontEnd


@pytest.fixture
def fakes() -> Iterator[Callable[[], FakeServer]]:
    """Start as many fake servers as a test needs; none may break on the way."""
    started: list[FakeServer] = []
    with contextlib.ExitStack() as stack:

        def start() -> FakeServer:
            started.append(stack.enter_context(FakeServer()))
            return started[-1]

        yield start
    assert [problem for server in started for problem in server.broken] == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where logins rest; not there yet."""
    return tmp_path / "logins"


@pytest.fixture
def kernel(fake: FakeServer, folder: Path) -> Kernel:
    """Open sessions at the fake as kernels of their own would."""
    return lambda **given: connect(fake.url, store=FileStore(folder), **given)


@pytest.fixture
def fake(fakes: Callable[[], FakeServer]) -> FakeServer:
    """Start one fake server."""
    return fakes()


@pytest.fixture
def session(fake: FakeServer) -> mcpnb.Session:
    """Sign in at the fake, with the login in memory."""
    made = connect(fake.url)
    sign_in(made)
    return made


@pytest.fixture
def own(world: Path) -> Path:
    """Name the person's own configuration; its folder is there."""
    file = world / "xdg" / "config" / "mcpnb" / "config.toml"
    file.parent.mkdir(parents=True)
    return file


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FrontEnd]]:
    """Show sessions in panels, on a page that is on this computer unless a test says otherwise.

    A port of the test's own stands in for the one that is usual.
    """
    from tests.fakes.front_end import (
        LAB,
        open_panel,
    )  # with the widgets, which most tests do not need

    monkeypatch.setattr("mcpnb.login.redirects.DEFAULT_PORT", free_port())
    with contextlib.ExitStack() as shown:

        def opened(session: mcpnb.Session, callback: str | None = LAB, **given: Any) -> FrontEnd:
            front = open_panel(session, callback, **given)
            shown.callback(front.close)
            return front

        yield opened
