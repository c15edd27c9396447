"""Codex's feature table, row by row (0.169.0; peers.md sections 1.1 to 1.8): it works here, too."""

# ruff: noqa: E501  names of tests
from __future__ import annotations

import json
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpnb.config import read_configuration
from mcpnb.oauth.models import Header, Secret, ServerConfig
from mcpnb.stores import FileStore
from tests.fakes.people import connect, query_of, sign_in
from tests.fakes.server import AS_METADATA, PRM, FakeServer
from tests.fakes.wire import Reply
from tests.shown import is_there
from tests.terminal import run

Get = Callable[[ServerConfig], Any]

# 1.1 Configuration keys

TOP: list[tuple[str, Get, Any]] = [
    ('mcp_oauth_credentials_store = "auto"', lambda c: c.store, "auto"),
    ('mcp_oauth_credentials_store = "file"', lambda c: c.store, "file"),
    ('mcp_oauth_credentials_store = "keyring"', lambda c: c.store, "keyring"),
    ("mcp_oauth_callback_port = 7777", lambda c: c.callback_port, 7777),
    (
        'mcp_oauth_callback_url = "https://hub.example/cb"',
        lambda c: c.callback_url,
        "https://hub.example/cb",
    ),
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
    (
        'oauth.client_id = "c"\noauth.client_secret = "s"',
        lambda c: c.client_secret,
        Secret("s"),
    ),
    ("oauth.callback_port = 7777", lambda c: c.callback_port, 7777),
    (
        'oauth.callback_url = "https://hub.example/cb"',
        lambda c: c.callback_url,
        "https://hub.example/cb",
    ),
    ("enabled = false", lambda c: c.enabled, False),
    ("required = true", lambda c: c.required, True),
    ("startup_timeout_sec = 2.5", lambda c: c.startup_timeout, 2.5),
    ("startup_timeout_ms = 2500", lambda c: c.startup_timeout, 2.5),
    ("tool_timeout_sec = 7.5", lambda c: c.tool_timeout, 7.5),
    ('enabled_tools = ["t"]', lambda c: c.enabled_tools, ("t",)),
    ('disabled_tools = ["t"]', lambda c: c.disabled_tools, ("t",)),
]
NOT_OURS_AT_THE_TOP = {
    "mcp_optional_startup_grace_ms = 5": "nothing of ours starts before it is used",
    'mcp_enterprise_managed_auth.idp.issuer = "https://idp"': "enterprise-managed authorization",
    "features.mcp_oauth_refresh_coordination = false": "here processes always share one refresh",
    "features.secret_auth_storage = true": "here files are always encrypted",
    "features.auth_elicitation = true": "an experiment of Codex's",
}
NOT_OURS = {
    'auth = "oauth"': "the only way there is here",
    'auth = "chatgpt"': "Codex's own account",
    'auth = "ema_auth"\noauth.authorization_server_issuer = "https://as"': "enterprise-managed",
    'oauth.token_endpoint_auth_method = "client_secret_post"': "read from the metadata",
    'startup_readiness = "catalog"': "tools are listed when they are asked for",
    'default_tools_approval_mode = "prompt"': "approval is of a program that acts by itself",
    'tools.t.approval_mode = "approve"\ntools.t.output_token_limit = 5': "likewise",
    "supports_parallel_tool_calls = true": "who calls decides that",
    'omit_tools_from = ["direct"]': "of Codex's model",
    "tool_input_schema_max_bytes = 5": "of Codex's model",
    'environment_id = "e"': "of Codex's machines",
    'name = "n"': "of older versions",
}


def read(tmp_path: Path, lines: str, top: str = "") -> ServerConfig:
    """Read what a file says of a server, whatever its name; no warning is given."""
    file = tmp_path / "config.toml"
    name = "a-b_c:d@e/f.g"
    file.write_text(f'{top}\n[mcp_servers."{name}"]\nurl = "https://x.example/mcp"\n{lines}\n')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_configuration(file).server(name)


class TestKeys:
    @pytest.mark.parametrize(("line", "get", "value"), TOP, ids=[row[0] for row in TOP])
    def test_one_at_the_top_is_understood(
        self, tmp_path: Path, line: str, get: Get, value: object
    ) -> None:
        assert get(read(tmp_path, "", line)) == value

    @pytest.mark.parametrize(("line", "get", "value"), SERVER, ids=[row[0] for row in SERVER])
    def test_one_of_a_server_is_understood(
        self, tmp_path: Path, line: str, get: Get, value: object
    ) -> None:
        assert get(read(tmp_path, line)) == value

    @pytest.mark.parametrize("line", NOT_OURS_AT_THE_TOP)
    def test_one_for_others_at_the_top_is_no_mistake(self, tmp_path: Path, line: str) -> None:
        assert read(tmp_path, "", line) == read(tmp_path, "")

    @pytest.mark.parametrize("line", NOT_OURS)
    def test_one_for_others_of_a_server_is_no_mistake(self, tmp_path: Path, line: str) -> None:
        assert read(tmp_path, line) == read(tmp_path, "")

    def test_a_command_is_no_mistake_either(self, tmp_path: Path) -> None:
        """Its servers are somebody else's to start."""
        other = (
            '[mcp_servers.stdio]\ncommand = "c"\nargs = ["a"]\ncwd = "/"\n[mcp_servers.stdio.env]\n'
            'A = "b"\n[[mcp_servers.stdio.env_vars]]\nname = "V"\nsource = "local"'
        )
        assert read(tmp_path, other).url == "https://x.example/mcp"

    def test_a_bearer_token_in_clear_is_told(self, tmp_path: Path) -> None:
        """Codex refuses it, too."""
        with pytest.raises(UserWarning, match="Use bearer_token_env_var"):
            read(tmp_path, 'bearer_token = "s"')


