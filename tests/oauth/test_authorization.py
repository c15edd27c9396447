"""The answer that comes back through the browser: taken, refused, or the end of the sign-in."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from mcpnb import errors
from mcpnb.oauth.authorization import AuthorizationRequest, validate_response
from mcpnb.oauth.credentials import Registration
from mcpnb.oauth.models import AuthorizationServer

ISSUER = "https://as.example"
CALLBACK = "http://127.0.0.1:27182/callback"
SERVER = AuthorizationServer(
    issuer=ISSUER,
    authorization_endpoint=f"{ISSUER}/authorize?tenant=1",
    token_endpoint=f"{ISSUER}/token",
    iss_in_response=True,
)


def request_with(
    server: AuthorizationServer = SERVER, callback: str = CALLBACK
) -> AuthorizationRequest:
    return AuthorizationRequest(
        server,
        Registration(server.issuer, "client 1", "dcr"),
        redirect_uri=callback,
        resource="https://mcp.example/mcp",
        scopes=("read", "write"),
    )


REQUEST = request_with()
STATE = REQUEST.state.reveal()
GOOD = {"code": "the-code", "state": STATE, "iss": ISSUER}


def url(base: str = CALLBACK, **changes: str | None) -> str:
    query = {n: v for n, v in (GOOD | changes).items() if v is not None}
    return f"{base}?{urlencode(query)}"


class TestTheRequest:
    @pytest.mark.threat("pkce-plain")
    def test_everything_is_there_once_and_the_verifier_is_not(self) -> None:
        query = parse_qs(urlsplit(REQUEST.url).query, strict_parsing=True)

        assert all(len(values) == 1 for values in query.values())
        assert {n: v[0] for n, v in query.items() if n != "code_challenge"} == {
            "tenant": "1",
            "response_type": "code",
            "client_id": "client 1",
            "redirect_uri": CALLBACK,
            "scope": "read write",
            "state": STATE,
            "code_challenge_method": "S256",
            "resource": "https://mcp.example/mcp",
        }
        assert REQUEST.verifier.reveal() not in REQUEST.url

    @pytest.mark.parametrize(
        ("scopes", "sent"),
        [((), {}), (("offline_access",), {"scope": ["offline_access"], "prompt": ["consent"]})],
    )
    def test_scope_and_prompt_are_sent_where_there_is_a_reason(
        self, scopes: tuple[str, ...], sent: dict[str, list[str]]
    ) -> None:
        """OIDC Core section 11: offline_access may be ignored silently without consent."""
        query = parse_qs(urlsplit(replace(REQUEST, scopes=scopes).url).query)

        assert {name: query[name] for name in ("scope", "prompt") if name in query} == sent

    @pytest.mark.threat("guessable-state")
    def test_state_and_verifier_are_fresh_and_long(self) -> None:
        """RFC 7636 section 4.1 allows 43 to 128 characters."""
        many = [request_with() for _ in range(20)]

        assert len({r.state.reveal() for r in many} | {r.verifier.reveal() for r in many}) == 40
        assert all(43 <= len(r.verifier.reveal()) <= 128 for r in many)
        assert all(len(r.state.reveal()) >= 43 for r in many)


class TestTheAnswer:
    @pytest.mark.parametrize(
        "text",
        [
            url(),
            f"  {url()}\n",
            url() + "#",
            url() + "#_=_",
            url(session_state="x", scope="read"),
            url(base=CALLBACK.upper().replace("/CALLBACK", "/callback")),
        ],
        ids=range(6),
    )
    def test_the_awaited_one_is_taken(self, text: str) -> None:
        answer = validate_response(text, REQUEST)

        assert answer.code.reveal() == "the-code"
        assert answer.request is REQUEST

    def test_the_code_is_decoded_as_a_form(self) -> None:
        assert validate_response(url(code="a+b/c=%&ä "), REQUEST).code.reveal() == "a+b/c=%&ä "

    @pytest.mark.threat("answer-at-another-address", "parameters-twice", "bare-code")
    @pytest.mark.threat("csrf", "implicit-answer")
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "alone is refused"),
            ("the-code", "alone is refused"),
            (f"code=the-code&state={STATE}", "alone is refused"),
            (REQUEST.url, "where the sign-in begins"),
            (url(base="http://127.0.0.1:27183/callback"), "not the address"),
            (url(base="http://localhost:27182/callback"), "not the address"),
            (url(base="https://127.0.0.1:27182/callback"), "not the address"),
            (url(base="http://127.0.0.1:27182/callback/"), "not the address"),
            (url(base="http://127.0.0.1:27182/Callback"), "not the address"),
            (url(base="http://127.0.0.1:27182@evil.example/callback"), "not the address"),
            ("http://[bad/callback?code=x", "readable address"),
            (url(state=None), "another sign-in"),
            (url(state=""), "another sign-in"),
            (url(state=STATE + "x"), "another sign-in"),
            (url(state=STATE.swapcase()), "another sign-in"),
            (url(state="\udc80".encode("utf-8", "surrogatepass").decode("latin-1")), "another"),
            (CALLBACK, "another sign-in"),
            (url(code=None), "no code"),
            (url(code=""), "no code"),
            (url() + "&code=other", "twice"),
            (url() + f"&state={STATE}", "twice"),
            (url() + f"&iss={ISSUER}", "twice"),
            (url(error="access_denied") + "&error=x", "twice"),
            (url(padding="x" * 20_000), "too long"),
            (url() + "&x=1" * 100, "readable"),
            (url().replace("?", "#"), "another sign-in"),
            (url(code=None, access_token="of-somebody-else"), "no code"),
        ],
        ids=range(27),
    )
    def test_any_other_is_refused_and_the_wait_goes_on(self, text: str, said: str) -> None:
        with pytest.raises(errors.AnswerRefused, match=said) as caught:
            validate_response(text, REQUEST)

        assert "the-code" not in str(caught.value)
        assert STATE not in str(caught.value)

    @pytest.mark.threat("mix-up-without-iss")
    def test_the_callbacks_own_parameters_have_to_come_back(self) -> None:
        """A configured callback address may carry some."""
        callback = "https://hub.example/cb?user=ada"
        request = request_with(callback=callback)
        query = urlencode(GOOD | {"state": request.state.reveal()})

        assert validate_response(f"{callback}&{query}", request).code.reveal() == "the-code"
        for other in ("https://hub.example/cb?", "https://hub.example/cb?user=eve&"):
            with pytest.raises(errors.AnswerRefused, match="not the address"):
                validate_response(other + query, request)

    def test_what_a_terminal_could_not_decode_is_refused(self) -> None:
        """Python hands on such bytes as lone surrogates, which cannot be encoded again."""
        with pytest.raises(errors.AnswerRefused):
            validate_response(url() + "&state=\udc80", REQUEST)
        with pytest.raises(errors.AnswerRefused):
            validate_response(f"{CALLBACK}?state=\udc80&code=1", REQUEST)


class TestTheIssuer:
    """Rules 43 to 45: RFC 9207 section 2.4."""

    ANNOUNCED, SILENT = REQUEST, replace(REQUEST, server=replace(SERVER, iss_in_response=False))

    @pytest.mark.threat("mix-up", "iss-that-looks-alike", "error-of-another-issuer")
    @pytest.mark.parametrize(
        "iss",
        [
            f"{ISSUER}/",
            "https://AS.example",
            "https://as.example:443",
            "https://as.example/%2e",
            "http://as.example",
            "https://evil.example",
            " https://as.example",
            "",
        ],
    )
    @pytest.mark.parametrize("request_", [ANNOUNCED, SILENT], ids=["announced", "not announced"])
    def test_another_one_ends_the_sign_in_unseen(
        self, iss: str, request_: AuthorizationRequest
    ) -> None:
        """Nothing is normalised, and an error answer is not shown either."""
        for answer in (url(iss=iss), url(iss=iss, code=None, error="boo", error_description="hm")):
            with pytest.raises(errors.ProtocolError, match="RFC 9207") as caught:
                validate_response(answer, request_)
            assert "boo" not in str(caught.value)
            assert "hm" not in str(caught.value)

    @pytest.mark.threat("mix-up-missing-iss")
    def test_none_is_refused_where_one_is_announced(self) -> None:
        for answer in (url(iss=None), url(iss=None, code=None, error="access_denied")):
            with pytest.raises(errors.ProtocolError, match="RFC 9207"):
                validate_response(answer, self.ANNOUNCED)

    @pytest.mark.parametrize("iss", [None, ISSUER])
    def test_none_or_the_right_one_is_taken_where_none_is_announced(self, iss: str | None) -> None:
        assert validate_response(url(iss=iss), self.SILENT).code.reveal() == "the-code"

    @pytest.mark.threat("forged-error")
    def test_it_is_looked_at_only_in_this_sign_ins_answer(self) -> None:
        """Else anybody could end a sign-in with a forged one."""
        with pytest.raises(errors.AnswerRefused):
            validate_response(url(iss="https://evil.example", state="forged"), REQUEST)


class TestAnErrorAnswer:
    @pytest.mark.parametrize(
        ("error", "said"),
        [
            ("access_denied", "declined"),
            ("invalid_scope", "scopes"),
            ("invalid_target", "resource"),
            ("unauthorized_client", "client"),
            ("temporarily_unavailable", "busy"),
            ("server_error", "internal error"),
            ("something_else", "something_else"),
            ("", "refused"),
        ],
    )
    def test_it_is_told_in_words(self, error: str, said: str) -> None:
        with pytest.raises(errors.LoginDenied, match=said) as caught:
            validate_response(url(code=None, error=error), REQUEST)

        assert caught.value.error == error

    @pytest.mark.threat("error-beside-a-code")
    def test_an_error_beside_a_code_counts_as_an_error(self) -> None:
        with pytest.raises(errors.LoginDenied):
            validate_response(url(error="access_denied"), REQUEST)

    def test_the_servers_words_are_quoted_escaped_and_capped(self) -> None:
        words = "\x1b]0;owned\x07\u202e" + "long " * 2000
        with pytest.raises(errors.LoginDenied) as caught:
            validate_response(
                url(code=None, error="access_denied", error_description=words), REQUEST
            )

        assert str(caught.value).isprintable()
        assert "“" in str(caught.value)
        assert "\u202e" not in str(caught.value)
        assert len(str(caught.value)) < 500
