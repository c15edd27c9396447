"""What every contender of `tests.bench.compare` meets: the same server, a home and a browser.

The server is the tests' fake, which can break one rule at a time. Each contender gets a home of its
own, no keyring, and a “browser” that agrees by itself: a script, found where programs look for one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from tests.bench import ROOT
from tests.child import Child, piped
from tests.fakes.device import DEVICE_CODE, OtherDevice
from tests.fakes.server import AS_METADATA, FakeServer
from tests.fakes.wire import Reply, Request

if TYPE_CHECKING:
    from tests.bench.compare_contenders import Contender

T = TypeVar("T")
PATIENCE = 40
TOGETHER = 20
"""Seconds that the first of a crowd waits at the server for the last."""
# The loopback listener may come up only after the browser was opened (FastMCP's does): a person is
# slower than that, so this one tries again for a while.
BROWSER = """#!{python} -SE
import os, sys, time, urllib.request
if {agrees} and not os.fork():
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
    class Stop(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({{}}), Stop).open(sys.argv[-1])
    except urllib.error.HTTPError as answer:
        back = answer.headers.get("location")
    for _ in range(100):
        try:
            opener.open(back, timeout=30)
            break
        except urllib.error.HTTPError:
            break
        except OSError:
            time.sleep(0.1)
"""


class Lab(FakeServer):
    """The fake, with a device grant, the few addresses of a Hub, and ways to be slow."""

    def __init__(self) -> None:
        super().__init__()
        self.wait_for_refused = 0
        """Let no 401 go before so many rejected tokens were presented."""
        self.token_takes = 0.0
        """Seconds that a renewal takes."""
        self.answered: list[tuple[Request, int]] = []
        self._refused = 0
        self._all_refused = threading.Event()
        # The person agrees at once.
        self.phone = OtherDevice(self)
        self.phone.decision = "agreed"
        self.phone.answer["interval"] = 1
        assert self.metadata is not None
        # Its issuer has a path: who guesses `/token` at the MCP server's origin is found out.
        issuer = f"{self.base}/as"
        self.describe(authorization_servers=[issuer])
        self.announce(
            issuer=issuer,
            device_authorization_endpoint=f"{issuer}/device",
            grant_types_supported=[*self.metadata["grant_types_supported"], DEVICE_CODE],
            authorization_endpoint=f"{issuer}/authorize",
            token_endpoint=f"{issuer}/token",
            registration_endpoint=f"{issuer}/register",
            revocation_endpoint=f"{issuer}/revoke",
        )
        self._own_mcp, begin = self.routes["/mcp"], self.routes.pop("/device_authorization")
        self.routes |= {
            AS_METADATA: lambda _: Reply(404),
            f"{AS_METADATA}/as": self.routes[AS_METADATA],
            "/mcp": self._gate,
            "/as/register": self.routes.pop("/register"),
            "/as/authorize": self._any_port,
            "/as/revoke": self.routes.pop("/revoke"),
            "/as/token": self._token_in_time,
            "/as/device": begin,
            "/oauth/device": begin,
            "/oauth/token": self._hub_token,
            "/api/whoami-v2": self._whoami,
        }
        self._tokens = self.routes.pop("/token")
        self._authorized = self.routes.pop("/authorize")

    @property
    def sign_ins(self) -> int:
        """How often a browser was needed: one sign-in, looked at twice, has one `state`."""
        opened = {"".join(r.query.get("state", [""])) for r in self.asked("/as/authorize")}
        return len(opened) + sum(r.path.endswith("/device") for r in self.requests)

    @property
    def asked_to_refresh(self) -> int:
        """How often a renewal was asked for."""
        sent = [*self.asked("/as/token"), *self.asked("/oauth/token")]
        return sum(request.form.get("grant_type") == ["refresh_token"] for request in sent)

    @property
    def tokens(self) -> list[str]:
        """Every access and refresh token that was issued."""
        return [*self.access, *self.refresh, *self.rotated]

    def forget(self) -> None:
        """Start counting anew."""
        self.requests.clear()
        self.answered.clear()

    def reply_to(self, request: Request) -> Reply:
        """Return the answer to one request, and note its status."""
        reply = super().reply_to(request)
        self.answered.append((request, reply.status))
        return reply

    def _gate(self, request: Request) -> Reply:
        reply = self._own_mcp(replace(request, method="POST"))
        if request.method != "POST" and reply.status != 401:
            reply = self._own_mcp(request)
        if reply.status == 401 and request.bearer and self.wait_for_refused:
            self._refused += 1
            if self._refused >= self.wait_for_refused:
                self._all_refused.set()
            self._all_refused.wait(TOGETHER)
        return reply

    def _any_port(self, request: Request) -> Reply:
        # A loopback redirect may come with any port (RFC 8252 section 7.3).
        asked = "".join(request.query.get("redirect_uri", []))
        client = self.clients.get("".join(request.query.get("client_id", [])), {})
        known = client.get("redirect_uris", [])
        if urlsplit(asked).hostname in {"127.0.0.1", "localhost"} and _without_port(asked) in {
            _without_port(each) for each in known
        }:
            client["redirect_uris"] = [*known, asked]
        return self._authorized(request)

    def _token_in_time(self, request: Request) -> Reply:
        if self.token_takes and request.form.get("grant_type") == ["refresh_token"]:
            time.sleep(self.token_takes)
        return self._tokens(request)

    def _hub_token(self, request: Request) -> Reply:
        # A Hub knows its client without a registration.
        identifier = request.form["client_id"][0]
        self.clients.setdefault(
            identifier, {"client_id": identifier, "token_endpoint_auth_method": "none"}
        )
        return self._token_in_time(request)

    def _whoami(self, request: Request) -> Reply:
        grant, until = self.access.get(request.bearer or "", (None, 0.0))
        if grant is None or not grant.alive or until <= time.time():
            return Reply(401, {"error": "Invalid credentials"})
        return Reply(200, {"name": "somebody", "type": "user", "auth": {"type": "oauth"}})


def _without_port(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.hostname or "").geturl()


class Place:
    """A home, a browser, and everything that was written in there."""

    def __init__(self, home: Path, server: Lab) -> None:
        self.home = home
        self.server = server
        self.said: list[str] = []
        """Every line that a process wrote."""
        self.variables: dict[str, str] = {}
        """What its processes get beside what all get."""
        self._bin = home / "bin"
        self._bin.mkdir()
        self.browse(agrees=True)

    def browse(self, *, agrees: bool) -> None:
        """Have a browser that agrees and comes back, or one that nobody sits at."""
        text = BROWSER.format(python=sys.executable, agrees=agrees)
        for name in ("xdg-open", "www-browser"):
            script = self._bin / name
            script.write_text(text)
            script.chmod(0o700)

    def environment(self) -> dict[str, str]:
        """Return what a process in here gets: nothing of this person's."""
        return {
            "HOME": str(self.home),
            "PATH": f"{self._bin}:{os.environ.get('PATH', '')}",
            "BROWSER": str(self._bin / "www-browser"),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            # Nobody's keyring is used: all are compared on a machine without one.
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            **self.variables,
        }

    def files(self) -> list[Path]:
        """Return all files in here but the browser's."""
        found = (path for path in self.home.rglob("*") if path.is_file())
        return sorted(path for path in found if self._bin not in path.parents)

    def holding(self, *wanted: str) -> list[Path]:
        """Return the files in here that contain one of these, in clear."""
        needles = [each.encode() for each in wanted]
        return [
            path
            for path in self.files()
            if any(needle in content for content in [path.read_bytes()] for needle in needles)
        ]


