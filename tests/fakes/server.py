"""A scriptable authorization server and MCP server in one, on one loopback port.

It behaves by default. Every fault is a switch: an attribute, a change of its documents, or a
scripted reply (`script`, `always`). Two of them make the cases with several origins.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any, Literal
from urllib.parse import unquote_plus, urlencode

from tests.fakes.mcp import answer_to, tool_of
from tests.fakes.wire import Reply, Request, Wire, html, redirect

DEFAULT = "default"
AS_METADATA = "/.well-known/oauth-authorization-server"
PRM = "/.well-known/oauth-protected-resource/mcp"


@dataclass
class Grant:
    """What one consent led to."""

    client_id: str
    scopes: tuple[str, ...]
    resource: str | None
    alive: bool = True
    refresh_token: str = ""


class FakeServer(Wire):
    """The fake. `url` is its MCP endpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.url = f"{self.base}/mcp"

        # Documents: change them, or set one to None to have it not found.
        self.metadata: dict[str, Any] | None = {
            "issuer": self.base,
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "registration_endpoint": f"{self.base}/register",
            "revocation_endpoint": f"{self.base}/revoke",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": True,
        }
        self.resource_metadata: dict[str, Any] | None = {
            "resource": self.url,
            "authorization_servers": [self.base],
        }

        self.clock_ahead = 0.0
        """Seconds that the clock in its answers is ahead of this machine's."""

        # The MCP server
        self.challenge: dict[str, str] | None = {"resource_metadata": self.base + PRM}
        """Parameters of the 401's `WWW-Authenticate`; `None` leaves the header out."""
        self.tool_scopes: dict[str, str] = {}
        self.lacking: Literal["403", "403 without scope", "401", "401 without scope"] = "403"
        self.names_scope: str | None = None
        """The scope a 403 names, where it is not the one really needed."""
        self.open_until_called = False
        """Answer everything but a tool call without a token."""

        # Registration
        self.register_status = 201
        self.register_refuses_scope = False
        self.register_gives_secret = False
        self.register_adds: dict[str, Any] = {}
        self.clients: dict[str, dict[str, Any]] = {}

        # Authorization
        self.iss: str | None = DEFAULT
        self.state: str | None = DEFAULT
        self.known_scopes: set[str] | None = None
        """Anything else is `invalid_scope`."""
        self.authorize_error: dict[str, str] | None = None
        self.grants_scopes: tuple[str, ...] | None = None
        """Scopes granted, where they are not those asked for."""
        self.codes: dict[str, tuple[Request, Grant]] = {}

        # Tokens
        self.lifetime: int | None = 3600
        self.really_lives: float | None = None
        """Seconds a token really lives, where that is not what the answer says."""
        self.rotation: Literal["strict", "grace", "none"] = "strict"
        self.token_changes: dict[str, Any] = {}
        self.refresh_changes: dict[str, Any] = {}
        """Changes of a good answer; a value of `None` leaves the member out."""
        self.drop_after_refresh = 0
        self.revoke_wants_secret = False
        self.access: dict[str, tuple[Grant, float]] = {}
        self.refresh: dict[str, Grant] = {}
        self.rotated: dict[str, Grant] = {}
        self.refreshes = 0

        self._lock = threading.RLock()
        self.routes |= {
            "/mcp": self._mcp,
            PRM: lambda _: _document(self.resource_metadata),
            AS_METADATA: lambda _: _document(self.metadata),
            "/register": self._register,
            "/authorize": self._authorize,
            "/token": self._token,
            "/revoke": self._revoke,
        }

    # -- what a test asks or does ------------------------------------------------------------

    def announce(self, **changes: Any) -> None:
        """Change the authorization-server metadata; `None` takes a member out."""
        assert self.metadata is not None
        self.metadata = _changed(self.metadata, changes)

    def describe(self, **changes: Any) -> None:
        """Change the protected-resource metadata; `None` takes a member out."""
        assert self.resource_metadata is not None
        self.resource_metadata = _changed(self.resource_metadata, changes)

    def need_no_sign_in(self) -> None:
        """Answer everybody, and say nothing of OAuth."""
        self.always("/mcp", Reply(200, {"jsonrpc": "2.0", "id": 1, "result": {}}))
        self.resource_metadata = self.metadata = None

    def expire(self) -> None:
        """Stop accepting every access token issued so far, ahead of its time."""
        with self._lock:
            self.access = {token: (grant, 0.0) for token, (grant, _) in self.access.items()}

    def end(self) -> None:
        """End every login, as an administrator would."""
        with self._lock:
            for grant in [*self.refresh.values(), *(g for g, _ in self.access.values())]:
                grant.alive = False

    def token_requests(self, grant_type: str) -> list[Request]:
        """Everything the token endpoint was asked for with one grant type."""
        return [r for r in self.asked("/token") if r.form.get("grant_type") == [grant_type]]

    def reply_to(self, request: Request) -> Reply:
        """Return the answer to one request, dated by this server's own clock."""
        reply = super().reply_to(request)
        if not self.clock_ahead:
            return reply
        date = formatdate(time.time() + self.clock_ahead, usegmt=True)
        return replace(reply, headers={"Date": date} | dict(reply.headers))

    # -- the MCP server ----------------------------------------------------------------------

    def _mcp(self, request: Request) -> Reply:
        if request.method == "DELETE":
            return Reply(200)
        if request.method != "POST":
            return Reply(405)
        tool = tool_of(request.json)
        if self.open_until_called and tool is None and request.bearer is None:
            return answer_to(request.json)
        with self._lock:
            grant, until = self.access.get(request.bearer or "", (None, 0.0))
            if grant is None or not grant.alive or until <= time.time():
                return Reply(401, {"error": "invalid_token"}, _challenge(self.challenge))
        needed = self.tool_scopes.get(tool or "")
        if needed and needed not in grant.scopes:
            return self._lacking(needed)
        return answer_to(request.json)

    def _lacking(self, needed: str) -> Reply:
        named = {"scope": self.names_scope or needed}
        if self.lacking.endswith("without scope"):
            named = {}
        if self.lacking.startswith("401"):
            return Reply(401, headers=_challenge({"error": "invalid_token"} | named))
        return Reply(403, headers=_challenge({"error": "insufficient_scope"} | named))

    # -- registration and authorization --------------------------------------------------------

    def _register(self, request: Request) -> Reply:
        wanted = request.json
        if self.register_refuses_scope and "scope" in wanted:
            return _refused("invalid_client_metadata", "scope")
        client = {"client_id": f"client-{secrets.token_hex(4)}"} | wanted | self.register_adds
        if self.register_gives_secret:
            client |= {"client_secret": "never asked for", "client_secret_expires_at": 0}
        self.clients[client["client_id"]] = client
        return Reply(self.register_status, client)

    def _authorize(self, request: Request) -> Reply:
        asked = {name: values[0] for name, values in request.query.items()}
        client = self.clients.get(asked.get("client_id", ""))
        if client is None or asked.get("redirect_uri") not in client["redirect_uris"]:
            return html("This application or its redirect is not known here.", 400)
        scopes = tuple(asked.get("scope", "").split())
        answer: dict[str, str | None] = {
            "state": asked.get("state") if self.state == DEFAULT else self.state,
            "iss": (self.metadata or {}).get("issuer") if self.iss == DEFAULT else self.iss,
        }
        if self.authorize_error is not None:
            answer |= self.authorize_error
        elif self.known_scopes is not None and not set(scopes) <= self.known_scopes:
            answer["error"] = "invalid_scope"
        else:
            code = answer["code"] = secrets.token_urlsafe(16)
            granted = scopes if self.grants_scopes is None else self.grants_scopes
            grant = Grant(asked["client_id"], granted, asked.get("resource"))
            self.codes[code] = (request, grant)
        query = urlencode({name: value for name, value in answer.items() if value is not None})
        joined = "&" if "?" in asked["redirect_uri"] else "?"
        return redirect(f"{asked['redirect_uri']}{joined}{query}")

    # -- tokens --------------------------------------------------------------------------------

    def _token(self, request: Request) -> Reply:
        form = {name: values[0] for name, values in request.form.items()}
        if not self._knows_client(request, form):
            return _refused("invalid_client", status=401)
        with self._lock:
            if form.get("grant_type") == "refresh_token":
                return self._renew(form)
            authorized, grant = self.codes.pop(form.get("code", ""), (None, None))
            if authorized is None or grant is None:
                return _refused("invalid_grant")
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if authorized.query.get("code_challenge") != [challenge]:
                return _refused("invalid_grant", "PKCE")
            if authorized.query["redirect_uri"] != [form.get("redirect_uri")]:
                return _refused("invalid_grant", "redirect_uri")
            return self._issue(grant, self.token_changes)

    def _knows_client(self, request: Request, form: dict[str, str]) -> bool:
        given = (form.get("client_id"), form.get("client_secret"))
        method = "client_secret_post" if given[1] else "none"
        basic = request.headers.get("authorization", "")
        if basic.startswith("Basic "):
            # Form-encoded first (RFC 6749 section 2.3.1).
            pair = base64.b64decode(basic[6:]).decode().split(":")
            given, method = (unquote_plus(pair[0]), unquote_plus(pair[1])), "client_secret_basic"
        client = self.clients.get(given[0] or "")
        if client is None:
            return False
        wanted = client.get("token_endpoint_auth_method", "client_secret_basic")
        return method == wanted and (method == "none" or given[1] == client["client_secret"])

    def _renew(self, form: dict[str, str]) -> Reply:
        presented = form.get("refresh_token", "")
        again = self.rotated.get(presented)
        if again is not None and self.rotation == "grace" and again.alive:
            return self._issue(again, self.refresh_changes, refresh=again.refresh_token)
        if again is not None:
            again.alive = False  # reuse ends the whole login, the winner's new token included
        grant = self.refresh.get(presented)
        if grant is None or not grant.alive:
            return _refused("invalid_grant")
        if not set(form.get("scope", "").split()) <= set(grant.scopes):
            return _refused("invalid_scope")
        self.refreshes += 1
        kept = presented
        if self.rotation != "none":
            self.rotated[presented] = self.refresh.pop(presented)
            kept = ""
        reply = self._issue(grant, self.refresh_changes, refresh=kept)
        if self.drop_after_refresh > 0:
            self.drop_after_refresh -= 1
            return Reply(drop=True)
        return reply

    def _issue(self, grant: Grant, changes: dict[str, Any], refresh: str = "") -> Reply:
        access = f"access-{secrets.token_urlsafe(12)}"
        grant.refresh_token = refresh or f"refresh-{secrets.token_urlsafe(12)}"
        lives = self.lifetime if self.really_lives is None else self.really_lives
        self.access[access] = (grant, time.time() + (3600 if lives is None else lives))
        self.refresh[grant.refresh_token] = grant
        answer = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": self.lifetime,
            "refresh_token": grant.refresh_token,
            "scope": " ".join(grant.scopes) or None,
        }
        return Reply(200, _changed(answer, changes))

    def _revoke(self, request: Request) -> Reply:
        if self.revoke_wants_secret and "client_secret" not in request.form:
            return _refused("invalid_request", "client_secret is required")
        token = request.form["token"][0]
        grant = self.refresh.get(token) or self.access.get(token, (None, 0.0))[0]
        if grant is not None:
            grant.alive = False
        return Reply(200)


def _changed(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in (document | changes).items() if v is not None}


def _document(document: dict[str, Any] | None) -> Reply:
    return html("nothing here", 404) if document is None else Reply(200, document)


def _challenge(parameters: dict[str, str] | None) -> dict[str, str]:
    if parameters is None:
        return {}
    said = ", ".join(f'{name}="{value}"' for name, value in parameters.items())
    return {"WWW-Authenticate": f"Bearer {said}".strip()}


def _refused(error: str, description: str | None = None, status: int = 400) -> Reply:
    return Reply(status, _changed({"error": error, "error_description": description}, {}))
