"""Discover how to sign in to a server: what it and its issuer announce (RFC 9728, RFC 8414)."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mcpnb.errors import (
    DiscoveryError,
    McpnbError,
    ProtocolError,
    ServerError,
    ServerUnreachable,
)
from mcpnb.oauth.challenge import Challenge, bearer_challenge
from mcpnb.oauth.http import Http, Response
from mcpnb.oauth.metadata import (
    authorization_server,
    authorization_server_urls,
    legacy_endpoints,
    protected_resource,
    protected_resource_urls,
    require_pkce,
)
from mcpnb.oauth.models import (
    AuthorizationServer,
    Discovery,
    ProtectedResource,
    ServerConfig,
    Step,
)
from mcpnb.oauth.urls import canonical_server, require_endpoint, same_issuer
from mcpnb.text import quote

_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "mcpnb", "version": "1"},
}
# Members of authorization-server metadata that can be refused, and can be absent.
_OPTIONAL = (
    *("registration_endpoint", "revocation_endpoint", "device_authorization_endpoint"),
    *("scopes_supported", "code_challenge_methods_supported"),
    "token_endpoint_auth_methods_supported",
)
_BUSY = (429, 502, 503, 504)
_ASK_AGAIN_WITH_GET = (404, 405, 406, 415, 501)


Document = dict[str, Any]
T = TypeVar("T", AuthorizationServer, ProtectedResource)


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
        self.sink = sink
        self.problem: McpnbError | None = None
        """The first defect that was tolerated."""
        self.refused: dict[str, tuple[str, Document]] = {}
        """By issuer, the first document that was not used, and its address."""

    def note(self, request: str, response: str, rule: str) -> None:
        self.steps.append(Step(request, response, rule))

    def tell(self, kind: str, request: str, read: Any, document: Document | None = None) -> None:
        if self.sink is not None:
            self.sink(Finding(kind, request, read, document))

    def pass_by(self, what: str, how: str, error: McpnbError, rule: str) -> None:
        self.note(what, f"{how}: {error}", rule)
        if self.sink is not None:
            self.sink(Finding("passed-by", what, error=error))

    def defect(self, kind: str, request: str, error: McpnbError, member: str = "") -> None:
        """Report a defect; without a sink, raise it."""
        if self.sink is None:
            raise error
        self.problem = self.problem or error
        self.sink(Finding(kind, request, error=error, member=member))

    @contextlib.contextmanager
    def tolerating(self, kind: str, request: str, member: str = "") -> Iterator[None]:
        """Report what is raised as a defect, and continue; without a sink, let it out."""
        try:
            yield
        except ServerError as error:
            self.defect(kind, request, error, member)

    def each_member(
        self,
        kind: str,
        request: str,
        read: Callable[[Document], T],
        document: Document,
        sound: Document,
    ) -> T:
        """Read a document. With a sink, each of its members alone, so that none hides the next.

        `sound` has values that `read` accepts, for all members that it can refuse.
        """
        if self.sink is None:
            return read(document)
        usable = dict(document)
        for name, value in sound.items():
            with self.tolerating(kind, request, name):
                read({**sound, name: document.get(name)})
                continue
            usable[name] = value
        return read(usable)


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

    Args:
        config: The server, and what the person configured for it.
        http: Carries the requests.
        findings: Told of everything that is read or refused. With it, discovery continues after a
            defect where it can, and raises the first one at the end.

    Raises:
        ServerUnreachable: It does not respond.
        DiscoveryError: It is no MCP server, or its metadata cannot be used.
        ProtocolError: Its metadata breaks a rule.
    """
    server, trail = canonical_server(config.url), _Trail(findings)
    first = _asked_without_token(server, http, trail)
    challenge = bearer_challenge(first.challenges)
    trail.tell("challenge", f"POST {server}", challenge)
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
    response = http.probe("POST", server, content=content, headers=headers)
    trail.note(
        f"POST {server}", f"HTTP {response.status}", "without a token, to hear what it asks for"
    )
    if response.status in _ASK_AGAIN_WITH_GET:
        # Servers of the HTTP+SSE transport take POSTs at another address only.
        response = http.probe("GET", server, headers={"Accept": "text/event-stream"})
        trail.note(
            f"GET {server}", f"HTTP {response.status}", "older servers (HTTP+SSE) respond to a GET"
        )
    trail.tell("server", f"POST {server}", response)
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
            found = trail.each_member(
                "resource-metadata",
                f"GET {url}",
                functools.partial(protected_resource, server=server, url=url),
                document,
                {"resource": server, "authorization_servers": None, "scopes_supported": None},
            )
            trail.note(url, f"resource {found.resource}", "RFC 9728 section 3.3")
            trail.tell("resource-metadata", f"GET {url}", found, document)
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
        # Not the same as absent: the next candidate, or none, could be somebody else's.
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
    if resource is None or not resource.authorization_servers:
        return _legacy(config, server, http, trail)
    issuers = list(resource.authorization_servers)
    if config.issuer is not None:
        wanted = config.issuer
        # threat: issuer-not-named
        issuers = [i for i in issuers if same_issuer(i, wanted)]
        if not issuers:
            moved = _not_named(server, wanted, resource.authorization_servers)
            trail.defect("credentials", f"GET {resource.url}", moved)
            issuers = list(resource.authorization_servers)
    problem: McpnbError | None = None
    # threat: flood-of-authorization-servers
    for issuer in issuers[:5]:
        try:
            return _issuer(config, issuer, http, trail)
        except (DiscoveryError, ProtocolError, ServerUnreachable) as error:
            # RFC 9728 section 7.6 leaves the choice to the client: the first that can be used.
            trail.pass_by(issuer, "not usable", error, "RFC 9728 section 7.6")
            problem = problem or error
    if trail.sink is not None and issuers[0] in trail.refused:
        url, document = trail.refused[issuers[0]]
        return _server(config, document, issuers[0], url, trail)
    absent = problem or DiscoveryError(f"{quote(server)} names no authorization server.")
    trail.defect("authorization-server", f"authorization server {issuers[0]}", absent)
    return None


