"""Configuration files: what they say, what they get wrong, and whom that concerns."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpnb import errors
from mcpnb.config import read_configuration
from mcpnb.oauth.models import Header, Secret

GOOD = """
model = "gpt-5"
mcp_oauth_callback_port = 5555
mcp_oauth_credentials_store = "file"
[mcp_servers.linear]
url = "https://mcp.linear.example/sse"
scopes = ["read", "write"]
oauth_resource = "https://api.linear.example/"
startup_timeout_sec = 2.5
tool_timeout_sec = 60
enabled_tools = ["a", "b"]
disabled_tools = ["b"]
required = true
startup_readiness = "connection"
allow_missing_pkce = true
account = "work"
http_headers = { X-Team = "s3cret" }
env_http_headers = { X-Key = "LINEAR_KEY" }
[mcp_servers.linear.oauth]
client_id = "c"
client_secret_env_var = "LINEAR_SECRET"
issuer = "https://as.example"
[mcp_servers.local]
command = "python3"
args = []
[mcp_servers.static]
url = "https://static.example/mcp"
bearer_token_env_var = "STATIC_TOKEN"
enabled = false
startup_timeout_ms = 1500
[mcp_servers.static.oauth]
callback_port = 7777
"""


def codex(world: Path, text: str) -> Path:
    """Write Codex's own file."""
    file = world / "home" / ".codex" / "config.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def test_codexs_keys_and_ours_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A team's file serves both: what is not for us is no mistake."""
    monkeypatch.setenv("LINEAR_SECRET", "s3cret")
    file = tmp_path / "config.toml"
    file.write_text(GOOD)

    configuration = read_configuration(file)

    linear, static = configuration.server("linear"), configuration.server("static")
    assert list(configuration.servers) == ["linear", "static"]
    assert (linear.url, linear.scopes) == ("https://mcp.linear.example/sse", ("read", "write"))
    assert (linear.client_id, linear.client_secret) == ("c", Secret("s3cret"))
    assert (linear.issuer, linear.resource) == ("https://as.example", "https://api.linear.example/")
    assert (linear.startup_timeout, linear.tool_timeout) == (2.5, 60)
    assert (linear.enabled_tools, linear.disabled_tools) == (("a", "b"), ("b",))
    assert (linear.required, linear.enabled, linear.account) == (True, True, "work")
    assert linear.headers == (
        Header("X-Team", Secret("s3cret")),
        Header("X-Key", variable="LINEAR_KEY"),
    )
    assert linear.allow_missing_pkce
    assert (linear.callback_port, static.callback_port) == (5555, 7777)
    assert (linear.store, configuration.bare("https://x.example").store) == ("file", "file")
    assert (static.bearer_token_env_var, static.enabled) == ("STATIC_TOKEN", False)
    assert static.startup_timeout == 1.5
    assert linear.source == str(file)
    assert "s3cret" not in repr(configuration)


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    """And with what to do."""
    file = tmp_path / "config.toml"
    file.write_text('[mcp_servers.linear]\nurl = "https://mcp.linear.example/mcp"')

    with pytest.raises(errors.ConfigError, match=r"Did you mean 'linear'\?.*mcpnb add"):
        read_configuration(file).server("linaer")


def test_a_server_of_another_transport_says_so(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[mcp_servers.local]\ncommand = "python3"')

    with pytest.raises(errors.ConfigError, match="started as a command"):
        read_configuration(file).server("local")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('\n[mcp_servers.x]\nurl = "https://x"\nscope = ["a"]', 4, "'scope' in mcp_servers.x. Did"),
        ('[mcp_servers.x]\nurl = "https://x"\nscope = ["a"]', 3, "Did you mean scopes?"),
        ('[mcp_servers.x]\nurl = "https://x"\noauth.clientid = "a"', 3, "Did you mean client_id?"),
        ('[mcp_servers.x]\nurl = "https://x"\nbearer_token = "s"', 3, "Use bearer_token_env_var"),
        ('# hi\n[mcp_server.x]\nurl = "https://x"', 2, "'mcp_server'. Did you mean mcp_servers?"),
        ('[mcpServers.x]\nurl = "https://x"', 1, "Did you mean mcp_servers?"),
        ('mcp_oauth_callback_prot = 5\nmodel = "x"', 1, "Did you mean mcp_oauth_callback_port?"),
        ('x = """\nurl = 1\n"""\n[mcp_servers."a.b"]\nurl = "https://x"\nfoo = 1', 6, "'foo' in"),
    ],
)
def test_an_unknown_key_is_told_with_its_line_and_the_nearest_one(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    """What another program's key is, at the top of its file, is nobody's mistake."""
    file = tmp_path / "config.toml"
    file.write_text(text)

    with pytest.warns(UserWarning, match="unknown key") as caught:
        read_configuration(file)

    (warning,) = caught
    assert str(warning.message).startswith(f"{file}:{line}: unknown key ")
    assert said in str(warning.message)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[mcp_servers.x\n", None, "not valid TOML: .*line 1"),
        ("\nmcp_servers = 5", 2, "mcp_servers has to be a table"),
        ("[mcp_servers.x]\nurl = 5", 2, "mcp_servers.x.url has to be text"),
        ("[mcp_servers.x]\nscopes = []", 1, "mcp_servers.x has no url"),
        ('[mcp_servers.x]\nurl = "https://x"\nscopes = "a"', 3, "scopes has to be a list of texts"),
        (
            '[mcp_servers.x]\nurl = "https://x"\nenabled = "no"',
            3,
            "enabled has to be true or false",
        ),
        ('[mcp_servers.x]\nurl = "https://x"\nhttp_headers = {a = 1}', 3, "a table of texts"),
        ('[mcp_servers.x]\nurl = "https://x"\ntool_timeout_sec = 0', 3, "a number of seconds"),
        (
            '[mcp_servers.x]\nurl = "https://x"\n[mcp_servers.x.oauth]\ncallback_port = 70000',
            4,
            "to",
        ),
        (
            '[mcp_servers.x]\nurl = "https://x"\nhttp_headers = {Host = "y"}',
            3,
            "no header that can",
        ),
        ('mcp_oauth_callback_port = "x"\n', 1, "has to be a number from 0 to 65535"),
        ('mcp_oauth_credentials_store = "disk"\n', 1, "auto, keyring or file"),
    ],
)
def test_a_mistake_in_the_named_file_names_its_place(
    tmp_path: Path, text: str, line: int | None, said: str
) -> None:
    """File, line and key; the file that was asked for has to be right."""
    file = tmp_path / "config.toml"
    file.write_text(text)

    with pytest.raises(errors.ConfigError, match=said) as caught:
        read_configuration(file)
    assert str(caught.value).startswith(f"{file}:{line}: " if line else str(file))


