"""A folder that somebody else wrote: what it can do before it is trusted, and what is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.config import review
from mcpnb.session.connect import resolve
from tests.fakes.people import connect, sign_in
from tests.fakes.server import FakeServer
from tests.terminal import run

OWN = """
[mcp_servers.linear]
url = "https://mcp.linear.app/mcp"
disabled_tools = ["delete"]
"""


@pytest.fixture
def project(world: Path) -> Path:
    """The folder that tests run in, below a repository's root."""
    return world / "work"


@pytest.fixture
def own(world: Path) -> Path:
    folder = world / "xdg" / "config" / "mcpnb"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(OWN)
    return folder / "config.toml"


BOMBS = {
    "a key of ten thousand parts": "x." + "a." * 10_000 + "b = 1",
    "an address that is a table": "[mcp_servers.x]\nurl." + "a." * 60 + "b = 1",
    "an address that is a number": "[mcp_servers.x]\nurl = 0x" + "f" * 6_000,
    "a setting that is a table": "mcp_oauth_callback_url." + "a." * 60 + "b = 1",
    "a table in a table in a table": "x = " + "{a = " * 3_000 + "1" + "}" * 3_000,
    "no TOML": "[[[",
    "another encoding": "\xff\xfe",
}


@pytest.mark.slow
@pytest.mark.threat("project-bomb")
@pytest.mark.timeout(20)
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_file_that_nobody_trusts_stops_no_command(project: Path, bomb: str) -> None:
    (project / "mcpnb.toml").write_bytes(BOMBS[bomb].encode("latin-1"))

    assert mcpnb.connect("https://mcp.example.com/mcp", store="memory").status == "none"
    run("list", "--no-probe").expect(0)

    shown = run("trust", "--yes")

    assert shown.code in (0, 1)
    assert "Traceback" not in shown.err + shown.out


@pytest.mark.threat("project-shadows-a-name")
@pytest.mark.parametrize(
    "spelled",
    [
        "https://MCP.linear.app/mcp",
        "https://mcp.linear.app:443/mcp",
        "https://mcp.linear.app/mcp#x",
    ],
)
@pytest.mark.usefixtures("own")
def test_taking_the_place_of_an_entry_is_shown_however_its_address_is_spelled(
    project: Path, spelled: str
) -> None:
    (project / "mcpnb.toml").write_text(f'[mcp_servers.other]\nurl = "{spelled}"\n')

    (found,) = review()

    said = "\n".join(found.lines)
    assert "takes the place of linear" in said
    assert "limits that you have set there on its tools" in said


@pytest.mark.usefixtures("own")
def test_an_address_from_a_variables_default_is_compared_too(project: Path) -> None:
    (project / ".mcp.json").write_text(
        '{"mcpServers": {"x": {"type": "http", "url": "${U:-https://mcp.linear.app/mcp}"}}}'
    )

    (found,) = review()

    assert any("takes the place of linear" in line for line in found.lines)


@pytest.mark.threat("audience-theft")
def test_every_key_is_shown_and_no_secret(project: Path) -> None:
    (project / ".mcp.json").write_text(
        '{"mcpServers": {"x": {"type": "http", "url": "https://x.example/mcp", '
        '"headers": {"X-Key": "a-secret"}, '
        '"oauth": {"scopes": "admin delete_all", "clientId": "c"}}}}'
    )
    (project / "mcpnb.toml").write_text(
        '[mcp_servers.y]\nurl = "https://y.example/mcp"\nenabled_tools = ["wipe"]\n'
        'enabled = false\noauth.client_secret = "b-secret"\n'
    )

    said = "\n".join(line for found in review() for line in found.lines)

    for shown in ("admin delete_all", "X-Key", "[wipe]", "enabled = False", "client_secret"):
        assert shown in said
    assert "a-secret" not in said
    assert "b-secret" not in said


@pytest.mark.slow
@pytest.mark.threat("callback-read-otherwise")
@pytest.mark.parametrize(
    "url",
    [
        "http://evil.com\\\\@localhost/cb",
        "http://user@localhost/cb",
        "http://[bad",
        "http://localhost:99999/cb",
        "https://hub.example.com/cb#part",
        "javascript:alert(1)",
    ],
)
def test_a_callback_address_that_browsers_read_otherwise_is_refused(own: Path, url: str) -> None:
    with pytest.raises(errors.ConfigError, match="callback_url"):
        mcpnb.connect("https://mcp.example.com/mcp", callback_url=url.replace("\\\\", "\\"))
    own.write_text(f'mcp_oauth_callback_url = "{url}"\n{OWN}')

    done = run("login", "linear", "--begin").expect(2)

    assert "callback_url" in done.err


@pytest.mark.usefixtures("own")
def test_an_entry_that_cannot_be_used_is_not_passed_over(own: Path) -> None:
    """What it limits would be without limits."""
    own.write_text(OWN.replace('["delete"]', '"delete"'))

    with pytest.warns(UserWarning, match="disabled_tools"), pytest.raises(errors.ConfigError):
        resolve("https://mcp.linear.app/mcp")


def test_a_configuration_of_ones_own_that_cannot_be_read_is_an_error(own: Path) -> None:
    own.write_text("#" * (2 * 1024 * 1024))

    with pytest.raises(errors.ConfigError, match="cannot be read"):
        resolve("https://mcp.example.com/mcp")


def test_adding_does_not_take_the_place_of_another_transports_entry(own: Path) -> None:
    own.write_text('[mcp_servers.files]\ncommand = "npx"\nargs = ["-y"]\n')

    done = run("add", "files", "--url", "https://files.example.com/mcp", "--no-login").expect(2)

    assert "--force" in done.err
    assert 'command = "npx"' in own.read_text()


@pytest.mark.threat("denied-tool-called")
@pytest.mark.anyio
async def test_a_denied_tool_is_out_of_reach_through_the_sdks_own_session_too(
    fake: FakeServer, tmp_path: Path
) -> None:
    config = tmp_path / "own.toml"
    config.write_text(f'[mcp_servers.x]\nurl = "{fake.url}"\ndisabled_tools = ["echo"]\n')
    session = connect("x", config=config)
    sign_in(session)

    async with session.client() as client:
        raw: Any = client.session
        names = {tool.name for tool in (await raw.list_tools()).tools}
        with pytest.raises(errors.CallError, match="may not be used"):
            await raw.call_tool("echo", {"text": "x"})

    assert names
    assert "echo" not in names
    assert not any("tools/call" in str(r.json) for r in fake.asked("/mcp") if r.method == "POST")


@pytest.mark.slow
def test_a_name_with_terminal_escapes_is_shown_without_them(own: Path) -> None:
    own.write_text(
        '[mcp_servers.x]\nurl = "https://mcp.example.com/mcp"\n'
        'bearer_token_env_var = "A\\u001b[2J"\n'
    )

    done = run("tools", "x")

    assert done.code != 0
    assert "\x1b" not in done.err + done.out


@pytest.mark.slow
def test_a_name_that_the_terminal_cannot_show_is_escaped(own: Path) -> None:
    own.write_text('[mcp_servers."名"]\nurl = "https://mcp.example.com/mcp"\n')

    done = run("list", "--no-probe", PYTHONIOENCODING="cp1252").expect(0)

    assert "\\u540d" in done.out
