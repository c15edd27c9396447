"""How an app becomes known to the demo's authorization server, and what it is told beforehand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from mcpnb.demo.browser import ConsentForm, NoRedirectError, approve
from tests.demo.flow import READ, REDIRECT, WRITE, Flow, Switch, structured


class TestDiscovery:
    """What a client finds out before anybody signs in."""

    def test_a_call_without_a_token_is_sent_to_the_resource_metadata(self, flow: Flow) -> None:
        """The 401 names the document, at the well-known URL with the path in it."""
        answer = flow.call(None, "whoami")

        base = flow.demo.mcp_url.removesuffix("/mcp")
        assert answer.status_code == 401
        challenge = answer.headers["www-authenticate"]
        assert f'"{base}/.well-known/oauth-protected-resource/mcp"' in challenge

    def test_the_resource_names_its_authorization_server_byte_for_byte(self, flow: Flow) -> None:
        """The issuer has no slash at its end, in either document."""
        base = flow.demo.mcp_url.removesuffix("/mcp")
        resource = flow.http.get(f"{base}/.well-known/oauth-protected-resource/mcp").json()
        server = flow.http.get(f"{flow.demo.issuer}/.well-known/oauth-authorization-server").json()

        assert resource["resource"] == flow.demo.mcp_url
        assert resource["authorization_servers"] == [flow.demo.issuer] == [server["issuer"]]
        assert resource["scopes_supported"] == [READ]

    def test_the_server_announces_what_it_insists_on(self, flow: Flow) -> None:
        """PKCE, `iss`, metadata documents as client ids, and the endpoints."""
        server = flow.http.get(f"{flow.demo.issuer}/.well-known/oauth-authorization-server").json()

        assert server["code_challenge_methods_supported"] == ["S256"]
        assert server["authorization_response_iss_parameter_supported"] is True
        assert server["client_id_metadata_document_supported"] is True
        assert server["grant_types_supported"] == ["authorization_code", "refresh_token"]
        assert server["scopes_supported"] == [READ, WRITE]
        for endpoint in ("authorization", "token", "registration", "revocation"):
            assert server[f"{endpoint}_endpoint"].startswith(flow.demo.issuer + "/")

    def test_a_foreign_host_name_is_refused(self, flow: Flow) -> None:
        """A page whose name was made to resolve to 127.0.0.1 reaches neither server."""
        for url in (f"{flow.demo.issuer}/jwks", flow.demo.mcp_url):
            assert flow.http.get(url, headers={"Host": "evil.example"}).status_code >= 400


class TestRegistration:
    """Dynamic registration (RFC 7591)."""

    def test_a_public_client_gets_an_id_and_no_secret(self, flow: Flow) -> None:
        """And reads its metadata back."""
        answer = flow.register()

        assert answer.status_code == 201
        assert answer.json()["client_id"]
        assert "client_secret" not in answer.json()
        assert answer.json()["application_type"] == "native"

    def test_a_native_client_may_use_any_loopback_port(self, flow: Flow) -> None:
        """RFC 8252 section 7.3; path and host stay what they were."""
        flow.register()
        flow.redirect_uri = "http://127.0.0.1:55555/callback"
        assert flow.answer()["code"]

        for other in ("http://127.0.0.1:27182/other", "http://localhost:27182/callback"):
            with pytest.raises(NoRedirectError, match="redirect_uri"):
                approve(flow.url(redirect_uri=other), follow=False)

    def test_a_web_client_uses_exactly_what_it_registered(self, flow: Flow) -> None:
        """Who does not say `native` is held to the port."""
        flow.register(application_type=None)
        assert flow.answer()["code"]

        with pytest.raises(NoRedirectError, match="redirect_uri"):
            approve(flow.url(redirect_uri="http://127.0.0.1:55555/callback"), follow=False)

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
        answer = flow.register(redirect_uris=[uri])

        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")

    def test_a_server_may_take_localhost_redirects_only(self, flow: Flow, switch: Switch) -> None:
        """At registration, and for what was registered before."""
        hub = "https://hub.example/user/ada/lab/extensions/mcpnb/callback.html"
        assert flow.register(redirect_uris=[hub]).status_code == 201

        switch(localhost_redirects_only=True)

        with pytest.raises(NoRedirectError, match="localhost only"):
            approve(flow.url(redirect_uri=hub), follow=False)
        refused = flow.register(redirect_uris=[REDIRECT, hub])
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_redirect_uri")
        assert flow.register(redirect_uris=["http://[::1]:1/a", REDIRECT]).status_code == 201

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
        """With RFC 7591's own error."""
        answer = flow.register(**change)

        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")

    def test_a_body_that_is_no_object_is_refused(self, flow: Flow) -> None:
        """And so is one that is far too long."""
        url = f"{flow.demo.issuer}/register"

        assert flow.http.post(url, content=b"[]").status_code == 400
        assert flow.http.post(url, content=b"no json").status_code == 400
        assert flow.http.post(url, content=b" " * 100_000).status_code == 413

    def test_without_the_refresh_grant_there_is_no_refresh_token(self, flow: Flow) -> None:
        """Whoever does not register for it does not get it."""
        flow.register(grant_types=None)
        tokens = flow.exchange(flow.answer()["code"]).json()

        assert tokens["access_token"]
        assert "refresh_token" not in tokens


