"""What is wrong with Codex 0.169.0, as measured or reported: none of it here."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpnb import errors
from mcpnb.stores import FileStore, MemoryStore
from tests.fakes.people import connect, query_of, sign_in
from tests.fakes.server import FakeServer
from tests.shown import is_there
from tests.terminal import invoke

SHOWN_ELSEWHERE = {
    # Configuration
    "unknown keys are ignored in silence": "tests/config/test_files.py"
    "::test_an_unknown_key_is_named_with_its_file_and_the_nearest_one",
    "an unset bearer_token_env_var is noticed by a failing start only": (
        "tests/config/test_team.py"
        "::test_a_variable_that_is_not_set_is_named_before_anything_is_sent"
    ),
    "a client secret has to be in clear in config.toml": "tests/config/test_files.py"
    "::test_one_of_a_server_is_understood",
    "a busy callback port is the end": "tests/login/test_loopback.py"
    "::test_a_busy_one_is_replaced_by_a_free_one",
    "a busy callback port is an error without words": "tests/login/test_loopback.py"
    "::test_without_a_replacement_a_busy_one_is_a_clear_error",
    "a public callback_url binds 0.0.0.0 and does not say so": (
        "tests/login/test_redirects.py"
        "::test_a_public_callback_is_listened_for_everywhere_and_says_so"
    ),
    "a loopback callback is listened for everywhere": "tests/login/test_loopback.py"
    "::test_only_a_public_callback_is_bound_everywhere",
    "a project's entry is used before anybody trusts it": "tests/config/test_before_trust.py"
    "::test_a_hostile_clone_achieves_nothing",
    # The command line
    "--oauth-client-secret is seen by everybody": "tests/config/test_edit.py"
    "::test_no_secret_is_taken_from_a_command_line",
    "list --json prints headers in clear": "tests/session/test_servers.py"
    "::test_a_row_has_codexs_shape_and_more",
    "get --json prints headers in clear, and no login": "tests/session/test_servers.py"
    "::test_get_shows_one_server_with_its_tools",
    "list waits for one server after the other": "tests/session/test_servers.py"
    "::test_many_servers_take_no_longer_than_the_slowest_may",
    "doctor knows nothing of OAuth": "tests/doctor/test_servers.py"
    "::test_what_is_broken_is_named_with_its_fix",
    "no token for scripts": "tests/cli/test_commands.py"
    "::test_token_prints_the_token_and_nothing_else",
    "no device grant": "tests/login/test_device.py::test_a_code_entered_elsewhere_signs_in_here",
    "an answer cannot be given later (no paste in the app server)": (
        "tests/login/test_begin_finish.py::test_one_process_begins_and_another_finishes"
    ),
    # Discovery
    "discovery is done twice": "tests/login/test_faults.py"
    "::test_a_sign_in_and_a_first_call_make_just_these_requests",
    "resource_metadata at another origin is ignored (#42427)": (
        "tests/oauth/test_servers.py::test_resource_metadata_at_another_origin_is_read"
    ),
    # Scopes
    "scopes are the authorization server's (#15643, #35253, #8889)": (
        "tests/login/test_flow.py::test_without_any_the_parameter_is_left_out"
    ),
    "the second try without scopes sends them again": "tests/login/test_flow.py"
    "::test_discovered_scopes_that_are_refused_are_left_out_once",
    "an error's text keeps its plus signs": "tests/oauth/test_authorization.py"
    "::test_the_servers_words_are_quoted_escaped_and_capped",
    "a refused scope is a raw type error, with no way on (#20518)": "tests/tokens/test_auth.py"
    "::test_a_403_is_given_with_what_is_missing",
    # Registration
    "each login registers another client": "tests/login/test_flow.py"
    "::test_a_second_sign_in_registers_nothing",
    "a registered client cannot be used (#13200, #19154)": "tests/login/test_peer_oidc.py"
    "::test_given_credentials_are_used_with_basic_authentication",
    # The way back
    "the browser hears of success before the exchange": "tests/login/test_flow.py"
    "::test_the_page_says_signed_in_only_after_the_exchange",
    "iss is dropped (#41836, #31573)": "tests/login/test_authorization_response.py"
    "::test_a_code_from_the_wrong_issuer_is_never_exchanged",
    "a bare code: relative URL without a base": "tests/login/test_authorization_response.py"
    "::test_a_bare_code_is_refused_with_the_reason",
    "a wrong state: internal error": "tests/login/test_authorization_response.py"
    "::test_another_state_is_refused",
    "why the server said no is lost": "tests/oauth/test_authorization.py::test_it_is_told_in_words",
    "the browser has to be on this machine (#8835, #2798, #4265)": (
        "tests/login/test_relay_across_machines.py"
        "::test_a_sign_in_that_waits_on_another_machine_is_completed_by_the_line"
    ),
    # resource
    "resource is sent twice, or not at all (#28830, #34467, #20729)": (
        "tests/login/test_flow.py::test_resource_goes_to_authorize_token_and_refresh_as_it_is_written"
    ),
    "oauth_resource does not replace, and does not reach the token endpoint": (
        "tests/login/test_flow.py::test_a_configured_value_replaces_it_everywhere"
    ),
    # Where tokens rest
    "keyring mode signs in, and then cannot store it": "tests/storage/test_keyring.py"
    "::test_a_login_for_the_keyring_only_fails_before_the_browser",
    "without keyring, tokens are in clear in a file (#14704)": "tests/storage/test_files.py"
    "::test_no_secret_is_in_any_file",
    "without keyring, nobody is told": "tests/doctor/test_machine.py"
    "::test_without_one_a_file_is_a_warning",
    "over SSH the keyring cannot be used (#16728)": "tests/storage/test_keyring.py"
    "::test_where_the_keyring_cannot_be_used_the_key_is_a_file",
    "a keyring that hangs hangs the login (#31722)": "tests/storage/test_keyring.py"
    "::test_a_keyring_that_stays_silent_is_not_waited_for_again",
    "a keyring that forgets loses logins without a word (#34943)": (
        "tests/storage/test_keyring.py"
        "::test_a_deleted_entry_locks_its_logins_until_somebody_signs_in_again"
    ),
    "two homes share one entry of the keyring": "tests/storage/test_keyring.py"
    "::test_every_folder_has_a_key_of_its_own",
    "without keyring, logout fails and leaves the tokens (#25002)": (
        "tests/storage/test_keyring.py::test_signing_out_works_where_the_keyring_has_gone"
    ),
    "logout revokes nothing": "tests/tokens/test_sign_out.py"
    "::test_both_tokens_are_revoked_and_a_mark_is_left",
    # Refreshing
    "a 401 without WWW-Authenticate is the end": "tests/tokens/test_auth.py"
    "::test_a_401_without_www_authenticate_is_refreshed_too",
    "six processes that meet a 401 refresh six times": "tests/tokens/test_one_refresh.py"
    "::test_costs_one_refresh_for_all_processes_and_those_after_them",
    "nothing is refreshed before the start (#27165, #17265)": "tests/tokens/test_server_habits.py"
    "::test_an_expired_token_is_never_presented",
    "a long session keeps an old refresh token (#14144, #6164)": (
        "tests/tokens/test_server_habits.py::test_sessions_that_share_a_login_refresh_once"
    ),
    "after invalid_grant nobody knows why": "tests/tokens/test_refresh.py"
    "::test_the_message_says_who_when_and_what_to_do_in_every_kernel",
    "several accounts point at the wrong one (#26586)": "tests/session/test_session.py"
    "::test_accounts_of_one_server_are_kept_apart",
}
"""Each defect, and the test that shows it is not ours."""

AS_THE_RFC_SAYS = {
    "metadata without resource is refused (#41288)": "tests/login/test_flow.py"
    "::test_metadata_for_another_resource_is_refused",
}
"""What is reported as a defect, and is a rule: RFC 9728 section 3.3. `mcpnb doctor` names it."""


@pytest.mark.parametrize("defect", [*SHOWN_ELSEWHERE, *AS_THE_RFC_SAYS])
def test_where_it_is_shown_there_is_a_test(defect: str) -> None:
    assert is_there((SHOWN_ELSEWHERE | AS_THE_RFC_SAYS)[defect])


@pytest.fixture
def own(world: Path) -> Path:
    """The person's own file."""
    file = world / "xdg" / "config" / "mcpnb" / "config.toml"
    file.parent.mkdir(parents=True)
    return file


