"""The faults that `FaultyProxy` plays, each with what it means for whoever asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes.faulty import Answer, Exchange, Fault

PATIENCE = 0.5
"""Seconds that the client waits for an answer where a fault has it wait for longer than that."""
IN_TIME = 0.2
# Far beyond what a test waits, so that a time-out of ours that is missing is missed.
_FOR_EVER = 40.0
# A call has no time-out for the whole of its answer, and neither has a browser.
_A_WHILE, _PATIENT = 3 * PATIENCE, ("GET /callback", "POST /mcp")
_EVERY = 0.1
_HINTS = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 500


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


def _answers(
    make: Callable[[Answer], bytes], *, end: bool = False, reset: bool = False, late: float = 0
) -> Fault:
    """Let the server answer, and send what is made of it; `end` closes the connection then."""

    def fault(exchange: Exchange) -> None:
        made = make(exchange.ask())
        if late:
            exchange.await_client_gone(late)
        exchange.send(made)
        if end or reset:
            exchange.end(reset=reset)

    return fault


def _passed_on_too_late(exchange: Exchange) -> None:
    exchange.await_client_gone(_FOR_EVER)
    exchange.ask()
    exchange.end()


def _in_drips(make: Callable[[Answer], bytes], every: float) -> Fault:
    def fault(exchange: Exchange) -> None:
        at_most = _A_WHILE if exchange.line in _PATIENT else _FOR_EVER
        exchange.drip(make(exchange.ask()), every, at_most)
        exchange.end()

    return fault


def _cut_in_request(exchange: Exchange) -> None:
    exchange.ask_half()
    exchange.end()


def _twice(*, second: bool) -> Fault:
    def fault(exchange: Exchange) -> None:
        answers = exchange.ask(), exchange.ask()
        exchange.send(answers[second].encoded())

    return fault


def _in_head(answer: Answer) -> bytes:
    sent = answer.encoded()
    return sent[: sent.index(b"\r\n\r\n") - 9]


def _short_of_its_length(answer: Answer, end: int) -> bytes:
    return answer.encoded(answer.body[:end], length=max(len(answer.body), 1))


def _in_body(answer: Answer) -> bytes:
    return _short_of_its_length(answer, len(answer.body) // 2)


def _flipped(answer: Answer) -> bytes:
    start, end = len(answer.body) // 3, len(answer.body) // 3 + 12
    middle = bytes(byte ^ 0x80 for byte in answer.body[start:end])
    return answer.encoded(answer.body[:start] + middle + answer.body[end:])


def _run_together(answer: Answer) -> bytes:
    return answer.encoded().replace(b"\r\n\r\n", b"\r\n", 1) + b"\r\n\r\n"


def _with_status_line(line: bytes) -> Fault:
    return _answers(lambda answer: answer.encoded().replace(answer.status, line, 1))


def _with_header(line: bytes) -> Fault:
    return _answers(lambda answer: answer.encoded(None, line))


def _error_page(status: bytes) -> bytes:
    page = b"<html><title>Bad gateway</title></html>"
    head = b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(page)) + page


FAULTS = {
    # Delays
    "answer late but in time": Kind(_answers(Answer.encoded, late=IN_TIME), answered=True),
    "answer too late": Kind(_answers(Answer.encoded, late=_FOR_EVER, end=True), takes_long=True),
    "passed on too late": Kind(_passed_on_too_late, takes_long=True),
    "answer in drips": Kind(_in_drips(Answer.encoded, _EVERY), takes_long=True),
    "1xx without end": Kind(_in_drips(lambda _: _HINTS, _EVERY / 25), takes_long=True),
    # Cuts
    "cut before, FIN": Kind(lambda exchange: exchange.end(), reaches=False),
    "cut before, RST": Kind(lambda exchange: exchange.end(reset=True), reaches=False),
    "cut in the request": Kind(_cut_in_request, reaches=False),
    "cut after, FIN": Kind(_answers(lambda _: b"", end=True)),
    "cut after, RST": Kind(_answers(lambda _: b"", reset=True)),
    "cut in the head, FIN": Kind(_answers(_in_head, end=True)),
    "cut in the head, RST": Kind(_answers(_in_head, reset=True)),
    "cut in the body, FIN": Kind(_answers(_in_body, end=True)),
    "cut in the body, RST": Kind(_answers(_in_body, reset=True)),
    # Duplicates
    "asked twice, first answer": Kind(_twice(second=False), answered=True, twice=True),
    "asked twice, second answer": Kind(_twice(second=True), twice=True),
    "answered twice": Kind(_answers(lambda answer: answer.encoded() * 2), answered=True),
    # Truncations
    "last byte missing": Kind(_answers(lambda answer: _short_of_its_length(answer, -1), end=True)),
    "shortened": Kind(
        _answers(lambda answer: answer.encoded(answer.body[: len(answer.body) // 2]))
    ),
    "emptied": Kind(_answers(lambda answer: answer.encoded(b""))),
    # Corruptions
    "some bytes flipped": Kind(_answers(_flipped)),
    "all bytes flipped": Kind(
        _answers(lambda answer: answer.encoded(bytes(byte ^ 0x2A for byte in answer.body)))
    ),
    "status line garbled": Kind(_with_status_line(b"\x00\xffHTP/7 zwei")),
    "status without number": Kind(_with_status_line(b"HTTP/1.1 OK")),
    "status 101": Kind(_with_status_line(b"HTTP/1.1 101 Switching Protocols")),
    "status 204": Kind(_with_status_line(b"HTTP/1.1 204 No Content")),
    "head and body run together": Kind(_answers(_run_together, end=True)),
    "header garbled": Kind(_with_header(b"no colon \x00 here")),
    "header without end": Kind(_with_header(b"X-Long: " + b"x" * 200_000)),
    "two lengths": Kind(_with_header(b"Content-length: 7")),
    "wrong content type": Kind(
        _with_header(b"Content-Type: text/html"), answered=True, not_as_mcp=True
    ),
    "gzip that is none": Kind(_with_header(b"Content-Encoding: gzip")),
    "1xx in hundreds": Kind(_answers(lambda answer: _HINTS + answer.encoded()), answered=True),
    "502 instead": Kind(_answers(lambda _: _error_page(b"502 Bad Gateway"))),
    "503 in between": Kind(
        lambda exchange: exchange.send(_error_page(b"503 Service Unavailable")), reaches=False
    ),
}
"""Every kind of fault, by the name that a failing test says."""
