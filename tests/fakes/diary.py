"""A diary of what mcpnb does with a store and a server, in its order."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mcpnb.stores import MemoryStore, RecordName
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request


class Diary(MemoryStore):
    """A store that writes down what is done with it, and which of it on an event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.on_a_loop: list[str] = []

    def _note(self, what: str) -> None:
        self.lines.append(what)
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            self.on_a_loop.append(what + "".join(traceback.format_stack()[-5:-2]))

    def read(self, key: RecordName) -> dict[str, Any] | None:
        self._note(f"read {key.kind}")
        return super().read(key)

    def write(self, key: RecordName, record: dict[str, Any]) -> None:
        self._note(f"write {key.kind}")
        super().write(key, record)

    def delete(self, key: RecordName, *, leave_tombstone: bool = False) -> None:
        self._note(f"delete {key.kind}{' leaving a tombstone' if leave_tombstone else ''}")
        super().delete(key, leave_tombstone=leave_tombstone)

    @contextmanager
    def lock(self, key: RecordName, timeout: float) -> Iterator[None]:
        with super().lock(key, timeout):
            self._note(f"lock {key.kind}")
            yield
            self._note(f"free {key.kind}")

    def note_requests(self, fake: FakeServer) -> None:
        """Write down, too, what is asked of a server, and where it says 401."""

        def noted(route: Callable[[Request], Reply]) -> Callable[[Request], Reply]:
            def answer(request: Request) -> Reply:
                reply = route(request)
                refused = " 401" if reply.status == 401 and request.bearer else ""
                self._note(f"{request.method} {request.path}{refused}")
                return reply

            return answer

        for path, route in fake.routes.items():
            fake.routes[path] = noted(route)