def test_a_secret_in_a_wrong_header_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[mcp_servers.x]\nurl = "https://x"\nhttp_headers = {X-Key = "s3c\\nret"}')

    with pytest.raises(errors.ConfigError, match=r"http_headers\.X-Key") as caught:
        read_configuration(file)
    assert "s3c" not in str(caught.value)


def test_a_named_file_has_to_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the environment names it."""
    monkeypatch.setenv("MCPNB_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(errors.ConfigError, match="no configuration file"):
        read_configuration()


def test_a_wrong_entry_of_another_server_stands_in_nobodys_way(world: Path) -> None:
    """Codex's own file is read uninvited; what is wrong in it is told and left out."""
    codex(world, '[mcp_servers.bad]\nurl = 5\n[mcp_servers.good]\nurl = "https://good.example/mcp"')

    with pytest.warns(UserWarning, match=r"config.toml:2: mcp_servers\.bad\.url has to be text"):
        configuration = read_configuration()

    assert list(configuration.servers) == ["good"]
    with pytest.raises(errors.ConfigError, match=r"mcp_servers\.bad\.url has to be text"):
        configuration.server("bad")


def test_codexs_file_that_is_not_toml_is_left_out(world: Path) -> None:
    codex(world, "[broken")
    with pytest.warns(UserWarning, match="not valid TOML.*left out"):
        assert read_configuration().servers == {}


def test_codexs_folder_may_be_elsewhere(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`CODEX_HOME`, as Codex has it: then the one in the home folder does not count."""
    for folder, name in ((world / "home" / ".codex", "usual"), (tmp_path / "codex", "moved")):
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(f'[mcp_servers.{name}]\nurl = "https://x.example"\n')

    def names() -> list[str]:
        return list(read_configuration().servers)

    assert names() == ["usual"]
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    assert names() == ["moved"]
    assert read_configuration().server("moved").source == str(tmp_path / "codex" / "config.toml")
    monkeypatch.setenv("CODEX_HOME", "")
    assert names() == ["usual"]


@pytest.mark.threat("relative-codex-home")
def test_a_relative_codex_home_makes_no_project_trusted(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be another folder in each project, whoever wrote that."""
    (world / "work" / ".codex").mkdir()
    (world / "work" / ".codex" / "config.toml").write_text(
        '[mcp_servers.theirs]\nurl = "https://evil.example"\n'
    )
    monkeypatch.setenv("CODEX_HOME", ".codex")

    found = read_configuration()

    assert found.servers == {}
    assert [entry.name for entry in found.untrusted] == ["theirs"]


def test_the_nearest_file_wins(tmp_path: Path, world: Path) -> None:
    """A file that was asked for stands before those of the person, and ours before Codex's."""
    codex(
        world,
        'mcp_oauth_callback_port = 1\n[mcp_servers.a]\nurl = "https://far.example/mcp"\n'
        '[mcp_servers.b]\nurl = "https://b.example/mcp"',
    )
    near = tmp_path / "near.toml"
    near.write_text('[mcp_servers.a]\nurl = "https://near.example/mcp"')

    assert read_configuration(near).server("a").url == "https://near.example/mcp"
    assert read_configuration().server("a").url == "https://far.example/mcp"

    own = world / "xdg" / "config" / "mcpnb"
    own.mkdir()
    (own / "config.toml").write_text(
        'mcp_oauth_callback_port = 2\n[mcp_servers.a]\nurl = "https://own.example/mcp"'
    )
    configuration = read_configuration()
    assert configuration.server("a").url == "https://own.example/mcp"
    assert configuration.server("b").callback_port == 2


def test_a_variable_of_a_client_secret_that_is_not_set_is_told(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        '[mcp_servers.x]\nurl = "https://x"\n[mcp_servers.x.oauth]\n'
        'client_secret_env_var = "NOT_SET_HERE"'
    )
    with pytest.warns(UserWarning, match=r":4: the environment variable NOT_SET_HERE is not set"):
        assert read_configuration(file).server("x").client_secret is None
