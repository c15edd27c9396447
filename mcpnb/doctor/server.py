"""What is wrong with a server: its address, discovery, metadata, registration, login and calls."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from mcpnb import errors
from mcpnb.doctor.machine import clock_ahead, unreachable
from mcpnb.doctor.report import Check, check, date, first_of
from mcpnb.login import redirects
from mcpnb.login.loopback import DEFAULT_PORT
from mcpnb.login.registrations import Registrations
from mcpnb.oauth import models
from mcpnb.oauth import registration as registering
from mcpnb.oauth.challenge import Challenge, bearer_challenge
from mcpnb.oauth.credentials import LoginRecord, RegistrationMethod
from mcpnb.oauth.discovery import Finding, discover, document_in, mcp_request
from mcpnb.oauth.http import Exchange, Http, Response
from mcpnb.oauth.models import AuthorizationServer, Discovery, Secret, ServerConfig
from mcpnb.oauth.scopes import as_option, chosen, covers
from mcpnb.oauth.urls import (
    canonical_server,
    origin_of,
    protected_resource_urls,
    resource_covers,
    root_of,
    same_issuer,
)
from mcpnb.storage import TokenStore
from mcpnb.text import quote, redact, sanitize
from mcpnb.tokens.record import expired, login_key
from mcpnb.tokens.static import helper_of

_AUTH_METHODS = {"none", "client_secret_basic", "client_secret_post"}
_PKCE = "code_challenge_methods_supported"
_ENDPOINTS = ("authorization", "token", "registration", "revocation", "device_authorization")
_PORT = re.compile(r"^(https?://(?:127\.0\.0\.1|localhost|\[::1\])):\d+")
_ALIKE = {
    " They differ in a trailing slash.": r"/$",
    " One begins with http, the other with https.": r"^https?",
    " “localhost” and “127.0.0.1” are two names.": r"(?<=://)(localhost|127\.0\.0\.1)(?=[:/]|$)",
}
"""Hints for two addresses that differ only in the matched part."""
_LATELY = 7 * 86_400.0
"""Seconds in which a refused token is worth telling of."""


def headers_helper(config: ServerConfig) -> tuple[list[Check], ServerConfig]:
    """Run the local command that prints headers as a call would, and name what it prints.

    Nothing comes here from a project's file that is not trusted: its entries are never resolved.

    Returns:
        What was found, and the configuration with the token that the command prints, if any.
    """
    if config.headers_helper is None:
        return [], config
    source, helper = config.source, helper_of(config) if config.enabled else None
    if helper is None:
        return [check(f"headers/{'mcpnb' if config.enabled else 'off'}", source=source)], config
    try:
        printed = helper.printed()
    except errors.ConfigError as error:
        return [check("headers/fails", source=source, error=error)], config
    names = ", ".join(sanitize(name, 80) for name in printed.headers) or "no header"
    token, variable = printed.authorization, config.bearer_token_env_var
    kind = "ok" if token is None else "token" if variable is None else "second"
    if kind == "token":
        kept = tuple(h for h in config.headers if h.name.lower() != "authorization")
        config = replace(config, headers=(*kept, models.Header("Authorization", value=token)))
    return [check(f"headers/{kind}", source=source, names=names, variable=variable)], config


class Server:
    """One server: what discovery read of it and what it refused, and the login that is stored."""

    def __init__(self, config: ServerConfig, store: TokenStore) -> None:
        """Run discovery, which continues after a defect where it can. The store is only read."""
        self.config = config
        self.store = store
        self.skews: dict[str, float] = {}
        """By host, how many seconds its clock is ahead of this machine's."""
        self.http = Http(config.url, allow_private=config.allow_private_network, seen=self._see)
        self.found: Discovery | None = None
        self.failure: errors.McpnbError | None = None
        self._findings: list[Finding] = []
        try:
            self.found = discover(config, self.http, self._findings.append)
        except errors.McpnbError as error:
            self.failure = error
        read: dict[str, Any] = {f.kind: f.read for f in self._findings if f.read is not None}
        self.first: Response | None = read.get("server")
        """Its response to a request without a token."""
        self._challenge: Challenge | None = read.get("challenge")
        self._resource: models.ProtectedResource | None = read.get("resource-metadata")
        self.authorization: AuthorizationServer | None = read.get("authorization-server")
        """Its authorization server, as far as the metadata can be read."""
        self.method: RegistrationMethod | None = None
        """How mcpnb becomes a client, once `sign_in` found that out."""
        self.record: LoginRecord | None = None
        """The stored login, once `login` read it."""
        self._ended = False
        """Whether the server ended the login, and its token cannot be used any more."""

    def _see(self, exchange: Exchange) -> None:
        if exchange.response and (ahead := clock_ahead(exchange.response)) is not None:
            self.skews.setdefault(urlsplit(exchange.url).netloc, ahead)

    def _check(self, finding: str, **words: Any) -> Check:
        again = f"Sign in again: mcpnb login {self._named}, or session.login()."
        return check(finding, server=self.config.url, again=again, **words)

    def _document(self, kind: str) -> dict[str, Any]:
        return next((f.document for f in self._findings if f.kind == kind and f.document), {})

    def _refused(self, kind: str, *members: str) -> str:
        """Return why a document, or one of these members, was refused; empty: it was not."""
        ours = (f for f in self._findings if f.kind == kind and f.error is not None)
        return " ".join(str(f.error) for f in ours if f.member in (members or ("",)))

    @property
    def needs_no_sign_in(self) -> bool:
        """Whether it answers without a token, and names no authorization server."""
        return self.found is not None and self.found.authorization_server is None

    # Discovery

    def sign_in(self) -> Iterator[Check]:
        """Check what a sign-in needs of the server, from the address to the registration."""
        yield self._check("address/ok")
        if self.first is None:
            yield unreachable(self.failure, server=self.config.url)
            return
        status = self.first.status
        yield self._check("reach/ok", status=status)
        # What is not among the findings ended discovery at the server's own address.
        if self.failure is not None and all(f.error is not self.failure for f in self._findings):
            kind = first_of(fails=status >= 500, redirects=300 <= status < 400, other=True)
            yield self._check(f"server/{kind}", error=self.failure)
            return
        yield from self._first_response(self.first)
        if self.config.authorization is not None:
            return  # a configured token replaces a sign-in
        yield from self._resource_metadata(asks=status in (401, 403))
        if not self.needs_no_sign_in:
            yield self._authorization_server()
        if self.authorization is not None:
            if self.authorization.url:
                yield from self._announced(self.authorization)
            yield from self._client(self.authorization)

    def _first_response(self, first: Response) -> Iterator[Check]:
        status, challenge = first.status, self._challenge
        asks = status in (401, 403)
        kind = first_of(asks=asks, open=self.needs_no_sign_in, tells=True)
        yield self._check(f"server/{kind}", status=status)
        if asks and challenge is None:
            what = "another scheme than Bearer" if first.challenges else "no WWW-Authenticate"
            yield self._check("challenge/none", what=what, status=status)
        elif asks and challenge is not None:
            named = challenge.params.get("resource_metadata", "its well-known address")
            scope = " ".join(challenge.scopes or ()) or "not named"
            yield self._check("challenge/ok", named=named, scope=scope)

    def _resource_metadata(self, *, asks: bool) -> Iterator[Check]:
        url, resource, own = self.config.url, self._resource, self.config.resource
        said = self._document("resource-metadata").get("resource")
        named = self._challenge and self._challenge.params.get("resource_metadata")
        words: dict[str, Any] = {
            "url": resource.url if resource else protected_resource_urls(url)[0],
            "named": named,
            "said": said,
            "own": own,
            "difference": _difference(said, url),
        }
        members = ("", "authorization_servers", "scopes_supported")
        refused = self._refused("resource-metadata", *members)
        kind = first_of(
            unusable=refused,
            open=resource is None and not asks,
            older=resource is None and self.authorization is not None and self.authorization.url,
            none=resource is None,
            elsewhere=resource and named not in (None, resource.url),
            away=resource and origin_of(resource.url) != origin_of(url),
        )
        yield self._check(f"resource-metadata/{kind}", error=refused, **words)
        if resource is None:
            return
        refused = self._refused("resource-metadata", "resource")
        replaced = own not in (None, said)
        kind = first_of(
            other=refused and isinstance(said, str) and said,
            missing=refused,
            own=replaced and resource_covers(str(own), url),
            configured=replaced,
            inexact=not refused and canonical_server(str(said)) != url,
        )
        yield self._check(f"resource/{kind}", error=refused, **words)

    def _authorization_server(self) -> Check:
        name, server = "authorization-server", self.authorization
        error = next((f for f in self._findings if f.kind == name and f.error), None)
        members = ("", "scopes_supported", "token_endpoint_auth_methods_supported")
        others = [f"{quote(f.request)}: {f.error}" for f in self._findings if f.kind == "passed-by"]
        if error is not None and isinstance(error.error, errors.ServerUnreachable):
            return unreachable(error.error, of=name, asked=error.request)
        resource, refused = self._resource, self._refused(name, *members)
        kind = first_of(
            unusable=refused,
            older=server is None or not server.url,
            others=self.failure is None and others,
            unnamed=resource is not None
            and not resource.authorization_servers
            and not self._refused("resource-metadata", "authorization_servers"),
        )
        asked = error.request if error is not None and refused else ""
        at = (server.url or server.issuer) if server is not None else ""
        words = {"asked": asked, "at": at, "others": "; ".join(others[:3])}
        return self._check(f"{name}/{kind}", error=refused, **words)

    def _announced(self, server: AuthorizationServer) -> Iterator[Check]:
        """Check the members of the authorization server's metadata."""
        source, document = "authorization-server", self._document("authorization-server")
        said, at = document.get("issuer"), server.url
        named = self._resource.authorization_servers if self._resource else ()
        named = named or (root_of(self.config.url),)
        # Of several, the one whose metadata this is.
        expected = next((i for i in named if same_issuer(i, server.issuer)), server.issuer)
        refused = self._refused(source, "issuer")
        kind = first_of(other=refused and said, none=refused, slash=said != expected)
        words = {"issuer": said, "expected": expected, "difference": _difference(said, expected)}
        yield self._check(f"issuer/{kind}", error=refused, at=at, **words)
        refused = self._refused(source, *(f"{name}_endpoint" for name in _ENDPOINTS))
        yield self._check(f"endpoints/{first_of(unusable=refused)}", error=refused, at=at)
        methods, refused = server.code_challenge_methods, self._refused(source, _PKCE)
        kind = first_of(refused=refused, allowed=methods is None)
        yield self._check(f"pkce/{kind}", error=refused, methods=", ".join((methods or ())[:5]))
        yield self._check(f"iss/{first_of(none=not server.iss_in_response)}")
        grants, responses = (document.get(f"{n}_types_supported") for n in ("grant", "response"))
        said_grants = grants if isinstance(grants, list | str) else None
        kind = first_of(
            response=isinstance(responses, list | str) and "code" not in responses,
            unsaid=said_grants is None,
            code="authorization_code" not in (said_grants or ()),
            refresh="refresh_token" not in (said_grants or ()),
        )
        yield self._check(f"grants/{kind}")
        yield self._check(f"revocation/{first_of(none=not document.get('revocation_endpoint'))}")
        challenged = self._challenge.scopes if self._challenge else None
        supported = self._resource.scopes_supported if self._resource else ()
        scopes, discovered = chosen(self.config.scopes, challenged, supported, server)
        whose = "as the server announces" if discovered else "as you configured"
        kind = first_of(none=not scopes)
        yield self._check(f"scopes/{kind}", scopes=" ".join(scopes), whose=whose)

    # The client

    def _client(self, server: AuthorizationServer) -> Iterator[Check]:
        config = self.config
        if refused := self._refused("credentials"):  # every sign-in fails here
            yield self._check("registration/issuer", error=refused)
            yield from self._authentication(server)
            return
        try:
            self.method = registering.choose(config, server, redirect_known=True)
        except errors.ClientIdRequired as error:
            offers = ["client metadata documents"] * server.client_id_metadata
            offers += ["dynamic registration"] * (server.registration_endpoint is not None)
            offered = ", ".join(offers) or "no way to register"
            redirect = registering.LOOPBACK_REDIRECTS[0]
            words = {"error": error, "offers": offered, "redirect": redirect}
            yield self._check("registration/none", **words)
            yield from self._authentication(server)
            return
        method, clients = self.method, Registrations(config, self.store, self.http)
        redirect = redirects.address(config, redirects.expected(config), server, method)
        known = method == "dcr" and clients.knows(server, redirect)
        document: dict[str, Any] = {}
        if method == "dcr":
            kind = first_of(unsaid=not server.url, known=known, dcr=True)
            yield self._check(f"registration/{kind}")
        else:
            document = yield from self._given_client(clients, method, server)
        yield from self._authentication(server)
        if method == "cimd" and not document:
            return
        listed = document.get("redirect_uris")
        uris = [u for u in listed if isinstance(u, str)] if isinstance(listed, list) else []
        kind = first_of(
            listed=method == "cimd" and redirect in uris,
            port_differs=_PORT.sub(r"\1", redirect) in [_PORT.sub(r"\1", uri) for uri in uris],
            unlisted=method == "cimd",
            registered=known,
            unsaid=method == "dcr",
            port=redirects.port_of(config) == 0,
            unknown=True,
        )
        words = {"redirect": redirect, "issuer": server.issuer, "usual": DEFAULT_PORT}
        yield self._check(f"redirect/{kind}", **words)

    def _given_client(
        self, clients: Registrations, method: RegistrationMethod, server: AuthorizationServer
    ) -> Generator[Check, None, dict[str, Any]]:
        """Check a client that the person gave: by its id, or by a metadata document.

        Returns:
            The metadata document, if there is one and it can be used.
        """
        try:
            # For these two methods nothing is requested and nothing written.
            clients.obtain(method, server, None, wanted=(), bound=(), keep=False)
        except errors.McpnbError as error:
            kind = first_of(address=isinstance(error, errors.ConfigError), issuer=True)
            yield self._check(f"registration/{kind}", error=error)
            return {}
        if method == "preregistered":
            yield self._check(f"registration/{method}")
            return {}
        url = str(self.config.client_metadata_url)
        document, why = None, "no metadata"
        try:
            document = document_in(self.http.get(url), url)
        except errors.ServerError as error:
            why = str(error)
        if document is None:
            yield self._check("registration/unreadable", error=why)
            return {}
        said = document.get("client_id")
        kind = first_of(cimd=said == url, another=True)
        yield self._check(f"registration/{kind}", document=url, said=said)
        return document if said == url else {}

    def _authentication(self, server: AuthorizationServer) -> Iterator[Check]:
        if not server.url:
            return
        offered = server.token_auth_methods
        usable = [method for method in offered or () if method in _AUTH_METHODS]
        public = offered is None or "none" in offered
        kind = first_of(
            unsaid=offered is None,
            none=not usable,
            secret=not public
            and self.method == "preregistered"
            and self.config.client_secret is None,
            document=not public and self.method == "cimd",
        )
        shown = usable if kind == "ok" else (offered or ())[:6]
        yield self._check(f"client-auth/{kind}", methods=", ".join(shown) or "nothing")

    # The login

    def login(self, *, asked: bool) -> Check:
        """Read the login, if one can be read.

        Args:
            asked: Whether the server is asked if it still accepts it; if not, the check says so.
        """
        key, self.record = login_key(self.config.name_in_store, self.config.account), None
        if (header := self.config.authorization) is not None:  # not read
            variable = header.variable or "the configured headers"
            unset = header.variable is not None and not os.environ.get(variable, "").strip()
            kind = first_of(variable=unset, configured=True)
            return self._check(f"login/{kind}", asked="your configuration", variable=variable)
        try:
            stored = self.store.read(key)
            record = LoginRecord.from_dict(stored) if stored else None
            where = self.store.location(key)
        except errors.McpnbError as error:  # a malformed MCPNB_STORE_KEY is no StoreError
            kind = first_of(locked=isinstance(error, errors.StoreLocked), unreadable=True)
            return self._check(f"login/{kind}", error=error)
        if record is None:
            return self._check("login/nobody")
        self.record = record
        ends, refreshes = record.tokens.expires_at, record.tokens.refresh_token is not None
        until = "Valid until the server says otherwise"
        if ends is not None:
            renewal = "refreshes itself" if refreshes else "cannot be refreshed"
            until = f"Valid until {date(ends)}, {renewal}"
        over, failure = ends is not None and ends <= time.time(), record.refresh_failure
        self._ended = over and failure is not None and failure.kind == "ended"
        kind = first_of(
            # The refresh token of an ended login is removed from the store.
            ended=self._ended,
            stale=over and refreshes,
            expired=over,
            unasked=not asked and not expired(record),
        )
        words = {"until": until, "expires": date(ends or 0), "failure": _failure(record)}
        since = f"signed in {date(record.signed_in_at)}, {where}"
        return self._check(f"login/{kind}", since=since, name=self._named, **words)

    def secrets(self) -> list[str]:
        """Return the secrets of the stored login."""
        if self.record is None:
            return []
        held = self.record.tokens
        found = (held.access_token, held.refresh_token, self.record.registration.client_secret)
        return [secret.reveal() for secret in found if secret is not None]

    @property
    def _named(self) -> str:
        """The login, named to a command without its label: a notebook keeps what it shows."""
        more = " --account LABEL" if self.config.account else ""
        return shlex.quote(redact(self.config.url)) + more

    def stored(self) -> Iterator[Check]:
        """Check what is stored with the login, without using it."""
        if (record := self.record) is None:
            return
        failure, registration = record.refresh_failure, record.registration
        if not self._ended:  # the login's own line says it
            kind = str(failure.kind) if failure else "ok"
            kind = "client" if failure and failure.error == "invalid_client" else kind
            yield self._check(f"renewal/{kind}", failure=_failure(record))
        if registration.client_secret is not None:
            ends = registration.secret_expires_at
            kind = first_of(
                endless=ends is None,
                ok=ends and ends > time.time(),
                own=registration.method == "preregistered",
                registered=True,
            )
            yield self._check(f"client-secret/{kind}", ends=date(ends or 0))
        requested, granted = record.requested_scopes, record.tokens.scopes
        missing = [s for s in requested if s not in granted and s != "offline_access"]
        lists = {"requested": requested or ("nothing",), "granted": granted, "missing": missing}
        words = {name: " ".join(scopes) for name, scopes in lists.items()}
        yield self._check(f"granted/{first_of(unsaid=not granted, less=missing)}", **words)
        yield self._audience(record)
        yield from self._rejections(record)
        if self.authorization is not None:
            issuers = {"old": record.issuer, "new": self.authorization.issuer}
            kind = first_of(other=not same_issuer(*issuers.values()))
            yield self._check(f"login-issuer/{kind}", **issuers)

    def _audience(self, record: LoginRecord) -> Check:
        audience = _claims(record.tokens.access_token).get("aud")
        named = [str(a) for a in (audience if isinstance(audience, list) else [audience])]
        resource, url = record.resource.rstrip("/"), self.config.url
        kind = first_of(
            unsaid=audience is None,
            ok=any(a.rstrip("/") == resource or resource_covers(a, url) for a in named),
            # A server may go by a name that is no address: then only a call tells.
            other=any("://" in a for a in named),
            name=True,
        )
        shown = ", ".join(quote(a, 200) for a in named[:5])
        return self._check(f"audience/{kind}", audience=shown, resource=record.resource)

    def _rejections(self, record: LoginRecord) -> Iterator[Check]:
        supported = self._resource.scopes_supported if self._resource else ()
        wanted = (self._challenge.scopes if self._challenge else None) or supported
        held = record.tokens.scopes or record.requested_scopes
        lacking = [s for s in wanted if held and s not in held]
        words = {
            "more": f"Ask for more: sign in again with {as_option(lacking)}. " if lacking else "",
            "vain": date(record.refresh_failed_at),
            "rejected": date(record.rejected_at or 0),
        }
        in_vain = record.refresh_failed_at > time.time() - _LATELY
        once = record.rejected_at is not None
        kind = first_of(scope=in_vain and lacking, vain=in_vain, once=once)
        if kind != "ok":
            yield self._check(f"rejections/{kind}", **words)

    # A call

    def call(self, *, new: bool = False) -> Check:
        """List the server's tools with the stored token, to see whether it is accepted.

        Nothing is refreshed for it, and an expired token is not sent: some servers end a login when
        an expired token is merely presented (measured).

        Args:
            new: Whether it was granted a moment ago: only its contents can be wrong then.
        """
        if self.config.authorization is not None:
            return self._check("call/configured")
        if (record := self.record) is None or expired(record):
            return self._check("call/nobody" if record is None else "call/expired")
        body, headers = mcp_request("tools/list")
        # To the address that the login is for; no redirect is followed.
        headers["Authorization"] = f"Bearer {record.tokens.access_token.reveal()}"
        try:
            url = self.config.url
            answer = self.http.send("POST", url, headers=headers, content=body, head_only=True)
        except errors.ServerError as error:
            return self._check("call/unanswered", error=error)
        status = answer.status
        if status not in (401, 403):
            # Older servers want a handshake first, and say so.
            kind = first_of(unsaid=status >= 500 or 300 <= status < 400)
            return self._check(f"call/{kind}", status=status)
        challenge = bearer_challenge(answer.challenges)
        error_code = (challenge.error if challenge else None) or ""
        wanted = (challenge.scopes if challenge else None) or ()
        missing = [s for s in wanted if s not in (record.tokens.scopes or record.requested_scopes)]
        refusal = (
            f"HTTP {status} {quote(error_code, 60) if error_code else 'without an error code'}"
        )
        refusal += f", it requires the scope {quote(' '.join(wanted))}" if wanted else ""
        add = f"Sign in again with {as_option(missing or wanted)}."
        if not wanted:
            add = "Sign in again with more scopes; the server does not name them."
        elif status == 403 and covers(record.requested_scopes, wanted):
            add = "You requested it at the sign-in: ask whether your account may have it."
        lacks_scope = error_code == "insufficient_scope"
        kind = first_of(
            more=status == 403 and lacks_scope,
            account=status == 403,
            scope=lacks_scope or missing,
            new=new,
            refused=True,
        )
        return self._check(f"call/{kind}", refusal=refusal, add=add, resource=record.resource)


def _difference(said: object, expected: str) -> str:
    """Return in what two addresses differ, where that is easily overlooked."""
    for words, part in _ALIKE.items():
        if re.sub(part, "", str(said)) == re.sub(part, "", expected):
            return words
    return ""


def _failure(record: LoginRecord) -> str:
    failure = record.refresh_failure
    return f"{failure.message or 'without a reason'} ({date(failure.at)})" if failure else ""


def _claims(token: Secret) -> dict[str, Any]:
    """Read a JWT's claims for display; nothing depends on them, so nothing is verified."""
    _, _, rest = token.reveal().partition(".")
    body, _, _ = rest.partition(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
