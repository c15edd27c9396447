"""The URLs and pages of the demo's authorization server, around the rules of `authorization`.

The pages have no script, no image and nothing from elsewhere. What a client says about itself is
shown as escaped text.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from mcp.server.transport_security import RequestBodyLimitMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mcpnb.demo.authorization import (
    LOOPBACK_HOSTS,
    SCOPES,
    AuthorizationRequest,
    AuthorizationServer,
    OAuthError,
    Parameters,
)

# Forms and registrations have a few hundred bytes.
_BODY_LIMIT = 64 * 1024
# Undecided consent pages that are remembered. The oldest is forgotten first.
_TICKETS = 200
_COOKIE = "mcpnb_demo"
# A response with a code or a token stays out of caches, and its URL out of referrers (RFC 9700
# section 4.2.4).
_PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}

_PAGE = (Path(__file__).parent / "page.html").read_text("utf-8")
_STYLE = _PAGE.partition("<style>")[2].partition("</style>")[0]
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_CSP_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")


def application(server: AuthorizationServer) -> ASGIApp:
    """Return the ASGI application of an authorization server.

    It answers only requests that name this computer, or the host at which browsers are known to
    reach it. A page on the web whose name resolves to 127.0.0.1 would otherwise be "this computer".
    """
    endpoints = _Endpoints(server)
    app = Starlette(
        routes=[
            Route("/.well-known/oauth-authorization-server", endpoints.metadata),
            Route("/authorize", endpoints.authorize),
            Route("/consent", endpoints.consent, methods=["POST"]),
            Route("/device", endpoints.device),
            Route("/device_authorization", endpoints.device_authorization, methods=["POST"]),
            Route("/token", endpoints.token, methods=["POST"]),
            Route("/register", endpoints.register, methods=["POST"]),
            Route("/revoke", endpoints.revoke, methods=["POST"]),
        ],
        middleware=[Middleware(RequestBodyLimitMiddleware, max_body_size=_BODY_LIMIT)],
        exception_handlers={OAuthError: _error},
    )

    async def known_hosts(scope: Scope, receive: Receive, send: Send) -> None:
        known = {*LOOPBACK_HOSTS, urlsplit(server.pages).hostname}
        refused = scope["type"] == "http" and _host(scope) not in known
        await (Response("Invalid host header", 400) if refused else app)(scope, receive, send)

    return known_hosts


class _Endpoints:
    """One method for each endpoint."""

    def __init__(self, server: AuthorizationServer) -> None:
        self._server = server
        self._tickets: dict[str, tuple[str, AuthorizationRequest]] = {}

    async def metadata(self, _http: Request) -> Response:
        return JSONResponse(self._server.metadata())

    async def register(self, http: Request) -> Response:
        return JSONResponse(self._server.register(await http.body()), 201, _PRIVATE)

    async def token(self, http: Request) -> Response:
        return JSONResponse(self._server.token(await _form(http)), headers=_PRIVATE)

    async def revoke(self, http: Request) -> Response:
        self._server.revoke(await _form(http))
        return Response(headers=_PRIVATE)

    async def device_authorization(self, http: Request) -> Response:
        if not self._server.device_grant:
            return Response(status_code=404)
        response = self._server.device_authorization(await _form(http))
        return JSONResponse(response, headers=_PRIVATE)

    async def authorize(self, http: Request) -> Response:
        server, parameters = self._server, Parameters(http.url.query)
        try:
            request = server.authorization_request(parameters)
        except OAuthError as error:
            return _refused(error)
        try:
            server.complete(request, parameters)
        except OAuthError as error:
            return RedirectResponse(server.redirect(request, error), 302, _PRIVATE)
        if not server.auto_consent:
            return self._consent_page(http, request)
        server.decide(request, approved=True)
        return RedirectResponse(server.redirect(request), 302, _PRIVATE)

    async def device(self, http: Request) -> Response:
        """Ask for the code of a device, then for consent (RFC 8628 section 3.3)."""
        typed = http.query_params.get("user_code", "")
        request = self._server.device_request(typed) if typed else None
        if request is not None:
            return self._consent_page(http, request)
        said = (
            "No device waits with this code: it was used, or is too old."
            if typed
            else "Enter the code that your notebook or terminal shows."
        )
        return _page(
            "Connect a device",
            f"""