@pytest.fixture
def closed() -> Iterator[str]:
    """The address of a port that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/mcp"


def test_no_parameter_is_sent_empty(fake: FakeServer) -> None:
    """Codex refreshes with `scope=` where no scope was granted."""
    session = connect(fake.url)
    url = sign_in(session)
    fake.expire()
    session.call("echo", text="x")

    (registered,) = fake.asked("/register")
    assert "" not in registered.json.values()
    for sent in (query_of(url), *(r.form for r in fake.asked("/token"))):
        assert all(values != [""] for values in sent.values()), sent
        assert "scope" not in sent
    assert len(fake.token_requests("refresh_token")) == 1


def test_nothing_is_added_to_the_scopes_a_person_asked_for(fake: FakeServer) -> None:
    """Codex sends `x offline_access` for `--scopes x`."""
    fake.announce(scopes_supported=["read", "offline_access"])
    assert query_of(sign_in(connect(fake.url), scopes=("x",)))["scope"] == ["x"]


def test_a_callback_url_is_used_with_a_client_that_registers_itself(fake: FakeServer) -> None:
    """Codex uses it with a configured client id only, and rewrites it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/proxy/here"
    opened = sign_in(connect(fake.url, callback_port=None, callback_url=url))
    assert query_of(opened)["redirect_uri"] == [url]