# 1.2 The command line, in Codex's own words


@pytest.fixture
def own(world: Path) -> Path:
    """The person's own file, which need not be there."""
    return world / "xdg" / "config" / "mcpnb" / "config.toml"


ADDED: list[tuple[list[str], dict[str, Any]]] = [
    ([], {}),
    (["--bearer-token-env-var", "V"], {"bearer_token_env_var": "V"}),
    (["--oauth-client-id", "c"], {"oauth": {"client_id": "c"}}),
    (["--oauth-resource", "https://r.example"], {"oauth_resource": "https://r.example"}),
    (["--oauth-client-registration", "dcr"], {}),
]


class TestCommands:
    @pytest.mark.parametrize(("words", "values"), ADDED, ids=[" ".join(row[0]) for row in ADDED])
    def test_add_takes_what_codexs_takes(
        self, own: Path, words: list[str], values: dict[str, Any]
    ) -> None:
        """Except for `-- COMMAND` and `--env`, which are of servers that need no sign-in."""
        run("add", "x", "--url", "https://x.example/mcp", "--no-login", *words).expect(0)
        entry = tomllib.loads(own.read_text())["mcp_servers"]["x"]
        assert entry == {"url": "https://x.example/mcp"} | values

    @pytest.mark.slow
    def test_a_client_secret_is_named_and_not_said(self, own: Path) -> None:
        """`--oauth-client-secret` shows it to whoever lists processes: it is not taken."""
        words = ["add", "x", "--url", "https://x.example/mcp", "--no-login"]
        refused = run(*words, "--oauth-client-secret", "s3cret").expect(2)
        assert "s3cret" not in refused.err
        assert not own.exists()
        run(*words, "--client-secret-env-var", "V", V="s3cret").expect(0)
        assert "s3cret" not in own.read_text()

    @pytest.mark.slow
    def test_login_logout_get_list_and_remove(self, own: Path, fake: FakeServer) -> None:
        """With the options they have there; what each does is shown in tests of its own."""
        options = run("login", "--help").expect(0).out
        for option in ("--scopes", "--no-browser", "--oauth-client-registration"):
            assert option in options
        run("add", "x", "--url", fake.url, "--no-login").expect(0)
        assert fake.url in run("get", "x").expect(0).out
        assert fake.url in run("list").expect(0).out
        assert "nothing to do" in run("logout", "x").expect(0).err
        run("remove", "x").expect(0)
        assert "x" not in tomllib.loads(own.read_text()).get("mcp_servers", {})


# 1.3 The JSON


@pytest.mark.slow
def test_get_has_codexs_members(own: Path) -> None:
    """Those of `list`, and the tools; ours come on top."""
    own.parent.mkdir()
    own.write_text('[mcp_servers.x]\nurl = "https://x.example/mcp"\nenabled = false\n')
    row = json.loads(run("get", "x", "--json").expect(0).out)
    codexs = {"name", "enabled", "disabled_reason", "transport", "enabled_tools", "disabled_tools"}
    assert set(row) >= codexs | {"startup_timeout_sec", "tool_timeout_sec"}
    assert (row["enabled_tools"], row["disabled_tools"], row["enabled"]) == (None, None, False)
    assert row["disabled_reason"]


# 1.4 Discovery


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


# 1.5 Scopes, 1.8 Accounts


def test_scopes_of_the_command_line_come_before_configured_ones(
    own: Path, fake: FakeServer
) -> None:
    own.parent.mkdir()
    own.write_text(f'[mcp_servers.x]\nurl = "{fake.url}"\nscopes = ["configured"]\n')
    assert query_of(sign_in(connect("x")))["scope"] == ["configured"]
    given = connect("x", scopes="given")
    assert query_of(sign_in(given))["scope"] == ["given"]


@pytest.mark.slow
def test_two_entries_of_one_server_are_two_accounts(
    own: Path, fake: FakeServer, world: Path
) -> None:
    """Where they say so; and they are listed as such."""
    own.parent.mkdir()
    own.write_text(
        f'[mcp_servers.a]\nurl = "{fake.url}"\naccount = "a"\n'
        f'[mcp_servers.b]\nurl = "{fake.url}"\naccount = "b"\n'
    )
    sign_in(connect("a", store=FileStore(world / "mcpnb")))
    rows = json.loads(run("list", "--json").expect(0).out)
    assert {r["name"]: r["auth_status"] for r in rows} == {
        "a": "authenticated",
        "b": "oauth_available",
    }


