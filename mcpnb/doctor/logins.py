"""A stored login, looked at without using it."""

from __future__ import annotations

import base64
import binascii
import json
import os
import shlex
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from mcpnb.doctor.authorizing import Authorizing
from mcpnb.doctor.looking import Look
from mcpnb.doctor.report import Check
from mcpnb.doctor.topics import found, problem, unknown, warning
from mcpnb.errors import McpnbError, StoreLocked
from mcpnb.oauth.credentials import LoginRecord, RefreshFailure
from mcpnb.oauth.models import Header, Secret, ServerConfig
from mcpnb.oauth.scopes import as_option, covers
from mcpnb.oauth.urls import resource_covers, same_issuer
from mcpnb.text import quote, redact
from mcpnb.tokens.expiry import expired
from mcpnb.tokens.record import login_key

__all__ = ["login_checks", "not_asked", "stored_login"]

_LATELY = 7 * 86_400.0


def stored_login(look: Look) -> tuple[LoginRecord | None, Check]:
    """Read the login, if there is one that can be read."""
    if (header := look.config.authorization) is not None:
        return None, _configured(header)
    key = login_key(look.config.name_in_store, look.config.account)
    asked = f"the login for {look.server}"
    try:
        stored = look.store.read(key)
        record = LoginRecord.from_dict(stored) if stored else None
        where = look.store.kept(key)
    except StoreLocked as error:
        fix = "Unlock the keyring, or give the key back (MCPNB_STORE_KEY). The login is kept."
        return None, problem("login", asked, str(error), "this machine", fix)
    except McpnbError as error:  # a malformed MCPNB_STORE_KEY is no StoreError
        fix = "If the message does not help, sign out of this server and in again."
        return None, problem("login", asked, str(error), "this machine", fix)
    if record is None:
        return None, found("login", asked, "Nobody is signed in")
    return record, _status(look, record, asked, where)


def not_asked(look: Look, record: LoginRecord | None, login: Check) -> Check:
    """Say of a login that looks good that only its own file says so: servers end logins, too."""
    if record is None or expired(record) or login.verdict != "ok":
        return login
    more = "the server was not asked whether it still takes it; to ask: mcpnb doctor"
    return replace(login, answer=f"{login.answer}; {more} {_named(look.config)} --call")


def _named(config: ServerConfig) -> str:
    """Name the login to a command; a label stays out of it, for a notebook keeps what it shows."""
    return shlex.quote(redact(config.url)) + (" --account LABEL" if config.account else "")


def _sign_in(look: Look) -> str:
    return f"Sign in again: mcpnb login {_named(look.config)}, or session.login()."


def _configured(header: Header) -> Check:
    """Look at a token that configuration names in the place of a sign-in; it is not read."""
    asked, variable = "your configuration", header.variable
    if variable is not None and not os.environ.get(variable, "").strip():
        said = f"Your configuration takes the token from {variable}, which is not set"
        fix = f"Set {variable}, or take it out of the configuration and sign in."
        return problem("login", asked, said, "your configuration", fix)
    return found("login", asked, f"The token comes from {variable or 'the configured headers'}")


def _status(look: Look, record: LoginRecord, asked: str, where: str) -> Check:
    expires, renews = record.tokens.expires_at, record.tokens.refresh_token is not None
    now = time.time()
    since = f"signed in {_when(record.signed_in_at)}, {where}"
    if expires is None:
        return found("login", asked, f"Good until the server says otherwise; {since}")
    if expires > now:
        renewal = "renews itself" if renews else "cannot be renewed"
        return found("login", asked, f"Good until {_when(expires)}, {renewal}; {since}")
    if (refresh_failure := _end(record)) is not None:
        # What was stored of its times went with it.
        said = f"The server has ended it, as was heard {_of_setback(refresh_failure)}; {since}"
        return problem("login", asked, said, "your login", _sign_in(look))
    if renews:
        said = f"The token ended {_when(expires)}; the next call renews it; {since}"
        return found("login", asked, said)
    said = f"The token ended {_when(expires)}, and there is no refresh token; {since}"
    return problem("login", asked, said, "your login", _sign_in(look))


def _end(record: LoginRecord) -> RefreshFailure | None:
    """Give how the server ended the login, if it did and nothing of it can be used any more."""
    refresh_failure, expires = record.refresh_failure, record.tokens.expires_at
    over = expires is not None and expires <= time.time()
    return (
        refresh_failure
        if over and refresh_failure is not None and refresh_failure.kind == "ended"
        else None
    )


def _of_setback(refresh_failure: RefreshFailure) -> str:
    return f"{_when(refresh_failure.at)}: {refresh_failure.said or 'without a word'}"


def login_checks(look: Look, record: LoginRecord, at: Authorizing | None) -> list[Check]:
    """Look at what is stored with a login."""
    checks = [
        _renewal(look, record),
        _secret(look, record),
        _granted(record),
        _audience(look, record),
        _rejections(look, record),
    ]
    if at is not None and at.server is not None:
        checks.append(_bound(look, record, at.server.issuer))
    return [check for check in checks if check is not None]


def _bound(look: Look, record: LoginRecord, issuer: str) -> Check:
    asked = "the login and the server's metadata"
    if same_issuer(record.issuer, issuer):
        return found("login-issuer", asked, f"Still {record.issuer}")
    said = (
        f"The login is from {quote(record.issuer)}, and the server now names {quote(issuer)}: "
        "its tokens may not be accepted any more"
    )
    return problem("login-issuer", asked, said, "your login", _sign_in(look))


