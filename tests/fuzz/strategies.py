"""What comes from outside: text, addresses, JSON and bytes, most of them wrong in some way."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_NASTY = (
    "\x00",
    "\x1b[2J",
    "\r\n",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\u200b",
    "\ud800",
    "\udcff",
    "\\",
    '"',
    "'",
    "<script>",
    "%00",
    "%zz",
    "${HOME}",
    "é",
    "ß",
    "\U0001f600",
    "\U000e0041",
    "e" + "\u0301" * 20,
)
_ANY_CHARACTER = st.characters(exclude_categories=())
"""Lone surrogates, too: JSON can write them."""


def _many(*pieces: str) -> SearchStrategy[str]:
    # By function: a strategy's own representation holds what it was given whole.
    return st.sampled_from(pieces).map(lambda piece: piece * 5_000)


_PIECE = st.sampled_from(_NASTY) | st.text(_ANY_CHARACTER, max_size=3)
TEXT: SearchStrategy[str] = (
    st.lists(_PIECE, min_size=1, max_size=4).map("".join)
    | st.tuples(st.text(string.ascii_letters, max_size=8), st.sampled_from(_NASTY)).map("".join)
    | st.text(_ANY_CHARACTER, max_size=30)
    | st.text(string.ascii_letters + string.digits + " -_./:", max_size=30)
    | _many("x", "\u202e", "é", " ", "a b ", "\ud800")
)
NUMBERS: SearchStrategy[Any] = (
    st.integers()
    | st.floats()
    | st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, 10**30, 10**400, -(10**400), 1e308, 5e-324])
)

_SCHEMES = ("https", "http", "HTTPS", "javascript", "file", "data", "ws", "", "ht tp", "hтtps")
_HOSTS = (
    "mcp.example",
    "as.example",
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.1",
    "localhost",
    "[::1]",
    "[::ffff:169.254.169.254]",
    "[fe80::1%25eth0]",
    "[v1.x]",
    "[",
    "]",
    "169.254.169.254",
    "a..b",
    ".",
    "xn--",
    "xn--a",
    "xn--0",
    "xn--zzzzzzzz",
    "☃.example",
    "straße.example",
    "e\u0301.example",
    "\u2100.example",
    "\uff11\uff12\uff17.0.0.1",
    "a" * 64 + ".example",
    "a." * 130 + "example",
    "é" * 70 + ".example",
    "%41.example",
    "a_b.example",
    "-a.example",
    "",
)
_NETLOC = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "", "user@", "user:password@", "@"]),
    st.sampled_from(_HOSTS) | TEXT,
    st.sampled_from(
        ["", "", "", ":443", ":0", ":65536", ":99999999999999999999", ":-1", ":x", ":"]
    ),
)
_PATHS = st.sampled_from(["", "/", "/mcp", "//", "/mcp/..", "/%2e%2e", "/\\", "/a b", "/é"]) | (
    TEXT.map("/{}".format)
)
_TAIL = st.sampled_from(["", "", "", "?", "?a=b", "#", "#a", "?a=%zz&a=2", ";x"]) | (
    TEXT.map("?{}".format)
)
URLS: SearchStrategy[str] = st.builds(
    "{}:{}{}{}{}".format,
    st.sampled_from(_SCHEMES) | st.sampled_from(_SCHEMES[:2]),
    st.sampled_from(["//", "//", "//", "//", "/", "", "///", "\\\\"]),
    _NETLOC,
    _PATHS,
    _TAIL,
)
"""Odd addresses; one in a few is good."""


def deep(levels: int, kind: str = "[") -> Any:
    """Nest a list, or an object, so many times."""
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind == "[" else {"a": value}
    return value


SCALARS = st.none() | st.booleans() | NUMBERS | TEXT | URLS
JSON: SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
) | st.builds(deep, st.sampled_from([20, 60, 250]), st.sampled_from("[{"))
"""Values as `json.loads` gives them: no limits to numbers, NaN, lone surrogates."""


def objects(values: SearchStrategy[Any] = JSON) -> SearchStrategy[dict[str, Any]]:
    """Make objects with names that nobody knows."""
    return st.dictionaries(TEXT, values, max_size=4)


def documents(
    good: dict[str, Any], values: SearchStrategy[Any] = JSON
) -> SearchStrategy[dict[str, Any]]:
    """Make documents out of a good one: members changed, removed, added.

    Args:
        good: All its members, each with a value that would do.
        values: What may stand in the place of one of them.
    """
    values_of = {name: _mostly(_like(value), values) for name, value in good.items()}
    few = st.lists(st.sampled_from(sorted(good)), min_size=1, max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: values_of[name] for name in names})
    )
    removed = _mostly(st.just(set[str]()), st.sets(st.sampled_from(sorted(good)), max_size=2))
    return st.builds(_document, st.just(good), few, removed, _mostly(st.just({}), objects(values)))


def _mostly(often: SearchStrategy[Any], seldom: SearchStrategy[Any]) -> SearchStrategy[Any]:
    # Not `|`, which takes each of a strategy's own alternatives as often as the others.
    return st.integers(0, 3).flatmap(lambda number: often if number else seldom)


def _document(
    good: dict[str, Any], changed: dict[str, Any], removed: set[str], more: dict[str, Any]
) -> dict[str, Any]:
    return {k: v for k, v in (more | good | changed).items() if k not in removed}


def _like(value: Any) -> SearchStrategy[Any]:
    """Make values of nearly the right type."""
    if isinstance(value, bool):
        return st.booleans() | st.sampled_from(["true", 1, 0])
    if isinstance(value, int | float):
        return st.sampled_from([10**400, float("nan"), -1, 0, True, "1"]) | NUMBERS
    if isinstance(value, str):
        nearly = [
            more.format(value) for more in ("", "\ud800", "{}\ud800", "{}\r\nX: y", "{0}\n{0}")
        ]
        some = st.sampled_from(nearly) | TEXT.map(value.__add__)
        return some | (URLS if "://" in value else TEXT)
    if isinstance(value, list):
        item = URLS if value and "://" in value[0] else TEXT
        return st.lists(item, max_size=6) | st.just(value * 1_000) | item
    return objects()


def _twice(pair: tuple[str, str]) -> str:
    text, more = pair
    return text[:-1] + f', "resource": {more}, "issuer": {more}}}' if text[-1:] == "}" else text


_BODIES: dict[str, Callable[[], bytes]] = {
    "lists": lambda: b"[" * 100_000,
    "objects": lambda: b'{"a":' * 100_000,
    "digits": lambda: b"1" * 100_000,
    "a number": lambda: b'{"a": ' + b"9" * 5_000 + b"}",
    "not numbers": lambda: b'{"issuer": NaN, "resource": -Infinity}',
    "a mark": lambda: b"\xef\xbb\xbf{}",
    "UTF-16": lambda: '{"é": "\u202e"}'.encode("utf-16"),
    "one name": lambda: b"{" + b'"a": 1, ' * 1_000 + b'"a": 2}',
    "surrogates": lambda: b'"' + b"\\ud800" * 1_000 + b'"',
}
JSON_TEXT: SearchStrategy[bytes] = (
    JSON.map(json.dumps).map(str.encode)
    | st.tuples(objects().map(json.dumps), JSON.map(json.dumps)).map(_twice).map(str.encode)
    | st.sampled_from(sorted(_BODIES)).map(lambda name: _BODIES[name]())
    | st.binary(max_size=60)
)
"""What may come where JSON was expected: duplicate names, cut off, nested without end."""
ANY_BYTES: SearchStrategy[bytes] = st.binary(max_size=200) | TEXT.map(
    lambda text: text.encode(errors="replace")
)
