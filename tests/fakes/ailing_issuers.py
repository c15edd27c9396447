"""Authorization servers that are broken in one way each, and what the doctor says of them."""

from __future__ import annotations

from collections.abc import Callable

from tests.fakes.ailments import CONFIGURATION, ELSEWHERE, Broken
from tests.fakes.people import free_port
from tests.fakes.server import AS_METADATA, FakeServer
from tests.fakes.wire import Reply, redirect

__all__ = ["AUTHORIZATION_SERVERS"]


def tenant(slash: str) -> Callable[[FakeServer], None]:
    """Put the authorization server under a path; its metadata says it with or without slash."""

    def move(fake: FakeServer) -> None:
        fake.describe(authorization_servers=[f"{fake.base}/tenant"])
        document = (fake.metadata or {}) | {"issuer": f"{fake.base}/tenant{slash}"}
        fake.always(f"{AS_METADATA}/tenant", Reply(200, document))

    return move


AUTHORIZATION_SERVERS = {
    "metadata of an issuer at another origin": Broken(
        lambda f: f.announce(issuer=ELSEWHERE), "issuer", "another origin", ELSEWHERE
    ),
    "metadata redirected to another origin": Broken(
        lambda f: f.always(AS_METADATA, redirect(f"{ELSEWHERE}/metadata")),
        "authorization-server",
        "redirects to",
        "own origin",
    ),
    "another issuer": Broken(
        lambda f: f.announce(issuer=f"{f.base}/other"), "issuer", "/other", "Set “issuer” to"
    ),
    "an issuer without its slash": Broken(
        lambda f: f.describe(authorization_servers=[f"{f.base}/"]),
        "issuer",
        "trailing slash",
        "identical",
        verdict="warning",
    ),
    "an issuer with a slash after a path": Broken(
        tenant("/"), "issuer", "trailing slash", "identical"
    ),
    "no issuer": Broken(
        lambda f: f.announce(issuer=None), "issuer", "names no issuer", "Set “issuer” to"
    ),
    "no authorization server named": Broken(
        lambda f: f.describe(authorization_servers=None),
        "authorization-server",
        "names no authorization server",
        "“authorization_servers”",
        verdict="warning",
    ),
    "no authorization-server metadata": Broken(
        lambda f: setattr(f, "metadata", None),
        "authorization-server",
        "no metadata at any",
        "Serve the metadata",
    ),
    "an authorization server that is down": Broken(
        lambda f: f.describe(authorization_servers=[f"http://127.0.0.1:{free_port()}"]),
        "authorization-server",
        "TCP: the connection was refused",
        "not running",
    ),
    "the first of two authorization servers of no use": Broken(
        lambda f: f.describe(authorization_servers=[f"{f.base}/tenant", f.base]),
        "authorization-server",
        "not usable",
        "Correct",
        verdict="warning",
    ),
    "an authorization server over http": Broken(
        lambda f: f.describe(authorization_servers=["http://elsewhere.example"]),
        "authorization-server",
        "has to be an https address",
        "https",
    ),
    "no response type code": Broken(
        lambda f: f.announce(response_types_supported=["token"]),
        "grants",
        "“code”",
        "response_types_supported",
    ),
    "metadata documents for clients that authenticate": Broken(
        lambda f: f.announce(
            client_id_metadata_document_supported=True,
            token_endpoint_auth_methods_supported=["client_secret_basic"],
        ),
        "client-auth",
        "wants a client that authenticates",
        "metadata document",
        given={"client_metadata_url": "https://no-such-host.invalid/client.json"},
        also={"client-document": "problem"},
    ),
    "no PKCE announced": Broken(
        lambda f: f.announce(code_challenge_methods_supported=None),
        "pkce",
        "allow_missing_pkce",
        "“code_challenge_methods_supported”: [“S256”]",
    ),
    "plain PKCE only": Broken(
        lambda f: f.announce(code_challenge_methods_supported=["plain"]),
        "pkce",
        "without S256",
        "S256",
    ),
    "an endpoint over http": Broken(
        lambda f: f.announce(token_endpoint="http://elsewhere.example/token"),
        "endpoints",
        "token_endpoint",
        "https",
    ),
    "no token endpoint": Broken(
        lambda f: f.announce(token_endpoint=None), "endpoints", "token_endpoint", "token_endpoint"
    ),
    "no registration": Broken(
        lambda f: f.announce(registration_endpoint=None),
        "registration",
        "no way to register",
        "http://127.0.0.1:27182/callback",
        CONFIGURATION,
    ),
    "metadata documents only": Broken(
        lambda f: f.announce(
            registration_endpoint=None, client_id_metadata_document_supported=True
        ),
        "registration",
        "client metadata documents",
        "client id",
        CONFIGURATION,
    ),
    "no iss announced": Broken(
        lambda f: f.announce(authorization_response_iss_parameter_supported=None),
        "iss",
        "(mix-up)",
        "“iss”",
        verdict="warning",
    ),
    "no refresh tokens": Broken(
        lambda f: f.announce(grant_types_supported=["authorization_code"]),
        "grants",
        "sign in again each time",
        "refresh_token",
        verdict="warning",
    ),
    "no authorization code": Broken(
        lambda f: f.announce(grant_types_supported=["client_credentials"]),
        "grants",
        "no sign-in with a browser",
        "authorization_code",
    ),
    "no revocation": Broken(
        lambda f: f.announce(revocation_endpoint=None),
        "revocation",
        "until they expire",
        "RFC 7009",
        verdict="warning",
    ),
    "no usable client authentication": Broken(
        lambda f: f.announce(token_endpoint_auth_methods_supported=["private_key_jwt"]),
        "client-auth",
        "private_key_jwt",
        "none",
    ),
    "a client secret that is missing": Broken(
        lambda f: f.announce(token_endpoint_auth_methods_supported=["client_secret_basic"]),
        "client-auth",
        "wants a client that authenticates",
        "client_secret_env_var",
        CONFIGURATION,
        given={"client_id": "mine"},
        also={"redirect": "warning"},
    ),
    "credentials of another issuer": Broken(
        lambda _: None,
        "registration",
        "Credentials are not sent",
        "If the server has moved",
        CONFIGURATION,
        given={"client_id": "mine", "issuer": ELSEWHERE, "callback_port": free_port()},
    ),
}
