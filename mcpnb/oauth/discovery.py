"""Discover how to sign in to a server: what it and its issuer announce (RFC 9728, RFC 8414)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mcpnb.errors import DiscoveryError, McpnbError, ProtocolError, ServerError, ServerUnreachable
from mcpnb.oauth.challenge import Challenge, bearer_challenge
from mcpnb.oauth.http import Http, Response
from mcpnb.oauth.metadata import Defects, Document, authorization_server, protected_resource
from mcpnb.oauth.models import (
    AuthorizationServer,
    Discovery,
    ProtectedResource,
    ServerConfig,
    Step,
)
from mcpnb.oauth.urls import (
    authorization_server_urls,
    canonical_server,
    protected_resource_urls,
    require_endpoint,
    root_of,
    same_issuer,
)
from mcpnb.text import quote

_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "mcpnb", "version": "1"},
}
_BUSY = (429, 502, 503, 504)
_ASK_AGAIN_WITH_GET = (404, 405, 406, 415, 501)


@dataclass(frozen=True, slots=True)
class Finding:
    """What discovery read at one step, or why it refused it: for whoever explains it to a person.

    What was read in spite of a defect is for display only: nobody may sign in with it.
    """

    kind: str
    """``server``, ``challenge``, ``resource-metadata``, ``authorization-server``, ``credentials``
    (configured for another issuer), or ``passed-by`` (a document that was not used)."""
    request: str
    """What was requested, such as ``GET https://...``."""
    read: Response | Challenge | ProtectedResource | AuthorizationServer | None = None
    document: Document | None = None
    """Where `read` came from, as the server sent it."""
    error: McpnbError | None = None
    member: str = ""
    """The member of the document that was refused, if it was one member."""


class _Trail:
    """The steps of one discovery. With a sink for findings, it continues after a defect."""

    def __init__(self, sink: Callable[[Finding], object] | None) -> None:
        self.steps: list[Step] = []
        self.tolerant = sink is not None
        self.tell = sink or (lambda _: None)
        self.problem: McpnbError | None = None
        """The first defect that was tolerated."""
        self.refused: dict[str, tuple[Finding, AuthorizationServer, Defects]] = {}
        """By issuer, the first document that was not used, and why."""

    def note(self, request: str, response: str, rule: str) -> None:
        self.steps.append(Step(request, response, rule))

    def pass_by(self, what: str, how: str, error: McpnbError, rule: str) -> None:
        self.note(what, f"{how}: {error}", rule)
        self.tell(Finding("passed-by", what, error=error))

    def defect(self, kind: str, request: str, error: McpnbError, member: str = "") -> None:
        """Report a defect; without a sink, raise it."""
        if not self.tolerant:
            raise error
        self.problem = self.problem or error
        self.tell(Finding(kind, request, error=error, member=member))

    def defects(self, kind: str, request: str, found: Defects) -> None:
        for member, error in found.items():
            self.defect(kind, request, error, member)

    @contextlib.contextmanager
    def tolerating(self, kind: str, request: str) -> Iterator[None]:
        """Report what is raised as a defect, and continue; without a sink, let it out."""
        try:
            yield
        except ServerError as error:
            self.defect(kind, request, error)


