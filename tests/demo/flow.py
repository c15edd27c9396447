"""One client's way through the authorization code flow, request by request, without mcpnb."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from mcpnb.demo.browser import ConsentForm, approve, stateless
from mcpnb.demo.servers import DemoServers

REDIRECT = "http://127.0.0.1:27182/callback"
READ, WRITE = "data:read", "data:write"


def given(parameters: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a test set to `None`."""
    return {name: value for name, value in parameters.items() if value is not None}


class Switch(Protocol):
    """Flips switches of the authorization server until the test ends."""

    def __call__(self, **values: object) -> None: ...


@dataclass
class Flow:
    """One client's raw way through the authorization code flow."""

    demo: DemoServers
    http: httpx2.Client
    client_id: str = ""
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    redirect_uri: str = REDIRECT

    def metadata(self) -> Any:
        return self.http.get(f"{self.demo.issuer}/.well-known/oauth-authorization-server").json()

    def page(self, **changes: Any) -> ConsentForm:
        """Open the consent page."""
        return ConsentForm.read(self.http.get(self.url(**changes)).text)

    def shows(self, reason: str, **changes: Any) -> None:
        """Open an authorization URL that leads nowhere; the page has to tell why."""
        refused = self.http.get(self.url(**changes))
        assert refused.status_code == 400
        assert reason in ConsentForm.read(refused.text).text

    def post(self, path: str, data: dict[str, Any]) -> httpx2.Response:
        return self.http.post(f"{self.demo.issuer}{path}", data=given(data))

    def register(self, **changes: Any) -> httpx2.Response:
        metadata = {
            "client_name": "Test notebook",
            "application_type": "native",
            "redirect_uris": [REDIRECT],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
        }
        answer = self.http.post(f"{self.demo.issuer}/register", json=given(metadata | changes))
        if answer.status_code == 201:
            self.client_id = answer.json()["client_id"]
        return answer

    def url(self, **changes: Any) -> str:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest())
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": READ,
            "state": self.state,
            "resource": self.demo.mcp_url,
            "code_challenge": challenge.decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        return f"{self.demo.issuer}/authorize?{urlencode(given(query | changes), doseq=True)}"

    def answer(self, *, deny: bool = False, **changes: Any) -> dict[str, str]:
        """Go through the browser and give the parameters of the redirect."""
        callback = approve(self.url(**changes), deny=deny, follow=False)
        assert callback.startswith(self.redirect_uri + "?")
        return {k: v[0] for k, v in parse_qs(urlsplit(callback).query).items()}

    def exchange(self, code: str, /, **changes: Any) -> httpx2.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "client_id": self.client_id,
            "code_verifier": self.verifier,
            "resource": self.demo.mcp_url,
        }
        return self.post("/token", form | changes)

    def sign_in(self, **changes: Any) -> dict[str, Any]:
        """Do all of it and give the token endpoint's answer."""
        self.register()
        answer = self.exchange(self.answer(**changes)["code"])
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    def refresh(self, refresh_token: str, **changes: Any) -> httpx2.Response:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": self.client_id,
            "resource": self.demo.mcp_url,
        }
        return self.post("/token", form | changes)

    def revoke(self, token: str) -> httpx2.Response:
        return self.post("/revoke", {"token": token, "client_id": self.client_id})

    def status(self, tokens: dict[str, Any]) -> int:
        """Call with the access token, and return the status."""
        return self.call(tokens["access_token"], "whoami").status_code

    def call(self, token: str | None, tool: str, **arguments: Any) -> httpx2.Response:
        """Call a tool."""
        message, headers = stateless(tool, **arguments)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.http.post(self.demo.mcp_url, json=message, headers=headers)


def structured(answer: httpx2.Response) -> Any:
    """Return the structured content of a tool's answer."""
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]["structuredContent"]
