"""A proxy that does to one request what networks and gateways do to requests.

It stands between mcpnb and a healthy server, or between a browser and mcpnb's listener, counts the
requests that pass through any of its doors, and plays one fault on the one that it is told.
"""

from __future__ import annotations

import contextlib
import io
import json
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, Self
from urllib.parse import parse_qsl

_IDLE = 30.0
# Answers are read to their end here, and a server's own stream has none. It need not offer one.
_NO_STREAM = b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n"
_SECRET = {
    "access_token",
    "client_secret",
    "code",
    "code_verifier",
    "refresh_token",
    "state",
    "token",
}


@dataclass(frozen=True)
class Answer:
    """What the healthy server answered, framed by its length."""

    status: bytes
    headers: tuple[bytes, ...]
    body: bytes

    def encoded(self, body: bytes | None = None, *more: bytes, length: int | None = None) -> bytes:
        """Return the bytes to send, by default as they are.

        Args:
            body: Another body.
            more: Header lines that take the place of those of the same name.
            length: What to say of the body's length.
        """
        sent = self.body if body is None else body
        said = b"Content-Length: %d" % (len(sent) if length is None else length)
        names = {line.partition(b":")[0].lower() for line in more}
        kept = [h for h in self.headers if h.partition(b":")[0].lower() not in names]
        return b"\r\n".join([self.status, *kept, *more, said, b"", sent])


