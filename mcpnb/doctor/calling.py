"""One harmless request with the stored token, only where a person asks for it."""

from __future__ import annotations

import json

from mcpnb.doctor.looking import Look
from mcpnb.doctor.report import Check
from mcpnb.doctor.topics import found, problem, unknown
from mcpnb.errors import ServerError
from mcpnb.oauth.challenge import bearer_challenge
from mcpnb.oauth.credentials import LoginRecord
from mcpnb.oauth.http import Response
from mcpnb.oauth.scopes import as_option, covers
from mcpnb.text import quote
from mcpnb.tokens.expiry import expired

__all__ = ["called"]

_BODY = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/list",
        "params": {
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "mcpnb", "version": "1"},
            }
        },
    }
)


def called(look: Look, record: LoginRecord | None, *, new: bool = False) -> Check:
    """List the server's tools with the stored token, and see whether it is accepted.

    `new`: it was granted a moment ago, so that nothing but its contents can be wrong with it.

    Nothing is renewed for it, and a token that has ended is not sent: some servers end a login
    when an expired token is merely presented (measured).
    """
    asked = f"POST {look.server}, tools/list with the token"
    if look.config.authorization is not None:
        said = "Not sent: the token of your configuration is not tried here"
        return unknown("call", asked, said, "Run: mcpnb tools SERVER.", "your configuration")
    if record is None:
        return unknown("call", asked, "Not sent: there is no login", "Sign in first.", "your login")
    if expired(record):
        said = "Not sent: the token has ended, and is renewed with the next call"
        return unknown("call", asked, said, "Call something, and look again.", "your login")
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/list",
        # To the address the login was made for, and no redirect is followed.
        "Authorization": f"Bearer {record.tokens.access_token.reveal()}",
    }
    try:
        answer = look.http.probe("POST", look.server, content=_BODY, headers=headers)
    except ServerError as error:
        return unknown("call", asked, str(error), "Try again later.", "server operator")
    return _judged(answer, record, asked, new=new)


def _judged(answer: Response, record: LoginRecord, asked: str, *, new: bool) -> Check:
    if answer.status not in (401, 403):
        if answer.status >= 500 or 300 <= answer.status < 400:
            return unknown("call", asked, f"HTTP {answer.status}: it says nothing of the token")
        # Older servers want a handshake first, and say so only to who may come in.
        return found("call", asked, f"HTTP {answer.status}: the token is accepted")
    challenge = bearer_challenge(answer.challenges)
    error = (challenge.error if challenge else None) or ""
    wanted = (challenge.scopes if challenge else None) or ()
    held = record.tokens.scopes or record.requested_scopes
    missing = [s for s in wanted if s not in held]
    scope = f", it wants the scope {quote(' '.join(wanted))}" if wanted else ""
    said = f"HTTP {answer.status} {quote(error, 60) if error else 'without an error code'}{scope}"
    add = f"Sign in again with {as_option(missing or wanted)}."
    if answer.status == 403:
        if error != "insufficient_scope":
            fix = "Ask whether your account may use this server."
            return problem("call", asked, f"Refused: {said}", "server operator", fix)
        fix = add if wanted else "Sign in again with more scopes; the server does not name them."
        if wanted and covers(record.requested_scopes, wanted):
            fix = "You signed in asking for it: ask whether your account may have it."
        return problem("call", asked, f"More permission is wanted: {said}", "your login", fix)
    if error == "insufficient_scope" or missing:
        return problem(
            "call",
            asked,
            f"A scope is missing, and the server says so with 401 where 403 is right: {said}",
            "your login",
            f"{add} The operator should answer 403 with error=“insufficient_scope”."
            if wanted
            else "Sign in again with more scopes; the server does not name them.",
        )
    return _refused(said, record, asked, new=new)


def _refused(said: str, record: LoginRecord, asked: str, *, new: bool) -> Check:
    if new:
        return problem(
            "call",
            asked,
            f"The token that was granted a moment ago is refused: {said}. The server takes it for "
            "another's: wrong audience, issuer or signature",
            "server operator",
            f"The authorization server has to make tokens for {quote(record.resource)} (the "
            "“resource” it was asked for), and the MCP server to accept exactly these: compare "
            "the audience and the issuer that it expects. See “Audience” and “Clock”, too.",
        )
    return problem(
        "call",
        asked,
        f"The token is refused although it has not ended: {said}",
        "your login",
        "Sign in again. If that does not help, the server takes it for another's (see “Audience”), "
        "wants a scope that it does not name, or its clock is wrong.",
    )
