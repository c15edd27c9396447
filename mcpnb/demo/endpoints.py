"""The HTTP side of the demo's authorization server: Starlette routes around authlib's rules."""

# authlib has no type information.
# mypy: disable-error-code="import-untyped"
from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, urlsplit

from authlib.oauth2 import OAuth2Error
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mcpnb.demo import pages
from mcpnb.demo.authorization_server import (
    Answer,
    AuthorizationServer,
    Consent,
    JsonRequest,
    Request,
)
from mcpnb.demo.clients import LOOPBACK_HOSTS, ClientMetadataError
from mcpnb.demo.device import DeviceCode
from mcpnb.demo.scopes import DESCRIPTIONS

__all__ = ["application"]

# Forms and registrations are a few hundred bytes.
BODY_LIMIT = 64 * 1024
# Undecided consent pages that are remembered; the oldest goes first.
TICKETS = 200
COOKIE = "mcpnb_demo"


class TooLongError(Exception):
    """A body is longer than any honest one."""


def application(server: AuthorizationServer) -> Starlette:
    """Make the ASGI application of an authorization server."""
    endpoints = Endpoints(server)
    return Starlette(
        routes=[
            Route("/.well-known/oauth-authorization-server", endpoints.metadata),
            Route("/jwks", endpoints.jwks),
            Route("/authorize", endpoints.authorize),
            Route("/consent", endpoints.consent, methods=["POST"]),
            Route("/token", endpoints.token, methods=["POST"]),
            Route("/register", endpoints.register, methods=["POST"]),
            Route("/revoke", endpoints.revoke, methods=["POST"]),
            Route("/device_authorization", endpoints.begin_device, methods=["POST"]),
            Route("/device", endpoints.device),
        ],
        middleware=[Middleware(KnownHosts, server=server)],
        exception_handlers={TooLongError: _too_long},
    )


class KnownHosts:
    """Answers only requests that name this computer, or where browsers are known to reach it.

    A page on the web whose name resolves to 127.0.0.1 would otherwise be "this computer".
    """

    def __init__(self, app: ASGIApp, server: AuthorizationServer) -> None:
        self._app = app
        self._server = server

    @property
    def _known(self) -> set[str]:
        public = self._server.public_address
        return {*LOOPBACK_HOSTS, *({urlsplit(public).hostname or ""} if public else ())}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and _named(scope) not in self._known:
            await Response("Invalid host header", 400)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _named(scope: Scope) -> str | None:
    try:
        return urlsplit(f"//{HttpRequest(scope).headers.get('host', '')}").hostname
    except ValueError:
        return None


async def _too_long(_request: HttpRequest, _error: Exception) -> Response:
    return JSONResponse({"error": "invalid_request"}, status_code=413)


async def _body(request: HttpRequest) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise TooLongError
    return body


async def _form(request: HttpRequest) -> list[tuple[str, str]]:
    return parse_qsl((await _body(request)).decode("utf-8", "replace"), keep_blank_values=True)


