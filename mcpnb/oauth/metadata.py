"""What metadata documents say (RFC 8414, RFC 9728), and which of it is refused."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from mcpnb.errors import DiscoveryError, ProtocolError, ServerError
from mcpnb.oauth.models import AuthorizationServer, ProtectedResource
from mcpnb.oauth.scopes import named
from mcpnb.oauth.urls import require_endpoint, resource_covers, same_issuer
from mcpnb.text import quote

# A document names a handful; more is an attack on memory or on the screen.
_MOST = 200
# The parameters of the authorization request itself, and those that would replace it (RFC 9101) or
# have its response come another way.
_OF_THE_REQUEST = {
    *("client_id", "code_challenge", "code_challenge_method", "redirect_uri", "request"),
    *("request_uri", "resource", "response_mode", "response_type", "scope", "state"),
}
_OPTIONAL_ENDPOINTS = tuple(
    f"{name}_endpoint" for name in ("registration", "revocation", "device_authorization")
)

Document = dict[str, Any]
Defects = dict[str, ServerError]
"""Why members of a document are refused, by their names, the most important first. With one,
nothing of the document may be used."""
T = TypeVar("T")


class _Members:
    """A document that is read member by member."""

    def __init__(self, document: Document, defects: Defects | None) -> None:
        self._document = document
        self._defects = defects

    def read(self, name: str, how: Callable[[Any, str], T], otherwise: T) -> T:
        """Return a member as `how` reads its value; `otherwise`, if its defect is only noted."""
        try:
            return how(self._document.get(name), name)
        except ServerError as error:
            if self._defects is None:
                raise
            self._defects[name] = error
            return otherwise


def protected_resource(
    document: Document, *, server: str, url: str, defects: Defects | None = None
) -> ProtectedResource:
    """Read protected-resource metadata for one MCP server, by its canonical URL.

    With `defects`, note each defect there and read the rest. Without it, raise the first one.

    Raises:
        DiscoveryError: A member is missing or has the wrong type.
        ProtocolError: Its ``resource`` names something else (RFC 9728 section 3.3).
    """
    members = _Members(document, defects)
    name = document.get("resource_name")
    resource = functools.partial(_resource, server=server, url=url)
    return ProtectedResource(
        resource=members.read("resource", resource, server),
        authorization_servers=members.read("authorization_servers", _listed, ()),
        scopes_supported=members.read("scopes_supported", _scopes, ()),
        name=name if isinstance(name, str) else None,
        url=url,
    )


def _resource(value: object, _: str, *, server: str, url: str) -> str:
    if not isinstance(value, str) or not value:
        raise DiscoveryError(f"The protected-resource metadata at {quote(url)} has no “resource”.")
    # threat: resource-confusion
    if not resource_covers(value, server):
        raise ProtocolError(
            f"The server's metadata is for another resource, {quote(value)}: "
            "a token for that would not be for this server.",
            rule="RFC 9728 section 3.3",
        )
    return value


def authorization_server(
    document: Document,
    *,
    issuer: str,
    url: str,
    allow_missing_pkce: bool = False,
    defects: Defects | None = None,
) -> AuthorizationServer:
    """Read the authorization-server metadata at `url`, which was built from `issuer`.

    With `defects`, note each defect there and read the rest. Without it, raise the first one.

    Raises:
        DiscoveryError: A member is missing or has the wrong type.
        ProtocolError: Another issuer, an endpoint that is not https, or no PKCE with S256, unless
            nothing is said of PKCE and the person allows that.
    """
    members = _Members(document, defects)
    pkce = functools.partial(_pkce, issuer=issuer, allow_missing=allow_missing_pkce)
    # First: of another issuer's document, nothing else matters.
    own = members.read("issuer", functools.partial(_issuer, issuer=issuer, url=url), issuer)
    endpoints: dict[str, Any] = {
        name: members.read(name, require_endpoint, None)
        for name in _OPTIONAL_ENDPOINTS
        if document.get(name) is not None
    }
    return AuthorizationServer(
        issuer=own,
        authorization_endpoint=members.read(
            "authorization_endpoint", _authorization_endpoint, issuer
        ),
        token_endpoint=members.read("token_endpoint", require_endpoint, issuer),
        scopes_supported=members.read("scopes_supported", _scopes, ()),
        # threat: pkce-downgrade-to-an-older-server
        code_challenge_methods=members.read("code_challenge_methods_supported", pkce, None),
        token_auth_methods=members.read("token_endpoint_auth_methods_supported", _strings, None),
        iss_in_response=document.get("authorization_response_iss_parameter_supported") is True,
        client_id_metadata=document.get("client_id_metadata_document_supported") is True,
        url=url,
        **endpoints,
    )


def _issuer(value: object, _: str, *, issuer: str, url: str) -> str:
    # threat: issuer-confusion, foreign-document-of-an-older-server
    if not isinstance(value, str) or not same_issuer(value, issuer):
        raise ProtocolError(
            f"The metadata at {quote(url)} says issuer {quote(value)}, expected {quote(issuer)}: "
            "none of it is used.",
            rule="RFC 8414 section 3.3",
        )
    return value


def _pkce(value: object, name: str, *, issuer: str, allow_missing: bool) -> tuple[str, ...] | None:
    methods = _strings(value, name)
    # threat: pkce-downgrade, pkce-plain
    if "S256" not in (methods or ()) and not (methods is None and allow_missing):
        what = "does not announce PKCE" if methods is None else "announces PKCE without S256"
        raise ProtocolError(
            f"The authorization server {quote(issuer)} {what}, so a stolen code could be used. "
            "If you trust it all the same (some OpenID providers merely forget to announce it), "
            "set allow_missing_pkce = true for this server in mcpnb's configuration.",
            rule="specification 2026-07-28, authorization code protection",
        )
    return methods


def _authorization_endpoint(value: object, name: str) -> str:
    url = require_endpoint(value, name)
    own = {parameter for parameter, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    # threat: injected-request-parameters
    if "#" in url or own & _OF_THE_REQUEST:
        raise ProtocolError(
            f"The server's {name} {quote(url)} is refused: it has parameters of the request in it, "
            "or a fragment.",
            rule="RFC 6749 section 3.1",
        )
    return url


def _strings(value: object, name: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):  # seen in the wild: one scope string instead of an array
        value = value.split()
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise DiscoveryError(f"The metadata's {name} is not a list of strings.")
    return tuple(value[:_MOST])


def _listed(value: object, name: str) -> tuple[str, ...]:
    return _strings(value, name) or ()


def _scopes(value: object, name: str) -> tuple[str, ...]:
    return named(" ".join(_listed(value, name)))