def mcp_request(method: str) -> tuple[str, dict[str, str]]:
    """Return the body and the headers of an MCP request that has no parameters, and no token."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": _META}}
    return json.dumps(body), {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
    }


def discover(
    config: ServerConfig, http: Http, findings: Callable[[Finding], object] | None = None
) -> Discovery:
    """Find the authorization server of one MCP server, and what it requires.

    Nothing is registered and nothing secret is sent. Each document is requested once.

    `findings` is told of everything that is read or refused. With it, discovery continues after a
    defect where it can, and raises the first one at the end.

    Raises:
        ServerUnreachable: It does not respond.
        DiscoveryError: It is no MCP server, or its metadata cannot be used.
        ProtocolError: Its metadata breaks a rule.
    """
    server, trail = canonical_server(config.url), _Trail(findings)
    first = _asked_without_token(server, http, trail)
    challenge = bearer_challenge(first.challenges)
    trail.tell(Finding("challenge", f"POST {server}", challenge))
    resource_metadata = _protected_resource(server, challenge, http, trail)
    resource = config.resource or (resource_metadata.resource if resource_metadata else server)
    authorization = None
    if first.status in (401, 403) or resource_metadata is not None:
        authorization = _authorization(config, server, resource_metadata, http, trail)
    else:
        _require_mcp(server, first)
    if trail.problem is not None:
        raise trail.problem
    return Discovery(
        server=server,
        resource=resource,
        protected_resource=resource_metadata,
        authorization_server=authorization,
        challenged_scopes=challenge.scopes if challenge else None,
        steps=tuple(trail.steps),
    )


def _asked_without_token(server: str, http: Http, trail: _Trail) -> Response:
    # A server of 2026-07-28 answers this without keeping anything, an older one refuses it like any
    # other request. Both say 401 where a sign-in is needed.
    content, headers = mcp_request("server/discover")
    response = http.send("POST", server, content=content, headers=headers, head_only=True)
    rule = "without a token, to hear what it asks for"
    trail.note(f"POST {server}", f"HTTP {response.status}", rule)
    if response.status in _ASK_AGAIN_WITH_GET:
        # Servers of the HTTP+SSE transport take POSTs at another address only.
        response = http.send("GET", server, headers={"Accept": "text/event-stream"}, head_only=True)
        rule = "older servers (HTTP+SSE) respond to a GET"
        trail.note(f"GET {server}", f"HTTP {response.status}", rule)
    trail.tell(Finding("server", f"POST {server}", response))
    if 300 <= response.status < 400:
        raise DiscoveryError(
            f"{quote(server)} redirects to {quote(response.headers.get('location', ''))}; a "
            "redirect is not followed. If that is the server, use its address."
        )
    if response.status >= 500:
        raise DiscoveryError(f"{quote(server)} answered HTTP {response.status}. Try again later.")
    return response


def _require_mcp(server: str, response: Response) -> None:
    """Check that an open server speaks MCP."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status in (404, 405, 410):
        raise DiscoveryError(f"There is no MCP server at {quote(server)} (HTTP {response.status}).")
    if kind not in ("", "application/json", "text/event-stream", "text/plain"):
        raise DiscoveryError(
            f"{quote(server)} is not an MCP server: it answers with {quote(kind, 60)}. "
            "Its address often ends in /mcp or /sse."
        )


def _protected_resource(
    server: str, challenge: Challenge | None, http: Http, trail: _Trail
) -> ProtectedResource | None:
    """Read the document the challenge names, else the one under the path, else the root's.

    Asked for also where the server answered without a token: some servers list their tools to
    anybody and ask for a sign-in only when one is called.
    """
    named = challenge.params.get("resource_metadata") if challenge else None
    urls = protected_resource_urls(server)
    if named:
        with trail.tolerating("resource-metadata", "the challenge's resource_metadata"):
            # threat: metadata-in-the-clear
            require_endpoint(named, "resource_metadata")
            urls = [named, *(u for u in urls if u != named)]
    for url in urls:
        document = None
        with trail.tolerating("resource-metadata", f"GET {url}"):
            document = _document(url, http, trail, "RFC 9728 section 3")
        if document is not None:
            defects: Defects = {}
            found = protected_resource(document, server=server, url=url, defects=defects)
            trail.defects("resource-metadata", f"GET {url}", defects)
            trail.note(url, f"resource {found.resource}", "RFC 9728 section 3.3")
            trail.tell(Finding("resource-metadata", f"GET {url}", found, document))
            return found
    return None


def _document(url: str, http: Http, trail: _Trail, rule: str) -> Document | None:
    response: Response = http.get(url)
    trail.note(f"GET {url}", f"HTTP {response.status}", rule)
    return document_in(response, url)


def document_in(response: Response, url: str) -> Document | None:
    """Return the metadata document of a response, or `None` if there is none at that address.

    Raises:
        DiscoveryError: It is not a document, or the server cannot send it now.
    """
    # threat: metadata-suppressed
    if response.status in _BUSY:
        # Not the same as absent: the next document on a resource could be somebody else's, and an
        # issuer that has none at all may have default endpoints.
        raise DiscoveryError(
            f"{quote(url)} cannot respond now (HTTP {response.status}). Try again in a moment."
        )
    if response.status != 200:
        return None
    document = response.json_object()
    if document is None and "html" not in response.headers.get("content-type", ""):
        response.json()  # raises, saying what it is
        raise DiscoveryError(f"The metadata at {quote(url)} is not a JSON object.")
    return document  # a single-page site answers every address with its page: no document


