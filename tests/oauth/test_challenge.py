"""`WWW-Authenticate` by its grammar, whatever a server sends."""

from __future__ import annotations

import time

import pytest

from mcpnb.oauth.challenge import Challenge, bearer_challenge, parse_challenges


@pytest.mark.threat("challenge-injection")
@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", []),
        ("Bearer", [Challenge("bearer")]),
        ("bEARER", [Challenge("bearer")]),
        (" , ,Bearer, ,", [Challenge("bearer")]),
        ('Bearer realm="x"', [Challenge("bearer", {"realm": "x"})]),
        ("Bearer error=invalid_token", [Challenge("bearer", {"error": "invalid_token"})]),
        ('Bearer REALM="x"', [Challenge("bearer", {"realm": "x"})]),
        ('Bearer a="1", b="2"', [Challenge("bearer", {"a": "1", "b": "2"})]),
        ('Bearer a="1",b=2,\tc="3"', [Challenge("bearer", {"a": "1", "b": "2", "c": "3"})]),
        ('Bearer a = "1" , b\t=\t2', [Challenge("bearer", {"a": "1", "b": "2"})]),
        ('Bearer a="x, Basic realm=y"', [Challenge("bearer", {"a": "x, Basic realm=y"})]),
        (r'Bearer a="say \"hi\", \\ or not"', [Challenge("bearer", {"a": r'say "hi", \ or not'})]),
        ('Bearer a=""', [Challenge("bearer", {"a": ""})]),
        ('Bearer a="1", a="2"', [Challenge("bearer", {"a": "1"})]),
        ("Negotiate dG9rZW4=", [Challenge("negotiate")]),
        (
            'Negotiate dG9rZW4==, Bearer a="1"',
            [Challenge("negotiate"), Challenge("bearer", {"a": "1"})],
        ),
        (
            'Basic realm="a", charset="UTF-8", Bearer b="1", Negotiate, DPoP algs="ES256"',
            [
                Challenge("basic", {"realm": "a", "charset": "UTF-8"}),
                Challenge("bearer", {"b": "1"}),
                Challenge("negotiate"),
                Challenge("dpop", {"algs": "ES256"}),
            ],
        ),
    ],
)
def test_the_grammar_is_followed(field: str, expected: list[Challenge]) -> None:
    """RFC 9110 section 11.6.1."""
    assert parse_challenges([field]) == expected


def test_several_fields_are_one_list() -> None:
    assert [c.scheme for c in parse_challenges(["Basic", "", 'Bearer a="1"', "Digest"])] == [
        "basic",
        "bearer",
        "digest",
    ]


@pytest.mark.parametrize(
    "field",
    [
        'Bearer ;;; junk, resource_metadata="https://a/x"',
        'Bearer realm="unclosed, \x00, resource_metadata="https://a/x"',
        '"quoted" nonsense, Bearer resource_metadata="https://a/x"',
        '=, =, Bearer resource_metadata="https://a/x"',
        'Bearer é="1", resource_metadata="https://a/x"',
    ],
)
def test_what_does_not_fit_is_skipped(field: str) -> None:
    """What follows it may still be read; nothing is made up."""
    challenge = bearer_challenge([field])

    assert challenge is not None
    assert challenge.params.get("resource_metadata", "https://a/x") == "https://a/x"


@pytest.mark.threat("challenge-injection")
def test_a_challenge_inside_a_quoted_text_is_none() -> None:
    field = r'Basic realm="x\", Bearer resource_metadata=\"https://evil.example/\""'

    assert bearer_challenge([field]) is None


@pytest.mark.parametrize(
    ("fields", "metadata"),
    [
        (["Bearer", 'Bearer resource_metadata="u"'], "u"),
        (['Bearer resource_metadata="u"', 'Bearer a="1", b="2", c="3"'], "u"),
        (["Basic", 'bearer a="1"'], None),
    ],
)
def test_of_several_bearer_challenges_the_telling_one_counts(
    fields: list[str], metadata: str | None
) -> None:
    challenge = bearer_challenge(fields)

    assert challenge is not None
    assert challenge.params.get("resource_metadata") == metadata


@pytest.mark.threat("challenge-injection")
def test_without_a_bearer_challenge_there_is_none() -> None:
    assert bearer_challenge([]) is None
    assert bearer_challenge(['Basic realm="Bearer"', "Negotiate"]) is None


@pytest.mark.parametrize(
    ("field", "scopes"),
    [
        ("Bearer", None),
        ('Bearer scope=""', None),
        ('Bearer scope="  "', None),
        ('Bearer scope="a"', ("a",)),
        ('Bearer scope=" b  a b "', ("b", "a")),
        ("Bearer scope=a", ("a",)),
    ],
)
def test_scopes_are_read_in_order_and_once(field: str, scopes: tuple[str, ...] | None) -> None:
    [challenge] = parse_challenges([field])

    assert challenge.scopes == scopes


@pytest.mark.parametrize(
    "field",
    [
        "a" * 2_000_000,
        " " * 2_000_000,
        "," * 2_000_000,
        "Bearer " + 'a="' * 500_000,
        "Bearer " + 'a="\\' * 500_000,
        'Bearer a="' + "\\" * 2_000_001,
        "Bearer " + "a =" * 500_000,
        "a " * 1_000_000,
        "Bearer " + "=" * 2_000_000,
        "Bearer a" + " " * 2_000_000 + "b",
        "a" + " \t" * 1_000_000 + "@",
        "Bearer " + "A" * 1_000_000 + "=" * 1_000_000 + " @",
        ("a" * 50 + "@,") * 40_000,
    ],
    ids=range(13),
)
def test_a_hostile_field_takes_no_time(field: str) -> None:
    """Linear, and capped: a megabyte would otherwise take hours."""
    began = time.process_time()
    parse_challenges([field, field])

    assert time.process_time() - began < 1
