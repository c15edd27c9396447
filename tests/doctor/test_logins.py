"""The doctor looks at a stored login without using it, and at a token without showing it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mcpnb
from mcpnb.stores import FileStore
from tests.fakes.broken import assert_only_looked_at, everything, wrong
from tests.fakes.helper import Helper
from tests.fakes.kernels import Kernel, change, make_expired
from tests.fakes.people import connect, sign_in
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply


def jwt(**claims: Any) -> str:
    """Make a token that can be read; its signature is none."""
    parts = ({"alg": "none"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    return ".".join([*encoded, "signature"])


def signed_in(fake: FakeServer, *scopes: str, **changes: Any) -> mcpnb.Session:
    """Sign in where the server gives tokens of a certain kind."""
    fake.token_changes = changes
    session = connect(fake.url)
    sign_in(session, scopes=scopes or None)
    return session


def failing(kind: str, error: str = "") -> dict[str, Any]:
    setback = {"kind": kind, "at": time.time(), "error": error, "said": "in its words"}
    return {"setback": setback | {"until": 0.0}}


# What is stored, and what is said of it.
STORED: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "ended": (failing("ended", "invalid_grant"), "renewal", "problem", "ended the login"),
    "unknown client": (
        failing("refused", "invalid_client"),
        *("renewal", "problem", "no longer knows"),
    ),
    "unreachable": (failing("unreachable"), "renewal", "warning", "tried again: in its words"),
    "unknown": (failing("unknown"), "renewal", "warning", "was not stored: in its words"),
    "rejected": ({"doubted_at": time.time()}, "rejections", "warning", "has not been accepted"),
}


class TestLogin:
    def test_a_token_for_somebody_else_is_named_and_not_shown(self, fake: FakeServer) -> None:
        """A JWT is read for that, and not verified: nothing depends on it."""
        token = jwt(aud=["https://other.example/mcp"], sub="somebody")
        report = signed_in(fake, access_token=token).doctor()

        assert wrong(report) == {"audience": "problem"}
        assert "https://other.example/mcp" in report["audience"].answer
        assert token not in everything(report)
        assert "somebody" not in everything(report)

    @pytest.mark.parametrize("slash", ["", "/"])
    def test_a_token_for_this_server_is_fine(self, fake: FakeServer, slash: str) -> None:
        report = signed_in(fake, access_token=jwt(aud=fake.url + slash)).doctor()

        assert report["audience"].verdict == "ok"

    @pytest.mark.parametrize("token", ["a.b.c", "opaque", f"a.{'[' * 50}.c", "..", "a.W10.c"])
    def test_a_token_that_cannot_be_read_is_no_problem(self, fake: FakeServer, token: str) -> None:
        assert signed_in(fake, access_token=token).doctor()["audience"].verdict == "unknown"

    def test_an_ended_client_secret_is_named(self, fake: FakeServer) -> None:
        fake.register_adds = {
            "client_secret": "wd40-secret",
            "client_secret_expires_at": int(time.time()) - 60,
            "token_endpoint_auth_method": "client_secret_post",
        }
        session = signed_in(fake)
        before = len(fake.requests)

        report = session.doctor()

        assert wrong(report) == {"client-secret": "problem"}
        assert "wd40-secret" not in everything(report)
        assert_only_looked_at(fake, before)

    def test_scopes_that_were_not_granted_are_named(self, fake: FakeServer) -> None:
        fake.grants_scopes = ("read",)

        report = signed_in(fake, "read", "write").doctor()

        assert wrong(report) == {"granted": "warning"}
        assert "“write”" in report["granted"].answer

    @pytest.mark.parametrize("name", STORED)
    def test_what_became_of_the_last_refresh_is_told(
        self, kernel: Kernel, folder: Path, name: str
    ) -> None:
        stored, at, verdict, says = STORED[name]
        sign_in(session := kernel())
        change(folder, **stored)

        report = session.doctor()

        assert wrong(report) == {at: verdict}
        assert says in report[at].answer

    @pytest.mark.parametrize(
        "case",
        [
            (["read", "write"], "your login", "--scopes write"),
            (["read"], "server operator", "See also “Audience”"),
        ],
        ids=["the login lacks a scope", "the login has all scopes"],
    )
    def test_a_refresh_in_vain_is_explained_from_what_is_stored(
        self, fake: FakeServer, kernel: Kernel, folder: Path, case: tuple[list[str], str, str]
    ) -> None:
        """A new sign-in helps only if the server announces scopes that the login lacks."""
        supported, side, fix = case
        fake.grants_scopes = ("read",)
        session = kernel()
        sign_in(session, scopes=("read",))
        change(folder, vain_at=time.time())
        fake.describe(scopes_supported=supported)

        report = session.doctor()

        assert wrong(report) == {"rejections": "problem"}
        assert report["rejections"].side == side
        assert fix in str(report["rejections"].fix)

    def test_an_ended_login_without_refresh_token_is_named(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        fake.token_changes = {"refresh_token": None}
        sign_in(session := kernel())
        make_expired(folder)

        assert wrong(session.doctor()) == {"login": "problem"}

    def test_a_login_that_the_server_ended_is_one_problem_with_its_true_cause(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        """What is stored of an ended login has neither its end nor its refresh token any more."""
        sign_in(session := kernel())
        make_expired(folder)
        fake.end()
        with pytest.raises(mcpnb.errors.LoginRequired):
            session.headers()

        report = kernel().doctor()

        assert wrong(report) == {"login": "problem"}
        assert "The server ended the login" in report["login"].answer
        assert "invalid_grant" in report["login"].answer
        assert "no refresh token" not in everything(report)
        assert f"mcpnb login {fake.url}," in str(report["login"].fix)

    def test_of_a_login_that_looks_good_it_is_said_that_nobody_was_asked(
        self, fake: FakeServer
    ) -> None:
        session = connect(fake.url, account="work")
        sign_in(session)
        fake.end()

        looked, asked = session.doctor(), session.doctor(call=True)

        said = f"not asked whether it still accepts it; to ask: mcpnb doctor {fake.url}"
        assert f"{said} --account LABEL --call" in looked["login"].answer
        assert "not asked" not in asked["login"].answer
        assert asked["call"].verdict == "problem"

    def test_a_login_of_another_issuer_is_named(self, fakes: Callable[[], FakeServer]) -> None:
        fake, other = fakes(), fakes()
        session = signed_in(fake)
        fake.describe(authorization_servers=[other.base])

        assert wrong(session.doctor()) == {"login-issuer": "problem"}
        assert_only_looked_at(other)

    def test_a_login_that_cannot_be_read_is_named(self, kernel: Kernel, folder: Path) -> None:
        sign_in(session := kernel())
        (folder / "key").unlink()

        assert wrong(session.doctor()) == {"login": "problem"}

    def test_the_store_is_only_read(self, kernel: Kernel, folder: Path) -> None:
        sign_in(session := kernel())
        make_expired(folder)
        before = {p: p.read_bytes() for p in folder.iterdir()}

        session.doctor(call=True)

        assert {p: p.read_bytes() for p in folder.iterdir()} == before

    def test_a_store_that_is_not_there_is_not_made(self, fake: FakeServer, folder: Path) -> None:
        connect(fake.url, store=FileStore(folder)).doctor()

        assert not folder.exists()


@pytest.mark.parametrize("is_set", [True, False])
def test_a_configured_token_takes_the_place_of_a_sign_in(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_set: bool
) -> None:
    own = tmp_path / "config.toml"
    own.write_text(f'[mcp_servers.x]\nurl = "{fake.url}"\nbearer_token_env_var = "THE_TOKEN"\n')
    fake.metadata = None
    if is_set:
        monkeypatch.setenv("THE_TOKEN", "planted-token")

    report = connect("x", config=str(own)).doctor(call=True)

    assert wrong(report) == ({} if is_set else {"login": "problem"})
    assert "THE_TOKEN" in (report["login"].answer if is_set else str(report["login"].fix))
    assert "planted-token" not in everything(report)
    assert {r.bearer for r in fake.requests} == {None}
    assert "way-back" not in {check.id for check in report}


class TestCall:
    @pytest.mark.parametrize(
        ("lacking", "says"),
        [
            ("403", "More permission"),
            ("403 without scope", "More permission"),
            ("401", "401 where 403 is right"),
            ("401 without scope", "The token is refused"),
        ],
    )
    def test_a_missing_scope_is_named(self, fake: FakeServer, lacking: Any, says: str) -> None:
        session = signed_in(fake)
        fake.tool_scopes, fake.lacking = {"": "admin"}, lacking

        report = session.doctor(call=True)

        assert wrong(report) == {"call": "problem"}
        assert says in report["call"].answer
        assert ("--scopes admin" in str(report["call"].fix)) is not lacking.endswith("scope")

    def test_without_being_asked_no_token_is_sent(self, fake: FakeServer) -> None:
        session = signed_in(fake)
        before = len(fake.requests)

        session.doctor()

        assert [r.bearer for r in fake.requests[before:]] == [None] * 3

    def test_a_token_that_has_ended_is_not_sent(
        self, fake: FakeServer, kernel: Kernel, folder: Path
    ) -> None:
        """Some servers end a login when an expired token is merely presented."""
        sign_in(session := kernel())
        make_expired(folder)
        before = len(fake.requests)

        assert session.doctor(call=True)["call"].verdict == "unknown"
        assert {r.bearer for r in fake.requests[before:]} == {None}

    @pytest.mark.parametrize(
        ("reply", "verdict", "side"),
        [
            (Reply(502, "later"), "unknown", None),
            (Reply(403), "problem", "server operator"),
            (Reply(401), "problem", "your login"),
        ],
        ids=["says nothing of the token", "no scope mends it", "refused"],
    )
    def test_the_answer_to_a_token_decides_and_nothing_is_refreshed(
        self, fake: FakeServer, reply: Reply, verdict: str, side: str | None
    ) -> None:
        session = signed_in(fake)
        without_token = fake.routes["/mcp"]
        fake.routes["/mcp"] = lambda r: reply if r.bearer else without_token(r)
        before = len(fake.requests)

        call = session.doctor(call=True)["call"]

        assert (call.verdict, call.side) == (verdict, side)
        assert_only_looked_at(fake, before)


class TestHeadersHelper:
    @pytest.fixture
    def helper(self, tmp_path: Path) -> Helper:
        return Helper(tmp_path)

    def test_it_is_said_that_it_was_run_and_the_names_it_gives(
        self, fake: FakeServer, helper: Helper
    ) -> None:
        helper.says(**{"X-Key": "planted-key", "X-Team": "planted-team"})

        report = connect("team", config=helper.configured(fake.url)).doctor()

        assert wrong(report) == {}
        assert "was run on this machine, and prints: X-Key, X-Team" in report["headers"].answer
        assert "planted" not in everything(report)
        assert len(helper.runs) == 1
        assert_only_looked_at(fake)
        assert "x-key" not in {name for r in fake.requests for name in r.headers}

    def test_a_token_that_it_gives_takes_the_place_of_a_sign_in(
        self, fake: FakeServer, helper: Helper
    ) -> None:
        helper.says(Authorization="Bearer planted-token")
        session = connect("team", config=helper.configured(fake.url))

        report = session.doctor(call=True, sign_in=True)

        assert wrong(report) == {}
        assert "replaces a sign-in" in report["headers"].answer
        assert report["sign-in"].answer.startswith("Not tried")
        assert "planted" not in everything(report)
        assert {r.bearer for r in fake.requests} == {None}

    def test_a_variable_goes_first(
        self, fake: FakeServer, helper: Helper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("THE_TOKEN", "planted-token")
        helper.says(Authorization="Bearer planted-other")
        own = helper.configured(fake.url, 'bearer_token_env_var = "THE_TOKEN"')

        report = connect("team", config=own).doctor()

        assert "THE_TOKEN goes first" in report["headers"].answer
        assert "comes from THE_TOKEN" in report["login"].answer

    @pytest.mark.parametrize("sign_in", [False, True])
    def test_one_that_fails_is_a_problem_and_the_rest_is_looked_at(
        self, fake: FakeServer, helper: Helper, *, sign_in: bool
    ) -> None:
        """A sign-in is not possible then."""
        session = connect("team", config=helper.configured(fake.url))

        report = session.doctor(sign_in=sign_in)

        assert wrong(report).pop("headers") == "problem"
        assert "It was run." in report["headers"].answer
        assert report["headers"].side == "your configuration"
        assert report["pkce"].verdict == "ok"
        assert any(check.startswith("sign-in") for check in wrong(report)) is sign_in
        assert fake.asked("/register") == []

    def test_mcpnb_itself_and_that_of_a_disabled_server_are_not_run(
        self, fake: FakeServer, helper: Helper
    ) -> None:
        command = "mcpnb token SERVER --header --json"
        own = connect("team", config=helper.configured(fake.url, command=command)).doctor()
        disabled = connect("team", config=helper.configured(fake.url, "enabled = false")).doctor()

        assert own["headers"].answer.startswith("Not run: it is mcpnb itself")
        assert "disabled" in disabled["headers"].answer
        assert helper.runs == []

    def test_a_server_without_one_is_not_told_about_it(self, fake: FakeServer) -> None:
        assert "headers" not in {check.id for check in connect(fake.url).doctor()}
