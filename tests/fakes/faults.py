"""The faults that `FaultyProxy` plays, each with what it means for whoever asked."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fakes.faulty import Exchange, Fault

__all__ = ["FAULTS", "PATIENCE", "Kind"]

PATIENCE = 0.5
"""Seconds that the client waits for an answer where a fault has it wait for longer than that."""
IN_TIME = 0.2
# Far beyond what a test waits, so that a time-out of ours that is missing is missed.
_FOR_EVER = 40.0
# A call has no time-out for the whole of its answer, and neither has a browser.
_A_WHILE, _PATIENT = 3 * PATIENCE, ("GET /callback", "POST /mcp")
_EVERY = 0.1


@dataclass(frozen=True)
class Kind:
    """What is done, and what of the request and its answer survives it."""

    fault: Fault
    reaches: bool = True
    """Whether the server processes the request."""
    answered: bool = False
    """Whether the client can read the answer all the same."""
    not_as_mcp: bool = False
    """Whether that goes for OAuth's answers only: MCP is stricter."""
    takes_long: bool = False
    """Whether it lasts until the client's time-out."""
    twice: bool = False
    """Whether the server gets the request twice."""


def _later(exchange: Exchange) -> None:
    answer = exchange.ask()
    exchange.await_client_gone(IN_TIME)
    exchange.send(answer.encoded())


def _too_late(exchange: Exchange) -> None:
    answer = exchange.ask()
    exchange.await_client_gone(_FOR_EVER)
    exchange.send(answer.encoded())
    exchange.end()


def _passed_on_too_late(exchange: Exchange) -> None:
    exchange.await_client_gone(_FOR_EVER)
    exchange.ask()
    exchange.end()


def _as_long(exchange: Exchange) -> float:
    return _A_WHILE if exchange.line in _PATIENT else _FOR_EVER


def _dripping(exchange: Exchange) -> None:
    exchange.drip(exchange.ask().encoded(), _EVERY, _as_long(exchange))
    exchange.end()


def _early_hints_without_end(exchange: Exchange) -> None:
    exchange.ask()
    exchange.drip(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 500, _EVERY / 25, _as_long(exchange))
    exchange.end()


def _cut_before(exchange: Exchange, *, reset: bool = False) -> None:
    exchange.end(reset=reset)


def _cut_in_request(exchange: Exchange) -> None:
    exchange.ask_half()
    exchange.end()


def _cut_after(exchange: Exchange, *, reset: bool = False) -> None:
    exchange.ask()
    exchange.end(reset=reset)


def _cut_in_head(exchange: Exchange, *, reset: bool = False) -> None:
    sent = exchange.ask().encoded()
    exchange.send(sent[: sent.index(b"\r\n\r\n") - 9])
    exchange.end(reset=reset)


def _cut_in_body(exchange: Exchange, *, reset: bool = False) -> None:
    answer = exchange.ask()
    half = len(answer.body) // 2
    exchange.send(answer.encoded(answer.body[:half], length=max(len(answer.body), 1)))
    exchange.end(reset=reset)


def _last_byte_missing(exchange: Exchange) -> None:
    answer = exchange.ask()
    exchange.send(answer.encoded(answer.body[:-1], length=max(len(answer.body), 1)))
    exchange.end()


