"""A sign-in that fails is explained: the step, why, whose side it is on, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import mcpnb
from mcpnb.doctor import Report
from mcpnb.login import SignInRequest
from tests.fakes.broken import everything, wrong
from tests.fakes.people import answer_of, connect
from tests.fakes.server import FakeServer
from tests.fakes.watched import watched
from tests.fakes.wire import Reply, Request


def refusing(path: str, status: int, **body: Any) -> Callable[[FakeServer], None]:
    return lambda fake: fake.always(path, Reply(status, body))


class Failing(NamedTuple):
    """What goes wrong, and what has to be said of it."""

    breaks: Callable[[FakeServer], Any]
    at: str
    says: str
    fix: str
    rule: str


FAILURES = {
    "a redirect that is not allowed": Failing(
        refusing("/register", 400, error="invalid_redirect_uri"),
        "sign-in-registration",
        "redirect address is not allowed",
        "127.0.0.1",
        "RFC 8252",
    ),
    "registration for few": Failing(
        refusing("/register", 401, error="invalid_token"),
        "sign-in-registration",
        "not open to everybody",
        "--client-id",
        "RFC 7591",
    ),
    "too many registrations": Failing(
        refusing("/register", 429),
        "sign-in-registration",
        "too many",
        "Try again",
        "RFC 7591",
    ),
    "a scope that is refused": Failing(
        lambda f: setattr(f, "authorize_error", {"error": "invalid_scope"}),
        "sign-in-answer",
        "does not grant the scopes",
        "--scopes",
        "RFC 6749 sections 3.3",
    ),
    "a person that declines": Failing(
        lambda f: setattr(f, "authorize_error", {"error": "access_denied"}),
        "sign-in-answer",
        "declined",
        "your account",
        "RFC 6749 section 4.1.2.1",
    ),
    "a resource that is not known": Failing(
        lambda f: setattr(f, "authorize_error", {"error": "invalid_target"}),
        "sign-in-answer",
        "resource",
        "oauth_resource",
        "RFC 8707",
    ),
    "no iss where it is announced": Failing(
        lambda f: setattr(f, "iss", None),
        "sign-in-answer",
        "there is no iss",
        "Send iss=",
        "RFC 9207",
    ),
    "the iss of another": Failing(
        lambda f: setattr(f, "iss", "https://evil.example"),
        "sign-in-answer",
        "iss is “https://evil.example”, expected is",
        "mix-up",
        "RFC 9207",
    ),
    "a client that is not known": Failing(
        refusing("/token", 401, error="invalid_client"),
        "sign-in-token",
        "The client is not known",
        "registers again",
        "RFC 6749 section 5.2",
    ),
    "a code that is not accepted": Failing(
        refusing("/token", 400, error="invalid_grant"),
        "sign-in-token",
        "The code was not accepted",
        "code_verifier",
        "RFC 7636 section 4.6",
    ),
    "a web page for a token": Failing(
        lambda f: f.always("/token", Reply(200, "<p>Welcome")),
        "sign-in-token",
        "text/html",
        "JSON object",
        "RFC 6749 section 5.1",
    ),
    "an answer without a token": Failing(
        lambda f: setattr(f, "token_changes", {"access_token": None}),
        "sign-in-token",
        "no usable access token",
        "JSON object",
        "RFC 6749 section 5.1",
    ),
    "a token of another type": Failing(
        lambda f: setattr(f, "token_changes", {"token_type": "DPoP"}),
        "sign-in-token",
        "only Bearer",
        "“Bearer”",
        "RFC 6749 section 5.1",
    ),
    "a token endpoint that hangs up": Failing(
        lambda f: f.always("/token", Reply(drop=True)),
        "sign-in-token",
        "was closed before a response came",
        "Try again",
        "RFC 6749",
    ),
}


class TestFailure:
    @pytest.mark.parametrize("failing", FAILURES.values(), ids=FAILURES.keys())
    def test_the_step_is_named_with_why_and_what_to_do(
        self, fake: FakeServer, failing: Failing
    ) -> None:
        failing.breaks(fake)

        report = watched(fake)

        assert wrong(report) == {failing.at: "problem"}, report
        step = report[failing.at]
        assert failing.says in step.answer
        assert failing.fix in str(step.fix)
        assert failing.rule in step.rule
        assert step.side is not None
        assert report["login"].answer == "Nobody is signed in"

    def test_an_error_of_another_issuer_is_not_repeated(self, fake: FakeServer) -> None:
        """RFC 9207 section 2.4: neither its code nor its words."""
        fake.iss = "https://evil.example"
        fake.authorize_error = {"error": "call_us", "error_description": "at 555-0100"}

        shown = everything(watched(fake))

        assert "call_us" not in shown
        assert "555" not in shown

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

    def test_a_scope_that_is_missing_is_told_from_that(self, fake: FakeServer) -> None:
        fake.tool_scopes, fake.lacking = {"": "admin"}, "401"

        assert "401 where 403 is right" in watched(fake)["call"].answer

    def test_what_works_but_is_not_right_is_a_warning(self, fake: FakeServer) -> None:
        fake.token_changes = {"token_type": None}

        report = watched(fake)

        assert wrong(report) == {"sign-in-token": "warning"}
        assert "token_type" in str(report["sign-in-token"].fix)

    def test_nor_is_a_login_that_cannot_renew_itself(self, fake: FakeServer) -> None:
        fake.token_changes = {"refresh_token": None}

        assert wrong(watched(fake)) == {"sign-in-token": "warning"}

    def test_scopes_that_are_refused_at_first_are_two_requests(self, fake: FakeServer) -> None:
        fake.describe(scopes_supported=["odd"])
        fake.known_scopes = set()
        session = connect(fake.url)

        def begin(observer: Any) -> Any:
            login = session.sign_in(SignInRequest(anew=True), observer=observer)
            login.wait_for("waiting", timeout=10)
            with pytest.raises(mcpnb.errors.AnswerRefused):
                login.submit(answer_of(str(login.url)))
            login.submit(answer_of(str(login.url)))
            return login

        report = session.doctor(sign_in=begin)

        asked = [c.asked for c in report if c.id == "sign-in-request"]
        assert ["scope=odd" in text for text in asked] == [True, False]
        assert session.signed_in


class TestSilence:
    def silent(self, fake: FakeServer, then: Callable[[], object] = lambda: None) -> Report:
        session = connect(fake.url)

        def begin(observer: Any) -> Any:
            login = session.sign_in(SignInRequest(anew=True, timeout=1), observer=observer)
            login.wait_for("waiting", timeout=10)
            then()
            return login

        return session.doctor(sign_in=begin)

    @pytest.mark.slow
    def test_a_refused_request_is_told_from_a_person_that_does_nothing(
        self, fake: FakeServer
    ) -> None:
        """A server that refuses the redirect shows a page, and nothing ever comes back."""
        report = self.silent(fake, fake.clients.clear)

        assert wrong(report) == {"sign-in-request": "problem"}
        refused = next(c for c in report if c.verdict == "problem")
        assert "refuses the request with a page of its own" in refused.answer
        assert "http://127.0.0.1:" in str(refused.fix)

    @pytest.mark.slow
    def test_a_request_that_is_fine_is_said_to_be(self, fake: FakeServer) -> None:
        report = self.silent(fake)

        assert wrong(report) == {"sign-in-answer": "problem"}
        assert "Callback" in str(report["sign-in-answer"].fix)


class TestNotTried:
    def test_where_none_is_needed(self, fake: FakeServer) -> None:
        fake.always("/mcp", Reply(200, {"jsonrpc": "2.0", "id": 1, "result": {}}))
        fake.resource_metadata = fake.metadata = None

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
