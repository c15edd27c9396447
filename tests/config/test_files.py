"""What configuration files say, which of them counts, and whom a mistake in one concerns."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.config import read_configuration
from mcpnb.oauth.models import Header, Secret, ServerConfig
from mcpnb.session.connect import resolve
from tests.config.projects import agree, claudes, names, project

Get = Callable[[ServerConfig], Any]

X = '[mcp_servers.x]\nurl = "https://x"\n'
HUB = "https://hub.example/cb"

TOP: list[tuple[str, Get, Any]] = [
    ('mcp_oauth_credentials_store = "auto"', lambda c: c.store, "auto"),
    ('mcp_oauth_credentials_store = "file"', lambda c: c.store, "file"),
    ('mcp_oauth_credentials_store = "keyring"', lambda c: c.store, "keyring"),
    ("mcp_oauth_callback_port = 7777", lambda c: c.callback_port, 7777),
    (f'mcp_oauth_callback_url = "{HUB}"', lambda c: c.callback_url, HUB),
]
SERVER: list[tuple[str, Get, Any]] = [
    ("", lambda c: c.url, "https://x.example/mcp"),
    ('scopes = ["a", "b"]', lambda c: c.scopes, ("a", "b")),
    ('oauth_resource = "https://r.example"', lambda c: c.resource, "https://r.example"),
    ('bearer_token_env_var = "V"', lambda c: c.bearer_token_env_var, "V"),
    ('http_headers = {X-A = "1"}', lambda c: c.headers, (Header("X-A", Secret("1")),)),
    ('env_http_headers = {X-A = "V"}', lambda c: c.headers, (Header("X-A", variable="V"),)),
    ('http_headers_helper = "give --now"', lambda c: c.headers_helper, "give --now"),
    ('oauth.client_id = "c"', lambda c: c.client_id, "c"),
    ('oauth.client_secret = "s"', lambda c: c.client_secret, Secret("s")),
    ('oauth.client_secret_env_var = "V"', lambda c: c.client_secret, Secret("of-v")),
    ('oauth.issuer = "https://as"', lambda c: c.issuer, "https://as"),
    ("oauth.callback_port = 7777", lambda c: c.callback_port, 7777),
    (f'oauth.callback_url = "{HUB}"', lambda c: c.callback_url, HUB),
    ("enabled = false", lambda c: c.enabled, False),
    ("required = true", lambda c: c.required, True),
    ("startup_timeout_sec = 2.5", lambda c: c.startup_timeout, 2.5),
    ("startup_timeout_ms = 2500", lambda c: c.startup_timeout, 2.5),
    ("startup_timeout_ms = 9\nstartup_timeout_sec = 2.5", lambda c: c.startup_timeout, 2.5),
    ("tool_timeout_sec = 7.5", lambda c: c.tool_timeout, 7.5),
    ('enabled_tools = ["t"]', lambda c: c.enabled_tools, ("t",)),
    ('disabled_tools = ["t"]', lambda c: c.disabled_tools, ("t",)),
    ('account = "work"', lambda c: c.account, "work"),
    ('client_metadata_url = "https://c"', lambda c: c.client_metadata_url, "https://c"),
    ("allow_missing_pkce = true", lambda c: c.allow_missing_pkce, True),
    ("allow_private_network = true", lambda c: c.allow_private_network, True),
]
NOT_OURS_AT_THE_TOP = """
model = "gpt-5"
mcp_optional_startup_grace_ms = 5  # nothing of ours starts before it is used
mcp_enterprise_managed_auth.idp.issuer = "https://idp"
features.mcp_oauth_refresh_coordination = false  # here processes always share one refresh
features.secret_auth_storage = true  # here files are always encrypted
features.auth_elicitation = true  # an experiment of Codex's
"""
NOT_OURS = """
auth = "oauth"  # the only way there is here
oauth.authorization_server_issuer = "https://as"  # enterprise-managed authorization
oauth.token_endpoint_auth_method = "client_secret_post"  # read from the metadata
startup_readiness = "catalog"  # tools are listed when they are asked for
default_tools_approval_mode = "prompt"  # approval is of a program that acts by itself
tools.t.approval_mode = "approve"
tools.t.output_token_limit = 5
supports_parallel_tool_calls = true  # who calls decides that
omit_tools_from = ["direct"]  # of Codex's model, as the next one
tool_input_schema_max_bytes = 5
environment_id = "e"  # of Codex's machines
name = "n"  # of older versions
[mcp_servers.y]  # a server that is a command
command = "c"
args = ["a"]
cwd = "/"
env = {A = "b"}
env_vars = [{name = "V", source = "local"}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a file is that is asked for by its name."""
    return tmp_path / "config.toml"


def codex(world: Path, text: str) -> Path:
    """Write Codex's own file."""
    file = world / "home" / ".codex" / "config.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


class TestKeys:
    """Codex's table (0.169.0; peers.md section 1.1), and ours: a team's file serves both."""

    @staticmethod
    def read(file: Path, lines: str, top: str = "") -> ServerConfig:
        """Read what a file says of a server, whatever its name; no warning is given."""
        name = "a-b_c:d@e/f.g"
        file.write_text(f'{top}\n[mcp_servers."{name}"]\nurl = "https://x.example/mcp"\n{lines}\n')
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read_configuration(file).server(name)

    @pytest.mark.parametrize(("line", "get", "value"), TOP, ids=[row[0] for row in TOP])
    def test_one_at_the_top_counts_for_every_server(
        self, file: Path, line: str, get: Get, value: object
    ) -> None:
        assert get(self.read(file, "", line)) == value
        assert get(read_configuration(file).bare("https://y.example")) == value

    @pytest.mark.parametrize(("line", "get", "value"), SERVER, ids=[row[0] for row in SERVER])
    def test_one_of_a_server_is_understood(
        self, file: Path, monkeypatch: pytest.MonkeyPatch, line: str, get: Get, value: object
    ) -> None:
        monkeypatch.setenv("V", "of-v")
        config = self.read(file, line)
        assert get(config) == value
        assert "of-v" not in repr(config)
        assert config.source == str(file)

    def test_those_for_others_are_no_mistake(self, file: Path) -> None:
        assert self.read(file, NOT_OURS, NOT_OURS_AT_THE_TOP) == self.read(file, "")

    def test_a_servers_own_callback_port_comes_before_the_general_address(self, file: Path) -> None:
        top = f'mcp_oauth_callback_port = 5\nmcp_oauth_callback_url = "{HUB}"'
        config = self.read(file, "oauth.callback_port = 7777", top)
        assert (config.callback_port, config.callback_url) == (7777, None)


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (f'{X}scope = ["a"]', "'scope' in mcp_servers.x. Did you mean scopes?"),
            (f'{X}oauth.clientid = "a"', "'clientid' in mcp_servers.x.oauth. Did you mean client_"),
            (f'{X}bearer_token = "s"', "Use bearer_token_env_var"),
            (f'# hi\n[mcp_server.x]\nurl = "https://x"\n{X}', "'mcp_server'. Did you mean mcp_ser"),
            (f'[mcpServers.y]\nurl = "https://y"\n{X}', "Did you mean mcp_servers?"),
            (f"mcp_oauth_callback_prot = 5\n{X}", "Did you mean mcp_oauth_callback_port?"),
            (f'{X}[mcp_servers."a.b"]\nurl = "https://x"\nfoo = 1', "'foo' in mcp_servers.a.b."),
        ],
    )
    def test_an_unknown_key_is_named_with_its_file_and_the_nearest_one(
        self, file: Path, text: str, said: str
    ) -> None:
        """An unknown key at the top of the file belongs to another program, unless it is near."""
        file.write_text(text)
        with pytest.warns(UserWarning, match="unknown key") as caught:
            assert read_configuration(file).server("x").url == "https://x"
        (warning,) = caught
        assert str(warning.message).startswith(f"{file}: unknown key ")
        assert said in str(warning.message)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[mcp_servers.x\n", "is not valid TOML: .*line 1"),
            ("\nmcp_servers = 5", ": mcp_servers has to be a table"),
            ("[mcp_servers]\nx = 5", r": mcp_servers\.x has to be a table"),
            ("[mcp_servers.x]\nurl = 5", r": mcp_servers\.x\.url has to be text"),
            ("[mcp_servers.x]\nscopes = []", r": mcp_servers\.x has no url"),
            (f'{X}scopes = "a"', r"x\.scopes has to be a list of texts"),
            (f'{X}enabled = "no"', "enabled has to be true or false"),
            (f"{X}http_headers = {{a = 1}}", "a table of texts"),
            (f"{X}tool_timeout_sec = 0", "a number of seconds"),
            (f"{X}oauth.callback_port = 70000", r"oauth\.callback_port has to be a number from"),
            (f"{X}oauth.callback_port = true", r"oauth\.callback_port has to be a number from"),
            (f'{X}http_headers = {{Host = "y"}}', r"http_headers\.Host is no header that can"),
            (f'{X}http_headers_helper = "give \'"', "a command, its quotation marks in pairs"),
            ('mcp_oauth_callback_port = "x"\n', "has to be a number from 0 to 65535"),
            ('mcp_oauth_credentials_store = "disk"\n', "auto, keyring or file"),
        ],
    )
    def test_one_in_the_file_that_was_asked_for_names_file_and_key(
        self, file: Path, text: str, said: str
    ) -> None:
        file.write_text(text)
        with pytest.raises(errors.ConfigError, match=said) as caught:
            read_configuration(file)
        assert str(caught.value).startswith(str(file))

    def test_a_secret_in_a_wrong_header_is_not_repeated(self, file: Path) -> None:
        file.write_text(f'{X}http_headers = {{X-Key = "s3c\\nret"}}')
        with pytest.raises(errors.ConfigError, match=r"http_headers\.X-Key") as caught:
            read_configuration(file)
        assert "s3c" not in str(caught.value)

    def test_a_variable_of_a_client_secret_that_is_not_set_is_named(self, file: Path) -> None:
        file.write_text(f'{X}oauth.client_secret_env_var = "NOT_SET_HERE"')
        with pytest.warns(UserWarning, match=r"client_secret_env_var .*NOT_SET_HERE, which is not"):
            assert read_configuration(file).server("x").client_secret is None

    def test_one_in_codexs_file_leaves_out_that_entry_only(self, world: Path) -> None:
        """Codex's own file is read uninvited."""
        codex(world, f"[mcp_servers.bad]\nurl = 5\n{X}")
        with pytest.warns(UserWarning, match=r"config.toml: mcp_servers\.bad\.url has to be text"):
            configuration = read_configuration()
        assert list(configuration.servers) == ["x"]
        with pytest.raises(errors.ConfigError, match=r"mcp_servers\.bad\.url has to be text"):
            configuration.server("bad")

    def test_codexs_file_that_is_not_toml_is_left_out(self, world: Path) -> None:
        codex(world, "[broken")
        with pytest.warns(UserWarning, match=r"not valid TOML.*left out"):
            assert read_configuration().servers == {}

    def test_an_entry_that_cannot_be_used_is_not_passed_over(self, own: Path) -> None:
        """What it limits would be without limits."""
        own.write_text(f'{X}disabled_tools = "delete"')
        with pytest.warns(UserWarning, match="disabled_tools"), pytest.raises(errors.ConfigError):
            resolve("https://x")

    def test_a_file_of_ones_own_that_cannot_be_read_is_an_error(self, own: Path) -> None:
        own.write_text("#" * (2 * 1024 * 1024))
        with pytest.raises(errors.ConfigError, match="cannot be read"):
            resolve("https://mcp.example.com/mcp")

    def test_a_named_file_has_to_exist(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also if the environment names it."""
        monkeypatch.setenv("MCPNB_CONFIG", str(file))
        with pytest.raises(errors.ConfigError, match="no configuration file"):
            read_configuration()


class TestNames:
    def test_an_unknown_name_is_answered_with_the_nearest_and_what_to_do(self, file: Path) -> None:
        file.write_text('[mcp_servers.linear]\nurl = "https://mcp.linear.example/mcp"')
        with pytest.raises(errors.ConfigError, match=r"Did you mean 'linear'\?.*mcpnb add"):
            read_configuration(file).server("linaer")

    def test_a_server_of_another_transport_says_so(self, file: Path) -> None:
        file.write_text('[mcp_servers.local]\ncommand = "python3"')
        with pytest.raises(errors.ConfigError, match="started as a command"):
            read_configuration(file).server("local")


class TestWhichFileCounts:
    def test_the_nearest_one(self, file: Path, own: Path, world: Path) -> None:
        """The file that was asked for before the person's own, and ours before Codex's."""

        def text(port: int, name: str) -> str:
            url = f"https://{name}.example/mcp"
            return (
                f'mcp_oauth_callback_port = {port}\n[mcp_servers.a]\nurl = "{url}"\n'
                f'[mcp_servers.{name}]\nurl = "{url}"'
            )

        codex(world, text(1, "codex"))
        file.write_text('[mcp_servers.a]\nurl = "https://near.example/mcp"')
        assert read_configuration(file).server("a").url == "https://near.example/mcp"
        assert read_configuration().server("a").url == "https://codex.example/mcp"

        own.write_text(text(2, "own"))
        configuration = read_configuration()
        assert list(configuration.servers) == ["a", "own", "codex"]
        assert configuration.server("a").url == "https://own.example/mcp"
        assert configuration.server("codex").callback_port == 2

    def test_codexs_folder_may_be_elsewhere(
        self, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`CODEX_HOME`, as Codex has it: then the one in the home folder does not count."""
        codex(world, X)
        moved = tmp_path / "config.toml"
        moved.write_text(X.replace(".x]", ".moved]"))

        for folder, name in (("", "x"), (str(tmp_path), "moved")):
            monkeypatch.setenv("CODEX_HOME", folder)
            assert names() == [name]
        assert read_configuration().server("moved").source == str(moved)

    @pytest.mark.threat("relative-codex-home")
    def test_a_relative_codex_home_makes_no_project_trusted(
        self, work: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would be another folder in each project, whoever wrote that."""
        project(work, ".codex/config.toml")
        monkeypatch.setenv("CODEX_HOME", ".codex")
        found = read_configuration()
        assert found.servers == {}
        assert [entry.name for entry in found.untrusted] == ["team"]

    @pytest.mark.threat("relative-codex-home")
    def test_a_relative_path_of_the_environment_makes_no_project_trusted_either(
        self, work: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The argument may be one: whoever gives it is in that folder."""
        (work / "team.toml").write_text(X)
        assert list(read_configuration("team.toml").servers) == ["x"]
        monkeypatch.setenv("MCPNB_CONFIG", "team.toml")
        with pytest.raises(errors.ConfigError, match="MCPNB_CONFIG is a relative path"):
            read_configuration()


class TestClaudesFile:
    def test_it_is_used_unchanged(self, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("API_HOST", "mcp.example")
        monkeypatch.setenv("API_KEY", "s3cret")
        headers = {"Authorization": "Bearer ${API_KEY}", "X-Team": "${TEAM:-blue} ${API_HOST}"}
        http = {"url": "https://${API_HOST}${API_PATH:-/mcp}", "headers": headers}
        oauth = {"clientId": "c", "callbackPort": 8080, "scopes": "a b"}
        sse = {"type": "sse", "url": "https://sse.example/sse", "oauth": oauth}
        stdio = {"type": "stdio", "command": "npx", "args": ["x"], "env": {"A": "b"}}
        claudes(work, http=http, sse=sse, stdio=stdio)
        agree()
        configuration = read_configuration()

        config = configuration.server("http")
        assert config.url == "https://mcp.example/mcp"
        assert config.headers == (
            Header("Authorization", Secret("Bearer s3cret")),
            Header("X-Team", Secret("blue mcp.example")),
        )
        assert mcpnb.connect("http").headers() == {"Authorization": "Bearer s3cret"}
        config = configuration.server("sse")
        assert (config.client_id, config.callback_port) == ("c", 8080)
        assert config.scopes == ("a", "b")
        with pytest.raises(errors.ConfigError, match="started as a command"):
            configuration.server("stdio")

    def test_a_variable_that_is_not_set_is_named_to_who_asks(self, work: Path) -> None:
        """And to nobody else: the other servers work."""
        a = {"url": "https://a.example", "headers": {"X": "${NOT_SET_HERE}"}}
        claudes(work, a=a, b={"url": "https://b.example"})
        agree()

        assert names() == ["b"]
        unset = r"json: mcpServers\.a\.headers\.X needs .* NOT_SET_HERE, which is not set"
        with pytest.raises(errors.ConfigError, match=unset):
            mcpnb.connect("a")
        assert [r["auth_status"] for r in mcpnb.servers(probe=False)] == ["none", "unreachable"]

    @pytest.mark.parametrize(
        ("entry", "said"),
        [
            ({"url": 5}, r"json: mcpServers\.a\.url has to be text"),
            # JSON can hold half a character, and no request can.
            ({"url": "https://\ud800/"}, r"json: mcpServers\.a\.url has to be text"),
            (
                {"url": "https://a.example", "oauth": {"clientId": "\udfff"}},
                r"json: mcpServers\.a\.oauth\.clientId has to be text",
            ),
            (
                {"headrs": {}, "url": "https://a.example"},
                r"json: unknown key 'headrs' in mcpServers\.a\. Did you mean headers\?",
            ),
        ],
    )
    def test_its_mistakes_name_the_key(self, work: Path, entry: dict[str, Any], said: str) -> None:
        claudes(work, a=entry, b={"url": "https://b.example"})
        agree()
        with pytest.warns(UserWarning, match=said):
            assert "b" in read_configuration().servers
