"""No secret gets into a report of the doctor, whoever repeats it and in whatever words."""

from __future__ import annotations

from typing import Any

import pytest

import mcpnb
from tests.fakes.broken import by_doing, by_pasting, everything, watched
from tests.fakes.people import answer_of, connect, free_port
from tests.fakes.secrets import Secrets
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request

BASIC, POST = "client_secret_basic", "client_secret_post"


def planted(fake: FakeServer, method: str = POST) -> Secrets:
    """Have clients with secrets, management tokens for them (RFC 7592), and ID tokens."""
    fake.announce(token_endpoint_auth_methods_supported=[method])
    fake.register_adds = {
        "client_secret": "pLanted/81f0c2+a9e7d4b6=",
        "registration_access_token": "pLanted-4be2709c55d1a8",
        "token_endpoint_auth_method": method,
    }
    fake.token_changes = {"id_token": "pLanted-60d3f19ac27e"}
    return Secrets(fake, id_token="pLanted-60d3f19ac27e")


@pytest.mark.parametrize("method", [BASIC, POST])
def test_none_shows_where_all_goes_well(fake: FakeServer, method: str) -> None:
    secrets, session = planted(fake, method), connect(fake.url)

    secrets.absent_from({"the report": everything(session.doctor(sign_in=by_pasting(session)))})

    expected = {"code", "verifier", "state", "access token", "refresh token", "client secret"}
    expected |= {"registration access token"} | ({"Basic header"} if method == BASIC else set())
    assert expected <= secrets.kinds()
    assert session.signed_in


@pytest.mark.parametrize("cut", [slice(None), slice(0, 30), slice(7, None)])
def test_none_shows_where_the_server_repeats_them(fake: FakeServer, cut: slice) -> None:
    """Whole or in part: in its error's words, its code, and the names of its fields."""
    planted(fake)
    told: list[str] = []

    def repeats(request: Request) -> Reply:
        form = {name: values[0] for name, values in request.form.items()}
        told.extend(form[n] for n in ("code", "code_verifier", "client_secret"))
        words = " ".join(value[cut] for value in told)
        return Reply(400, {"error": words, "error_description": words, told[0][cut]: words})

    fake.routes["/token"] = repeats

    shown = everything(watched(fake))

    assert len(told) == 3
    for secret in told:
        assert secret not in shown
        assert secret[cut][:12] not in shown


def test_nor_at_the_call(fake: FakeServer) -> None:
    secrets, honest = planted(fake), fake.routes["/mcp"]

    def repeats(request: Request) -> Reply:
        if request.bearer is None:
            return honest(request)
        return Reply(403, {}, {"WWW-Authenticate": f'Bearer error="{request.bearer}"'})

    fake.routes["/mcp"] = repeats

    report = watched(fake)

    assert report["call"].verdict == "problem"
    secrets.absent_from({"the report": everything(report)})


def test_a_pasted_text_is_never_repeated(fake: FakeServer) -> None:
    """A bare code, another sign-in's answer: whatever was in the clipboard."""
    session = connect(fake.url)
    pasted = ["planted-bare-code", "https://x.example/cb?code=planted-code&state=planted-state"]

    def paste_all(login: Any) -> None:
        for text in pasted:
            with pytest.raises(mcpnb.errors.AnswerRefused):
                login.submit(text)
        login.submit(answer_of(str(login.url)))

    assert "planted" not in everything(session.doctor(sign_in=by_doing(session, paste_all)))


def test_the_basic_header_of_a_client_of_ones_own_is_masked(fake: FakeServer) -> None:
    secret, port = "planted-own-secret", free_port()
    fake.announce(token_endpoint_auth_methods_supported=[BASIC])
    fake.clients["mine"] = {
        "redirect_uris": [f"http://127.0.0.1:{port}/callback"],
        "client_secret": secret,
        "token_endpoint_auth_method": BASIC,
    }

    report = watched(fake, client_id="mine", client_secret=secret, callback_port=port)

    assert "Authorization: Basic *****" in report["sign-in-token"].asked
    Secrets(fake, client_secret=secret).absent_from({"the report": everything(report)})
