"""`mcpnb demo --terminal`: the story that is played in a terminal."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mcpnb.demo import story
from mcpnb.demo.browser import approve

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def short_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait one second for the expiry instead of four."""
    monkeypatch.setattr(story, "LIFETIME", 1)


def play() -> tuple[int, str]:
    """Play the story and give its exit code and text."""
    out = io.StringIO()
    return story.run_story(out), out.getvalue()


@pytest.fixture(scope="module")
def told() -> tuple[int, str]:
    """Play it once for what only reads the transcript."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(story, "LIFETIME", 1)
        return play()


def test_every_step_happens_and_is_told(told: tuple[int, str]) -> None:
    code, text = told

    assert code == 0, text
    for step in (
        "1. Look how one would sign in",
        "2. Call without having signed in",
        "3. Sign in",
        "4. Call its tools",
        "5. Let the access token expire",
        "6. Call again",
        "7. Call what needs more than was granted",
        "8. Say no on the consent page",
        "9. Use a token that is for another MCP server",
        "10. Sign out",
        "All 10 steps happened",
    ):
        assert step in text
    assert "the server counted 1 refresh for two calls" in text
    assert "POST /mcp 403" in text


def test_the_transcript_holds_no_secret_and_no_escape_sequence(told: tuple[int, str]) -> None:
    """No JWT, no code, no state, no long random string; and plain text when it is no terminal."""
    _, text = told

    assert not re.search(r"eyJ|code=|state=|code_verifier|\x1b", text)
    assert not re.search(r"[A-Za-z0-9_-]{30,}", re.sub(r"https?://\S+|/\.well-known/\S+", "", text))


@pytest.mark.parametrize(
    ("target", "value", "notices"),
    [
        ("story.approve", lambda url, **_: approve(url, deny=True), "LoginDenied"),
        (
            "authorization.AuthorizationServer.revoke",
            lambda *_: None,
            "this is not so: the same token now gets HTTP 200",
        ),
        (
            "authorization.AuthorizationServer.next_expiry",
            lambda _: None,
            "this is not so: the server answers it with HTTP 200",
        ),
        ("mcp_server.TOOL_SCOPES", {}, "ToolError"),
    ],
    ids=["denied", "not revoked", "not expired", "tool without its scope"],
)
def test_what_does_not_happen_is_noticed_and_ends_the_story_with_1(
    monkeypatch: pytest.MonkeyPatch, target: str, value: object, notices: str
) -> None:
    """The story asks the servers, not the client."""
    monkeypatch.setattr(f"mcpnb.demo.{target}", value)
    code, text = play()
    assert code == 1
    assert notices in text
    assert "steps happened" not in text


def test_the_command_plays_the_story_in_a_terminal_that_knows_no_unicode() -> None:
    """It ends with 0, with data on stdout and nothing on stderr."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "mcpnb", "demo", "--terminal"],
        capture_output=True,
        timeout=50,
        check=False,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"All 10 steps happened" in done.stdout
    assert b"+ it announces PKCE S256" in done.stdout
