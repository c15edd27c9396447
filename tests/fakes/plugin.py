"""Fixtures of the fake server, as a pytest plugin."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.fakes.server import FakeServer


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
def fake(fakes: Callable[[], FakeServer]) -> FakeServer:
    """Start one fake server."""
    return fakes()