def test_a_sign_in_elsewhere_is_used_without_a_restart(fake: FakeServer, world: Path) -> None:
    """#7767, #20605, #30716: a session that was there before, and had been refused."""
    before = connect(fake.url, store=FileStore(world / "mcpnb"))
    assert not before.signed_in
    sign_in(connect(fake.url, store=FileStore(world / "mcpnb")))
    assert before.call("echo", text="hi").text == "hi"


def test_a_sign_in_after_a_dead_refresh_token_is_used_without_a_restart(fake: FakeServer) -> None:
    """#32590: Codex tries no more in that process."""
    store = MemoryStore()
    session = connect(fake.url, store=store)
    sign_in(session)
    fake.end()
    with pytest.raises(errors.LoginRequired, match=r"[Ss]ign in again|ended"):
        session.call("echo", text="x")
    sign_in(connect(fake.url, store=store))
    assert session.call("echo", text="hi").text == "hi"


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "nosuch"],
        ["login", "nosuch"],
        ["tools", "{closed}"],
        ["login", "{closed}", "--no-browser", "--port", "0"],
        ["token", "{closed}"],
        ["doctor", "{closed}"],
        ["logout", "ftp://x"],
        ["remove", "nosuch"],
        ["list", "--config", "/no/such/file.toml"],
    ],
    ids=" ".join,
)
def test_no_error_comes_with_a_backtrace(closed: str, arguments: list[str]) -> None:
    """Codex adds `Stack backtrace: 0: <unknown>` to each."""
    done = invoke(*(word.format(closed=closed) for word in arguments))
    assert done.code in (1, 2, 3)
    said = done.out + done.err
    assert "Traceback" not in said
    assert "backtrace" not in said
    assert 'File "' not in said
    assert done.err or arguments[0] == "doctor"
