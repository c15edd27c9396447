"""Tokens of the demo's authorization server: how they come, are renewed, and end."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from mcpnb.demo.servers import DemoServers
from tests.demo.flow import READ, REDIRECT, WRITE, Flow, Switch, structured


class TestCodeExchange:
    """The code at the token endpoint."""

    def test_the_whole_flow_gives_a_token_that_works(self, flow: Flow) -> None:
        """And the server counts one exchange."""
        before = flow.demo.authorization_server.grants["authorization_code"]
        tokens = flow.sign_in()
        who = structured(flow.call(tokens["access_token"], "whoami"))

        assert tokens["token_type"] == "Bearer"
        assert tokens["expires_in"] == 3600
        assert tokens["scope"] == READ
        assert (who["client_id"], who["subject"]) == (flow.client_id, "ada")
        assert who["scopes"] == [READ]
        assert 3590 < who["seconds_left"] <= 3600
        assert flow.demo.authorization_server.grants["authorization_code"] == before + 1
        assert ("POST", "/token") in flow.demo.requests

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"code_verifier": "wrong" * 10}, "invalid_grant"),
            ({"code_verifier": None}, "invalid_request"),
            ({"redirect_uri": "http://127.0.0.1:1/callback"}, "invalid_grant"),
            ({"resource": None}, "invalid_target"),
            ({"resource": "https://other.example/mcp"}, "invalid_target"),
            ({"client_id": "nobody"}, "invalid_client"),
            ({"code": "made-up"}, "invalid_grant"),
            ({"grant_type": "password"}, "unsupported_grant_type"),
        ],
    )
    def test_what_does_not_belong_to_the_request_is_refused(
        self, flow: Flow, change: dict[str, Any], error: str
    ) -> None:
        """With RFC 6749's error, and no token."""
        flow.register()
        answer = flow.exchange(flow.answer()["code"], **change)

        assert answer.status_code in {400, 401}
        assert answer.json()["error"] == error
        assert "access_token" not in answer.text

    def test_a_code_works_once_and_a_second_use_ends_what_it_gave(self, flow: Flow) -> None:
        """RFC 6749 section 4.1.2: one of the two had stolen it."""
        flow.register()
        code = flow.answer()["code"]
        tokens = flow.exchange(code).json()
        assert flow.call(tokens["access_token"], "whoami").status_code == 200

        assert flow.exchange(code).json()["error"] == "invalid_grant"
        assert flow.call(tokens["access_token"], "whoami").status_code == 401
        assert flow.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"

    def test_a_code_is_of_no_use_to_another_client(self, flow: Flow) -> None:
        """Who is told about it neither gets a token nor ends anything."""
        flow.register()
        code = flow.answer()["code"]
        other = Flow(flow.demo, flow.http, verifier=flow.verifier)
        other.register()

        assert other.exchange(code).json()["error"] == "invalid_grant"
        assert flow.exchange(code).status_code == 200

    @pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
    def test_a_confidential_client_has_to_prove_itself(self, flow: Flow, method: str) -> None:
        """In the way it registered for, and with the right secret."""
        flow.register(token_endpoint_auth_method=method)
        assert flow.secret
        code = flow.answer()["code"]
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": flow.verifier,
            "resource": flow.demo.mcp_url,
        }
        url = f"{flow.demo.issuer}/token"

        def ask(secret: str) -> httpx2.Response:
            if method == "client_secret_basic":
                return flow.http.post(url, data=form, auth=(flow.client_id, secret))
            return flow.http.post(
                url, data=form | {"client_id": flow.client_id, "client_secret": secret}
            )

        assert flow.exchange(code).json()["error"] == "invalid_client"
        assert ask("guess").json()["error"] == "invalid_client"
        assert ask(flow.secret).status_code == 200


class TestRefresh:
    """Refresh tokens, rotated and not."""

    def test_rotation_gives_a_new_one_each_time(self, flow: Flow) -> None:
        """And the server counts each refresh."""
        before = flow.demo.authorization_server.grants["refresh_token"]
        first = flow.sign_in()
        second = flow.refresh(first["refresh_token"]).json()
        third = flow.refresh(second["refresh_token"]).json()

        assert len({t["refresh_token"] for t in (first, second, third)}) == 3
        assert flow.call(third["access_token"], "whoami").status_code == 200
        assert flow.demo.authorization_server.grants["refresh_token"] == before + 2

    def test_presenting_a_rotated_one_ends_the_whole_grant(self, flow: Flow) -> None:
        """The newest tokens too: one of the two holders is a thief."""
        first = flow.sign_in()
        second = flow.refresh(first["refresh_token"]).json()
        assert flow.call(second["access_token"], "whoami").status_code == 200

        assert flow.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"
        assert flow.call(second["access_token"], "whoami").status_code == 401
        assert flow.refresh(second["refresh_token"]).json()["error"] == "invalid_grant"

    def test_another_login_of_the_same_client_is_untouched(self, flow: Flow) -> None:
        """A grant is one consent, not one client."""
        flow.register()
        one = flow.exchange(flow.answer()["code"]).json()
        two = flow.exchange(flow.answer()["code"]).json()
        flow.refresh(one["refresh_token"])

        flow.refresh(one["refresh_token"])

        assert flow.call(one["access_token"], "whoami").status_code == 401
        assert flow.call(two["access_token"], "whoami").status_code == 200

    def test_without_rotation_the_old_one_stays(self, flow: Flow, switch: Switch) -> None:
        """The answer then has none, and the client keeps what it has."""
        switch(rotate=False)
        tokens = flow.sign_in()

        for _ in range(2):
            answer = flow.refresh(tokens["refresh_token"])
            assert answer.status_code == 200
            assert "refresh_token" not in answer.json()

    def test_a_refresh_keeps_to_what_was_consented(self, flow: Flow) -> None:
        """Neither another resource, nor a wider scope, nor another client."""
        tokens = flow.sign_in()
        other = Flow(flow.demo, flow.http)
        other.register()
        token = tokens["refresh_token"]

        assert flow.refresh(token, resource=None).json()["error"] == "invalid_target"
        assert flow.refresh(token, resource="https://b/").json()["error"] == "invalid_target"
        assert flow.refresh(token, scope=f"{READ} {WRITE}").json()["error"] == "invalid_scope"
        assert other.refresh(token).json()["error"] == "invalid_grant"
        assert flow.refresh(token).status_code == 200

    def test_a_narrower_scope_narrows_one_token_only(self, flow: Flow) -> None:
        """The next refresh may have everything again."""
        tokens = flow.sign_in(scope=f"{READ} {WRITE}")
        narrow = flow.refresh(tokens["refresh_token"], scope=READ).json()
        wide = flow.refresh(narrow["refresh_token"]).json()

        assert (narrow["scope"], wide["scope"]) == (READ, f"{READ} {WRITE}")
        assert flow.call(narrow["access_token"], "publish", title="a").status_code == 403
        assert flow.call(wide["access_token"], "publish", title="b").status_code == 200


