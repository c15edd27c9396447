"""What is wrong with Codex 0.169.0, as measured or reported, and no other test is about."""

from __future__ import annotations

import json
from pathlib import Path

from mcpnb.stores import FileStore
from tests.fakes.people import connect, sign_in
from tests.fakes.server import FakeServer
from tests.terminal import invoke


def test_a_sign_in_elsewhere_is_used_without_a_restart(fake: FakeServer, world: Path) -> None:
    """#7767, #20605, #30716: a session that was there before, and had been refused."""
    before = connect(fake.url, store=FileStore(world / "mcpnb"))
    assert not before.signed_in
    sign_in(connect(fake.url, store=FileStore(world / "mcpnb")))
    assert before.call("echo", text="hi").text == "hi"


def test_remove_signs_out_or_says_how(own: Path, fake: FakeServer, world: Path) -> None:
    """Codex leaves the tokens where they are, without a word."""
    entry = f'[mcp_servers.a]\nurl = "{fake.url}"\n'
    store = FileStore(world / "mcpnb")
    sign_in(connect(fake.url, store=store))

    own.write_text(entry)
    assert f"mcpnb logout {fake.url}" in invoke("remove", "a").expect(0).err
    assert len(store.keys("login")) == 1

    own.write_text(entry)
    assert "revoked at the server" in invoke("remove", "a", "--logout").expect(0).err
    assert store.keys("login") == []
    assert "a]" not in own.read_text()

    sign_in(connect(fake.url, store=store))
    own.write_text(entry)
    elsewhere = world / "elsewhere.toml"
    elsewhere.write_text(entry.replace(fake.url, "https://other.example/mcp"))
    invoke("remove", "a", "--logout", "--config", str(elsewhere)).expect(0)
    assert len(store.keys("login")) == 1, "of another server than the one that was taken out"


def test_a_token_that_is_not_there_shows_in_the_list(own: Path) -> None:
    """Codex says `bearer_token`, and that is all; where it is required, that is an error."""
    lines = (
        '[mcp_servers.a]\nurl = "https://a.example/mcp"\nbearer_token_env_var = "NOT_SET_HERE"\n'
    )
    own.write_text(lines)
    done = invoke("list", "--json").expect(0)
    (row,) = json.loads(done.out)
    assert row["auth_status"] == "bearer_token"
    assert row["error"] == "The environment variable NOT_SET_HERE is not set."
    assert "a: The environment variable NOT_SET_HERE is not set." in done.err
    assert "error" not in json.loads(invoke("list", "--json", NOT_SET_HERE="x").expect(0).out)[0]

    own.write_text(lines + "required = true\n")
    invoke("list").expect(1)
    invoke("list", NOT_SET_HERE="x").expect(0)