class Exchange:
    """One request on its way to the server, and the client that waits for the answer."""

    def __init__(self, door: Door, client: socket.socket, request: tuple[bytes, bytes]) -> None:
        self.client = client
        self.over = False
        """Whether nothing more can come over this connection."""
        self._door = door
        self._request = request

    @property
    def line(self) -> str:
        """The method and the path."""
        method, target, _ = self._request[0].split(b"\r\n")[0].decode().split(" ")
        return f"{method} {target.partition('?')[0]}"

    def ask(self) -> Answer:
        """Pass the request on and give the whole answer.

        Raises:
            OSError: Nobody answers there.
        """
        head, body = self._request
        lines = [line for line in head.split(b"\r\n") if _name(line) != b"connection"]
        sent = b"\r\n".join([*lines, b"Connection: close", b"", body])
        with socket.create_connection(("127.0.0.1", self._door.behind), _IDLE) as server:
            server.sendall(sent)
            with server.makefile("rb") as stream:
                answer = _read_answer(stream)
        self._door.proxy.note(self._request, answer)
        return answer

    def ask_half(self) -> None:
        """Break off in the middle of the request."""
        sent = b"\r\n\r\n".join(self._request)
        with socket.create_connection(("127.0.0.1", self._door.behind), _IDLE) as server:
            server.sendall(sent[: max(len(self._request[0]) // 2, len(sent) - 10)])

    def send(self, data: bytes) -> None:
        """Send to the client, as long as there is one."""
        try:
            self.client.sendall(data)
        except OSError:
            self.over = True

    def drip(self, data: bytes, every: float, at_most: float) -> None:
        """Send byte after byte: never silent for long, and never done soon."""
        end = time.monotonic() + at_most
        for number in range(len(data)):
            if self.over or time.monotonic() > end or self._door.proxy.closing.wait(every):
                return
            self.send(data[number : number + 1])

    def await_client_gone(self, at_most: float) -> None:
        """Wait until the client has given up."""
        end = time.monotonic() + at_most
        while time.monotonic() < end and not self._door.proxy.closing.is_set():
            with contextlib.suppress(OSError):
                if not select.select([self.client], [], [], 0.02)[0]:
                    continue
                if self.client.recv(1, socket.MSG_PEEK):
                    continue
            return

    def end(self, *, reset: bool = False) -> None:
        """Close the connection, in order (FIN) or not (RST)."""
        self.over = True
        with contextlib.suppress(OSError):
            if reset:
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self.client.shutdown(socket.SHUT_RDWR)
        self.client.close()


Fault = Callable[[Exchange], None]
"""Does something to one request, or to its answer."""


class Door(ThreadingTCPServer):
    """One address of the proxy: what stands in for one server."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, proxy: FaultyProxy) -> None:
        self.proxy = proxy
        self.behind = 0
        """The port that requests are passed on to."""
        super().__init__(("127.0.0.1", 0), _Connection)
        self.port: int = self.server_address[1]
        self.base = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), name="door", daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """Keep quiet: a connection that broke is what this is about."""


class FaultyProxy:
    """The doors, the count of what passed, and the fault that is to be played.

    Attributes:
        passed: Method and path of each request since `begin`, in the order in which they came.
        ever: How many there have been of each.
        secrets: Every token, code, verifier and state that was seen on the way.
        played: Whether the fault has been played.
    """

    def __init__(self) -> None:
        self.closing = threading.Event()
        self.passed: list[str] = []
        self.ever: Counter[str] = Counter()
        self.secrets: set[str] = set()
        self._fault: tuple[Callable[[str], bool], Fault] | None = None
        self.played = False
        self._busy = 0
        self._changed = threading.Condition()
        self._doors: list[Door] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def door(self, behind: int = 0) -> Door:
        """Open one more address."""
        self._doors.append(Door(self))
        self._doors[-1].behind = behind
        return self._doors[-1]

    def close(self) -> None:
        """Close all doors, and let go whoever is being kept waiting."""
        self.closing.set()
        for door in self._doors:
            door.shutdown()
            door.server_close()

    def begin(self, fault: Fault | None = None, at: int = 0, *, path: str | None = None) -> None:
        """Begin to count anew.

        Args:
            fault: What to do.
            at: With which request from now on, the first is 1.
            path: Only requests to this path count for `at`.
        """
        with self._changed:
            self.passed.clear()
            self.played = False
            self._fault = None
            if fault is None:
                return

        def meant(line: str) -> bool:
            ending = "" if path is None else f" {path}"
            passed = sum(each.endswith(ending) for each in self.passed)
            return line.endswith(ending) and passed == at

        self._fault = (meant, fault)

    def settle(self, timeout: float = 10) -> None:
        """Wait until nothing is on its way."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._busy == 0, timeout), "still on its way"

    def play(self, exchange: Exchange) -> None:
        """Count one request and carry it, with the fault if it is this one's."""
        line = exchange.line
        with self._changed:
            self._busy += 1
            fault = None
            if self._counts(line):
                self.passed.append(line)
                self.ever[line] += 1
                if self._fault is not None and self._fault[0](line):
                    fault, self.played = self._fault[1], True
        try:
            if line == "GET /mcp":
                exchange.send(_NO_STREAM)
            elif fault is None:
                exchange.send(exchange.ask().encoded())
            else:
                fault(exchange)
        except OSError:
            exchange.end()
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    @staticmethod
    def _counts(line: str) -> bool:
        """Whether it is one that every sign-in and call needs: not a browser's, no event stream."""
        return not line.endswith("/authorize") and line not in ("GET /mcp", "DELETE /mcp")

    def note(self, request: tuple[bytes, bytes], answer: Answer) -> None:
        """Remember what no message may hold."""
        head, body = (part.decode("latin-1") for part in request)
        query = head.split(" ")[1].partition("?")[2]
        found = parse_qsl(query) + parse_qsl(body)
        with contextlib.suppress(ValueError):
            document = json.loads(answer.body)
            found += [(k, v) for k, v in document.items() if isinstance(v, str)]
        secrets = {value for name, value in found if name in _SECRET and len(value) > 5}
        with self._changed:
            self.secrets |= secrets


class _Connection(BaseRequestHandler):
    server: Door

    def handle(self) -> None:
        self.request.settimeout(_IDLE)
        # Else each small answer waits for the acknowledgement of the one before.
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.request.makefile("rb", 0) as raw, io.BufferedReader(raw) as stream:
            while (request := _read_request(stream)) is not None:
                exchange = Exchange(self.server, self.request, request)
                self.server.proxy.play(exchange)
                if exchange.over:
                    return


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].strip().lower()


def _read_head(stream: Any) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return b""
        head += line
    return head[:-4]


def _field(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        if _name(line) == name:
            return line.partition(b":")[2].strip()
    return b""


def _read_request(stream: Any) -> tuple[bytes, bytes] | None:
    try:
        head = _read_head(stream)
        return (head, stream.read(int(_field(head, b"content-length") or 0))) if head else None
    except OSError:
        return None


def _read_answer(stream: Any) -> Answer:
    head, body = _read_head(stream), stream.read()
    if not head:
        raise ConnectionError("no answer")
    if _field(head, b"transfer-encoding").lower() == b"chunked":
        body = _unchunked(body)
    status, *headers = head.split(b"\r\n")
    framing = {b"connection", b"content-length", b"transfer-encoding"}
    return Answer(status, tuple(h for h in headers if _name(h) not in framing), body)


def _unchunked(body: bytes) -> bytes:
    stream, whole = io.BytesIO(body), b""
    while size := int(stream.readline().partition(b";")[0] or b"0", 16):
        whole += stream.read(size)
        stream.readline()
    return whole