class TestEnds:
    """How a token ends: by the clock, at sign-out, by withdrawal."""

    def test_revoking_the_refresh_token_ends_everything(self, flow: Flow) -> None:
        """RFC 7009 section 2.1."""
        tokens = flow.sign_in()
        form = {"token": tokens["refresh_token"], "client_id": flow.client_id}

        assert flow.post("/revoke", form).status_code == 200
        assert flow.call(tokens["access_token"], "whoami").status_code == 401
        assert flow.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"

    def test_revoking_an_access_token_ends_that_one(self, flow: Flow) -> None:
        """The login goes on."""
        tokens = flow.sign_in()
        form = {"token": tokens["access_token"], "token_type_hint": "access_token"}

        assert flow.post("/revoke", form | {"client_id": flow.client_id}).status_code == 200
        assert flow.call(tokens["access_token"], "whoami").status_code == 401
        fresh = flow.refresh(tokens["refresh_token"]).json()
        assert flow.call(fresh["access_token"], "whoami").status_code == 200

    def test_an_unknown_token_is_revoked_already(self, flow: Flow) -> None:
        """RFC 7009 section 2.2: nothing is left to do. Another client's token is another matter."""
        tokens = flow.sign_in()
        other = Flow(flow.demo, flow.http)
        other.register()

        done = flow.post("/revoke", {"token": "made-up", "client_id": flow.client_id})
        refused = other.post(
            "/revoke", {"token": tokens["refresh_token"], "client_id": other.client_id}
        )

        assert done.status_code == 200
        assert refused.status_code == 400
        assert flow.refresh(tokens["refresh_token"]).status_code == 200

    def test_an_expired_token_is_challenged(self, flow: Flow, switch: Switch) -> None:
        """401 `invalid_token` with the metadata's address: what a client refreshes from."""
        switch(access_token_lifetime=0)
        tokens = flow.sign_in()
        answer = flow.call(tokens["access_token"], "whoami")

        assert answer.status_code == 401
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith("Bearer ")
        assert 'error="invalid_token"' in challenge
        assert "resource_metadata=" in challenge

    @pytest.mark.slow
    def test_expiry_and_withdrawal_can_be_brought_about(self, demo: DemoServers) -> None:
        """For tests that would otherwise have to wait."""
        with DemoServers(auto_consent=True) as own, httpx2.Client(trust_env=False) as http:
            flow = Flow(own, http)
            tokens = flow.sign_in()

            assert own.authorization_server.next_expiry() is not None
            assert own.authorization_server.expire_access_tokens() == 1
            assert own.authorization_server.next_expiry() is None
            assert flow.call(tokens["access_token"], "whoami").status_code == 401
            fresh = flow.refresh(tokens["refresh_token"]).json()
            assert flow.call(fresh["access_token"], "whoami").status_code == 200
            assert own.authorization_server.revoke_grants() == 1
            assert flow.call(fresh["access_token"], "whoami").status_code == 401
            assert own.mcp_url != demo.mcp_url

    @pytest.mark.parametrize("forgery", ["", "no.jwt.atall", "header"])
    def test_a_token_of_somebody_elses_is_challenged(self, flow: Flow, forgery: str) -> None:
        """Neither nonsense nor a token with another signature opens anything."""
        head, body, signature = flow.sign_in()["access_token"].split(".")
        token = forgery or f"{head}.{body}.{signature[::-1]}"

        assert flow.call(token, "whoami").status_code == 401

    def test_a_token_for_another_server_is_refused(self, flow: Flow) -> None:
        """Same authorization server, same person, same scope: wrong audience."""
        other = f"{flow.demo.mcp_url}-other"
        flow.demo.authorization_server.resources.add(other)
        flow.register()
        code = flow.answer(resource=other)["code"]
        token = flow.exchange(code, resource=other).json()["access_token"]

        assert flow.call(token, "whoami").status_code == 401
