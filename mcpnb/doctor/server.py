"""What is wrong with a server: its address, discovery, metadata, registration, login and calls."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from mcpnb.doctor.machine import callback_port, clock_ahead, unreachable
from mcpnb.doctor.report import Check, check, date
from mcpnb.errors import (
    ClientIdRequired,
    ConfigError,
    McpnbError,
    ServerError,
    ServerUnreachable,
    StoreLocked,
)
from mcpnb.login import redirects
from mcpnb.login.clients import Registrations
from mcpnb.login.loopback import DEFAULT_PORT
from mcpnb.oauth import registration as registering
from mcpnb.oauth.challenge import Challenge, bearer_challenge
from mcpnb.oauth.credentials import LoginRecord, Registration, RegistrationMethod, from_json
from mcpnb.oauth.discovery import Finding, discover, document_in, mcp_request
from mcpnb.oauth.http import Exchange, Http, Response
from mcpnb.oauth.models import (
    AuthorizationServer,
    Discovery,
    Header,
    ProtectedResource,
    Secret,
    ServerConfig,
)
from mcpnb.oauth.scopes import as_option, chosen, covers
from mcpnb.oauth.urls import (
    canonical_server,
    is_loopback_host,
    legacy_endpoints,
    origin_of,
    protected_resource_urls,
    resource_covers,
    same_issuer,
)
from mcpnb.storage import RecordName, TokenStore
from mcpnb.text import quote, redact, sanitize
from mcpnb.tokens.record import expired, login_key
from mcpnb.tokens.static import helper_of

_AUTH_METHODS = {"none", "client_secret_basic", "client_secret_post"}
_PKCE = "code_challenge_methods_supported"
_ENDPOINTS = ("authorization", "token", "registration", "revocation", "device_authorization")
_LATELY = 7 * 86_400.0
"""Seconds in which a refused token is worth telling of."""


def address(server: str) -> Check:
    """Check the address alone; nobody is contacted."""
    shown = shown_address(server)
    try:
        parts = urlsplit(canonical := canonical_server(server))
    except ConfigError as error:
        return check("address/unusable", shown=shown, error=error)
    secure = "https" if parts.scheme == "https" else f"http on loopback ({parts.hostname})"
    return check("address/ok", shown=shown, server=canonical, secure=secure)


def shown_address(server: str) -> str:
    """Return an address without the password that it may hold."""
    try:
        parts = urlsplit(server.strip())
    except ValueError:
        return "an address that cannot be read"
    own, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"…@{host}").geturl() if at and own else server


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
        names = ", ".join(sanitize(name, 80) for name in helper.printed().headers) or "no header"
    except ConfigError as error:
        return [check("headers/fails", source=source, error=error)], config
    token, variable = helper.printed().authorization, config.bearer_token_env_var
    kind = "ok" if token is None else "token" if variable is None else "second"
    if kind == "token":
        kept = tuple(h for h in config.headers if h.name.lower() != "authorization")
        config = replace(config, headers=(*kept, Header("Authorization", value=token)))
    return [check(f"headers/{kind}", source=source, names=names, variable=variable)], config


class Server:
    """One server: what discovery read of it and what it refused, and the login that is stored."""

    def __init__(self, config: ServerConfig, store: TokenStore) -> None:
        """Run discovery, which continues after a defect where it can, and read the login.

        Args:
            config: The server, by its canonical URL.
            store: Where its login is stored; only read.
        """
        self.config = config
        self.store = store
        self.skews: dict[str, float] = {}
        """By host, how many seconds its clock is ahead of this machine's."""
        self.http = Http(config.url, allow_private=config.allow_private_network, seen=self._see)
        self.found: Discovery | None = None
        self.failure: McpnbError | None = None
        self._findings: list[Finding] = []
        try:
            self.found = discover(config, self.http, self._findings.append)
        except McpnbError as error:
            self.failure = error
        read: dict[str, Any] = {f.kind: f.read for f in self._findings if f.read is not None}
        self.first: Response | None = read.get("server")
        """Its response to a request without a token."""
        self._challenge: Challenge | None = read.get("challenge")
        self._resource: ProtectedResource | None = read.get("resource-metadata")
        self.authorization: AuthorizationServer | None = read.get("authorization-server")
        """Its authorization server, as far as the metadata can be read."""
        self.method: RegistrationMethod | None = None
        """How mcpnb becomes a client, once `sign_in` found that out."""
        self.record: LoginRecord | None = None
        """The stored login, once `login` read it."""

    def _see(self, exchange: Exchange) -> None:
        if exchange.response and (ahead := clock_ahead(exchange.response)) is not None:
            self.skews.setdefault(urlsplit(exchange.url).netloc, ahead)

    def _check(self, finding: str, **words: Any) -> Check:
        return check(finding, server=self.config.url, **words)

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
        yield address(self.config.url)
        if self.first is None:
            yield unreachable(self.failure, server=self.config.url)
            return
        yield self._check("reach/ok", status=self.first.status)
        # What is not among the findings ended discovery at the server's own address.
        if self.failure is not None and all(f.error is not self.failure for f in self._findings):
            status = self.first.status
            kind = "fails" if status >= 500 else "redirects" if 300 <= status < 400 else "other"
            yield self._check(f"server/{kind}", error=self.failure)
            return
        yield from self._first_response(self.first)
        if self.config.authorization is not None:
            return  # a configured token replaces a sign-in
        yield from self._resource_metadata()
        if self.needs_no_sign_in:
            return
        yield from self._authorization_server()
        if self.authorization is not None and self.authorization.url:
            yield from self._announced(self.authorization)
        if self.authorization is not None:
            yield from self._client(self.authorization)

    def _first_response(self, first: Response) -> Iterator[Check]:
        words = {"status": first.status}
        if first.status not in (401, 403):
            yield self._check(f"server/{'open' if self.needs_no_sign_in else 'tells'}", **words)
            return
        yield self._check("server/asks", **words)
        if (challenge := self._challenge) is None:
            what = "another scheme than Bearer" if first.challenges else "no WWW-Authenticate"
            yield self._check("challenge/none", what=what, **words)
            return
        named = challenge.params.get("resource_metadata", "its well-known address")
        scope = " ".join(challenge.scopes or ()) or "not named"
        yield self._check("challenge/ok", named=named, scope=scope)

    def _resource_metadata(self) -> Iterator[Check]:
        url, resource, own = self.config.url, self._resource, self.config.resource
        said = self._document("resource-metadata").get("resource")
        named = self._challenge and self._challenge.params.get("resource_metadata")
        older = self.authorization is not None and self.authorization.url
        words: dict[str, Any] = {
            "url": resource.url if resource else protected_resource_urls(url)[0],
            "named": named,
            "said": said,
            "own": own,
            "difference": _difference(said, url),
        }
        kind = "ok"
        members = ("", "authorization_servers", "scopes_supported")
        if refused := self._refused("resource-metadata", *members):
            kind = "unusable"
        elif resource is None and self.first is not None and self.first.status not in (401, 403):
            kind = "open"
        elif resource is None:
            kind = "older" if older else "none"
        elif named is not None and named != resource.url:
            kind = "elsewhere"
        elif origin_of(resource.url) != origin_of(url):
            kind = "away"
        yield self._check(f"resource-metadata/{kind}", error=refused, **words)
        if resource is None:
            return
        kind = "ok"
        if refused := self._refused("resource-metadata", "resource"):
            kind = "other" if isinstance(said, str) and said else "missing"
        elif own not in (None, said):
            kind = "own" if resource_covers(str(own), url) else "configured"
        elif canonical_server(str(said)) != url:
            kind = "inexact"
        yield self._check(f"resource/{kind}", error=refused, **words)

    def _authorization_server(self) -> Iterator[Check]:
        name, server, kind = "authorization-server", self.authorization, "ok"
        error = next((f for f in self._findings if f.kind == name and f.error), None)
        members = ("", "scopes_supported", "token_endpoint_auth_methods_supported")
        others = [f"{quote(f.request)}: {f.error}" for f in self._findings if f.kind == "passed-by"]
        if error is not None and isinstance(error.error, ServerUnreachable):
            yield unreachable(error.error, of=name, asked=error.request)
            return
        if refused := self._refused(name, *members):
            kind = "unusable"
        elif server is None or not server.url:
            kind = "older"
        elif self.failure is None and others:
            kind = "others"
        elif self._resource is not None and not self._resource.authorization_servers:
            unusable = self._refused("resource-metadata", "authorization_servers")
            kind = "ok" if unusable else "unnamed"
        asked = error.request if error is not None and refused else ""
        at = (server.url or server.issuer) if server is not None else ""
        words = {"asked": asked, "at": at, "others": "; ".join(others[:3])}
        yield self._check(f"{name}/{kind}", error=refused, **words)

    def _announced(self, server: AuthorizationServer) -> Iterator[Check]:
        """Check the members of the authorization server's metadata."""
        source, document = "authorization-server", self._document("authorization-server")
        said, kind, at = document.get("issuer"), "ok", server.url
        named = self._resource.authorization_servers if self._resource else ()
        named = named or legacy_endpoints(self.config.url)[:1]
        # Of several, the one whose metadata this is.
        expected = next((i for i in named if same_issuer(i, server.issuer)), server.issuer)
        if refused := self._refused(source, "issuer"):
            kind = "other" if said else "none"
        elif said != expected:
            kind = "slash"
        difference = _difference(said, expected)
        words = {"issuer": said, "expected": expected, "difference": difference}
        yield self._check(f"issuer/{kind}", error=refused, at=at, **words)
        refused = self._refused(source, *(f"{name}_endpoint" for name in _ENDPOINTS))
        yield self._check(f"endpoints/{'unusable' if refused else 'ok'}", error=refused, at=at)
        methods = server.code_challenge_methods
        refused = self._refused(source, _PKCE)
        kind = "refused" if refused else "allowed" if methods is None else "ok"
        yield self._check(f"pkce/{kind}", error=refused, methods=", ".join((methods or ())[:5]))
        yield self._check(f"iss/{'ok' if server.iss_in_response else 'none'}")
        grants, responses = (document.get(f"{n}_types_supported") for n in ("grant", "response"))
        if isinstance(responses, list | str) and "code" not in responses:
            yield self._check("grants/response")
        elif not isinstance(grants, list | str):
            yield self._check("grants/unsaid")
        elif "authorization_code" not in grants:
            yield self._check("grants/code")
        else:
            yield self._check(f"grants/{'ok' if 'refresh_token' in grants else 'refresh'}")
        yield self._check(f"revocation/{'ok' if document.get('revocation_endpoint') else 'none'}")
        challenged = self._challenge.scopes if self._challenge else None
        supported = self._resource.scopes_supported if self._resource else ()
        scopes, discovered = chosen(self.config.scopes, challenged, supported, server)
        whose = "as the server announces" if discovered else "as you configured"
        kind = "ok" if scopes else "none"
        yield self._check(f"scopes/{kind}", scopes=" ".join(scopes), whose=whose)

    # The client

    def _client(self, server: AuthorizationServer) -> Iterator[Check]:
        config, refused = self.config, self._refused("credentials")
        if refused:  # every sign-in fails here, whatever way there is to a client id
            yield self._check("registration/issuer", error=refused)
            yield from self._authentication(server)
            return
        try:
            method = registering.choose(config, server, redirect_known=True)
        except ClientIdRequired as error:
            offers = ["client metadata documents"] * server.client_id_metadata
            offers += ["dynamic registration"] * (server.registration_endpoint is not None)
            offered = ", ".join(offers) or "no way to register"
            redirect = registering.LOOPBACK_REDIRECTS[0]
            words = {"error": error, "offers": offered, "redirect": redirect}
            yield self._check("registration/none", **words)
            yield from self._authentication(server)
            return
        self.method = method
        redirect = redirects.address(config, redirects.expected(config), server, method)
        known, kind = self._is_registered(server, redirect), str(method)
        if method == "dcr":
            kind = "unsaid" if not server.url else "known" if known else "dcr"
        else:
            try:
                # For these two methods nothing is requested and nothing written.
                Registrations(config, self.store, self.http).obtain(
                    method, server, redirect, wanted=(), bound=(), keep=False
                )
            except McpnbError as error:
                refused = str(error)
                kind = "address" if isinstance(error, ConfigError) else "issuer"
        yield self._check(f"registration/{kind}", error=refused)
        yield from self._authentication(server)
        if method == "cimd":
            yield from self._client_document(redirect)
            return
        kind = "registered" if known else "unsaid" if method == "dcr" else "unknown"
        if kind == "unknown" and callback_port(config) == 0 and not config.callback_url:
            kind = "port"
        words = {"redirect": redirect, "issuer": server.issuer, "usual": str(DEFAULT_PORT)}
        yield self._check(f"redirect/{kind}", **words)

    def _is_registered(self, server: AuthorizationServer, redirect: str) -> bool:
        """Whether a dynamic registration of this redirect address is stored."""
        name = Registration(server.issuer, "", "dcr", redirect_uri=redirect).name
        try:
            stored = self.store.read(RecordName("client", name))
            return stored is not None and bool(from_json(Registration, stored))
        except (McpnbError, KeyError, TypeError):
            return False  # mcpnb would register again

    def _authentication(self, server: AuthorizationServer) -> Iterator[Check]:
        offered, kind = server.token_auth_methods, "ok"
        if not server.url:
            return
        methods = ", ".join((offered or ())[:6]) or "nothing"
        own = self.method == "preregistered" and self.config.client_secret is None
        if offered is None:
            kind = "unsaid"
        elif not _AUTH_METHODS & set(offered):
            kind = "none"
        elif "none" not in offered and (own or self.method == "cimd"):
            kind = "secret" if own else "document"
        else:
            methods = ", ".join(m for m in offered if m in _AUTH_METHODS)
        yield self._check(f"client-auth/{kind}", methods=methods)

    def _client_document(self, redirect: str) -> Iterator[Check]:
        """Check the client metadata document that the person hosts."""
        url, document, error = str(self.config.client_metadata_url), None, "no metadata"
        try:
            document = document_in(self.http.get(url), url)
        except ServerError as failure:
            error = str(failure)
        said = document.get("client_id") if document is not None else None
        kind = "unreadable" if document is None else "ok" if said == url else "other"
        yield self._check(f"client-document/{kind}", document=url, error=error, said=said)
        if document is None or kind != "ok":
            return
        listed, kind = document.get("redirect_uris"), "unlisted"
        uris = [u for u in listed if isinstance(u, str)] if isinstance(listed, list) else []
        if redirect in uris:
            kind = "listed"
        elif any(_is_other_port(redirect, uri) for uri in uris):
            kind = "other-port"
        yield self._check(f"redirect/{kind}", asked=f"GET {url}", redirect=redirect)

    # The login

    def login(self, *, asked: bool) -> Check:
        """Read the login, if one can be read.

        Args:
            asked: Whether the server is asked if it still accepts it; if not, the check says so.
        """
        key, self.record = login_key(self.config.name_in_store, self.config.account), None
        if (header := self.config.authorization) is not None:  # not read
            variable = header.variable or "the configured headers"
            there = header.variable is None or os.environ.get(variable, "").strip()
            kind, where = ("configured" if there else "variable"), "your configuration"
            return self._check(f"login/{kind}", asked=where, variable=variable)
        try:
            stored = self.store.read(key)
            record = LoginRecord.from_dict(stored) if stored else None
            where = self.store.location(key)
        except McpnbError as error:  # a malformed MCPNB_STORE_KEY is no StoreError
            locked = isinstance(error, StoreLocked)
            return self._check(f"login/{'locked' if locked else 'unreadable'}", error=error)
        if record is None:
            return self._check("login/nobody")
        self.record = record
        ends, refreshes = record.tokens.expires_at, record.tokens.refresh_token is not None
        failure = _failure(record)
        until, kind = "Valid until the server says otherwise", "ok" if asked else "unasked"
        if ends is not None:
            renewal = "refreshes itself" if refreshes else "cannot be refreshed"
            until = f"Valid until {date(ends)}, {renewal}"
        if ends is not None and ends <= time.time():
            # The refresh token of an ended login is removed from the store.
            kind = "ended" if self._has_ended() else "stale" if refreshes else "expired"
        elif expired(record):
            kind = "ok"
        words = {"until": until, "expires": date(ends or 0), "failure": failure}
        since = f"signed in {date(record.signed_in_at)}, {where}"
        named = self._named
        return self._check(f"login/{kind}", since=since, name=named, again=self._again, **words)

    @property
    def _named(self) -> str:
        """The login, named to a command without its label: a notebook keeps what it shows."""
        more = " --account LABEL" if self.config.account else ""
        return shlex.quote(redact(self.config.url)) + more

    @property
    def _again(self) -> str:
        return f"Sign in again: mcpnb login {self._named}, or session.login()."

    def _has_ended(self) -> bool:
        """Whether the server ended the login, and its token cannot be used any more."""
        failure = self.record.refresh_failure if self.record else None
        ends = self.record.tokens.expires_at if self.record else None
        over = ends is not None and ends <= time.time()
        return over and failure is not None and failure.kind == "ended"

    def stored(self) -> Iterator[Check]:
        """Check what is stored with the login, without using it."""
        if (record := self.record) is None:
            return
        words = {"again": self._again, "failure": _failure(record)}
        failure, registration = record.refresh_failure, record.registration
        kind = str(failure.kind) if failure else "ok"
        if failure is not None and failure.error == "invalid_client":
            kind = "client"
        if not self._has_ended():  # the login's own line says it
            yield self._check(f"renewal/{kind}", **words)
        if registration.client_secret is not None:
            ends = registration.secret_expires_at
            own = "own" if registration.method == "preregistered" else "registered"
            kind = "endless" if ends is None else "ok" if ends > time.time() else own
            yield self._check(f"client-secret/{kind}", ends=date(ends or 0), **words)
        requested, granted = record.requested_scopes, record.tokens.scopes
        missing = [s for s in requested if s not in granted and s != "offline_access"]
        kind = "unsaid" if not granted else "less" if missing else "ok"
        lists = {"requested": requested or ("nothing",), "granted": granted, "missing": missing}
        yield self._check(f"granted/{kind}", **{n: " ".join(v) for n, v in lists.items()})
        yield self._audience(record)
        yield from self._rejections(record)
        if self.authorization is not None:
            issuers = {"old": record.issuer, "new": self.authorization.issuer}
            kind = "ok" if same_issuer(*issuers.values()) else "other"
            yield self._check(f"login-issuer/{kind}", **issuers, **words)

    def _audience(self, record: LoginRecord) -> Check:
        audience = _claims(record.tokens.access_token).get("aud")
        named = [str(a) for a in (audience if isinstance(audience, list) else [audience])]
        resource, kind = record.resource.rstrip("/"), "name"
        if audience is None:
            kind = "unsaid"
        elif any(a.rstrip("/") == resource or resource_covers(a, self.config.url) for a in named):
            kind = "ok"
        # A server may go by a name that is no address: then only a call tells.
        elif any("://" in a for a in named):
            kind = "other"
        shown = ", ".join(quote(a, 200) for a in named[:5])
        return self._check(f"audience/{kind}", audience=shown, resource=record.resource)

    def _rejections(self, record: LoginRecord) -> Iterator[Check]:
        supported = self._resource.scopes_supported if self._resource else ()
        wanted = (self._challenge.scopes if self._challenge else None) or supported
        held = record.tokens.scopes or record.requested_scopes
        lacking = [s for s in wanted if held and s not in held]
        words = {"option": as_option(lacking), "vain": date(record.refresh_failed_at)}
        if record.refresh_failed_at > time.time() - _LATELY:
            yield self._check(f"rejections/{'scope' if lacking else 'audience'}", **words)
        elif record.rejected_at is not None:
            kind = "lacking" if lacking else "once"
            yield self._check(f"rejections/{kind}", rejected=date(record.rejected_at), **words)

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
        except ServerError as error:
            return self._check("call/unanswered", error=error)
        status, kind = answer.status, "ok"  # older servers want a handshake first, and say so
        if status in (401, 403):
            return self._call_refused(answer, record, new=new)
        if status >= 500 or 300 <= status < 400:
            kind = "unsaid"
        return self._check(f"call/{kind}", status=status)

    def _call_refused(self, answer: Response, record: LoginRecord, *, new: bool) -> Check:
        challenge = bearer_challenge(answer.challenges)
        error = (challenge.error if challenge else None) or ""
        wanted = (challenge.scopes if challenge else None) or ()
        missing = [s for s in wanted if s not in (record.tokens.scopes or record.requested_scopes)]
        refusal = f"HTTP {answer.status} {quote(error, 60) if error else 'without an error code'}"
        refusal += f", it requires the scope {quote(' '.join(wanted))}" if wanted else ""
        add = f"Sign in again with {as_option(missing or wanted)}."
        if not wanted:
            add = "Sign in again with more scopes; the server does not name them."
        elif answer.status == 403 and covers(record.requested_scopes, wanted):
            add = "You requested it at the sign-in: ask whether your account may have it."
        if answer.status == 403:
            kind = "more" if error == "insufficient_scope" else "account"
        elif error == "insufficient_scope" or missing:
            kind = "scope"
        else:
            kind = "new" if new else "refused"
        return self._check(f"call/{kind}", refusal=refusal, add=add, resource=record.resource)


