"""Codex's feature table, row by row (0.169.0; peers.md sections 1.1 to 1.8): it works here, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcpnb.stores import FileStore
from tests.fakes.people import connect, query_of, sign_in
from tests.fakes.server import AS_METADATA, PRM, FakeServer
from tests.fakes.wire import Reply
from tests.house import is_there
from tests.terminal import run

# 1.2 The command line, in Codex's own words


@pytest.mark.slow
def test_login_logout_get_list_and_remove(own: Path, fake: FakeServer) -> None:
    """With the options they have there; what each does is shown in tests of its own."""
    options = run("login", "--help").expect(0).out
    for option in ("--scopes", "--no-browser", "--oauth-client-registration"):
        assert option in options
    run("add", "x", "--url", fake.url, "--no-login").expect(0)
    assert fake.url in run("get", "x").expect(0).out
    assert fake.url in run("list").expect(0).out
    assert "nothing to do" in run("logout", "x").expect(0).err
    run("remove", "x").expect(0)
    assert "mcp_servers" not in own.read_text()


# 1.3 The JSON


@pytest.mark.slow
def test_get_has_codexs_members(own: Path) -> None:
    """Those of `list`, and the tools; ours come on top."""
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
    own.write_text(f'[mcp_servers.x]\nurl = "{fake.url}"\nscopes = ["configured"]\n')
    assert query_of(sign_in(connect("x")))["scope"] == ["configured"]
    given = connect("x", scopes="given")
    assert query_of(sign_in(given))["scope"] == ["given"]


@pytest.mark.slow
def test_two_entries_of_one_server_are_two_accounts(
    own: Path, fake: FakeServer, world: Path
) -> None:
    """Where they say so; and they are listed as such."""
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
    "tests/config/test_files.py": {
        "1.1 keys": "test_one_of_a_server_is_understood",
        "1.1 keys at the top": "test_one_at_the_top_counts_for_every_server",
        "1.1 bearer_token": "test_an_unknown_key_is_named_with_its_file_and_the_nearest_one",
    },
    "tests/config/test_team.py": {
        "1.1 bearer_token_env_var": "test_it_takes_the_place_of_a_sign_in",
        "1.1 http_headers": "test_they_go_with_every_request_of_a_call",
        "1.1 Authorization in a header": "test_an_authorization_header_counts_as_one",
        "1.1 enabled": "test_a_disabled_server_is_there_to_look_at_only",
        "1.1 startup_timeout_sec": "test_a_server_that_is_not_ready_in_time_is_given_up",
        "1.1 tool_timeout_sec": "test_a_tool_that_takes_too_long_is_given_up",
        "1.1 enabled_tools": "test_what_is_denied_is_neither_listed_nor_callable",
        "1.1 credentials_store": "test_where_logins_rest_can_be_configured",
        "1.1 callback_port": "test_the_callback_port_is_used",
    },
    "tests/config/test_edit.py": {
        "1.2 add": "test_it_takes_what_codexs_takes",
        "1.2 add signs in": "test_a_server_that_wants_a_sign_in_gets_it_at_once",
    },
    "tests/tokens/test_headers_helper.py": {
        "1.1 http_headers_helper": "test_it_runs_once_more_and_the_call_goes_through",
    },
    "tests/session/test_servers.py": {
        "1.1 required": "test_what_is_required_has_to_work",
        "1.2 list": "test_each_status_is_told",
        "1.3 list --json": "test_a_row_has_codexs_shape_and_more",
    },
    "tests/cli/test_sign_in.py": {
        "1.2 login --no-browser": "test_a_pasted_line_signs_in_however_long_it_is",
        "1.2 login --scopes": "test_scopes_can_be_asked_for",
        "1.7 the time it takes": "test_nobody_comes_in_time",
    },
    "tests/cli/test_commands.py": {
        "1.2 logout": "test_it_revokes_and_forgets",
        "1.8 before the start": "test_an_expired_token_is_refreshed_first",
    },
    "tests/login/test_begin_finish.py": {
        "1.2 the app server's login": "test_one_process_begins_and_another_finishes",
    },
    "tests/oauth/test_servers.py": {
        "1.4 older servers": "test_without_any_metadata_the_default_endpoints_serve",
    },
    "tests/login/test_flow.py": {
        "1.1 oauth_resource": "test_a_configured_value_replaces_it_everywhere",
        "1.4 resource mismatch": "test_metadata_for_another_resource_is_refused",
        "1.5 the order": "test_the_first_source_that_says_something_counts",
        "1.5 offline_access": "test_offline_access_comes_with_prompt_consent",
        "1.5 once more without": "test_discovered_scopes_that_are_refused_are_left_out_once",
    },
    "tests/login/test_clients.py": {
        "1.6 registration": "test_it_asks_for_refresh_tokens_and_says_that_it_is_native",
    },
    "tests/login/test_peer_oidc.py": {
        "1.6 a registered client": "test_given_credentials_are_used_with_basic_authentication",
        "1.6 a metadata document": "test_a_client_metadata_document_needs_no_registration",
    },
    "tests/login/test_redirects.py": {
        "1.1 callback_url": "test_a_public_callback_is_listened_for_everywhere_and_says_so",
    },
    "tests/login/test_authorization_response.py": {
        "1.7 a path per issuer": "test_a_redirect_has_a_part_of_its_own_where_iss_is_missing",
        "1.7 iss": "test_a_code_from_the_wrong_issuer_is_never_exchanged",
    },
    "tests/login/test_loopback.py": {
        "1.7 a wrong path": "test_a_stray_path_is_answered_and_otherwise_ignored",
    },
    "tests/storage/test_keyring.py": {
        "1.8 the keyring": "test_the_key_is_in_the_keyring_and_nowhere_else",
    },
    "tests/storage/test_files.py": {"1.8 locks": "test_processes_take_turns"},
    "tests/tokens/test_auth.py": {
        "1.8 after a 401": "test_a_401_is_refreshed_and_the_request_sent_once_more",
    },
    "tests/tokens/test_server_habits.py": {
        "1.8 a refused refresh": "test_invalid_grant_ends_the_login_with_any_status",
    },
    "tests/tokens/test_one_refresh.py": {
        "1.8 many processes": (
            "test_a_server_that_rejects_every_token_costs_one_refresh_for_all_processes"
        ),
    },
    "tests/doctor/test_reports.py": {
        "1.8 doctor": "test_a_line_for_each_check_and_more_only_where_it_is_not_well",
    },
}
"""Rows that tests of other files show, by file."""


@pytest.mark.parametrize("file", SHOWN_ELSEWHERE)
def test_where_a_row_is_shown_there_is_a_test(file: str) -> None:
    rows = SHOWN_ELSEWHERE[file].items()
    assert [row for row, test in rows if not is_there(f"{file}::{test}")] == []
