"""The clients of the demo's authorization server: what each may do, and how it becomes known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal
from urllib.parse import SplitResult, urlsplit

import httpx2
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

CODE: Final = "authorization_code"
LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})
# draft-ietf-oauth-client-id-metadata-document recommends a limit of 5 kB; this is twice that.
_DOCUMENT_LIMIT: Final = 10_000


class OAuthError(Exception):
    """An error response: ``error`` and ``error_description`` (RFC 6749 section 5.2)."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.status = status


def _split(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # Parsed on demand: raises for a port that is no number.
    except ValueError:
        return urlsplit("")
    return parts


def _is_loopback(uri: str) -> bool:
    return _split(uri).hostname in LOOPBACK_HOSTS


def _usable(uri: str) -> str:
    """Refuse a redirect URI that is neither https nor http on the loopback.

    OAuth 2.1 section 1.5, RFC 8252 section 7.3. Without user info, which can disguise the host, and
    without fragment (RFC 6749 section 3.1.2).
    """
    parts = _split(uri)
    safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(uri))
    if not safe or not parts.hostname or "@" in parts.netloc or "#" in uri:
        raise ValueError("a redirect URI is https, or http on the loopback")
    return uri


REDIRECTS: Final[Mapping[str, Callable[[str], bool]]] = {
    "anywhere": lambda _: True,
    "localhost": _is_loopback,
    "callback": lambda uri: _is_loopback(uri) and _split(uri).path == "/callback",
}
"""Which redirect URIs an operator may allow. With a list, it is often what command line tools use:
``/callback`` on the person's own computer."""


class Client(BaseModel):
    """A public client and its metadata (RFC 7591 section 2); it proves itself with PKCE alone."""

    model_config = ConfigDict(strict=True, frozen=True)

    client_id: str = ""
    client_name: str = ""
    redirect_uris: list[Annotated[str, AfterValidator(_usable)]] = []
    grant_types: list[str] = [CODE]
    response_types: list[Literal["code"]] = ["code"]
    scope: str = ""
    application_type: Literal["native", "web"] = "web"
    token_endpoint_auth_method: Literal["none"] = "none"  # noqa: S105 - no password

    @classmethod
    def read(cls, document: bytes) -> Client:
        """Read client metadata.

        Raises:
            OAuthError: Something is wrong with it (RFC 7591 section 3.2.2).
        """
        try:
            return cls.model_validate_json(document)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "The document"
            kind = "redirect_uri" if name == "redirect_uris" else "client_metadata"
            raise OAuthError(f"invalid_{kind}", f"{name} is not valid: {first['msg']}.") from None

    @property
    def described_at(self) -> str | None:
        """The URL of its metadata document; `None` if it registered itself."""
        return self.client_id if self.client_id.startswith(("https://", "http://")) else None

    def may_redirect_to(self, uri: str) -> bool:
        """Compare exactly, except for the loopback port of a native application (RFC 8252 7.3).

        A client that registers and does not say what it is counts as a web application (OIDC
        Registration section 2). A metadata document is new enough to be read by OAuth 2.1, which
        makes no such difference for loopback ports.
        """
        if uri in self.redirect_uris:
            return True
        any_port = self.described_at or self.application_type == "native"
        if not (any_port and uri.startswith("http://") and _is_loopback(uri) and "@" not in uri):
            return False
        parts = _split(uri)
        return any(
            parts._replace(netloc="") == other._replace(netloc="")
            and parts.hostname == other.hostname
            for other in map(_split, self.redirect_uris)
        )


async def fetched(url: str) -> Client:
    """Return the client that a client ID metadata document describes.

    The rules are section 3 of draft-ietf-oauth-client-id-metadata-document. Plain http is for the
    loopback only, where the document may lie in a notebook server of this computer.

    Raises:
        OAuthError: The document is not there, or not one to trust.
    """
    parts = _split(url)
    if parts.scheme == "http" and not _is_loopback(url):
        raise _refused("A client id that is a URL has to be https, or http on the loopback.")
    if parts.path in {"", "/"} or not {".", ".."}.isdisjoint(parts.path.split("/")):
        raise _refused("A client id that is a URL needs a path without dot segments.")
    if not parts.hostname or "@" in parts.netloc or "#" in url:
        raise _refused("A client id that is a URL has no user info and no fragment.")
    body = b""
    try:
        async with (
            # A proxy could not reach this computer's loopback.
            httpx2.AsyncClient(timeout=5, trust_env=not _is_loopback(url)) as http,
            http.stream("GET", url, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code != 200:
                raise _refused(f"The client metadata document has status {response.status_code}.")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _DOCUMENT_LIMIT:
                    raise _refused("The client metadata document is too long.")
    except httpx2.HTTPError as error:
        raise _refused("The client metadata document cannot be fetched.") from error
    client = Client.read(body)
    if client.client_id != url:
        raise _refused("The document's client_id is not the URL it was fetched from.")
    if not client.redirect_uris:
        raise _refused("The document has no redirect_uris.")
    return client


def _refused(description: str) -> OAuthError:
    return OAuthError("invalid_client", description)
