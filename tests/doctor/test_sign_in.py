"""`doctor --sign-in`: a sign-in that really happens, every step explained, no secret shown."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

import mcpnb
from mcpnb.doctor import Report
from mcpnb.stores import MemoryStore
from tests.fakes.broken import by_doing, by_pasting, everything, watched, wrong
from tests.fakes.people import answer_of, connect, until
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request
from tests.terminal import Running, invoke

OUR_KEY = "A" * 43


def steps(report: Report) -> list[str]:
    return [check.id for check in report if check.id.startswith("sign-in")]


class TestTrace:
    def test_every_step_is_there_in_its_order(self, fake: FakeServer) -> None:
        session = connect(fake.url)
        report = session.doctor(sign_in=by_pasting(session))

        assert wrong(report) == {}
        assert steps(report) == [
            *["sign-in-discovery"] * 3,
            *("sign-in-registration", "sign-in-request", "sign-in-answer", "sign-in-token"),
        ]
        assert session.signed_in
        assert report["login"].answer.startswith("Valid until")
        assert report["call"].answer == "HTTP 200: the token is accepted"

    def test_a_step_says_what_was_sent_and_what_came(self, fake: FakeServer) -> None:
        """Names of all parameters, values of the harmless ones."""
        report = watched(fake, scopes=["read"])

        asked = report["sign-in-request"].asked
        for shown in (f"resource=“{fake.url}”", "state=*****", "code_challenge=*****", "“read”"):
            assert shown in asked
        exchange = report["sign-in-token"]
        assert "code=*****, code_verifier=*****" in exchange.asked
        assert "access_token=*****, token_type=“Bearer”, expires_in=“3600”" in exchange.answer
        assert "RFC 7636" in exchange.rule
        shown = repr(report)
        assert f"Sent: {exchange.asked}" in shown
        assert f"Rule: {exchange.rule}" in shown

    def test_a_registration_that_is_kept_takes_no_request(self, fake: FakeServer) -> None:
        fake.announce(registration_endpoint=None)
        fake.clients["mine"] = {
            "redirect_uris": ["http://127.0.0.1:27999/callback"],
            "token_endpoint_auth_method": "none",
        }

        report = watched(fake, client_id="mine", callback_port=27999)

        assert "configuration" in report["sign-in-registration"].asked
        assert "“mine”" in report["sign-in-registration"].answer
        assert fake.asked("/register") == []

    def test_a_wrong_answer_is_a_step_and_the_wait_goes_on(self, fake: FakeServer) -> None:
        session = connect(fake.url)

        def wrong_at_first(login: Any) -> None:
            answer = answer_of(str(login.url))
            with pytest.raises(mcpnb.errors.AnswerRefused):
                login.submit(answer.replace("state=", "state=x"))
            login.submit(answer)

        report = session.doctor(sign_in=by_doing(session, wrong_at_first))

        assert wrong(report) == {"sign-in-answer": "warning"}
        assert session.signed_in

    def test_without_being_asked_nothing_is_signed_in_to(self, fake: FakeServer) -> None:
        assert steps(connect(fake.url).doctor()) == []


class TestEndings:
    @pytest.mark.slow
    def test_one_completed_elsewhere_is_said_to_be(self, fake: FakeServer) -> None:
        """Another notebook has its last steps."""
        store = MemoryStore()
        session, other = connect(fake.url, store=store), connect(fake.url, store=store)

        elsewhere = by_doing(session, lambda login: other.finish(answer_of(str(login.url))))
        report = session.doctor(sign_in=elsewhere)

        assert "another notebook" in report["sign-in"].answer
        assert report["call"].verdict == "ok"

    def test_one_that_is_cancelled_is_no_problem(self, fake: FakeServer) -> None:
        session = connect(fake.url)

        report = session.doctor(sign_in=by_doing(session, lambda login: login.cancel()))

        assert wrong(report) == {}
        assert report["sign-in"].verdict == "unknown"

    def test_in_a_notebook_the_address_is_printed(
        self, fake: FakeServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        session = connect(fake.url)

        def person() -> None:
            until(lambda: session.latest_login is not None)
            login = session.latest_login
            assert login is not None
            login.wait_for("waiting", timeout=10)
            login.submit(answer_of(str(login.url)))

        helping = threading.Thread(target=person, daemon=True)
        helping.start()
        report = session.doctor(sign_in=True)
        helping.join(10)

        out = capsys.readouterr().out
        assert f"{fake.base}/authorize?" in out
        assert "--finish -" in out
        assert wrong(report) == {}


Breaks = Callable[[FakeServer], Any]


def refusing(path: str, status: int, **body: Any) -> Breaks:
    return lambda fake: fake.always(path, Reply(status, body))


def denying(error: str) -> Breaks:
    return lambda fake: setattr(fake, "authorize_error", {"error": error})


def granting(**changes: Any) -> Breaks:
    return lambda fake: setattr(fake, "token_changes", changes)


# What goes wrong: at which step, what has to be said of it, what to do, and the rule.
FAILURES: dict[str, tuple[Breaks, str, str, str, str]] = {
    "a redirect that is not allowed": (
        refusing("/register", 400, error="invalid_redirect_uri"),
        *("registration", "redirect address is not allowed", "127.0.0.1", "RFC 8252"),
    ),
    "registration for few": (
        refusing("/register", 401, error="invalid_token"),
        *("registration", "not open to everybody", "--client-id", "RFC 7591"),
    ),
    "too many registrations": (
        refusing("/register", 429),
        *("registration", "too many", "Try again", "RFC 7591"),
    ),
    "registration that is not understood": (
        refusing("/register", 400, error="invalid_client_metadata"),
        *("registration", "invalid_client_metadata", "as RFC 7591 has it", "RFC 7591"),
    ),
    "a scope that is refused": (
        denying("invalid_scope"),
        *("answer", "does not grant the scopes", "--scopes", "RFC 6749 sections 3.3"),
    ),
    "a person that declines": (
        denying("access_denied"),
        *("answer", "declined", "your account", "RFC 6749 section 4.1.2.1"),
    ),
    "a resource that is not known": (
        denying("invalid_target"),
        *("answer", "resource", "oauth_resource", "RFC 8707"),
    ),
    "a server in trouble": (
        denying("server_error"),
        *("answer", "server_error", "Try again", "RFC 6749 section 4.1.2.1"),
    ),
    "an error that nobody knows": (
        denying("odd_error"),
        *("answer", "odd_error", "its log", "RFC 6749 section 4.1.2.1"),
    ),
    "no iss where it is announced": (
        lambda f: setattr(f, "iss", None),
        *("answer", "there is no iss", "Send iss=", "RFC 9207"),
    ),
    "the iss of another": (
        lambda f: setattr(f, "iss", "https://evil.example"),
        *("answer", "iss is “https://evil.example”, expected is", "mix-up", "RFC 9207"),
    ),
    "a client that is not known": (
        refusing("/token", 401, error="invalid_client"),
        *("token", "The client is not known", "registers again", "RFC 6749 section 5.2"),
    ),
    "a code that is not accepted": (
        refusing("/token", 400, error="invalid_grant"),
        *("token", "The code was not accepted", "code_verifier", "RFC 7636 section 4.6"),
    ),
    "a grant that is not allowed": (
        refusing("/token", 400, error="unsupported_grant_type"),
        *("token", "unsupported_grant_type", "authorization code grant", "RFC 6749 section 5.2"),
    ),
    "a web page for a token": (
        lambda f: f.always("/token", Reply(200, "<p>Welcome")),
        *("token", "text/html", "JSON object", "RFC 6749 section 5.1"),
    ),
    "a response without a token": (
        granting(access_token=None),
        *("token", "no usable access token", "JSON object", "RFC 6749 section 5.1"),
    ),
    "a token of another type": (
        granting(token_type="DPoP"),
        *("token", "only Bearer", "“Bearer”", "RFC 6749 section 5.1"),
    ),
    "a token endpoint that hangs up": (
        lambda f: f.always("/token", Reply(drop=True)),
        *("token", "was closed before a response came", "Try again", "RFC 6749"),
    ),
}


class TestFailure:
    @pytest.mark.parametrize("name", FAILURES)
    def test_the_step_is_named_with_why_and_what_to_do(self, fake: FakeServer, name: str) -> None:
        breaks, at, says, fix, rule = FAILURES[name]
        breaks(fake)

        report = watched(fake)

        assert wrong(report) == {f"sign-in-{at}": "problem"}, report
        step = report[f"sign-in-{at}"]
        assert says in step.answer
        assert fix in str(step.fix)
        assert rule in step.rule
        assert step.side is not None
        assert report["login"].answer == "Nobody is signed in"

    def test_an_error_of_another_issuer_is_not_repeated(self, fake: FakeServer) -> None:
        """RFC 9207 section 2.4: neither its code nor its words."""
        fake.iss = "https://evil.example"
        fake.authorize_error = {"error": "call_us", "error_description": "at 555-0100"}

        shown = everything(watched(fake))

        assert "call_us" not in shown
        assert "555-0100" not in shown

    def test_a_token_for_somebody_else_shows_at_the_call(self, fake: FakeServer) -> None:
        """The resource is asked once, with the token that was granted a moment ago."""

        def refuses(request: Request) -> Reply:
            del request
            named = f'Bearer resource_metadata="{(fake.challenge or {})["resource_metadata"]}"'
            return Reply(401, {}, {"WWW-Authenticate": named})

        fake.routes["/mcp"] = refuses

        report = watched(fake)

        assert wrong(report) == {"call": "problem"}
        assert "wrong audience" in report["call"].answer
        assert report["call"].side == "server operator"

    @pytest.mark.parametrize("lacking", ["token_type", "refresh_token"])
    def test_what_works_but_is_not_right_is_a_warning(self, fake: FakeServer, lacking: str) -> None:
        fake.token_changes = {lacking: None}

        report = watched(fake)

        assert wrong(report) == {"sign-in-token": "warning"}
        assert lacking.replace("_", " ").split()[0] in str(report["sign-in-token"].fix)

    def test_scopes_that_are_refused_at_first_are_two_requests(self, fake: FakeServer) -> None:
        fake.describe(scopes_supported=["odd"])
        fake.known_scopes = set()
        session = connect(fake.url)

        def twice(login: Any) -> None:
            with pytest.raises(mcpnb.errors.AnswerRefused):
                login.submit(answer_of(str(login.url)))
            login.submit(answer_of(str(login.url)))

        report = session.doctor(sign_in=by_doing(session, twice))

        asked = [c.asked for c in report if c.id == "sign-in-request"]
        assert ["scope=“odd”" in text for text in asked] == [True, False]
        assert session.signed_in


@pytest.mark.slow
@pytest.mark.parametrize("refuses", [True, False])
def test_a_refused_request_is_told_from_a_person_that_does_nothing(
    fake: FakeServer, *, refuses: bool
) -> None:
    """A server that refuses the redirect shows a page, and nothing ever comes back."""
    session = connect(fake.url)

    def act(_: Any) -> None:
        if refuses:
            fake.clients.clear()

    report = session.doctor(sign_in=by_doing(session, act, timeout=1))

    assert wrong(report) == {f"sign-in-{'request' if refuses else 'answer'}": "problem"}
    (found,) = (c for c in report if c.verdict == "problem")
    says = "refuses the request with a page of its own" if refuses else "brought no response"
    assert says in found.answer
    assert ("http://127.0.0.1:" if refuses else "Callback") in str(found.fix)


class TestNotTried:
    def test_where_none_is_needed(self, fake: FakeServer) -> None:
        fake.need_no_sign_in()

        report = watched(fake)

        assert report["sign-in"].answer == "Not tried: the server needs none"
        assert fake.asked("/register") == []

    def test_where_discovery_fails_that_is_the_step(self, fake: FakeServer) -> None:
        fake.announce(issuer="https://elsewhere.example")

        report = watched(fake)

        assert wrong(report) == {"issuer": "problem", "sign-in-discovery": "problem"}
        assert fake.asked("/register") == []

    def test_where_no_client_id_is_to_be_had(self, fake: FakeServer) -> None:
        fake.announce(registration_endpoint=None)

        report = watched(fake)

        assert wrong(report) == {"registration": "problem", "sign-in-registration": "problem"}


class TestTerminal:
    def command(self, fake: FakeServer, *more: str, here: bool = True) -> Running:
        words = ("doctor", fake.url, "--sign-in", "--no-browser", "--port", "0", *more)
        return Running(*words, here=here)

    def test_the_address_is_on_stderr_and_the_answer_is_pasted(
        self, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MCPNB_STORE_KEY", OUR_KEY)
        with self.command(fake) as command:
            address = command.address()
            command.type("what-else-was-copied")
            command.says("Not used:")
            command.type(answer_of(address))
            done = command.end().expect(0)

        assert "Sign-in, exchange: HTTP 200" in done.out
        assert address not in done.out
        assert "Call: HTTP 200: the token is accepted" in done.out
        invoke("call", fake.url, "echo", "text=hi").expect(0)

    def test_a_failure_is_1_and_stdout_is_json_alone(self, fake: FakeServer) -> None:
        fake.authorize_error = {"error": "access_denied"}
        with self.command(fake, "--json") as command:
            command.type(answer_of(command.address()))
            done = command.end().expect(1)

        found = json.loads(done.out)
        assert "sign-in-answer" in [c["id"] for c in found["checks"] if c["verdict"] == "problem"]

    @pytest.mark.slow
    def test_ctrl_c_is_130_and_leaves_nothing(self, fake: FakeServer) -> None:
        with self.command(fake, here=False) as command:
            command.address()
            command.interrupt()
            assert command.end().expect(130).out == ""
