"""`WWW-Authenticate`, in whatever number and shape."""

from __future__ import annotations

import string

import httpx
from hypothesis import strategies as st

from mcpnb.oauth.challenge import Challenge, bearer_challenge, parse_challenges
from mcpnb.oauth.http import Response
from mcpnb.oauth.scopes import chosen
from tests.fuzz.running import fuzzed
from tests.fuzz.strategies import TEXT, URLS
from tests.fuzz.values import SERVER, request_for

_TOKEN = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=8)
_NAMES = st.sampled_from(["scope", "error", "resource_metadata", "realm", "SCOPE"]) | _TOKEN
_QUOTED = (TEXT | URLS).map(lambda v: '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"')
_PARAM = st.tuples(
    _NAMES, st.sampled_from(["=", " = ", "=\t", "", "=="]), _QUOTED | _TOKEN | TEXT
).map("".join)
_SCHEME = st.sampled_from(["Bearer", "bearer", "Basic", "DPoP", "Negotiate", ""]) | _TOKEN
_CHALLENGE = st.tuples(
    _SCHEME, st.lists(_PARAM, max_size=4).map(", ".join) | st.just("dG9rZW42OA==")
).map(" ".join)
_FIELD = st.lists(_CHALLENGE, max_size=4).map(", ".join) | TEXT
# As they come over a wire, and are read from it: no lone surrogates.
FIELDS = st.lists(_FIELD.map(lambda text: text.encode(errors="replace").decode()), max_size=5)


@fuzzed(examples=200, fields=FIELDS)
def test_whatever_challenges_come_is_read_as_some_or_none(fields: list[str]) -> None:
    found = parse_challenges(fields)
    most = sum(map(len, fields))
    assert len(found) <= most
    for challenge in found:
        assert challenge.scheme == challenge.scheme.lower()
        assert sum(len(k) + len(v) for k, v in challenge.params.items()) <= most
    picked = bearer_challenge(fields)
    assert picked is None or picked in found


@fuzzed(examples=100, raw=st.lists(st.binary(max_size=80), max_size=4))
def test_headers_of_any_bytes_are_read_as_some_challenges_or_none(raw: list[bytes]) -> None:
    headers = httpx.Headers([(b"WWW-Authenticate", value) for value in raw])
    parse_challenges(Response("https://mcp.example", 401, headers, b"").challenges)


@fuzzed(
    examples=200, before=st.lists(TEXT.filter(lambda t: '"' not in t), max_size=3), scope=_TOKEN
)
def test_a_challenge_is_found_behind_whatever_fields_stand_before_it(
    before: list[str], scope: str
) -> None:
    """Each field is read by itself: what one leaves open is no part of the next."""
    fields = [*before, f'Bearer resource_metadata="https://as.example/x", scope="{scope}"']
    found = parse_challenges(fields)[-1]
    assert found == Challenge(
        "bearer", {"resource_metadata": "https://as.example/x", "scope": scope}
    )


@fuzzed(examples=200, fields=FIELDS)
def test_whatever_scopes_a_challenge_names_an_address_can_be_made_with_them(
    fields: list[str],
) -> None:
    found = bearer_challenge(fields)
    scopes, _ = chosen(None, found.scopes if found else None, (), SERVER)
    assert request_for(scopes=scopes).url.isascii()