def _renewal(look: Look, record: LoginRecord) -> Check | None:
    if _end(record) is not None:
        return None  # the login's own line says it
    refresh_failure, asked = record.refresh_failure, "what the last renewal left"
    if refresh_failure is None:
        return found("renewal", asked, "Nothing went wrong")
    said = f"{refresh_failure.said or 'no word of its end'} ({_when(refresh_failure.at)})"
    if refresh_failure.error == "invalid_client":
        return problem(
            "renewal",
            asked,
            f"The authorization server does not know mcpnb's client any more, or its secret has "
            f"ended: {said}",
            "your login",
            f"{_sign_in(look)} mcpnb registers anew then; a client id of your own has to be "
            "renewed at the authorization server first.",
        )
    if refresh_failure.kind == "ended":
        answer = f"The server has ended the login: {said}"
        return problem("renewal", asked, answer, "your login", _sign_in(look))
    if refresh_failure.kind == "unknown":
        return warning(
            "renewal",
            asked,
            f"A renewal was sent, and its answer is not here: {said}. The token is used while it "
            "lives, and then renewed once more",
            "this machine",
            "Nothing for now; if the login ends, sign in again.",
        )
    return warning(
        "renewal",
        asked,
        f"The last renewal failed, and will be tried again: {said}",
        "server operator" if refresh_failure.kind == "refused" else "this machine",
        "See whether the authorization server can be reached, above; the login is kept.",
    )


def _secret(look: Look, record: LoginRecord) -> Check | None:
    registration = record.registration
    if registration.client_secret is None:
        return None
    asked, ends = "the stored registration", registration.secret_expires_at
    if ends is None:
        return found("client-secret", asked, "It was not said to end")
    if ends > time.time():
        return found("client-secret", asked, f"Good until {_when(ends)}")
    own = registration.method == "preregistered"
    return problem(
        "client-secret",
        asked,
        f"The client secret ended {_when(ends)}: the login cannot be renewed",
        "your configuration" if own else "your login",
        "Make a new secret at the authorization server and give it."
        if own
        else f"{_sign_in(look)} mcpnb registers anew then.",
    )


def _granted(record: LoginRecord) -> Check:
    asked = f"asked for: {quote(' '.join(record.requested_scopes) or 'nothing')}"
    held = record.tokens.scopes
    said = quote(" ".join(held)) if held else "not said by the server"
    missing = [s for s in record.requested_scopes if s not in held and s != "offline_access"]
    if not held or not missing:
        return found("granted", asked, said)
    return warning(
        "granted",
        asked,
        f"Only {said} was granted; {quote(' '.join(missing))} was not: calls that need it are "
        "refused (insufficient_scope)",
        "server operator",
        "Ask whether your account may have it, then sign in again with --scopes.",
    )


def _rejections(look: Look, record: LoginRecord) -> Check | None:
    asked = "what the server said of the token, as stored"
    now = time.time()
    vain = record.refresh_failed_at > now - _LATELY
    if not vain and record.rejected_at is None:
        return None
    lacking = _lacking(look, record)
    more = f"Ask for more: sign in again with {as_option(lacking)}. " if lacking else ""
    if vain:
        return problem(
            "rejections",
            asked,
            "A token that had just been renewed was refused with 401, "
            f"{_when(record.refresh_failed_at)}: the server says 401 where a scope is "
            "missing, or takes the token for another's "
            "(audience)",
            "your login" if lacking else "server operator",
            f"{more}A missing scope is a 403 with insufficient_scope by the rules; see “Audience”, "
            "too.",
        )
    return warning(
        "rejections",
        asked,
        f"The token before this one was refused with 401, {_when(record.rejected_at or 0)}, and "
        "this one has not been accepted yet",
        "your login",
        f"{more}Call something: if it is refused again, sign in again.",
    )


def _lacking(look: Look, record: LoginRecord) -> list[str]:
    wanted = (look.challenge.scopes if look.challenge else None) or (
        look.found.scopes_supported if look.found else ()
    )
    held = record.tokens.scopes or record.requested_scopes
    return [] if covers(held, wanted) else [s for s in wanted if s not in held]


def _audience(look: Look, record: LoginRecord) -> Check:
    asked = "the access token's “aud”, not verified"
    claims = _claims(record.tokens.access_token)
    if claims is None or "aud" not in claims:
        return unknown("audience", asked, "The token says nothing of it that can be read here")
    named = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    said = ", ".join(quote(a, 200) for a in named[:5])
    if any(_is_for(str(a), record.resource, look.server) for a in named):
        return found("audience", asked, f"{said}, this server")
    # A server may go by a name that is no address; then only a call tells.
    make = problem if any("://" in str(a) for a in named) else warning
    return make(
        "audience",
        asked,
        f"The token is for {said}, and not for {quote(record.resource)}: the server has to "
        "refuse it",
        "server operator",
        "The authorization server has to make tokens for the “resource” it is asked for (RFC "
        "8707). If it knows the server under another name, give that (oauth_resource, resource=).",
    )


def _is_for(audience: str, resource: str, server: str) -> bool:
    same = audience.rstrip("/") == resource.rstrip("/")
    return same or resource_covers(audience, server)


def _claims(token: Secret) -> dict[str, Any] | None:
    """Read a JWT's claims for display; nothing depends on them, so nothing is verified."""
    parts = token.reveal().split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def _when(moment: float) -> str:
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return "at a time that cannot be shown"