class Documents(BaseHTTPRequestHandler):
    """Serves client metadata documents, by path."""

    documents: ClassVar[dict[str, object]]

    def do_GET(self) -> None:
        """Give the document, or redirect where it says so."""
        document = self.documents.get(self.path)
        body = json.dumps(document).encode()
        self.send_response(302 if isinstance(document, str) else 200 if document else 404)
        if isinstance(document, str):
            self.send_header("Location", document)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def documents() -> Iterator[tuple[str, dict[str, object]]]:
    """Serve documents; give the origin, and the mapping to put them into."""

    class Handler(Documents):
        documents: ClassVar[dict[str, object]] = {}

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", Handler.documents
        server.shutdown()
        thread.join()


class TestClientMetadataDocument:
    """A client id that is the URL of what it describes (SEP-991)."""

    def test_a_document_is_as_good_as_a_registration(
        self, flow: Flow, documents: tuple[str, dict[str, object]]
    ) -> None:
        """The page shows its name and where it comes from; the exchange works."""
        origin, served = documents
        flow.client_id = f"{origin}/client.json"
        served["/client.json"] = {
            "client_id": flow.client_id,
            "client_name": "Described notebook",
            "redirect_uris": [REDIRECT],
            "grant_types": ["authorization_code", "refresh_token"],
        }

        page = ConsentForm.read(flow.http.get(flow.url()).text)
        tokens = flow.exchange(flow.answer()["code"]).json()

        assert "Described notebook" in page.text
        assert flow.client_id in page.text
        assert (
            structured(flow.call(tokens["access_token"], "whoami"))["client_id"] == flow.client_id
        )
        assert flow.refresh(tokens["refresh_token"]).status_code == 200

    @pytest.mark.parametrize(
        ("path", "change", "reason"),
        [
            ("/other.json", {"client_id": "http://127.0.0.1/else.json"}, "client_id is not"),
            ("/none.json", {"redirect_uris": []}, "redirect_uris is not"),
            ("/bad.json", {"redirect_uris": ["http://a.example/"]}, "neither https nor loopback"),
            (
                "/secret.json",
                {"token_endpoint_auth_method": "client_secret_post"},
                "public clients",
            ),
            ("/long.json", {"client_name": "x" * 20_000}, "too long"),
        ],
    )
    def test_a_document_that_does_not_fit_is_refused(
        self,
        flow: Flow,
        documents: tuple[str, dict[str, object]],
        path: str,
        change: dict[str, object],
        reason: str,
    ) -> None:
        """On a page: nothing is known about the client yet, so nothing is redirected."""
        origin, served = documents
        flow.client_id = origin + path
        served[path] = {"client_id": flow.client_id, "redirect_uris": [REDIRECT]} | change

        with pytest.raises(NoRedirectError, match=reason):
            approve(flow.url(), follow=False)

    @pytest.mark.parametrize("url", ["{}/missing.json", "{}/", "{}/a/../b.json", "{}/moved.json"])
    def test_a_document_that_is_not_there_is_refused(
        self, flow: Flow, documents: tuple[str, dict[str, object]], url: str
    ) -> None:
        """A redirect is not followed, and a path is required."""
        origin, served = documents
        served["/moved.json"] = f"{origin}/client.json"
        flow.client_id = url.format(origin)

        with pytest.raises(NoRedirectError, match="HTTP 400"):
            approve(flow.url(), follow=False)

    def test_plain_http_is_for_the_loopback(self, flow: Flow) -> None:
        """Elsewhere somebody on the way could be the client."""
        flow.client_id = "http://client.example/client.json"

        with pytest.raises(NoRedirectError, match="https, or http on the loopback"):
            approve(flow.url(), follow=False)