# Everything else


SHOWN_ELSEWHERE = {
    "1.1 bearer_token_env_var": "config/test_team::test_it_takes_the_place_of_a_sign_in",
    "1.1 http_headers": "config/test_team::test_they_go_with_every_request_of_a_call",
    "1.1 Authorization in a header": (
        "config/test_team::test_an_authorization_header_counts_as_one"
    ),
    "1.1 http_headers_helper": (
        "tokens/test_headers_helper::test_it_runs_once_more_and_the_call_goes_through"
    ),
    "1.1 enabled": "config/test_team::test_a_disabled_server_is_there_to_look_at_only",
    "1.1 required": "session/test_servers::test_what_is_required_has_to_work",
    "1.1 startup_timeout_sec": (
        "config/test_team::test_a_server_that_is_not_ready_in_time_is_given_up"
    ),
    "1.1 tool_timeout_sec": "config/test_team::test_a_tool_that_takes_too_long_is_given_up",
    "1.1 enabled_tools": ("config/test_team::test_what_is_denied_is_neither_listed_nor_callable"),
    "1.1 credentials_store": "config/test_team::test_where_logins_rest_can_be_configured",
    "1.1 callback_port": "config/test_team::test_the_callback_port_is_used",
    "1.1 callback_url": (
        "login/test_loopback_sign_in::test_a_public_callback_is_listened_for_everywhere_and_says_so"
    ),
    "1.1 oauth_resource": "login/test_rules_of_requests::test_a_configured_value_replaces_it_everywhere",
    "1.2 list": "session/test_servers::test_each_status_is_told",
    "1.2 add signs in": "config/test_edit::test_a_server_that_wants_a_sign_in_gets_it_at_once",
    "1.2 login --no-browser": "cli/test_sign_in::test_a_pasted_line_signs_in",
    "1.2 login --scopes": "cli/test_sign_in::test_scopes_can_be_asked_for",
    "1.2 logout": "cli/test_commands::test_it_revokes_and_forgets",
    "1.2 the app server's login": (
        "login/test_begin_finish::test_one_process_begins_and_another_finishes"
    ),
    "1.3 list --json": "session/test_servers::test_a_row_has_codexs_shape_and_more",
    "1.4 older servers": "oauth/test_servers::test_without_any_metadata_the_default_endpoints_serve",
    "1.4 resource mismatch": "login/test_rules_of_requests::test_metadata_for_another_resource_is_refused",
    "1.5 the order": "login/test_rules_of_requests::test_the_first_source_that_says_something_counts",
    "1.5 offline_access": "login/test_server_habits::test_offline_access_comes_with_prompt_consent",
    "1.5 once more without": (
        "login/test_rules_of_requests::test_discovered_scopes_that_are_refused_are_left_out_once"
    ),
    "1.6 a registered client": (
        "login/test_peer_oidc_variants::test_given_credentials_are_used_with_basic_authentication"
    ),
    "1.6 a metadata document": (
        "login/test_peer_oidc_variants::test_a_client_metadata_document_needs_no_registration"
    ),
    "1.6 registration": "login/test_server_habits::"
    "test_it_asks_for_refresh_tokens_and_says_that_it_is_native",
    "1.7 a path per issuer": (
        "login/test_loopback_sign_in::test_a_redirect_has_a_part_of_its_own_where_answers_carry_no_issuer"
    ),
    "1.7 a wrong path": "login/test_loopback::test_a_stray_path_is_answered_and_otherwise_ignored",
    "1.7 the time it takes": "cli/test_sign_in::test_nobody_comes_in_time",
    "1.7 iss": "login/test_rules_untested_elsewhere::test_a_code_from_the_wrong_issuer_is_never_exchanged",
    "1.8 the keyring": "storage/test_keyring::test_the_key_is_in_the_keyring_and_nowhere_else",
    "1.8 locks": "storage/test_files::test_processes_take_turns",
    "1.8 before the start": "cli/test_scripts::test_an_expired_one_is_renewed_first",
    "1.8 after a 401": "tokens/test_auth::test_a_401_is_refreshed_and_the_request_sent_once_more",
    "1.8 a refused refresh": "tokens/test_server_habits::test_invalid_grant_ends_the_login_with_any_status",
    "1.8 many processes": (
        "tokens/test_one_refresh::test_costs_one_refresh_for_all_processes_and_those_after_them"
    ),
    "1.8 doctor": "doctor/test_reports::test_a_line_for_each_check_and_more_only_where_it_is_not_well",
}
"""Rows that tests of their own files show."""


@pytest.mark.parametrize("row", SHOWN_ELSEWHERE)
def test_where_a_row_is_shown_there_is_a_test(row: str) -> None:
    assert is_there(f"tests/{SHOWN_ELSEWHERE[row].replace('::', '.py::', 1)}")
