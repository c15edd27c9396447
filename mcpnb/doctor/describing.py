"""The protected-resource metadata: where it is, and whom it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mcpnb.doctor.looking import Look, Reading
from mcpnb.doctor.report import Check
from mcpnb.doctor.topics import found, problem, warning
from mcpnb.errors import ConfigError, ServerError
from mcpnb.oauth.metadata import (
    authorization_server_urls,
    legacy_endpoints,
    protected_resource_urls,
)
from mcpnb.oauth.urls import (
    canonical_server,
    is_loopback_host,
    origin_of,
    require_endpoint,
    resource_covers,
)
from mcpnb.text import quote

__all__ = ["Described", "describing"]


@dataclass(frozen=True)
class Described:
    """What the server says of itself, good or not."""

    issuers: tuple[str, ...]
    """The authorization servers it names; its own origin where it names none."""
    names_them: bool
    resource: str
    """What would be sent as ``resource``."""


def describing(look: Look) -> tuple[list[Check], Described]:
    """Look at the protected-resource metadata."""
    named = look.challenge.params.get("resource_metadata") if look.challenge else None
    refused: Check | None = None
    if named is not None:
        try:
            require_endpoint(named, "resource_metadata")
        except ServerError as error:
            refused = _unusable("the challenge's resource_metadata", str(error))
            named = None
    usual = protected_resource_urls(look.server)
    readings: list[Reading] = []
    for url in [*([named] if named else []), *(u for u in usual if u != named)]:
        readings.append(look.http.reading(url))
        if readings[-1].document is not None:
            break
    last = readings[-1]
    if last.document is None:
        return [refused or _missing(look, readings)], _own_origin(look)
    where = refused or _where(look, named, readings)
    return [where, _resource(look, last.url, last.document)], _named_servers(look, last.document)


def _own_origin(look: Look) -> Described:
    issuer = legacy_endpoints(look.server)[0]
    return Described((issuer,), names_them=False, resource=look.config.resource or look.server)


def _named_servers(look: Look, document: dict[str, Any]) -> Described:
    own = _own_origin(look)
    said = document.get("resource")
    resource = look.config.resource or (said if isinstance(said, str) and said else own.resource)
    listed = document.get("authorization_servers")
    listed = listed.split() if isinstance(listed, str) else listed
    names = [s for s in listed if isinstance(s, str)] if isinstance(listed, list) else []
    return Described(tuple(names) or own.issuers, bool(names), resource)


def _unusable(asked: str, said: str) -> Check:
    return problem(
        "resource-metadata",
        asked,
        said,
        "server operator",
        "Serve a JSON object over https, with “resource” and “authorization_servers”, at the "
        "well-known address and wherever the 401's resource_metadata points to.",
    )


def _missing(look: Look, readings: list[Reading]) -> Check:
    asked = ", ".join(f"GET {r.url}" for r in readings)
    for reading in readings:
        if reading.error is not None:
            return _unusable(f"GET {reading.url}", reading.said)
    said = "; ".join(f"{quote(r.url)}: {r.said}" for r in readings)
    if not look.wants_sign_in:
        return found("resource-metadata", asked, "None, and none is needed: no sign-in")
    own = authorization_server_urls(legacy_endpoints(look.server)[0])
    older = any(look.http.reading(url).document is not None for url in own)
    make = problem if not older else warning
    after = (
        "The server's own origin is taken for its authorization server, as the specification of "
        "2025-03-26 had it."
        if older
        else "Nor is there authorization-server metadata at its origin. mcpnb tries /authorize, "
        "/token and /register there, as the specification of 2025-03-26 had it; if the server is "
        "not that old, signing in will fail."
    )
    return make(
        "resource-metadata",
        asked,
        f"There is no protected-resource metadata. {after} ({said})",
        "server operator",
        f"Serve a JSON object at {quote(readings[0].url)} with “resource”: {quote(look.server)} "
        "and “authorization_servers”: [the issuer].",
    )


def _where(look: Look, named: str | None, readings: list[Reading]) -> Check:
    last = readings[-1]
    asked = f"GET {last.url}"
    if named is not None and last.url != named:
        said = f"The challenge names {quote(named)} ({readings[0].said}), but it is elsewhere"
        return warning(
            "resource-metadata",
            asked,
            f"{said}, at {quote(last.url)}",
            "server operator",
            f"Let the 401's resource_metadata name {quote(last.url)}, or serve it at the address "
            "that is named.",
        )
    away = origin_of(last.url) != origin_of(look.server)
    return found("resource-metadata", asked, "Found" + (", at another origin" if away else ""))


def _resource(look: Look, url: str, document: dict[str, Any]) -> Check:
    asked, server, said = f"“resource” in {url}", look.server, document.get("resource")
    wanted = f"Set “resource” to exactly {quote(server)}"
    if not isinstance(said, str) or not said:
        return problem(
            "resource",
            asked,
            "The protected-resource metadata has no “resource”: whom a token is for cannot be said",
            "server operator",
            f"{wanted}.",
            rule="RFC 9728 sections 2 and 3.3",
        )
    if not resource_covers(said, server):
        return problem(
            "resource",
            asked,
            f"It is for another resource, {quote(said)}{_difference(said, server)}: a token got "
            "with it would not be for this server",
            "server operator",
            f"{wanted} (a server behind a proxy has to be told its public address). If "
            f"{quote(said)} is the right address of the server, use that one.",
        )
    if look.config.resource not in (None, said):
        return _replaced(str(look.config.resource), said, asked, server)
    if not _identical(said, server):
        return warning(
            "resource",
            asked,
            f"It is {quote(said)}, not exactly the server's address. mcpnb accepts that; stricter "
            "clients don't",
            "server operator",
            f"{wanted}.",
        )
    return found("resource", asked, f"It is the server's address, {said}")


def _replaced(own: str, said: str, asked: str, server: str) -> Check:
    if not resource_covers(own, server):
        return warning(
            "resource",
            asked,
            f"The server says {quote(said)}, and your configuration sends {quote(own)} instead, "
            "which is not this server: it will hardly accept the token",
            "your configuration",
            "Remove oauth_resource (resource=), unless the operator asked for it.",
        )
    return found("resource", asked, f"{said}; your configuration sends {own} instead")


def _identical(said: str, server: str) -> bool:
    try:
        return said == server or canonical_server(said) == server
    except ConfigError:
        return False


def _difference(said: str, server: str) -> str:
    try:
        theirs, ours = origin_of(said), origin_of(server)
    except ValueError:
        return ", which is no address"
    if theirs == ours:
        return " (another path)"
    if theirs[1:2] == ours[1:2] and theirs[0] != ours[0]:
        return " (http where https is right, or the other way round)"
    local = is_loopback_host(urlsplit(said).hostname) and is_loopback_host(
        urlsplit(server).hostname
    )
    if local and theirs[2] == ours[2]:
        return " (localhost and 127.0.0.1 are two names)"
    return " (another origin)"
