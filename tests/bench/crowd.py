"""Many who use one stored login at the same moment: coroutines, threads and processes.

The processes are real ones, and they are started beforehand: each says when it is ready, then all
get the word, and each says when everybody in it is under way. What they were told comes last.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import httpx2

import mcpnb
from mcpnb.stores import FileStore
from tests.bench import environment
from tests.bench.table import Row, Table
from tests.child import Child, piped
from tests.fakes.people import connect, sign_in
from tests.fakes.processes import EXPIRED, age
from tests.fakes.server import FakeServer

ANSWERED = "answered"
SIDE_BY_SIDE = 100
"""Connections of one process: a refused request keeps its own until the token is renewed."""
PATIENCE = 60
CALL = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@dataclass(frozen=True)
class Kind:
    """Who makes up a crowd, and what each of them uses."""

    name: str
    processes: int = 1
    threads: int = 0
    """In each process; they use sync clients."""
    coroutines: int = 0
    """In each process, on one event loop."""
    through: Literal["auth", "headers", "call"] = "auth"
    """`Session.auth` in a client of httpx2, `Session.headers` (threads only), or `Session.call`."""
    times: int = 1
    """Calls that each of them makes, one after another."""

    @property
    def calls(self) -> int:
        """How many calls they make together."""
        return self.processes * (self.threads + self.coroutines) * self.times


CROWDS = (
    Kind("1,000 coroutines", coroutines=1000),
    Kind("8 threads", threads=8),
    Kind("8 processes", processes=8, coroutines=1),
    Kind("8 processes of 8 threads and 3 coroutines", processes=8, threads=8, coroutines=3),
)


class Crowd:
    """The processes of one crowd, from the outside. Those still there at the end are killed."""

    def __init__(self, kind: Kind, server: str, store: Path) -> None:
        """Prepare them; the ``with`` statement starts them and waits until each is ready.

        Args:
            kind: Who.
            server: The MCP server that somebody is signed in to.
            store: The folder of the `FileStore` that holds this login.
        """
        self.kind = kind
        self._store = store
        self._order = json.dumps([asdict(kind), server, str(store)])
        self._children: list[Child] = []
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.bench.crowd", self._order]
        given = {"stderr": None, "env": environment(self._store), "cwd": self._store}
        with ExitStack() as ending:
            for _ in range(self.kind.processes):
                self._children.append(ending.enter_context(Child(piped(command, **given))))
            self._hear("ready")
            self._ending = ending.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def go(self) -> None:
        """Give all of them the word, and wait until everybody is under way."""
        for child in self._children:
            child.type("go")
        self._hear("under way")

    def outcomes(self) -> list[str]:
        """Wait for the last of them.

        Returns:
            What became of each call: `ANSWERED`, the name of an error of ours, or whatever it was.
        """
        found: list[str] = []
        for child in self._children:
            child.ended(PATIENCE)
            found += json.loads(child.out.splitlines()[-1])
        return found

    def all(self) -> list[str]:
        """Do both."""
        self.go()
        return self.outcomes()

    def _hear(self, word: str) -> None:
        for child in self._children:
            if not child.find(partial(_says, child, word), PATIENCE):
                raise RuntimeError(f"one of {self.kind.name} did not say {word!r}: {child.out}")


def _says(child: Child, word: str) -> bool:
    return word in child.out.splitlines()


def refreshes(rounds: int) -> list[Table]:
    """Count those that are sent when a crowd meets a token that is over; the worst of the rounds.

    Who comes first is for the processes to settle.
    """
    tables = []
    for what in ("an expired token", "a 401"):
        rows = []
        for kind in CROWDS:
            counts, outcomes = list[int](), Counter[str]()
            for _ in range(rounds):
                with FakeServer() as fake, tempfile.TemporaryDirectory() as folder:
                    store = FileStore(folder)
                    sign_in(connect(fake.url, store=store))
                    fake.expire()
                    if what != "a 401":
                        age(store, EXPIRED)
                    with Crowd(kind, fake.url, store.folder) as crowd:
                        outcomes.update(crowd.all())
                    counts.append(fake.refreshes)
            worst = max(counts, key=lambda count: abs(count - 1))
            lost = outcomes.total() - outcomes.pop(ANSWERED)
            note = (
                f"{lost} calls failed: {', '.join(outcomes)}" if lost else f"{kind.calls:,} calls"
            )
            met = worst == 1 and not lost
            rows.append(Row(f"mcpnb, {kind.name}", str(worst), target="1", met=met, note=note))
        tables.append(Table(f"refreshes when all meet {what} at once", "refreshes", "", rows))
    return tables


# What runs in each of the processes


class _Member:
    """One process: its threads and its coroutines share one session."""

    def __init__(self, kind: Kind, server: str, store: str) -> None:
        self.kind = kind
        self.session = mcpnb.connect(server, store=FileStore(store))
        if kind.through == "call":
            import mcp  # noqa: F401  half a second, which would keep them from meeting
        self.auth = self.session.auth
        self.client = httpx2.Client(**_OPTIONS)
        self.under_way = threading.Semaphore(0)

    async def run(self) -> list[str]:
        """Let everybody loose, and collect what they were told."""
        kind, loop = self.kind, asyncio.get_running_loop()
        with ThreadPoolExecutor(max_workers=max(1, kind.threads)) as pool:
            threads = [loop.run_in_executor(pool, self._thread) for _ in range(kind.threads)]
            for _ in threads:
                self.under_way.acquire()
            async with httpx2.AsyncClient(**_OPTIONS) as client:
                coroutines = [
                    asyncio.create_task(self._coroutine(client)) for _ in range(kind.coroutines)
                ]
                # Each runs until there is something it has to wait for.
                await asyncio.sleep(0)
                print("under way", flush=True)
                told = await asyncio.gather(*threads, *coroutines)
        return [outcome for each in told for outcome in each]

    def _thread(self) -> list[str]:
        use = {"auth": self._by_auth, "headers": self._by_headers, "call": self._by_call}
        self.under_way.release()
        return [_outcome(use[self.kind.through]) for _ in range(self.kind.times)]

    async def _coroutine(self, client: httpx2.AsyncClient) -> list[str]:
        outcomes = []
        for _ in range(self.kind.times):
            try:
                if self.kind.through == "call":
                    told = (await self.session.acall("echo", text=ANSWERED)).text
                else:
                    told = _told(await client.post(self.session.server, json=CALL, auth=self.auth))
            except Exception as error:  # noqa: BLE001  whatever it is, it is the outcome
                told = _named(error)
            outcomes.append(told)
        return outcomes

    def _by_auth(self) -> str:
        return _told(self.client.post(self.session.server, json=CALL, auth=self.auth))

    def _by_headers(self) -> str:
        return _told(
            self.client.post(self.session.server, json=CALL, headers=self.session.headers())
        )

    def _by_call(self) -> str:
        return self.session.call("echo", text=ANSWERED).text


_OPTIONS: dict[str, Any] = {
    "timeout": PATIENCE,
    "trust_env": False,
    "limits": httpx2.Limits(max_connections=SIDE_BY_SIDE),
}


def _outcome(use: Callable[[], str]) -> str:
    try:
        return use()
    except Exception as error:  # noqa: BLE001  whatever it is, it is the outcome
        return _named(error)


def _told(answer: httpx2.Response) -> str:
    if answer.is_success:
        return ANSWERED
    return f"{answer.status_code} {answer.extensions.get('mcpnb', 'without a note')}"


def _named(error: Exception) -> str:
    # Of ours the kind is what counts; of others one wants to read everything.
    return type(error).__name__ if isinstance(error, mcpnb.McpnbError) else repr(error)


def main() -> None:
    """Be one of the processes."""
    kind, *rest = json.loads(sys.argv[1])
    member = _Member(Kind(**kind), *rest)
    print("ready", flush=True)
    sys.stdin.readline()
    outcomes = asyncio.run(member.run())
    print(json.dumps(outcomes), flush=True)


if __name__ == "__main__":
    main()