@contextmanager
def place(contender: Contender, *, keyed: bool = False) -> Iterator[Place]:
    """Have a home and a server for one question to one contender."""
    # What was killed may write a last file while the folder is taken away.
    with Lab() as server, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server.lifetime = contender.lives
        here = Place(Path(folder), server)
        if keyed or contender.needs_key:
            contender.give_key(here)
        yield here


class NoAnswer(Exception):
    """A process did not say in time what it was waited for."""


class Process(Child):
    """One process in a place. What is still there when the ``with`` block ends is killed."""

    def __init__(self, here: Place, command: Sequence[str], **environment: str) -> None:
        """Start it, with more variables than the place's own."""
        self.text = ""
        self._said = here.said
        given = here.environment() | environment
        super().__init__(
            piped([*command], cwd=here.home, env=given, start_new_session=True), self._note
        )

    def __exit__(self, *_: object) -> None:
        # What it started goes with it: npm's programs are scripts around others.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        super().__exit__()

    def _note(self, line: str) -> None:
        self.text += line
        self._said.append(line.rstrip())

    def wait_for(self, found: Callable[[str], T | None]) -> T:
        """Wait until something is found in what it said.

        Raises:
            NoAnswer: It ended before, or did not say it in time.
        """
        if (result := self.find(lambda: found(self.text), PATIENCE)) is None:
            raise NoAnswer(self.last())
        return result

    def ended(self, seconds: float = PATIENCE) -> int:
        """Wait for its end, and return its exit code.

        Raises:
            NoAnswer: It goes on.
        """
        try:
            return super().ended(seconds)
        except subprocess.TimeoutExpired:
            raise NoAnswer(self.last()) from None

    def last(self) -> str:
        """Return its last words, or the last that speak of an error."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        errors = [line for line in lines if "rror" in line]
        return (errors or lines or [""])[-1][:200]

    def ask(self, number: int, method: str, parameters: object) -> Any:
        """Send a JSON-RPC request on a line, and wait for the line that answers it.

        Raises:
            NoAnswer: There is none in time.
        """
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}
        try:
            self.type(json.dumps(message))
        except BrokenPipeError:
            raise NoAnswer(self.last()) from None
        return self.wait_for(lambda text: _answer(text, number))


def _answer(text: str, number: int) -> Any:
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if message.get("id") == number and "method" not in message:
                return message
    return None
