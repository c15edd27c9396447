"""`doctor --sign-in`: a sign-in that really happens, every step explained, no secret shown."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

import mcpnb
from mcpnb.doctor import Report
from mcpnb.login import SignInRequest
from mcpnb.stores import MemoryStore
from tests.fakes.broken import wrong
from tests.fakes.people import answer_of, connect
from tests.fakes.server import FakeServer
from tests.fakes.watched import by_pasting, watched
from tests.terminal import Running, run

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
        assert f"resource={fake.url}, " in asked + ", "
        assert "code_challenge=…" in asked
        assert "state=…" in asked
        assert "scope=read" in asked
        exchange = report["sign-in-token"]
        assert "code=…, code_verifier=…" in exchange.asked
        assert "access_token, token_type “Bearer”, expires_in “3600”" in exchange.answer
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

    def test_it_is_json_as_the_rest(self, fake: FakeServer) -> None:
        data = json.loads(json.dumps(watched(fake).to_dict()))

        keys = {"id", "title", "asked", "answer", "rule", "verdict", "fix", "side"}
        assert all(set(check) == keys for check in data["checks"])

    def test_a_wrong_answer_is_a_step_and_the_wait_goes_on(self, fake: FakeServer) -> None:
        session = connect(fake.url)

        def begin(observer: Any) -> Any:
            login = session.sign_in(SignInRequest(anew=True), observer=observer)
            login.wait_for("waiting", timeout=10)
            answer = answer_of(str(login.url))
            with pytest.raises(mcpnb.errors.AnswerRefused):
                login.submit(answer.replace("state=", "state=x"))
            login.submit(answer)
            return login

        report = session.doctor(sign_in=begin)

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

        def begin(observer: Any) -> Any:
            login = session.sign_in(SignInRequest(anew=True), observer=observer)
            login.wait_for("waiting", timeout=10)
            other.finish(answer_of(str(login.url)))
            return login

        report = session.doctor(sign_in=begin)

        assert "another notebook" in report["sign-in"].answer
        assert report["call"].verdict == "ok"

    def test_one_that_is_cancelled_is_no_problem(self, fake: FakeServer) -> None:
        session = connect(fake.url)

        def begin(observer: Any) -> Any:
            login = session.sign_in(SignInRequest(anew=True), observer=observer)
            login.wait_for("waiting", timeout=10)
            login.cancel()
            return login

        report = session.doctor(sign_in=begin)

        assert wrong(report) == {}
        assert report["sign-in"].verdict == "unknown"

    def test_in_a_notebook_the_address_is_printed(
        self, fake: FakeServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The browser follows it, and the listener takes the answer."""
        session = connect(fake.url)

        def person() -> None:
            login = None
            while login is None:
                login = session.latest_login
                done.wait(0.01)
            login.wait_for("waiting", timeout=10)
            login.submit(answer_of(str(login.url)))

        done = threading.Event()
        helping = threading.Thread(target=person, daemon=True)
        helping.start()
        report = session.doctor(sign_in=True)
        helping.join(10)

        out = capsys.readouterr().out
        assert f"{fake.base}/authorize?" in out
        assert "--finish -" in out
        assert wrong(report) == {}


@pytest.mark.slow
class TestTerminal:
    def command(self, fake: FakeServer, *more: str) -> Running:
        return Running("doctor", fake.url, "--sign-in", "--no-browser", "--port", "0", *more)

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
        run("call", fake.url, "echo", "text=hi", MCPNB_STORE_KEY=OUR_KEY).expect(0)

    def test_a_failure_is_1_and_stdout_is_json_alone(self, fake: FakeServer) -> None:
        fake.authorize_error = {"error": "access_denied"}
        with self.command(fake, "--json") as command:
            command.type(answer_of(command.address()))
            done = command.end().expect(1)

        found = json.loads(done.out)
        assert "sign-in-answer" in [c["id"] for c in found["checks"] if c["verdict"] == "problem"]

    def test_ctrl_c_is_130_and_leaves_nothing(self, fake: FakeServer) -> None:
        with self.command(fake) as command:
            command.address()
            command.interrupt()
            done = command.end().expect(130)

        assert done.out == ""

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--sign-in"],
            ["https://x.example", "--no-browser"],
            ["https://x.example", "--timeout=9"],
        ],
    )
    def test_options_that_go_with_others_are_2_without_them(self, arguments: list[str]) -> None:
        run("doctor", *arguments).expect(2)
