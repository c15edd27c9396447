"""The demo's authorization server, request by request: clients, consent, codes and tokens."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from mcpnb.demo.authorization import is_callback
from mcpnb.demo.browser import ConsentForm, NoRedirectError, approve, enter_code
from mcpnb.demo.servers import DemoServers
from tests.demo.flow import READ, REDIRECT, WRITE, Flow, Switch, structured

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
TWICE = ["the right one", "the right one"]
HUB = "https://hub.example/user/ada/lab/extensions/mcpnb/callback.html"


def refusal(answer: httpx2.Response) -> tuple[int, str]:
    """Return the status and the code of an error, which is all there is."""
    assert answer.json().keys() == {"error", "error_description"}
    return answer.status_code, answer.json()["error"]


class TestDiscovery:
    def test_a_call_without_a_token_leads_to_both_documents(self, flow: Flow) -> None:
        """The resource names its authorization server byte for byte, with no slash at the end."""
        base, _, path = flow.demo.mcp_url.rpartition("/")
        url = f"{base}/.well-known/oauth-protected-resource/{path}"
        refused = flow.call(None, "whoami")
        assert refused.status_code == 401
        assert f'resource_metadata="{url}"' in refused.headers["www-authenticate"]

        resource, server = flow.http.get(url).json(), flow.metadata()
        assert resource["resource"] == flow.demo.mcp_url
        assert resource["authorization_servers"] == [flow.demo.issuer] == [server["issuer"]]
        assert resource["scopes_supported"] == [READ]

    def test_the_server_announces_what_it_insists_on(self, flow: Flow) -> None:
        server = flow.metadata()
        assert server["code_challenge_methods_supported"] == ["S256"]
        assert server["authorization_response_iss_parameter_supported"] is True
        assert server["grant_types_supported"] == ["authorization_code", "refresh_token"]
        assert server["scopes_supported"] == [READ, WRITE]
        for endpoint in ("authorization", "token", "registration", "revocation"):
            assert server[f"{endpoint}_endpoint"].startswith(flow.demo.issuer + "/")

    def test_a_foreign_host_name_is_refused(self, flow: Flow) -> None:
        """A page whose name was made to resolve to 127.0.0.1 reaches neither server."""
        for url in (f"{flow.demo.issuer}/authorize", flow.demo.mcp_url):
            for host in ("evil.example", "["):
                assert flow.http.get(url, headers={"Host": host}).status_code >= 400


class TestRegistration:
    """Dynamic client registration (RFC 7591)."""

    def test_a_client_gets_an_id_and_no_secret(self, flow: Flow) -> None:
        registered = flow.register()
        assert registered.status_code == 201
        assert registered.json()["client_id"]
        assert "client_secret" not in registered.json()
        assert registered.json()["application_type"] == "native"

    def test_a_native_client_may_use_any_loopback_port(self, flow: Flow) -> None:
        """RFC 8252 section 7.3; path and host stay what they were."""
        flow.register()
        flow.redirect_uri = "http://127.0.0.1:55555/callback"
        assert flow.answer()["code"]
        for other in (
            "http://127.0.0.1:27182/other",
            "http://localhost:27182/callback",
            "http://ada@127.0.0.1:27182/callback",
        ):
            flow.shows("redirect_uri", redirect_uri=other)

    def test_a_web_client_uses_exactly_what_it_registered(self, flow: Flow) -> None:
        """A client that does not say `native` is bound to the port."""
        flow.register(application_type=None)
        assert flow.answer()["code"]
        flow.shows("redirect_uri", redirect_uri="http://127.0.0.1:55555/callback")

    @pytest.mark.parametrize(
        "uri",
        [
            "http://example.com/callback",
            "javascript:alert(1)",
            "https://host@evil.example/",
            "https://ok.example/#fragment",
            "http://127.0.0.1:port/callback",
            "not a url",
        ],
    )
    def test_a_redirect_that_could_leak_is_not_registered(self, flow: Flow, uri: str) -> None:
        """Plain http away from the loopback, other schemes, disguises and fragments."""
        assert refusal(flow.register(redirect_uris=[uri])) == (400, "invalid_redirect_uri")

    def test_an_operator_may_allow_few_redirects(self, flow: Flow, switch: Switch) -> None:
        switch(redirects=is_callback)
        for uris in ([REDIRECT, HUB], ["http://127.0.0.1:8888/lab/callback.html"]):
            assert refusal(flow.register(redirect_uris=uris)) == (400, "invalid_redirect_uri")
        allowed = ["http://[::1]:1/callback", "http://localhost/callback", REDIRECT]
        assert flow.register(redirect_uris=allowed).status_code == 201

    @pytest.mark.parametrize(
        "change",
        [
            {"scope": "data:read data:everything"},
            {"grant_types": ["password"]},
            {"grant_types": 7},
            {"response_types": ["token"]},
            {"application_type": "toaster"},
            {"token_endpoint_auth_method": "private_key_jwt"},
            {"client_name": {"a": 1}},
        ],
    )
    def test_metadata_that_the_server_cannot_honour_is_refused(
        self, flow: Flow, change: dict[str, Any]
    ) -> None:
        assert refusal(flow.register(**change)) == (400, "invalid_client_metadata")

    def test_a_body_that_is_no_object_or_far_too_long_is_refused(self, flow: Flow) -> None:
        url = f"{flow.demo.issuer}/register"
        for body, status in ((b"[]", 400), (b"no json", 400), (b" " * 100_000, 413)):
            assert flow.http.post(url, content=body).status_code == status

    def test_without_the_refresh_grant_there_is_no_refresh_token(self, flow: Flow) -> None:
        flow.register(grant_types=None)
        tokens = flow.exchange(flow.answer()["code"]).json()
        assert tokens["access_token"]
        assert "refresh_token" not in tokens


class TestConsentPage:
    def test_it_names_the_app_the_scopes_the_resource_and_the_redirect(self, flow: Flow) -> None:
        """In words, and with the raw scope names."""
        flow.register()
        page = flow.page(scope=f"{READ} {WRITE}")
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
        flow.register(client_name="<script>alert(1)</script><b title='x\"y'>$heading")
        page = flow.http.get(flow.url())
        assert "<script" not in page.text
        assert "<b title" not in page.text
        assert "<script>alert(1)</script>" in ConsentForm.read(page.text).text
        assert "$heading" in page.text

    def test_its_headers_allow_no_script_no_frame_and_no_referrer(self, flow: Flow) -> None:
        """They name the redirect's origin, where the form leads (CSP level 3)."""
        flow.register()
        headers = flow.http.get(flow.url()).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "form-action 'self' http://127.0.0.1:27182;" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        # It is for these pages alone: a proxy's host has others.
        assert "path" not in headers["set-cookie"].lower()

    def test_a_decision_counts_once_and_in_the_same_browser(self, flow: Flow) -> None:
        """Another browser cannot answer the page, and nobody can answer it twice."""
        flow.register()
        data = {**flow.page().fields, "decision": "approve"}
        target = f"{flow.demo.issuer}/consent"
        with httpx2.Client(trust_env=False) as stranger:
            assert stranger.post(target, data=data).status_code == 400
        assert flow.http.post(target, data=data).status_code == 303
        assert flow.http.post(target, data=data).status_code == 400

    def test_a_denial_is_told_to_the_client(self, flow: Flow) -> None:
        """With state and issuer, and without a code."""
        flow.register()
        denied = {"error": "access_denied", "state": flow.state, "iss": flow.demo.issuer}
        assert flow.answer(deny=True) == denied
        assert flow.demo.authorization_server.consents[-1].denied

    def test_the_server_itself_can_approve_without_a_page(self, flow: Flow, switch: Switch) -> None:
        flow.register()
        pages = len(flow.demo.authorization_server.consents)
        switch(auto_consent=True)
        approved = flow.http.get(flow.url())
        assert approved.status_code == 302
        assert approved.headers["location"].startswith(f"{REDIRECT}?code=")
        assert approved.headers["referrer-policy"] == "no-referrer"
        assert len(flow.demo.authorization_server.consents) == pages