def _shortened(exchange: Exchange) -> None:
    answer = exchange.ask()
    exchange.send(answer.encoded(answer.body[: len(answer.body) // 2]))


def _emptied(exchange: Exchange) -> None:
    exchange.send(exchange.ask().encoded(b""))


def _asked_twice(exchange: Exchange, *, second: bool = False) -> None:
    answers = exchange.ask(), exchange.ask()
    exchange.send(answers[second].encoded())


def _answered_twice(exchange: Exchange) -> None:
    exchange.send(exchange.ask().encoded() * 2)


def _flipped(exchange: Exchange) -> None:
    answer = exchange.ask()
    start, end = len(answer.body) // 3, len(answer.body) // 3 + 12
    middle = bytes(byte ^ 0x80 for byte in answer.body[start:end])
    exchange.send(answer.encoded(answer.body[:start] + middle + answer.body[end:]))


def _all_flipped(exchange: Exchange) -> None:
    answer = exchange.ask()
    exchange.send(answer.encoded(bytes(byte ^ 0x2A for byte in answer.body)))


def _other_status_line(exchange: Exchange, line: bytes) -> None:
    answer = exchange.ask()
    exchange.send(answer.encoded().replace(answer.status, line, 1))


def _with_header(exchange: Exchange, *lines: bytes) -> None:
    exchange.send(exchange.ask().encoded(None, *lines))


def _run_together(exchange: Exchange) -> None:
    exchange.send(exchange.ask().encoded().replace(b"\r\n\r\n", b"\r\n", 1) + b"\r\n\r\n")
    exchange.end()


def _early_hints(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 500 + exchange.ask().encoded())


def _error_page(exchange: Exchange, status: bytes, *, passes: bool) -> None:
    if passes:
        exchange.ask()
    page = b"<html><title>Bad gateway</title></html>"
    head = b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
    exchange.send(head % (status, len(page)) + page)


FAULTS = {
    # Delays
    "answer late but in time": Kind(_later, answered=True),
    "answer too late": Kind(_too_late, takes_long=True),
    "passed on too late": Kind(_passed_on_too_late, takes_long=True),
    "answer in drips": Kind(_dripping, takes_long=True),
    "1xx without end": Kind(_early_hints_without_end, takes_long=True),
    # Cuts
    "cut before, FIN": Kind(_cut_before, reaches=False),
    "cut before, RST": Kind(lambda x: _cut_before(x, reset=True), reaches=False),
    "cut in the request": Kind(_cut_in_request, reaches=False),
    "cut after, FIN": Kind(_cut_after),
    "cut after, RST": Kind(lambda x: _cut_after(x, reset=True)),
    "cut in the head, FIN": Kind(_cut_in_head),
    "cut in the head, RST": Kind(lambda x: _cut_in_head(x, reset=True)),
    "cut in the body, FIN": Kind(_cut_in_body),
    "cut in the body, RST": Kind(lambda x: _cut_in_body(x, reset=True)),
    # Duplicates
    "asked twice, first answer": Kind(_asked_twice, answered=True, twice=True),
    "asked twice, second answer": Kind(lambda x: _asked_twice(x, second=True), twice=True),
    "answered twice": Kind(_answered_twice, answered=True),
    # Truncations
    "last byte missing": Kind(_last_byte_missing),
    "shortened": Kind(_shortened),
    "emptied": Kind(_emptied),
    # Corruptions
    "some bytes flipped": Kind(_flipped),
    "all bytes flipped": Kind(_all_flipped),
    "status line garbled": Kind(lambda x: _other_status_line(x, b"\x00\xffHTP/7 zwei")),
    "status without number": Kind(lambda x: _other_status_line(x, b"HTTP/1.1 OK")),
    "status 101": Kind(lambda x: _other_status_line(x, b"HTTP/1.1 101 Switching Protocols")),
    "status 204": Kind(lambda x: _other_status_line(x, b"HTTP/1.1 204 No Content")),
    "head and body run together": Kind(_run_together),
    "header garbled": Kind(lambda x: _with_header(x, b"no colon \x00 here")),
    "header without end": Kind(lambda x: _with_header(x, b"X-Long: " + b"x" * 200_000)),
    "two lengths": Kind(lambda x: _with_header(x, b"Content-length: 7")),
    "wrong content type": Kind(
        lambda x: _with_header(x, b"Content-Type: text/html"),
        answered=True,
        not_as_mcp=True,
    ),
    "gzip that is none": Kind(lambda x: _with_header(x, b"Content-Encoding: gzip")),
    "1xx in hundreds": Kind(_early_hints, answered=True),
    "502 instead": Kind(lambda x: _error_page(x, b"502 Bad Gateway", passes=True)),
    "503 in between": Kind(
        lambda x: _error_page(x, b"503 Service Unavailable", passes=False), reaches=False
    ),
}
"""Every kind of fault, by the name that a failing test says."""
