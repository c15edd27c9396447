"""No secret gets into a report of the doctor, whoever repeats it and in whatever words."""

from __future__ import annotations

import base64
from typing import Any

import pytest

import mcpnb
from tests.fakes.broken import by_doing, by_pasting, everything, watched
from tests.fakes.people import answer_of, connect, query_of
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request


class TestSecrets:
    """Planted ones, and a server that repeats everything it is told."""

    def planted(self, fake: FakeServer, method: str) -> tuple[mcpnb.Session, list[str]]:
        fake.announce(token_endpoint_auth_methods_supported=[method])
        fake.register_adds = {
            "client_secret": "planted/client+secret=",
            "registration_access_token": "planted-registration",
            "token_endpoint_auth_method": method,
        }
        fake.token_changes = {
            "access_token": "planted-access-token",
            "refresh_token": "planted-refresh-token",
            "id_token": "planted-id-token",
        }
        return connect(fake.url), ["planted/client+secret=", "planted%2Fclient", "planted-"]

    @pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
    def test_none_shows_where_all_goes_well(self, fake: FakeServer, method: str) -> None:
        session, planted = self.planted(fake, method)
        answers: list[str] = []

        def answer(url: str) -> str:
            answers.append(url)
            answers.append(answer_of(url))
            return answers[-1]

        shown = everything(session.doctor(sign_in=by_pasting(session, answer)))

        sent = [*query_of(answers[0])["state"], *query_of(answers[1])["code"]]
        [form] = [r.form for r in fake.asked("/token")]
        basic = fake.asked("/token")[0].headers.get("authorization", "Basic  none")
        for secret in (*planted, *sent, *form["code_verifier"], basic.partition(" ")[2]):
            assert secret not in shown
        assert session.signed_in

    @pytest.mark.parametrize("cut", [slice(None), slice(0, 30), slice(7, None)])
    def test_none_shows_where_the_server_repeats_them(self, fake: FakeServer, cut: slice) -> None:
        """Whole or in part: in its error's words, its code, and the names of its fields."""
        session, _ = self.planted(fake, "client_secret_post")
        told: list[str] = []

        def repeats(request: Request) -> Reply:
            form = {name: values[0] for name, values in request.form.items()}
            told.extend(form[n] for n in ("code", "code_verifier", "client_secret"))
            words = " ".join(value[cut] for value in told)
            return Reply(400, {"error": words, "error_description": words, told[0][cut]: words})

        fake.routes["/token"] = repeats

        shown = everything(session.doctor(sign_in=by_pasting(session)))

        assert len(told) == 3
        for secret in told:
            assert secret not in shown
            assert secret[cut][:12] not in shown

    def test_nor_at_the_call(self, fake: FakeServer) -> None:
        session, _ = self.planted(fake, "client_secret_post")
        honest = fake.routes["/mcp"]

        def repeats(request: Request) -> Reply:
            if request.bearer is None:
                return honest(request)
            return Reply(403, {}, {"WWW-Authenticate": f'Bearer error="{request.bearer}"'})

        fake.routes["/mcp"] = repeats

        report = session.doctor(sign_in=by_pasting(session))

        assert report["call"].verdict == "problem"
        assert "planted" not in everything(report)

    def test_a_pasted_text_is_never_repeated(self, fake: FakeServer) -> None:
        """A bare code, another sign-in's answer: whatever was in the clipboard."""
        session = connect(fake.url)
        pasted = ["planted-bare-code", "https://x.example/cb?code=planted-code&state=planted-state"]

        def paste_all(login: Any) -> None:
            for text in pasted:
                with pytest.raises(mcpnb.errors.AnswerRefused):
                    login.submit(text)
            login.submit(answer_of(str(login.url)))

        assert "planted" not in everything(session.doctor(sign_in=by_doing(session, paste_all)))

    def test_the_basic_header_of_a_client_of_ones_own_is_masked(self, fake: FakeServer) -> None:
        fake.announce(token_endpoint_auth_methods_supported=["client_secret_basic"])
        given: dict[str, Any] = {"client_id": "mine", "client_secret": "planted-own-secret"}
        fake.clients["mine"] = {
            "redirect_uris": ["http://127.0.0.1:27998/callback"],
            "client_secret": given["client_secret"],
            "token_endpoint_auth_method": "client_secret_basic",
        }

        report = watched(fake, **given, callback_port=27998)

        assert "Authorization: Basic *****" in report["sign-in-token"].asked
        assert "planted" not in everything(report)
        assert base64.b64encode(b"mine:planted-own-secret").decode() not in everything(report)