class TestAuthorizationRequest:
    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"resource": None}, "invalid_target"),
            ({"resource": "https://other.example/mcp"}, "invalid_target"),
            ({"resource": TWICE}, "invalid_target"),
            ({"code_challenge": None}, "invalid_request"),
            ({"code_challenge_method": "plain"}, "invalid_request"),
            ({"code_challenge_method": None}, "invalid_request"),
            ({"code_challenge": "short"}, "invalid_request"),
            ({"scope": "data:everything"}, "invalid_scope"),
            ({"response_type": 'to"ken'}, "unsupported_response_type"),
        ],
    )
    def test_what_is_missing_or_wrong_is_told_to_the_client(
        self, flow: Flow, change: dict[str, Any], error: str
    ) -> None:
        """By redirect, with state and issuer (RFC 9207 covers errors too)."""
        flow.register()
        if change.get("resource") == TWICE:
            change = {"resource": [flow.demo.mcp_url] * 2}
        response = flow.answer(**change)
        assert (response["error"], response["state"]) == (error, flow.state)
        assert response["iss"] == flow.demo.issuer

    def test_without_a_scope_the_base_scope_is_meant(self, flow: Flow) -> None:
        """The response says so (RFC 6749 section 3.3)."""
        assert flow.sign_in(scope=None)["scope"] == READ

    @pytest.mark.parametrize(
        "change",
        [
            {"client_id": "nobody"},
            {"client_id": None},
            {"redirect_uri": "http://evil.example/"},
            {"redirect_uri": 'http://evil.example/"\\\u20ac'},
            {"redirect_uri": None},
            {"state": ["one", "two"]},
        ],
    )
    def test_nothing_is_redirected_where_the_client_is_not_certain(
        self, flow: Flow, change: dict[str, Any]
    ) -> None:
        """A page says so instead (RFC 6749 section 4.1.2.1)."""
        flow.register()
        flow.shows("This sign-in cannot continue", **change)