class Endpoints:
    """One method for each endpoint."""

    def __init__(self, server: AuthorizationServer) -> None:
        self._server = server
        self._tickets: dict[str, tuple[str, Request | DeviceCode]] = {}

    async def metadata(self, _request: HttpRequest) -> Response:
        """Describe the server (RFC 8414 section 3.2)."""
        return JSONResponse(self._server.metadata())

    async def jwks(self, _request: HttpRequest) -> Response:
        """Give the public key of the access tokens (RFC 7517)."""
        return JSONResponse(self._server.keys.as_dict(private=False))

    async def authorize(self, http: HttpRequest) -> Response:
        """Answer an authorization request: with the consent page, a code, or an error."""
        fields = parse_qsl(http.url.query, keep_blank_values=True)
        request = Request("GET", str(http.url), fields)
        return await self._safely(request, lambda: self._decide(http, request))

    async def _safely(self, request: Request, work: Callable[[], Awaitable[Response]]) -> Response:
        """Turn whatever is wrong with an authorization request into a redirect or a page."""
        try:
            return await work()
        except ClientMetadataError as error:
            return _refused("invalid_client", str(error))
        except OAuth2Error as error:
            error.state = request.payload.state
            if not error.redirect_uri:
                return _refused(error.error, error.description or "The request is not valid.")
            answer: Answer = self._server.handle_error_response(request, error)
            self._server.iss.add_issuer_parameter(self._server, answer)
            return answer
        except ValueError:
            # authlib refuses to describe an error with characters that RFC 6749 does not allow.
            return _refused("invalid_request", "The request holds what no such request may hold.")

    async def _decide(self, http: HttpRequest, request: Request) -> Response:
        server = self._server
        await server.clients.describe(request.payload.client_id or "")
        grant = server.get_consent_grant(request, end_user=server.subject)
        if server.deny or server.auto_consent:
            return self._answer(request, grant, approved=not server.deny)
        ticket, browser = self._ticket(http, request)
        page = pages.ConsentPage(
            ticket=ticket,
            client=grant.client.name,
            described_at=grant.client.described_at,
            subject=server.subject,
            scopes=[(name, DESCRIPTIONS[name]) for name in request.scope.split()],
            resource=request.resources[0],
            redirect_uri=grant.redirect_uri,
        )
        return _asking(page, browser)

    def _ticket(self, http: HttpRequest, about: Request | DeviceCode) -> tuple[str, str]:
        """Remember what is asked, and which browser is."""
        ticket = secrets.token_urlsafe(24)
        browser = http.cookies.get(COOKIE) or secrets.token_urlsafe(24)
        self._tickets[ticket] = (browser, about)
        while len(self._tickets) > TICKETS:
            del self._tickets[next(iter(self._tickets))]
        return ticket, browser

    async def begin_device(self, http: HttpRequest) -> Response:
        """Give a device its code (RFC 8628 section 3.1)."""
        if not self._server.device_grant:
            return Response(status_code=404)
        request = Request("POST", str(http.url), await _form(http), http.headers)
        answer: Answer = self._server.create_endpoint_response("device_authorization", request)
        return answer

    async def device(self, http: HttpRequest) -> Response:
        """Ask for the code of a device, then whether it may (RFC 8628 section 3.3)."""
        server, entered = self._server, http.query_params.get("user_code", "")
        asked = server.device_codes.of_person(entered) if entered else None
        client = server.query_client(asked.client_id) if asked is not None else None
        if asked is None or client is None:
            page = pages.ask_for_code(unknown=bool(entered))
            return HTMLResponse(page, headers=pages.headers())
        ticket, browser = self._ticket(http, asked)
        consent = pages.ConsentPage(
            ticket=ticket,
            client=client.name,
            described_at=client.described_at,
            subject=server.subject,
            scopes=[(name, DESCRIPTIONS[name]) for name in asked.scope.split()],
            resource=asked.resource,
            redirect_uri=None,
            user_code=asked.user_code,
        )
        return _asking(consent, browser)

    async def consent(self, http: HttpRequest) -> Response:
        """Take the decision: once, and from the browser that was shown the page."""
        form = dict(await _form(http))
        browser, request = self._tickets.get(form.get("ticket", ""), ("", None))
        decision = form.get("decision")
        if (
            request is None
            or decision not in {"approve", "deny"}
            or not secrets.compare_digest(
                browser.encode(), http.cookies.get(COOKIE, "").encode("utf-8", "replace")
            )
        ):
            return _refused("invalid_request", "This page was answered before, or is too old.")
        del self._tickets[form["ticket"]]
        if isinstance(request, DeviceCode):
            return self._connect(request, approved=decision == "approve")

        async def work() -> Response:
            grant = self._server.get_consent_grant(request, end_user=self._server.subject)
            consent = Consent(
                client=grant.client.name,
                scopes=tuple(request.scope.split()),
                resource=request.resources[0],
                approved=decision == "approve",
            )
            self._server.consents.append(consent)
            answer = self._answer(request, grant, approved=consent.approved)
            # After a POST: the browser comes with GET and without the form (RFC 9700 4.12).
            answer.status_code = 303
            return answer

        return await self._safely(request, work)

    def _connect(self, asked: DeviceCode, *, approved: bool) -> Response:
        """Let a device in, or not."""
        client = self._server.query_client(asked.client_id)
        consent = Consent(
            client=client.name if client else asked.client_id,
            scopes=tuple(asked.scope.split()),
            resource=asked.resource,
            approved=approved,
        )
        self._server.consents.append(consent)
        asked.decide(self._server.subject, approved=approved)
        return HTMLResponse(pages.agreed(approved=approved), headers=pages.headers())

    def _answer(self, request: Request, grant: object, *, approved: bool) -> Answer:
        user = self._server.subject if approved else None
        answer: Answer = self._server.create_authorization_response(
            request, grant_user=user, grant=grant
        )
        return answer

    async def token(self, http: HttpRequest) -> Response:
        """Exchange a code or a refresh token (RFC 6749 section 3.2)."""
        request = Request("POST", str(http.url), await _form(http), http.headers)
        answer: Answer = self._server.create_token_response(request)
        return answer

    async def revoke(self, http: HttpRequest) -> Response:
        """Revoke a token (RFC 7009)."""
        request = Request("POST", str(http.url), await _form(http), http.headers)
        answer: Answer = self._server.create_endpoint_response("revocation", request)
        return answer

    async def register(self, http: HttpRequest) -> Response:
        """Register a client (RFC 7591)."""
        try:
            data = json.loads(await _body(http))
        except ValueError:
            data = None
        if not isinstance(data, dict):
            body = {"error": "invalid_client_metadata", "error_description": "Send a JSON object."}
            return JSONResponse(body, status_code=400)
        request = JsonRequest(str(http.url), data)
        answer: Answer = self._server.create_endpoint_response("client_registration", request)
        return answer


def _asking(page: pages.ConsentPage, browser: str) -> Response:
    answer = HTMLResponse(page.html(), headers=pages.headers(page.redirect_uri))
    # Without a path it is for the pages beside this one: at a proxy's host are other things, too.
    answer.set_cookie(COOKIE, browser, httponly=True, samesite="lax", path=None)
    return answer


def _refused(error: str, description: str) -> Response:
    return HTMLResponse(pages.refusal(error, description), 400, headers=pages.headers())
