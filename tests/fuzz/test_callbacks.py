"""What comes back from a browser: to the loopback, through the relay, pasted."""

from __future__ import annotations

import errno
import socket
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

from mcpnb.login.loopback import LoopbackListener, Reply
from mcpnb.login.relay import Relay
from mcpnb.oauth.authorization import validate_response
from mcpnb.oauth.models import Secret
from tests.fakes.people import free_port
from tests.fuzz.running import fit_to_show, fuzzed, only_ours
from tests.fuzz.strategies import ANY_BYTES, TEXT, URLS
from tests.fuzz.values import CALLBACK, ISSUER, SECRETS, STATE, request_for

_CODE = "code-6vBn1KjH4tFs"
_GOOD = {"code": _CODE, "state": STATE, "iss": ISSUER}
_NAMES = st.sampled_from(["code", "state", "iss", "error", "error_description", "as"])
_WRITTEN = st.sampled_from([quote, lambda text, **_: text])
_PAIR = st.builds(
    lambda name, value, written: f"{name}={written(value, errors='replace')}",
    _NAMES | TEXT,
    st.sampled_from([STATE, ISSUER, _CODE, "access_denied", "invalid_scope", ""]) | TEXT | URLS,
    _WRITTEN,
)
QUERIES = st.lists(_PAIR, max_size=6).map("&".join) | TEXT
"""Queries of answers, most of them wrong in some way."""
_LINE = st.sampled_from(
    [f"{CALLBACK}?{urlencode(_GOOD)}", f"{CALLBACK}?{urlencode(_GOOD | {'iss': 'x'})}"]
) | QUERIES.map(f"{CALLBACK}?{{}}".format)
_AROUND = st.sampled_from(
    [
        "{}",
        " {}\r\n",
        '"{}"',
        "'{}'",
        "<{}>",
        "[{0}]({0})",
        "[here]({})",
        "`{}`",
        "({}).",
        "The address is {}, I think",
        "{0}\n{0}",
        "{}\n\nSent from my phone",
        "\ufeff{}",
        "\u202e{}\u202c",
        "curl '{}'",
        "{}#fragment",
        "{}\x00",
        "{}\ud800",
        "\x1b[200~{}\x1b[201~",
    ]
)
PASTES = st.tuples(_AROUND, _LINE).map(lambda pair: pair[0].format(pair[1])) | TEXT | URLS
"""What somebody may paste."""


@fuzzed(examples=300, text=PASTES)
def test_whatever_is_pasted_is_an_answer_or_refused_in_our_words(text: str) -> None:
    with only_ours(secrets=(*SECRETS, _CODE)):
        answer = validate_response(text, request_for())
        assert isinstance(answer.code, Secret)
        assert answer.code.reveal()
        # It was found where it has to stand: nothing is searched for in a text.
        assert text.strip().startswith(CALLBACK)


_AUTHORIZE = {
    "response_type": "code",
    "client_id": "client",
    "redirect_uri": CALLBACK,
    "state": STATE,
    "code_challenge": "x",
}
_ADDRESS = st.dictionaries(
    st.sampled_from([*_AUTHORIZE, "code", "error", "x"]),
    st.just(CALLBACK) | URLS | TEXT,
    max_size=4,
).map(lambda more: f"{ISSUER}/authorize?{urlencode(_AUTHORIZE | more, errors='replace')}")


@fuzzed(
    examples=300,
    url=_ADDRESS
    | PASTES
    | st.tuples(URLS, _ADDRESS.map(lambda u: u.partition("?")[2])).map("?".join),
)
def test_an_address_to_relay_is_taken_or_refused_in_our_words(url: str) -> None:
    with only_ours(secrets=(STATE,)):
        relay = Relay(url, lambda _: None)
        assert relay.url.isprintable()


@fuzzed(examples=200, query=QUERIES)
def test_whatever_comes_to_a_relay_is_caught_or_told_in_our_words(query: str) -> None:
    told: list[str] = []
    relay = Relay(f"{ISSUER}/authorize?{urlencode(_AUTHORIZE)}", told.append)
    reply = relay._deliver(f"{CALLBACK}?{query}")  # noqa: SLF001  what the listener calls
    fit_to_show(reply.text, (STATE, _CODE))
    for text in told:
        fit_to_show(text, (STATE, _CODE))
    if reply.outcome != "refused":
        line = relay.wait(0).line.reveal()
        assert line.isascii()
        assert line.isprintable()


_METHOD = st.sampled_from([b"GET", b"GET", b"POST", b"get", b"", b"\x16\x03\x01"]) | st.binary(
    max_size=8
)
_TARGET = st.builds(
    lambda path, query: path + b"?" + query.encode(errors="replace"),
    st.sampled_from([b"/callback", b"/callback", b"/", b"//x", b"*", b"http://127.0.0.1/callback"]),
    QUERIES,
)
_REQUEST = st.builds(
    lambda method, target, version, headers: b"\r\n".join(
        [b" ".join([method, target, version]), *headers, b"", b""]
    ),
    _METHOD,
    _TARGET | ANY_BYTES,
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b"HTTP/1." + b"9" * 100, b""]),
    st.lists(
        st.sampled_from([b"Host: %h", b"Host: %h", b"Host: evil.example", b"Content-Length: -1"])
        | ANY_BYTES,
        max_size=4,
    ),
)


@fuzzed(examples=80, sent=_REQUEST | ANY_BYTES)
def test_whatever_is_sent_to_the_port_is_answered_and_the_next_is_heard(sent: bytes) -> None:
    """One listener for each, so that what it heard is known; a browser comes after all that."""
    port, heard = free_port(), list[str]()

    def deliver(text: str) -> Reply:
        heard.append(text)
        return Reply("done", "You can close this tab.")

    listener = LoopbackListener(port)
    try:
        listener.listen(f"http://127.0.0.1:{listener.port}/callback", deliver)
        host = b"127.0.0.1:%d" % listener.port
        answer = _answer_to(listener.port, sent.replace(b"%h", host))
        assert len(answer) < 5_000
        heard.clear()
        good = b"GET /callback?code=1 HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
        assert b" 200 " in _answer_to(listener.port, good).partition(b"\r\n")[0]
    finally:
        listener.close()
    assert heard == [f"http://127.0.0.1:{listener.port}/callback?code=1"]


def _answer_to(port: int, sent: bytes) -> bytes:
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                answer += piece
        except OSError as error:  # closed with some of it unread
            if error.errno not in (errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE):
                raise
    return answer