class TestCodeExchange:
    def test_the_whole_flow_gives_a_token_that_works(self, flow: Flow) -> None:
        """And the server counts one exchange."""
        before = flow.demo.authorization_server.grants["authorization_code"]
        tokens = flow.sign_in()
        who = structured(flow.call(tokens["access_token"], "whoami"))
        assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == (
            "Bearer",
            3600,
            READ,
        )
        assert (who["client_id"], who["subject"]) == (flow.client_id, "ada")
        assert who["scopes"] == [READ]
        assert 3590 < who["seconds_left"] <= 3600
        assert flow.demo.authorization_server.grants["authorization_code"] == before + 1
        assert ("POST", "/token", 200) in flow.demo.answers

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
        flow.register()
        refused = flow.exchange(flow.answer()["code"], **change)
        assert refusal(refused) == (401 if error == "invalid_client" else 400, error)

    def test_a_code_works_once_and_a_second_use_ends_what_it_gave(self, flow: Flow) -> None:
        """RFC 6749 section 4.1.2: one of the two had stolen it."""
        flow.register()
        code = flow.answer()["code"]
        tokens = flow.exchange(code).json()
        assert flow.status(tokens) == 200
        assert flow.exchange(code).json()["error"] == "invalid_grant"
        assert flow.status(tokens) == 401
        assert flow.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"

    def test_a_code_is_of_no_use_to_another_client(self, flow: Flow) -> None:
        """It neither gets a token nor ends anything."""
        flow.register()
        code = flow.answer()["code"]
        other = Flow(flow.demo, flow.http, verifier=flow.verifier)
        other.register()
        assert other.exchange(code).json()["error"] == "invalid_grant"
        assert flow.exchange(code).status_code == 200


