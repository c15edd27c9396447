"""The demo's sign-in on another device (RFC 8628), and pages at another address than programs."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from mcpnb.demo.browser import ConsentForm, NoRedirectError, approve, enter_code
from mcpnb.demo.servers import DemoServers
from tests.demo.flow import READ, Flow, Switch

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(autouse=True)
def offered(switch: Switch) -> None:
    """Have the server offer it."""
    switch(device_grant=True)


@pytest.fixture
def device(flow: Flow) -> Flow:
    """Give a client that registered for nothing else, and so without a redirect."""
    flow.register(redirect_uris=None, grant_types=[GRANT, "refresh_token"])
    return flow


def begin(flow: Flow, **changes: Any) -> httpx2.Response:
    form = {"client_id": flow.client_id, "scope": READ, "resource": flow.demo.mcp_url}
    sent = {k: v for k, v in (form | changes).items() if v is not None}
    return flow.post("/device_authorization", sent)


def ask(flow: Flow, begun: dict[str, Any], **changes: Any) -> httpx2.Response:
    form = {
        "grant_type": GRANT,
        "device_code": begun["device_code"],
        "client_id": flow.client_id,
        "resource": flow.demo.mcp_url,
    }
    return flow.post("/token", form | changes)


class TestDevice:
    def test_a_person_agrees_and_the_device_gets_tokens_once(self, device: Flow) -> None:
        begun = begin(device).json()
        assert ask(device, begun).json()["error"] == "authorization_pending"

        assert "signed in" in enter_code(begun["verification_uri_complete"])
        tokens = ask(device, begun)
        assert tokens.status_code == 200
        assert {"access_token", "refresh_token"} <= set(tokens.json())
        assert device.call(tokens.json()["access_token"], "whoami").status_code == 200
        assert ask(device, begun).status_code == 400, "a second time"

    def test_a_person_who_says_no_is_believed(self, device: Flow) -> None:
        begun = begin(device).json()
        assert "nothing" in enter_code(begun["verification_uri_complete"], deny=True)
        assert ask(device, begun).json()["error"] == "access_denied"

    def test_the_page_shows_the_code_to_compare_and_what_it_is_for(self, device: Flow) -> None:
        """Who was sent here by somebody else can see that it is not their device."""
        begun = begin(device).json()
        page = ConsentForm.read(device.http.get(begun["verification_uri_complete"]).text)
        for shown in (begun["user_code"], READ, device.demo.mcp_url):
            assert shown in page.text

    def test_a_code_is_entered_as_people_do(self, device: Flow) -> None:
        begun = begin(device).json()
        typed = begun["user_code"].replace("-", " ").lower()
        answer = device.http.get(begun["verification_uri"], params={"user_code": typed})
        assert "approve" in ConsentForm.read(answer.text).buttons

    def test_an_unknown_code_leads_to_the_question_again(self, device: Flow) -> None:
        url = begin(device).json()["verification_uri"]
        answer = device.http.get(url, params={"user_code": "<b>XXXX"})
        assert "No device waits" in ConsentForm.read(answer.text).text
        assert "<b>" not in answer.text
        with pytest.raises(NoRedirectError):
            enter_code(f"{url}?user_code=XXXX-XXXX")

    @pytest.mark.parametrize("resource", [None, "http://127.0.0.1:1/mcp"])
    def test_it_is_for_one_server(self, device: Flow, resource: str | None) -> None:
        assert begin(device, resource=resource).json()["error"] == "invalid_target"
        begun = begin(device).json()
        enter_code(begun["verification_uri_complete"])
        assert ask(device, begun, resource=resource or "").json()["error"] == "invalid_target"

    def test_switched_off_it_is_not_there(self, device: Flow, switch: Switch) -> None:
        switch(device_grant=False)
        assert begin(device).status_code == 404
        document = device.demo.authorization_server.metadata()
        assert "device_authorization_endpoint" not in document
        assert device.register(redirect_uris=None, grant_types=[GRANT]).status_code == 400


class TestElsewhere:
    """Behind Jupyter's proxy: the browser reaches the pages at another address."""

    @pytest.fixture
    def public(self, demo: DemoServers, switch: Switch) -> str:
        """Give the address that a browser somewhere reaches this server at."""
        address = f"https://hub.example/user/x/proxy/{demo.issuer.rpartition(':')[2]}"
        switch(public_address=address)
        return address

    def test_pages_are_told_there_and_endpoints_at_the_issuer(
        self, demo: DemoServers, public: str
    ) -> None:
        document = demo.authorization_server.metadata()
        assert document["authorization_endpoint"] == f"{public}/authorize"
        for name in ("token", "registration", "revocation", "device_authorization"):
            assert document[f"{name}_endpoint"].startswith(f"{demo.issuer}/")

    def test_a_request_may_name_that_host_and_no_other(
        self, demo: DemoServers, http: httpx2.Client, public: str
    ) -> None:
        """A page on the web whose name resolves to this computer is somebody else's."""
        assert "hub.example" in public
        url = f"{demo.issuer}/jwks"
        for host, status in {"hub.example": 200, "127.0.0.1": 200, "evil.example": 400}.items():
            assert http.get(url, headers={"Host": host}).status_code == status
        assert http.get(url, headers={"Host": "["}).status_code == 400

    def test_the_person_of_tests_finds_the_way_back(self, flow: Flow, public: str) -> None:
        """They are on this computer, and have no cookie for Jupyter's proxy."""
        flow.register()
        url = flow.url().replace(flow.demo.issuer, public)
        assert "code=" in approve(url, follow=False)

    def test_the_cookie_is_for_these_pages_alone(self, flow: Flow) -> None:
        flow.register()
        assert "path" not in flow.http.get(flow.url()).headers["set-cookie"].lower()


def test_a_server_with_a_list_of_redirects_refuses_others(flow: Flow, switch: Switch) -> None:
    """Such as a notebook's page, also where that is on this computer."""
    switch(callback_redirects_only=True)
    page = "http://127.0.0.1:8888/lab/extensions/mcpnb/callback.html"
    assert flow.register(redirect_uris=[page]).json()["error"] == "invalid_redirect_uri"
    assert flow.register().status_code == 201