<p>{said}</p>
<form method="get" action="device">
<button>Continue</button>
<label><input name="user_code" aria-label="Code" autocomplete="off" autofocus required></label>
</form>""",
        )

    def _consent_page(self, http: Request, request: AuthorizationRequest) -> Response:
        # The ticket cannot be guessed, so that no other page can decide; the cookie says in which
        # browser this one was shown.
        ticket = secrets.token_urlsafe(24)
        browser = http.cookies.get(_COOKIE) or secrets.token_urlsafe(24)
        self._tickets[ticket] = (browser, request)
        while len(self._tickets) > _TICKETS:
            del self._tickets[next(iter(self._tickets))]
        client, host = request.client, urlsplit(request.redirect_uri).netloc
        goes_to = (
            f"<code>{escape(host)}</code>"
            if host
            else f"the device that shows the code <code>{escape(request.user_code)}</code>"
        )
        scopes = "".join(
            f"<li><code>{escape(name)}</code>{escape(SCOPES[name])}</li>" for name in request.scopes
        )
        page = _page(
            f"Let {client.client_name or client.client_id} in?",
            f"""
<p class="note">This app registered itself under this name.
You are signed in as <b>{escape(self._server.subject)}</b>.</p>
<dl>
<dt>It may</dt><dd><ul>{scopes}</ul></dd>
<dt>at this MCP server, and nowhere else</dt><dd><code>{escape(request.resource)}</code></dd>
<dt>The answer goes to</dt><dd>{goes_to}</dd>
</dl>
<form method="post" action="consent">
<input type="hidden" name="ticket" value="{escape(ticket)}">
<button name="decision" value="approve">Approve</button>
<button name="decision" value="deny">Deny</button>
</form>
<p><small>A demonstration: nothing leaves the computer that it runs on.</small></p>""",
            redirect_uri=request.redirect_uri,
        )
        # Without a path it is for the pages next to this one: a proxy's host has other things, too.
        page.set_cookie(_COOKIE, browser, httponly=True, samesite="lax", path=None)
        return page

    async def consent(self, http: Request) -> Response:
        """Take the decision: once, and from the browser that the page was shown in."""
        form = await _form(http)
        browser, request = self._tickets.get(form["ticket"], ("", None))
        cookie = http.cookies.get(_COOKIE, "").encode("utf-8", "replace")
        known = request is not None and secrets.compare_digest(browser.encode(), cookie)
        if request is None or not known or form["decision"] not in {"approve", "deny"}:
            return _refused(
                OAuthError("invalid_request", "This page was answered before, or is too old.")
            )
        del self._tickets[form["ticket"]]
        approved = form["decision"] == "approve"
        self._server.decide(request, approved=approved)
        self._server.consents.append(request)
        if request.redirect_uri:
            # After a POST the browser comes with GET, and without the form (RFC 9700 4.12).
            return RedirectResponse(self._server.redirect(request), 303, _PRIVATE)
        if approved:
            return _page("The device is signed in", "<p>You can close this page.</p>")
        return _page("You said no", "<p>The device gets nothing. You can close this page.</p>")


async def _form(http: Request) -> Parameters:
    return Parameters((await http.body()).decode("utf-8", "replace"))


async def _error(_http: Request, error: Exception) -> Response:
    assert isinstance(error, OAuthError)  # noqa: S101 - Starlette's type is wider
    body = {"error": error.error, "error_description": str(error)}
    return JSONResponse(body, error.status, _PRIVATE)


def _host(scope: Scope) -> str | None:
    try:
        return urlsplit(f"//{Request(scope).headers.get('host', '')}").hostname
    except ValueError:
        return None


def _refused(error: OAuthError) -> Response:
    """Return the page for a request that no redirect may answer (RFC 6749 section 4.1.2.1)."""
    return _page(
        "This sign-in cannot continue",
        f"""
<p>{escape(str(error))}</p>
<p class="note">Error <code>{escape(error.error)}</code>. The app that sent you here is not told,
because it is not certain which app that is. Close this page and start again from the app.</p>""",
        status=400,
    )


def _page(heading: str, body: str, *, redirect_uri: str = "", status: int = 200) -> HTMLResponse:
    """Return a page with headers that allow no script, frame, opener, referrer or cache.

    ``form-action`` holds for redirects after the form too (CSP level 3), so it has to name the
    origin of the redirect URI. An IPv6 literal is no valid source there; its scheme is.
    """
    sources = ["'self'"]
    if redirect_uri:
        parts = urlsplit(redirect_uri)
        named = _CSP_HOST.fullmatch(parts.netloc)
        sources.append(f"{parts.scheme}://{parts.netloc}" if named else f"{parts.scheme}:")
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
        f"form-action {' '.join(sources)}; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = _PRIVATE | {
        "Content-Security-Policy": policy,
        # Large servers do so. A tab that opened this one then knows nothing of it any more.
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
    }
    html = Template(_PAGE).substitute(heading=escape(heading), body=body)
    return HTMLResponse(html, status, headers)