class TestDevice:
    """A code to enter on another device (RFC 8628)."""

    @pytest.fixture
    def device(self, flow: Flow, switch: Switch) -> Flow:
        """Return a client that registered for nothing else, and so without a redirect."""
        switch(device_grant=True)
        flow.register(redirect_uris=None, grant_types=[DEVICE, "refresh_token"])
        return flow

    @staticmethod
    def begin(flow: Flow, **changes: Any) -> Any:
        form = {"client_id": flow.client_id, "scope": READ, "resource": flow.demo.mcp_url}
        return flow.post("/device_authorization", form | changes).json()

    @staticmethod
    def poll(flow: Flow, begun: dict[str, Any], **changes: Any) -> httpx2.Response:
        form = {
            "grant_type": DEVICE,
            "device_code": begun["device_code"],
            "client_id": flow.client_id,
            "resource": flow.demo.mcp_url,
        }
        return flow.post("/token", form | changes)

    def test_a_person_agrees_and_the_device_gets_tokens_once(self, device: Flow) -> None:
        begun = self.begin(device)
        assert self.poll(device, begun).json()["error"] == "authorization_pending"
        assert "signed in" in enter_code(begun["verification_uri_complete"])
        tokens = self.poll(device, begun).json()
        assert tokens["refresh_token"]
        assert device.status(tokens) == 200
        assert self.poll(device, begun).status_code == 400, "a second time"

    def test_a_person_who_says_no_is_believed(self, device: Flow) -> None:
        begun = self.begin(device)
        assert "nothing" in enter_code(begun["verification_uri_complete"], deny=True)
        assert self.poll(device, begun).json()["error"] == "access_denied"

    def test_the_page_shows_the_code_to_compare_and_what_it_is_for(self, device: Flow) -> None:
        """A person who was sent here by somebody else can see that it is not their device."""
        begun = self.begin(device)
        page = ConsentForm.read(device.http.get(begun["verification_uri_complete"]).text)
        for shown in (begun["user_code"], READ, device.demo.mcp_url):
            assert shown in page.text

    def test_a_code_is_entered_as_people_do(self, device: Flow) -> None:
        begun = self.begin(device)
        typed = begun["user_code"].replace("-", " ").lower()
        page = device.http.get(begun["verification_uri"], params={"user_code": typed})
        assert "approve" in ConsentForm.read(page.text).buttons

    def test_an_unknown_code_leads_to_the_question_again(self, device: Flow) -> None:
        url = self.begin(device)["verification_uri"]
        page = device.http.get(url, params={"user_code": "<b>XXXX"})
        assert "No device waits" in ConsentForm.read(page.text).text
        assert "<b>" not in page.text
        with pytest.raises(NoRedirectError):
            enter_code(f"{url}?user_code=XXXX-XXXX")

    @pytest.mark.parametrize("resource", ["", "http://127.0.0.1:1/mcp"])
    def test_it_is_for_one_server(self, device: Flow, resource: str) -> None:
        assert self.begin(device, resource=resource)["error"] == "invalid_target"
        begun = self.begin(device)
        enter_code(begun["verification_uri_complete"])
        refused = self.poll(device, begun, resource=resource)
        assert refused.json()["error"] == "invalid_target"

    def test_switched_off_it_is_not_there(self, device: Flow, switch: Switch) -> None:
        begun = self.begin(device)
        switch(device_grant=False)
        assert device.post("/device_authorization", {}).status_code == 404
        assert "device_authorization_endpoint" not in device.metadata()
        assert self.poll(device, begun).json()["error"] == "unsupported_grant_type"
        assert device.register(redirect_uris=None, grant_types=[DEVICE]).status_code == 400


class TestBehindAProxy:
    """The browser reaches the pages at another address, behind Jupyter's proxy."""

    @pytest.fixture
    def public(self, demo: DemoServers, switch: Switch) -> str:
        """Return the address that a browser somewhere reaches this server at."""
        address = f"https://hub.example/user/x/proxy/{demo.issuer.rpartition(':')[2]}"
        switch(pages=address, device_grant=True)
        return address

    def test_pages_are_there_and_endpoints_at_the_issuer(self, flow: Flow, public: str) -> None:
        document = flow.metadata()
        assert document["authorization_endpoint"] == f"{public}/authorize"
        for name in ("token", "registration", "revocation", "device_authorization"):
            assert document[f"{name}_endpoint"].startswith(f"{flow.demo.issuer}/")

    @pytest.mark.usefixtures("public")
    def test_a_request_may_name_that_host_and_no_other(self, flow: Flow) -> None:
        url = f"{flow.demo.issuer}/device"
        for host, status in {"hub.example": 200, "127.0.0.1": 200, "evil.example": 400}.items():
            assert flow.http.get(url, headers={"Host": host}).status_code == status

    def test_the_person_of_tests_finds_the_page(self, flow: Flow, public: str) -> None:
        """They are on this computer, and have no cookie for Jupyter's proxy."""
        flow.register()
        assert "code=" in approve(flow.url().replace(flow.demo.issuer, public), follow=False)


