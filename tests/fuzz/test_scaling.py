"""Ten times the input takes about ten times the work and memory, and never a hundred times.

Work is counted in calls of functions, Python's and C's: that is the same on every machine. What a
single call of C does (a regular expression, a parser) does not show in it, so a bound in seconds
of this thread stands beside it, which only a square of the size would reach.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import mcp_types as mcp
import pytest

from mcpnb.calls.arguments import read_schema
from mcpnb.calls.results import ToolResult
from mcpnb.config.files import File
from mcpnb.config.parse import parse
from mcpnb.errors import McpnbError
from mcpnb.login.relay import Relay
from mcpnb.oauth import client, metadata
from mcpnb.oauth.authorization import validate_response
from mcpnb.oauth.challenge import parse_challenges
from mcpnb.oauth.credentials import LoginRecord
from mcpnb.oauth.http import Response
from mcpnb.oauth.urls import canonical_server, host_of
from mcpnb.text import quote
from tests.fuzz.test_records import RECORD
from tests.fuzz.values import CALLBACK, ISSUER, METADATA, RESOURCE_METADATA, URL, request_for

pytestmark = pytest.mark.slow

_SMALL, _TIMES = 1_000, 10
_MOST_TIMES = 30
_SECONDS = 10.0
_NOT_COUNTED = 400
"""Calls, and kilobytes: what anything takes."""


def _resource(**changed: Any) -> object:
    return metadata.protected_resource({**RESOURCE_METADATA, **changed}, server=URL, url=URL)


def _server(**changed: Any) -> object:
    return metadata.authorization_server({**METADATA, **changed}, issuer=ISSUER, url=URL)


def _tokens(**changed: Any) -> object:
    document = {"access_token": "a", "token_type": "Bearer"} | changed
    return client.read_tokens(document, now=0.0, asked=())


def _file(name: str, text: str) -> object:
    return parse(File(Path(name), "own"), text.encode(), trusted=True)


def _result(text: str, structured: Any = None) -> object:
    content: list[Any] = [mcp.TextContent(text=text)]
    result = ToolResult(mcp.CallToolResult(content=content, structured_content=structured))
    return repr(result), result._repr_mimebundle_()


def _joined(piece: str, number: int) -> str:
    return "".join(map(piece.format, range(number)))


def _named(number: int, value: Any) -> dict[str, Any]:
    return {f"p{i}": value for i in range(number)}


def _tool(**properties: Any) -> object:
    return read_schema({"properties": properties})


_LETTERS = "".join(map(chr, range(0x4E00, 0x9E00)))
_CASES: dict[str, Callable[[int], object]] = {
    "challenges": lambda n: parse_challenges(["Bearer a=b, " * (n // 12)]),
    "challenge fields": lambda n: parse_challenges(["Bearer a=b"] * (n // 10)),
    "open quotes": lambda n: parse_challenges(['a="\\",' * (n // 6)]),
    "spaces in a challenge": lambda n: parse_challenges(["a" + " " * n + "x"]),
    "a resource's host": lambda n: _resource(resource=f"https://{_LETTERS[:n]}/mcp"),
    "a resource's slashes": lambda n: _resource(resource=f"https://mcp.example/{'/' * n}"),
    "a server's host": lambda n: host_of(canonical_server(f"https://{_LETTERS[:n]}/mcp")),
    "scopes supported": lambda n: _resource(scopes_supported=["read"] * n),
    "one long scope": lambda n: _resource(scopes_supported="a" * n),
    "issuers": lambda n: _resource(authorization_servers=[ISSUER] * n),
    "an endpoint": lambda n: _server(token_endpoint=f"{ISSUER}/{'a' * n}"),
    "an endpoint's host": lambda n: _server(token_endpoint=f"https://{_LETTERS[:n]}/"),
    "an issuer of any kind": lambda n: _server(issuer=["a"] * n),
    "scopes granted": lambda n: _tokens(scope=" ".join(map(str, range(n // 5)))),
    "an error": lambda n: client.grant_error(
        Response(URL, 400, httpx.Headers(), b'{"error_description": "%s"}' % (b"a" * n)),
        "x",
        sent=("secret",),
    ),
    "a paste": lambda n: validate_response(f"{CALLBACK}?{'a=b&' * (n // 4)}", request_for()),
    "a paste of no address": lambda n: validate_response("://" * (n // 3), request_for()),
    "an address to relay": lambda n: Relay(
        f"{ISSUER}/?{urlencode({'redirect_uri': CALLBACK, 'state': 'a' * n})}", print
    ),
    "a table of TOML": lambda n: _file(
        "a.toml", "[mcp_servers.a]\n" + _joined("k{} = 1\n", n // 10)
    ),
    "a key of TOML": lambda n: _file("a.toml", "a." * (n // 2) + "a = 1"),
    "a name twice in TOML": lambda n: _file("a.toml", f"[{'a' * n}]\n" * 2),
    "servers of JSON": lambda n: _file(
        ".mcp.json", json.dumps({"mcpServers": _named(n // 40, {"url": URL})})
    ),
    "depth of JSON": lambda n: _file(".mcp.json", '{"a":' * (n // 5)),
    "a record": lambda n: LoginRecord.from_dict({**RECORD, "requested_scopes": ["a"] * n}),
    "a text to quote": lambda n: quote("\u202e" * n),
    "parameters of a tool": lambda n: _tool(**_named(n // 10, {})),
    "choices of a tool": lambda n: _tool(a={"enum": ["a"] * n}),
    "members of a type": lambda n: _tool(a={"anyOf": [{"type": "string"}] * n}),
    "types that fan out": lambda n: read_schema(
        {
            "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 3}},
            "properties": _named(n // 1_000, {"$ref": "#/$defs/a"}),
        }
    ),
    "a result's text": lambda n: _result("a\n" * (n // 2)),
    "a result's rows": lambda n: _result("", {"result": [{"a": 1}] * (n // 8)}),
    "a result's columns": lambda n: _result("", {"result": [{f"c{i}": 1 for i in range(n // 10)}]}),
    "a result's JSON": lambda n: _result(json.dumps([[1]] * (n // 5))),
}


def _calls(run: Callable[[int], object], size: int) -> int:
    counted = 0

    def count(*_: object) -> None:
        nonlocal counted
        counted += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        _done(run, size)
    finally:
        sys.setprofile(before)
    return counted


def _kilobytes(run: Callable[[int], object], size: int) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        _done(run, size)
        return tracemalloc.get_traced_memory()[1] // 1024
    finally:
        tracemalloc.stop()


def _done(run: Callable[[int], object], size: int) -> None:
    with suppress(McpnbError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keys that nobody knows
        run(size)


@pytest.mark.parametrize("name", _CASES)
def test_ten_times_the_input_takes_no_more_than_some_tens_of_times_the_work(name: str) -> None:
    run = _CASES[name]
    _done(run, _SMALL)  # what is imported, compiled and cached at first
    started = time.thread_time()
    _done(run, _SMALL * _TIMES)
    assert time.thread_time() - started < _SECONDS
    for measured in (_calls, _kilobytes):
        small, large = measured(run, _SMALL), measured(run, _SMALL * _TIMES)
        assert large <= max(small, _NOT_COUNTED) * _MOST_TIMES, measured.__name__
