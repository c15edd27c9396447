"""The authorization request at the demo's server: what it has to hold, what a person sees of it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from mcpnb.demo.browser import ConsentForm
from tests.demo.flow import READ, REDIRECT, WRITE, Flow, Switch


class TestConsentPage:
    """What a person sees and decides."""

    def test_it_names_the_app_the_scopes_the_resource_and_the_way_back(self, flow: Flow) -> None:
        """In words, and the raw scope names beside them."""
        flow.register()
        page = ConsentForm.read(flow.http.get(flow.url(scope=f"{READ} {WRITE}")).text)

        for shown in (
            "Test notebook",
            READ,
            "Read the harbour traffic data",
            WRITE,
            "Publish reports in your name",
            flow.demo.mcp_url,
            "127.0.0.1:27182",
        ):
            assert shown in page.text
        assert set(page.buttons) == {"approve", "deny"}
        assert (page.method, page.action) == ("post", "consent")

    def test_what_a_client_says_about_itself_is_text(self, flow: Flow) -> None:
        """Markup in a name stays markup to read, not to run."""
        flow.register(client_name="<script>alert(1)</script><b title='x\"y'>")
        answer = flow.http.get(flow.url())

        assert "<script" not in answer.text
        assert "<b title" not in answer.text
        assert "<script>alert(1)</script>" in ConsentForm.read(answer.text).text

    def test_its_headers_allow_no_script_no_frame_and_no_referrer(self, flow: Flow) -> None:
        """And name the redirect's origin, where the form's answer leads (CSP level 3)."""
        flow.register()
        headers = flow.http.get(flow.url()).headers

        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "form-action 'self' http://127.0.0.1:27182;" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"

    def test_a_decision_counts_once_and_in_the_same_browser(self, flow: Flow) -> None:
        """Another browser cannot answer the page, and nobody can answer it twice."""
        flow.register()
        with httpx2.Client(trust_env=False) as browser:
            form = ConsentForm.read(browser.get(flow.url()).text)
            data = {**form.fields, "decision": "approve"}
            target = f"{flow.demo.issuer}/consent"

            with httpx2.Client(trust_env=False) as stranger:
                assert stranger.post(target, data=data).status_code == 400
            assert browser.post(target, data=data).status_code == 303
            assert browser.post(target, data=data).status_code == 400

    def test_denying_is_told_to_the_client(self, flow: Flow) -> None:
        """With state and issuer, and without a code."""
        flow.register()
        answer = flow.answer(deny=True)

        assert answer["error"] == "access_denied"
        assert answer["state"] == flow.state
        assert answer["iss"] == flow.demo.issuer
        assert "code" not in answer
        assert flow.demo.authorization_server.consents[-1].approved is False

    def test_the_server_itself_can_deny(self, flow: Flow, switch: Switch) -> None:
        """Then there is no page at all."""
        flow.register()
        switch(deny=True)
        pages = len(flow.demo.authorization_server.consents)

        assert flow.answer()["error"] == "access_denied"
        assert len(flow.demo.authorization_server.consents) == pages

    def test_consent_can_be_automatic(self, flow: Flow, switch: Switch) -> None:
        """Then the code comes at once."""
        flow.register()
        switch(auto_consent=True)
        answer = flow.http.get(flow.url())

        assert answer.status_code == 302
        assert answer.headers["location"].startswith(REDIRECT)
        assert answer.headers["referrer-policy"] == "no-referrer"


class TestAuthorizationRequest:
    """What an authorization request has to hold."""

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"resource": None}, "invalid_target"),
            ({"resource": "https://other.example/mcp"}, "invalid_target"),
            ({"code_challenge": None}, "invalid_request"),
            ({"code_challenge_method": "plain"}, "invalid_request"),
            ({"code_challenge_method": None}, "invalid_request"),
            ({"code_challenge": "short"}, "invalid_request"),
            ({"scope": "data:everything"}, "invalid_scope"),
        ],
    )
    def test_what_is_missing_or_wrong_is_told_to_the_client(
        self, flow: Flow, change: dict[str, Any], error: str
    ) -> None:
        """By redirect, with state and issuer (RFC 9207 covers errors too)."""
        flow.register()
        answer = flow.answer(**change)

        assert (answer["error"], answer["state"]) == (error, flow.state)
        assert answer["iss"] == flow.demo.issuer

    def test_a_resource_given_twice_is_refused(self, flow: Flow) -> None:
        """Even if both are right."""
        flow.register()

        assert flow.answer(resource=[flow.demo.mcp_url] * 2)["error"] == "invalid_target"

    def test_without_a_scope_the_base_scope_is_meant(self, flow: Flow) -> None:
        """The answer says so (RFC 6749 section 3.3)."""
        assert flow.sign_in(scope=None)["scope"] == READ

    @pytest.mark.parametrize(
        "change",
        [
            {"client_id": "nobody"},
            {"client_id": None},
            {"redirect_uri": "http://evil.example/"},
            {"redirect_uri": 'http://evil.example/"\\\u20ac'},
            {"response_type": 'to"ken'},
            {"state": ["one", "two"]},
        ],
    )
    def test_nothing_is_redirected_where_the_client_is_not_certain(
        self, flow: Flow, change: dict[str, Any]
    ) -> None:
        """A page says so instead (RFC 6749 section 4.1.2.1)."""
        flow.register()

        answer = flow.http.get(flow.url(**change))

        assert answer.status_code == 400
        assert "This sign-in cannot go on" in answer.text

    def test_an_older_server_sends_and_announces_no_iss(self, flow: Flow, switch: Switch) -> None:
        """With the switch off, neither metadata nor answers have it."""
        switch(announce_iss=False)
        flow.register()
        server = flow.http.get(f"{flow.demo.issuer}/.well-known/oauth-authorization-server").json()

        assert "authorization_response_iss_parameter_supported" not in server
        assert "iss" not in flow.answer()
        assert "iss" not in flow.answer(deny=True)
        assert "iss" not in flow.answer(resource=None)