class TestRefresh:
    def test_rotation_gives_a_new_one_each_time(self, flow: Flow) -> None:
        """And the server counts each refresh."""
        before = flow.demo.authorization_server.grants["refresh_token"]
        first = flow.sign_in()
        second = flow.refresh(first["refresh_token"]).json()
        third = flow.refresh(second["refresh_token"]).json()
        assert len({t["refresh_token"] for t in (first, second, third)}) == 3
        assert flow.status(third) == 200
        assert flow.demo.authorization_server.grants["refresh_token"] == before + 2

    def test_presenting_a_rotated_one_ends_this_login_and_no_other(self, flow: Flow) -> None:
        """The newest tokens too: one of the two holders is a thief."""
        first = flow.sign_in()
        other = flow.exchange(flow.answer()["code"]).json()
        second = flow.refresh(first["refresh_token"]).json()
        assert flow.status(second) == 200

        assert flow.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"
        assert flow.status(second) == 401
        assert flow.refresh(second["refresh_token"]).json()["error"] == "invalid_grant"
        assert flow.status(other) == 200

    def test_a_refresh_keeps_to_what_was_consented(self, flow: Flow) -> None:
        """Neither another resource, nor a wider scope, nor another client."""
        token = flow.sign_in()["refresh_token"]
        other = Flow(flow.demo, flow.http)
        other.register()
        for change, error in (
            ({"resource": None}, "invalid_target"),
            ({"resource": "https://b/"}, "invalid_target"),
            ({"scope": f"{READ} {WRITE}"}, "invalid_scope"),
            ({"client_id": other.client_id}, "invalid_grant"),
        ):
            assert flow.refresh(token, **change).json()["error"] == error
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
    """How a token ends: at sign-out, by the clock, or because it never was one."""

    def test_revoking_the_refresh_token_ends_everything(self, flow: Flow) -> None:
        """RFC 7009 section 2.1."""
        tokens = flow.sign_in()
        assert flow.revoke(tokens["refresh_token"]).status_code == 200
        assert flow.status(tokens) == 401
        assert flow.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"

    def test_revoking_an_access_token_ends_that_one(self, flow: Flow) -> None:
        tokens = flow.sign_in()
        assert flow.revoke(tokens["access_token"]).status_code == 200
        assert flow.status(tokens) == 401
        assert flow.status(flow.refresh(tokens["refresh_token"]).json()) == 200

    def test_an_unknown_token_is_revoked_already_and_another_clients_is_refused(
        self, flow: Flow
    ) -> None:
        """RFC 7009 section 2.2: nothing is left to do."""
        tokens = flow.sign_in()
        other = Flow(flow.demo, flow.http)
        other.register()
        assert flow.revoke("made-up").status_code == 200
        assert other.revoke(tokens["refresh_token"]).status_code == 400
        assert flow.refresh(tokens["refresh_token"]).status_code == 200

    def test_an_expired_token_is_challenged(self, flow: Flow, switch: Switch) -> None:
        """401 `invalid_token` with the metadata's address: what a client refreshes from."""
        switch(access_token_lifetime=0)
        refused = flow.call(flow.sign_in()["access_token"], "whoami")
        assert refused.status_code == 401
        challenge = refused.headers["www-authenticate"]
        assert 'error="invalid_token"' in challenge
        assert "resource_metadata=" in challenge

    @pytest.mark.slow
    def test_a_test_can_end_all_access_tokens(self, http: httpx2.Client) -> None:
        """Refresh tokens stay."""
        with DemoServers(auto_consent=True) as own:
            flow = Flow(own, http)
            tokens = flow.sign_in()
            assert own.authorization_server.next_expiry() is not None
            assert own.authorization_server.expire_access_tokens() == 1
            assert own.authorization_server.next_expiry() is None
            assert flow.status(tokens) == 401
            assert flow.status(flow.refresh(tokens["refresh_token"]).json()) == 200

    @pytest.mark.parametrize("forged", [slice(1, None), slice(None, None, -1)])
    def test_a_token_that_was_not_issued_is_challenged(self, flow: Flow, forged: slice) -> None:
        assert flow.call(flow.sign_in()["access_token"][forged], "whoami").status_code == 401

    def test_a_token_for_another_server_is_refused(self, flow: Flow) -> None:
        """Same authorization server, same person, same scope: wrong audience."""
        other = f"{flow.demo.mcp_url}-other"
        flow.demo.authorization_server.resources.add(other)
        flow.register()
        code = flow.answer(resource=other)["code"]
        assert flow.status(flow.exchange(code, resource=other).json()) == 401
