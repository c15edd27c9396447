"""Servers that are broken in one way each, and what the doctor says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.people import free_port
from tests.fakes.server import AS_METADATA, PRM, FakeServer
from tests.fakes.wire import Reply, html, redirect

ELSEWHERE = "https://elsewhere.example"
SIDES = {"configuration": "your configuration", "machine": "this machine"}
VERDICTS = {"x": "problem", "!": "warning"}


@dataclass(frozen=True)
class Broken:
    """A defect, and what has to be said of it.

    Attributes:
        expected: ``x`` or ``!``, the check, and who fixes it if that is not the server's operator.
        says: A part of what was found.
        fix: A part of what to do.
        breaks: Makes the defect.
        given: Arguments of `connect`.
        also: What else is not right then.
    """

    expected: str
    says: str
    fix: str
    breaks: Callable[[FakeServer], Any] = lambda _: None
    given: dict[str, Any] | None = None
    also: dict[str, str] | None = None

    @property
    def parts(self) -> tuple[str, str, str]:
        """The check, its verdict, and who fixes it."""
        mark, check, *side = self.expected.split()
        return check, VERDICTS[mark], SIDES[side[0]] if side else "server operator"


def announce(**changes: Any) -> Callable[[FakeServer], None]:
    return lambda fake: fake.announce(**changes)


def describe(**changes: Any) -> Callable[[FakeServer], None]:
    return lambda fake: fake.describe(**changes)


def answer(path: str, reply: Reply) -> Callable[[FakeServer], None]:
    return lambda fake: fake.always(path, reply)


def challenge(named: Any) -> Callable[[FakeServer], None]:
    return lambda fake: setattr(fake, "challenge", named)


def undescribed(fake: FakeServer) -> None:
    fake.resource_metadata = None
    fake.challenge = {}


def nothing_known(fake: FakeServer) -> None:
    undescribed(fake)
    fake.metadata = None


def no_server(fake: FakeServer) -> None:
    nothing_known(fake)
    fake.always("/mcp", html("Welcome"))


def tenant(fake: FakeServer) -> None:
    """Put the authorization server under a path; its metadata names it with a slash."""
    fake.describe(authorization_servers=[f"{fake.base}/tenant"])
    document = (fake.metadata or {}) | {"issuer": f"{fake.base}/tenant/"}
    fake.always(f"{AS_METADATA}/tenant", Reply(200, document))


NO_JSON = Reply(200, b"{", {"Content-Type": "application/json"})
HAND = {"client_id": "mine"}
DOCUMENT = {"client_metadata_url": "https://no-such-host.invalid/client.json"}

BROKEN = {
    # The server
    "a web page": Broken("x server configuration", "not an MCP server", "/mcp", no_server),
    "a redirect": Broken(
        "x server configuration",
        f"{ELSEWHERE}/mcp",
        "If that address is the server",
        answer("/mcp", redirect(f"{ELSEWHERE}/mcp")),
    ),
    "a failure": Broken("x server", "HTTP 500", "later", answer("/mcp", Reply(500, "down"))),
    "no answer": Broken("x reach", "was closed", "broken", answer("/mcp", Reply(drop=True))),
    "a clock that is wrong": Broken(
        "! clock machine", "behind", "NTP", lambda f: setattr(f, "clock_ahead", -300.0)
    ),
    "a 401 without WWW-Authenticate": Broken(
        "! challenge", "no WWW-Authenticate", "Send WWW-Authenticate", challenge(None)
    ),
    # The protected-resource metadata
    "no resource metadata": Broken(
        "! resource-metadata",
        "no protected-resource metadata",
        "“authorization_servers”",
        undescribed,
    ),
    "no metadata at all": Broken(
        "x resource-metadata",
        "and no authorization-server metadata",
        "“authorization_servers”",
        nothing_known,
    ),
    "resource metadata not where it is said to be": Broken(
        "! resource-metadata",
        "/nowhere",
        "resource_metadata",
        lambda f: challenge({"resource_metadata": f"{f.base}/nowhere"})(f),
    ),
    "resource metadata over http": Broken(
        "x resource-metadata",
        "https",
        "https",
        challenge({"resource_metadata": "http://elsewhere.example/x"}),
    ),
    "resource metadata that is no JSON": Broken(
        "x resource-metadata", "where JSON was expected", "JSON object", answer(PRM, NO_JSON)
    ),
    "resource metadata that fails": Broken(
        "x resource-metadata", "503", "JSON object", answer(PRM, Reply(503, "later"))
    ),
    "servers that are no list": Broken(
        "x resource-metadata", "not a list", "JSON object", describe(authorization_servers=[1])
    ),
    "no resource": Broken(
        "x resource", "no “resource”", "Set “resource” to", describe(resource=None)
    ),
    "the resource of another origin": Broken(
        "x resource", ELSEWHERE, "exactly", describe(resource=f"{ELSEWHERE}/mcp")
    ),
    "the resource of localhost": Broken(
        "x resource",
        "two names",
        "exactly",
        lambda f: f.describe(resource=f.url.replace("127.0.0.1", "localhost")),
    ),
    "the resource behind a proxy": Broken(
        "x resource",
        "One begins with http, the other with https.",
        "public address",
        lambda f: f.describe(resource=f.url.replace("http:", "https:")),
    ),
    "another resource of one's own": Broken(
        "! resource configuration",
        "Your configuration sends",
        "Remove oauth_resource",
        given={"resource": f"{ELSEWHERE}/mcp"},
    ),
    "the resource of a parent": Broken(
        "! resource", "not exactly", "exactly", lambda f: f.describe(resource=f.base)
    ),
    # The authorization server
    "an issuer at another origin": Broken(
        "x issuer", ELSEWHERE, "identical", announce(issuer=ELSEWHERE)
    ),
    "another issuer": Broken(
        "x issuer",
        "/other",
        "Set “issuer” to",
        lambda f: f.announce(issuer=f"{f.base}/other"),
    ),
    "an issuer without its slash": Broken(
        "! issuer",
        "trailing slash",
        "identical",
        lambda f: f.describe(authorization_servers=[f"{f.base}/"]),
    ),
    "an issuer with a slash after a path": Broken(
        "x issuer", "They differ in a trailing slash.", "identical", tenant
    ),
    "no issuer": Broken("x issuer", "names no issuer", "Set “issuer” to", announce(issuer=None)),
    "metadata redirected to another origin": Broken(
        "x authorization-server",
        "redirects to",
        "own origin",
        answer(AS_METADATA, redirect(f"{ELSEWHERE}/metadata")),
    ),
    "no authorization server named": Broken(
        "! authorization-server",
        "names no authorization server",
        "“authorization_servers”",
        describe(authorization_servers=None),
    ),
    "no authorization-server metadata": Broken(
        "x authorization-server",
        "no metadata at any",
        "Serve the metadata",
        lambda f: setattr(f, "metadata", None),
    ),
    "an authorization server that is down": Broken(
        "x authorization-server",
        "TCP: the connection was refused",
        "not running",
        lambda f: f.describe(authorization_servers=[f"http://127.0.0.1:{free_port()}"]),
    ),
    "the first of two authorization servers of no use": Broken(
        "! authorization-server",
        "not usable",
        "Correct",
        lambda f: f.describe(authorization_servers=[f"{f.base}/tenant", f.base]),
    ),
    "an authorization server over http": Broken(
        "x authorization-server",
        "has to be an https address",
        "https",
        describe(authorization_servers=["http://elsewhere.example"]),
    ),
    "an endpoint over http": Broken(
        "x endpoints",
        "token_endpoint",
        "https",
        announce(token_endpoint="http://elsewhere.example/token"),
    ),
    "no token endpoint": Broken(
        "x endpoints", "token_endpoint", "token_endpoint", announce(token_endpoint=None)
    ),
    "no PKCE announced": Broken(
        "x pkce",
        "allow_missing_pkce",
        "“code_challenge_methods_supported”: [“S256”]",
        announce(code_challenge_methods_supported=None),
    ),
    "plain PKCE only": Broken(
        "x pkce", "without S256", "S256", announce(code_challenge_methods_supported=["plain"])
    ),
    "no iss announced": Broken(
        "! iss",
        "(mix-up)",
        "“iss”",
        announce(authorization_response_iss_parameter_supported=None),
    ),
    "no response type code": Broken(
        "x grants",
        "“code”",
        "response_types_supported",
        announce(response_types_supported=["token"]),
    ),
    "no refresh tokens": Broken(
        "! grants",
        "sign in again each time",
        "refresh_token",
        announce(grant_types_supported=["authorization_code"]),
    ),
    "no authorization code": Broken(
        "x grants",
        "no sign-in with a browser",
        "authorization_code",
        announce(grant_types_supported=["client_credentials"]),
    ),
    "no revocation": Broken(
        "! revocation", "until they expire", "RFC 7009", announce(revocation_endpoint=None)
    ),
    # The client
    "no registration": Broken(
        "x registration configuration",
        "no way to register",
        "http://127.0.0.1:27182/callback",
        announce(registration_endpoint=None),
    ),
    "metadata documents only": Broken(
        "x registration configuration",
        "client metadata documents",
        "client id",
        announce(registration_endpoint=None, client_id_metadata_document_supported=True),
    ),
    "credentials of another issuer": Broken(
        "x registration configuration",
        "Credentials are not sent",
        "If the server has moved",
        given=HAND | {"issuer": ELSEWHERE, "callback_port": free_port()},
    ),
    "no usable client authentication": Broken(
        "x client-auth",
        "private_key_jwt",
        "none",
        announce(token_endpoint_auth_methods_supported=["private_key_jwt"]),
    ),
    "metadata documents for clients that authenticate": Broken(
        "x client-auth",
        "wants a client that authenticates",
        "metadata document",
        announce(
            client_id_metadata_document_supported=True,
            token_endpoint_auth_methods_supported=["client_secret_basic"],
        ),
        given=DOCUMENT,
        also={"registration": "problem"},
    ),
    "a client secret that is missing": Broken(
        "x client-auth configuration",
        "wants a client that authenticates",
        "client_secret_env_var",
        announce(token_endpoint_auth_methods_supported=["client_secret_basic"]),
        given=HAND,
        also={"redirect": "warning"},
    ),
}
