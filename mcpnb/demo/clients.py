"""The clients of the demo's authorization server, and which redirects each may use."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httpx2

from mcpnb.demo.scopes import READ

__all__ = [
    "AUTH_METHODS",
    "LOOPBACK_HOSTS",
    "Client",
    "ClientMetadataError",
    "Clients",
    "is_callback",
    "is_loopback",
    "usable_redirect",
]

AUTH_METHODS: Final = ("none", "client_secret_basic", "client_secret_post")

LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})

# draft-ietf-oauth-client-id-metadata-document recommends a bound of 5 kB; be a little generous.
DOCUMENT_LIMIT: Final = 10_000


class ClientMetadataError(Exception):
    """A client ID metadata document cannot be used; the message says why, in ASCII."""


def is_loopback(uri: str) -> bool:
    """Tell whether a URL leads to this computer."""
    return _split(uri).hostname in LOOPBACK_HOSTS


def is_callback(uri: str) -> bool:
    """Tell whether a URL is the one that command line tools listen at."""
    return is_loopback(uri) and _split(uri).path == "/callback"


def usable_redirect(uri: str) -> bool:
    """Tell whether a redirect URI may be registered: https, or http on the loopback.

    OAuth 2.1 section 1.5, RFC 8252 section 7.3. Without user info, which can disguise the host, and
    without fragment (RFC 6749 section 3.1.2).
    """
    parts = _split(uri)
    if not parts.hostname or "@" in parts.netloc or "#" in uri:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(uri))


def _split(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # Parsed on demand: raises for a port that is no number.
    except ValueError:
        return urlsplit("")
    return parts


def _same_but_port(first: str, second: str) -> bool:
    a, b = _split(first), _split(second)
    return (a.scheme, a.hostname, a.path, a.query, a.fragment, a.username) == (
        b.scheme,
        b.hostname,
        b.path,
        b.query,
        b.fragment,
        b.username,
    )


@dataclass(frozen=True, slots=True)
class Client:
    """One client, in the shape that authlib asks for (its ``ClientMixin``)."""

    client_id: str
    metadata: Mapping[str, Any]
    secret: str | None = field(default=None, repr=False)
    described_at: str | None = None
    """Where its metadata document is; `None` for one that registered itself."""

    @property
    def name(self) -> str:
        """What a person reads on the consent page."""
        return str(self.metadata.get("client_name") or self.client_id)

    @property
    def native(self) -> bool:
        """Whether it runs on the person's computer (OIDC Registration section 2).

        One that registers without saying so is a web application. A metadata document is new enough
        to be read by OAuth 2.1, which makes no such difference for loopback ports.
        """
        default = "native" if self.described_at else "web"
        return bool(self.metadata.get("application_type", default) == "native")

    def get_client_id(self) -> str:
        """Give the client id."""
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        """Give the registered redirect URI, if there is only one (RFC 6749 section 3.1.2.3)."""
        uris = self.metadata.get("redirect_uris", [])
        return str(uris[0]) if len(uris) == 1 else None

    def get_allowed_scope(self, scope: str | None) -> str:
        """Give the scopes a request means; without any, what the server requires for everything."""
        return " ".join(dict.fromkeys((scope or READ).split()))

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Compare exactly, save for the port of a native application's loopback (RFC 8252 7.3)."""
        registered = self.metadata.get("redirect_uris", [])
        if redirect_uri in registered:
            return True
        if not (self.native and redirect_uri.startswith("http://") and is_loopback(redirect_uri)):
            return False
        return any(_same_but_port(redirect_uri, uri) for uri in registered)

    def check_client_secret(self, client_secret: str) -> bool:
        """Compare a secret without telling how much of it was right."""
        return self.secret is not None and secrets.compare_digest(
            self.secret.encode(), client_secret.encode()
        )

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        """Tell whether it registered for this way to authenticate."""
        return bool(self.metadata.get("token_endpoint_auth_method") == method)

    def check_response_type(self, response_type: str) -> bool:
        """Tell whether it may use this flow."""
        return response_type in self.metadata.get("response_types", ["code"])

    def check_grant_type(self, grant_type: str) -> bool:
        """Tell whether it registered for this grant; without word, for codes only (RFC 7591 2)."""
        return grant_type in self.metadata.get("grant_types", ["authorization_code"])


class Clients:
    """Everybody who registered, or who is described by a document that was fetched."""

    def __init__(self) -> None:
        self._known: dict[str, Client] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, client_id: str) -> Client | None:
        """Find a client."""
        return self._known.get(client_id)

    def add(self, client: Client) -> None:
        """Remember a client."""
        self._known[client.client_id] = client

    def forget(self) -> None:
        """Forget all of them, as a server does that was set up anew."""
        self._known.clear()

    async def describe(self, client_id: str) -> None:
        """Fetch the metadata document that a client id names, if it names one.

        Raises:
            ClientMetadataError: The document is not there, or not one to trust.
        """
        if not client_id.startswith(("https://", "http://")):
            return
        _check_document_url(client_id)
        document = await _fetch(client_id)
        self.add(Client(client_id, _checked_document(client_id, document), described_at=client_id))


def _check_document_url(url: str) -> None:
    """Apply draft-ietf-oauth-client-id-metadata-document section 3.

    http is for the loopback only: a demo whose document lies in a notebook server on this computer.
    """
    parts = _split(url)
    if parts.scheme == "http" and not is_loopback(url):
        raise ClientMetadataError(
            "A client id that is a URL has to be https, or http on the loopback."
        )
    segments = parts.path.split("/")
    if parts.path in {"", "/"} or "." in segments or ".." in segments:
        raise ClientMetadataError("A client id that is a URL needs a path without dot segments.")
    if not parts.hostname or "@" in parts.netloc or "#" in url:
        raise ClientMetadataError("A client id that is a URL has no user info and no fragment.")


async def _fetch(url: str) -> Any:
    """Get the document: no redirects, five seconds, a few kilobytes."""
    body = b""
    try:
        async with (
            # A proxy could not reach this computer's loopback.
            httpx2.AsyncClient(timeout=5, trust_env=not is_loopback(url)) as http,
            http.stream("GET", url, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status_code != 200:
                raise ClientMetadataError(
                    f"The client metadata document answered {answer.status_code} instead of 200."
                )
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > DOCUMENT_LIMIT:
                    raise ClientMetadataError("The client metadata document is too long.")
            return httpx2.Response(200, content=body).json()
    except httpx2.HTTPError as error:
        raise ClientMetadataError("The client metadata document cannot be fetched.") from error
    except ValueError as error:
        raise ClientMetadataError("The client metadata document is not JSON.") from error


def _checked_document(client_id: str, document: Any) -> dict[str, Any]:
    if not isinstance(document, dict) or document.get("client_id") != client_id:
        raise ClientMetadataError("The document's client_id is not the URL it was fetched from.")
    uris = document.get("redirect_uris")
    if not isinstance(uris, list) or not uris or not all(isinstance(u, str) for u in uris):
        raise ClientMetadataError("The document's redirect_uris is not a list of URLs.")
    if not all(usable_redirect(uri) for uri in uris):
        raise ClientMetadataError("A redirect URI of the document is neither https nor loopback.")
    if document.get("token_endpoint_auth_method", "none") != "none":
        # A published document cannot hold a secret.
        raise ClientMetadataError("This server knows public clients only by metadata document.")
    for key in ("grant_types", "response_types"):
        if not isinstance(document.get(key, []), list):
            raise ClientMetadataError(f"The document's {key} is not a list.")
    return {**document, "token_endpoint_auth_method": "none"}
