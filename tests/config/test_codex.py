"""Rows of Codex's feature table (0.169.0; peers.md section 1) that no other test here shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.people import connect, query_of, sign_in
from tests.fakes.server import AS_METADATA, PRM, FakeServer
from tests.fakes.wire import Reply
from tests.terminal import invoke


def test_login_takes_codexs_options() -> None:
    """What each does is shown in tests of its own."""
    options = invoke("login", "--help").expect(0).out
    for option in ("--scopes", "--no-browser", "--oauth-client-registration"):
        assert option in options


@pytest.mark.parametrize(
    ("challenge", "place"),
    [
        ("/elsewhere/named", "/elsewhere/named"),
        (None, PRM),
        (None, "/.well-known/oauth-protected-resource"),
    ],
)
def test_resource_metadata_is_found(fake: FakeServer, challenge: str | None, place: str) -> None:
    """Named in the challenge, else at the address with the path, else at the root.

    Codex also asks below the path, which no specification has: that is not done here.
    """
    document = fake.resource_metadata
    fake.challenge = {"resource_metadata": fake.base + challenge} if challenge else {}
    fake.resource_metadata = None
    fake.routes[place] = lambda _: Reply(200, document)
    assert sign_in(connect(fake.url)).startswith(fake.base)
    assert fake.asked(place)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("", AS_METADATA),
        ("", "/.well-known/openid-configuration"),
        ("/t", f"{AS_METADATA}/t"),
        ("/t", "/.well-known/openid-configuration/t"),
        ("/t", "/t/.well-known/openid-configuration"),
    ],
)
def test_authorization_server_metadata_is_found(fake: FakeServer, path: str, place: str) -> None:
    """At each of the places that RFC 8414 and OpenID Connect have for it."""
    fake.announce(issuer=fake.base + path)
    fake.describe(authorization_servers=[fake.base + path])
    document, fake.metadata = fake.metadata, None
    fake.routes[place] = lambda _: Reply(200, document)
    fake.iss = fake.base + path
    assert sign_in(connect(fake.url)).startswith(f"{fake.base}/authorize")


def test_scopes_of_the_command_line_come_before_configured_ones(
    own: Path, fake: FakeServer
) -> None:
    own.write_text(f'[mcp_servers.x]\nurl = "{fake.url}"\nscopes = ["configured"]\n')
    assert query_of(sign_in(connect("x")))["scope"] == ["configured"]
    given = connect("x", scopes="given")
    assert query_of(sign_in(given))["scope"] == ["given"]
