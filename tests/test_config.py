"""Configuration files: what they say, what they get wrong, and whom that concerns."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpnb import errors
from mcpnb.config import read_configuration
from mcpnb.models import Secret

GOOD = """
mcp_oauth_callback_port = 5555
[mcp_servers.linear]
url = "https://mcp.linear.example/sse"
scopes = ["read", "write"]
oauth_resource = "https://api.linear.example/"
tool_timeout_sec = 60
allow_missing_pkce = true
startup_readiness = "connection"
[mcp_servers.linear.oauth]
client_id = "c"
client_secret_env_var = "LINEAR_SECRET"
issuer = "https://as.example"
[mcp_servers.local]
command = "python3"
"""


def test_codexs_keys_and_ours_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A team's file serves both; a key that nobody knows is told."""
    monkeypatch.setenv("LINEAR_SECRET", "s3cret")
    file = tmp_path / "config.toml"
    file.write_text(GOOD)

    with pytest.warns(UserWarning, match="unknown key 'startup_readiness'"):
        configuration = read_configuration(file)

    linear = configuration.server("linear")
    assert list(configuration.servers) == ["linear"]
    assert (linear.url, linear.scopes) == ("https://mcp.linear.example/sse", ("read", "write"))
    assert (linear.client_id, linear.client_secret) == ("c", Secret("s3cret"))
    assert (linear.issuer, linear.resource) == ("https://as.example", "https://api.linear.example/")
    assert (linear.callback_port, linear.tool_timeout) == (5555, 60)
    assert linear.allow_missing_pkce
    assert linear.source == str(file)
    assert "s3cret" not in repr(configuration)


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    """And with what to do."""
    file = tmp_path / "config.toml"
    file.write_text('[mcp_servers.linear]\nurl = "https://mcp.linear.example/mcp"')

    with pytest.raises(errors.ConfigError, match="Did you mean 'linear'"):
        read_configuration(file).server("linaer")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[mcp_servers.x", "not valid TOML"),
        ("mcp_servers = 5", "has to be a table"),
        ("[mcp_servers.x]\nurl = 5", "mcp_servers.x.url has to be text"),
        ('[mcp_servers.x]\nurl = "https://x"\nscopes = "a"', "a list of texts"),
        ('[mcp_servers.x]\nurl = "https://x"\nallow_missing_pkce = "yes"', "true or false"),
        ('mcp_oauth_callback_port = "x"\n[mcp_servers.x]\nurl = "https://x"', "a number"),
    ],
)
def test_a_mistake_in_the_named_file_names_its_place(tmp_path: Path, text: str, said: str) -> None:
    """The file that was asked for has to be right."""
    file = tmp_path / "config.toml"
    file.write_text(text)

    with pytest.raises(errors.ConfigError, match=said) as caught:
        read_configuration(file)
    assert str(file) in str(caught.value)


def test_a_named_file_has_to_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the environment names it."""
    monkeypatch.setenv("MCPNB_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(errors.ConfigError, match="no configuration file"):
        read_configuration()


def test_a_wrong_entry_of_another_server_stands_in_nobodys_way(world: Path) -> None:
    """Codex's own file is read uninvited; what is wrong in it is told and left out."""
    codex = world / "home" / ".codex"
    codex.mkdir()
    (codex / "config.toml").write_text(
        '[mcp_servers.bad]\nurl = 5\n[mcp_servers.good]\nurl = "https://good.example/mcp"'
    )

    with pytest.warns(UserWarning, match=r"mcp_servers\.bad\.url has to be text"):
        configuration = read_configuration()

    assert list(configuration.servers) == ["good"]


def test_the_nearest_file_wins(tmp_path: Path, world: Path) -> None:
    """A file that was asked for stands before those of the person."""
    codex = world / "home" / ".codex"
    codex.mkdir()
    (codex / "config.toml").write_text('[mcp_servers.a]\nurl = "https://far.example/mcp"')
    near = tmp_path / "near.toml"
    near.write_text('[mcp_servers.a]\nurl = "https://near.example/mcp"')

    assert read_configuration(near).server("a").url == "https://near.example/mcp"
    assert read_configuration().server("a").url == "https://far.example/mcp"