def _server(
    config: ServerConfig, document: Document, issuer: str, url: str, trail: _Trail
) -> AuthorizationServer:
    """Read the only document there is: with a sink for findings, as far as it can be read."""
    kind, request = "authorization-server", f"GET {url}"
    read = functools.partial(authorization_server, issuer=issuer, url=url)
    required = dict.fromkeys(("issuer", "authorization_endpoint", "token_endpoint"), issuer)
    sound = {**required, **dict.fromkeys(_OPTIONAL)}
    found = trail.each_member(kind, request, read, document, sound)
    with trail.tolerating(kind, request, "code_challenge_methods_supported"):
        # threat: pkce-downgrade-to-an-older-server
        require_pkce(found, allow_missing=config.allow_missing_pkce)
    trail.tell(kind, request, found, document)
    return found


def _not_named(server: str, wanted: str, named: Sequence[str]) -> DiscoveryError:
    return DiscoveryError(
        f"{quote(server)} no longer names {quote(wanted)} as its authorization server, "
        f"but {', '.join(quote(i) for i in named[:3])}. "
        "Credentials are not sent to another one."
    )


def _issuer(config: ServerConfig, issuer: str, http: Http, trail: _Trail) -> AuthorizationServer:
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
        document = None
        try:
            document = _document(url, http, trail, "RFC 8414 section 3.1; OIDC Discovery section 4")
            if document is None:
                continue
            found = authorization_server(document, issuer=issuer, url=url)
            require_pkce(found, allow_missing=config.allow_missing_pkce)
        except (DiscoveryError, ProtocolError) as error:
            rule = getattr(error, "rule", "RFC 8414 section 3.2")
            trail.pass_by(url, "not used", error, rule)
            problem = problem or error
            if document is not None:
                trail.refused.setdefault(issuer, (url, document))
        else:
            trail.tell("authorization-server", f"GET {url}", found, document)
            return found
    raise problem or DiscoveryError(
        f"The authorization server {quote(issuer)} has no metadata at any of its well-known "
        "addresses. Its operator has to put them there."
    )


def _legacy(config: ServerConfig, server: str, http: Http, trail: _Trail) -> AuthorizationServer:
    """Take the server's own origin, as the specification of 2025-03-26 had it."""
    issuer, authorize, token, register = legacy_endpoints(server)
    with trail.tolerating("credentials", f"POST {server}"):
        # threat: issuer-not-named
        if config.issuer is not None and not same_issuer(issuer, config.issuer):
            raise _not_named(server, config.issuer, [issuer])
    rule = "specification 2025-03-26: the server's origin is its authorization server"
    for url in authorization_server_urls(issuer):
        document = None
        with trail.tolerating("authorization-server", f"GET {url}"):
            document = _document(url, http, trail, rule)
        if document is not None:
            return _server(config, document, issuer, url, trail)
    trail.note(issuer, "no metadata: default endpoints", rule)
    found = AuthorizationServer(
        issuer=issuer,
        authorization_endpoint=authorize,
        token_endpoint=token,
        registration_endpoint=register,
        code_challenge_methods=("S256",),
    )
    trail.tell("authorization-server", f"authorization server {issuer}", found)
    return found