def _difference(said: object, expected: str) -> str:
    """Return in what an address differs from the expected one."""
    text = str(said)
    try:
        theirs, ours = urlsplit(text), urlsplit(expected)
        same = origin_of(text) == origin_of(expected)
        loopback = is_loopback_host(theirs.hostname) and is_loopback_host(ours.hostname)
        if text.rstrip("/") == expected.rstrip("/"):
            return "They differ in a trailing slash."
        if same:
            return "It has another path."
        if theirs.netloc == ours.netloc:
            return "It has http where https is right, or the other way round."
        if loopback and theirs.port == ours.port:
            return "“localhost” and “127.0.0.1” are two names."
    except ValueError:
        return "It is no address."
    return "It is at another origin."


def _is_other_port(redirect: str, uri: str) -> bool:
    own, other = urlsplit(redirect), ("", "", "")
    with contextlib.suppress(ValueError):
        parts = urlsplit(uri)
        other = (parts.scheme, str(parts.hostname), parts.path)
    return is_loopback_host(own.hostname) and other == (own.scheme, own.hostname, own.path)


def _failure(record: LoginRecord) -> str:
    failure = record.refresh_failure
    return f"{failure.message or 'without a reason'} ({date(failure.at)})" if failure else ""


def _claims(token: Secret) -> dict[str, Any]:
    """Read a JWT's claims for display; nothing depends on them, so nothing is verified."""
    parts = token.reveal().split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, binascii.Error, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) and len(parts) == 3 else {}