def _authorization(
    config: ServerConfig,
    server: str,
    resource: ProtectedResource | None,
    http: Http,
    trail: _Trail,
) -> AuthorizationServer | None:
    """Return the first authorization server that can be used (RFC 9728 section 7.6).

    Where none is named, it is the server's own origin, as the specification of 2025-03-26 had it.
    """
    named = list(resource.authorization_servers) if resource else []
    issuers = named or [root_of(server)]
    if (wanted := config.issuer) is not None:
        # threat: issuer-not-named
        ours = [i for i in issuers if same_issuer(i, wanted)]
        if ours:
            issuers = ours
        else:
            moved = DiscoveryError(
                f"{quote(server)} no longer names {quote(wanted)} as its authorization server, "
                f"but {', '.join(quote(i) for i in issuers[:3])}. "
                "Credentials are not sent to another one."
            )
            asked = f"GET {resource.url}" if resource else f"POST {server}"
            trail.defect("credentials", asked, moved)  # raises, unless it is only to be explained
    problem: McpnbError | None = None
    # threat: flood-of-authorization-servers
    for issuer in issuers[:5]:
        try:
            return _issuer(config, issuer, http, trail, named=bool(named))
        except (DiscoveryError, ProtocolError, ServerUnreachable) as error:
            trail.pass_by(issuer, "not usable", error, "RFC 9728 section 7.6")
            problem = problem or error
    if trail.tolerant and issuers[0] in trail.refused:
        finding, found, defects = trail.refused[issuers[0]]
        trail.defects(finding.kind, finding.request, defects)
        trail.tell(finding)
        return found
    absent = problem or DiscoveryError(f"{quote(server)} names no authorization server.")
    trail.defect("authorization-server", f"authorization server {issuers[0]}", absent)
    return None


def _issuer(
    config: ServerConfig, issuer: str, http: Http, trail: _Trail, *, named: bool
) -> AuthorizationServer:
    """Return an authorization server by the first of its documents that can be used.

    One that nobody named may be without any: it has the default endpoints of 2025-03-26 then.
    """
    # threat: metadata-in-the-clear
    require_endpoint(issuer, "authorization server")
    # threat: issuer-with-a-query
    if "?" in issuer or "#" in issuer:
        raise ProtocolError(
            f"The issuer {quote(issuer)} has a query or a fragment, which no issuer has.",
            rule="RFC 8414 section 2",
        )
    problem: McpnbError | None = None
    for url in authorization_server_urls(issuer):
        defects: Defects = {}
        try:
            document = _document(url, http, trail, "RFC 8414 section 3.1; OIDC Discovery section 4")
        except (DiscoveryError, ProtocolError) as error:
            defects[""] = error
        else:
            if document is None:
                continue
            found = authorization_server(
                document,
                issuer=issuer,
                url=url,
                allow_missing_pkce=config.allow_missing_pkce,
                defects=defects,
            )
            finding = Finding("authorization-server", f"GET {url}", found, document)
            if not defects:
                trail.tell(finding)
                return found
            trail.refused.setdefault(issuer, (finding, found, defects))
        first = next(iter(defects.values()))
        trail.pass_by(url, "not used", first, getattr(first, "rule", "RFC 8414 section 3.2"))
        problem = problem or first
    if problem is None and not named:
        return _without_metadata(issuer, trail)
    raise problem or DiscoveryError(
        f"The authorization server {quote(issuer)} has no metadata at any of its well-known "
        "addresses. Its operator has to put them there."
    )


def _without_metadata(issuer: str, trail: _Trail) -> AuthorizationServer:
    trail.note(issuer, "no metadata: default endpoints", "specification 2025-03-26")
    found = AuthorizationServer(
        issuer=issuer,
        authorization_endpoint=f"{issuer}/authorize",
        token_endpoint=f"{issuer}/token",
        registration_endpoint=f"{issuer}/register",
        code_challenge_methods=("S256",),
    )
    trail.tell(Finding("authorization-server", f"authorization server {issuer}", found))
    return found
