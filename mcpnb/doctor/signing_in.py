"""A sign-in that really happens because a person asked for it, with every step explained."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

from mcpnb.doctor.failing import failure
from mcpnb.doctor.looking import Look
from mcpnb.doctor.masking import Masks
from mcpnb.doctor.report import Step
from mcpnb.doctor.tracing import Trace, step
from mcpnb.errors import (
    GrantError,
    LoginCancelled,
    LoginDenied,
    LoginTimeout,
    McpnbError,
    ProtocolError,
    ServerError,
    ServerUnreachable,
)
from mcpnb.login import Login, Observer
from mcpnb.oauth.authorization import AuthorizationRequest
from mcpnb.oauth.http import Http
from mcpnb.text import quote

__all__ = ["SignIn", "signed_in", "why_not"]

SignIn = Callable[[Observer], Login[Any]]
"""Begins a sign-in that is observed, shows it to the person, and gives it; it may have ended."""


def why_not(look: Look) -> str | None:
    """Say why there is nothing to try; `None`: a sign-in can be tried."""
    if look.config.authorization is not None:
        return "a token of your configuration takes the place of a sign-in"
    if look.first is None:
        return "the server cannot be reached"
    if look.found is not None and look.found.authorization_server is None:
        return "the server needs none"
    return None


def signed_in(look: Look, sign_in: SignIn, masks: Masks) -> tuple[list[Step], bool]:
    """Sign in, and explain it.

    Args:
        look: The server.
        sign_in: Begins and shows it.
        masks: Learns each secret that is seen.

    Returns:
        Its steps, and whether somebody is signed in now.
    """
    if (reason := why_not(look)) is not None:
        return [step("sign-in", "nothing", f"Not tried: {reason}", verdict="unknown")], False
    trace = Trace(masks)
    ended = _ended(sign_in, trace)
    if ended is None:
        return [*trace.steps, *_elsewhere(trace.steps)], True
    if isinstance(ended, LoginTimeout):
        return [*trace.steps, *_silence(look, ended, trace.request)], False
    return _failed(trace.steps, ended, trace), False


def _ended(sign_in: SignIn, trace: Trace) -> McpnbError | None:
    """Wait for its end; give why it failed, if it did."""
    try:
        login = sign_in(trace)
    except McpnbError as error:
        return error
    try:
        login.wait()
    except McpnbError as error:
        return error
    except BaseException:  # interrupted: nobody else would end it
        login.cancel()
        raise
    return None


def _elsewhere(steps: list[Step]) -> list[Step]:
    if any(s.id == "sign-in-token" for s in steps):
        return []
    said = "Completed in another notebook or terminal, which has the rest of the steps"
    return [step("sign-in", "the stored login", said)]


def _failed(steps: list[Step], error: McpnbError, trace: Trace) -> list[Step]:
    """Mark the step at which it ended, or add the one that could not be taken."""
    last = steps[-1] if steps else None
    if isinstance(error, LoginCancelled):
        return [*steps, step("sign-in", "nothing more", str(error), verdict="unknown")]
    at_last = isinstance(error, GrantError | LoginDenied | ProtocolError | ServerUnreachable)
    if last is None or not at_last or last.id == "sign-in-discovery":
        # Of several documents it need not be the last that stood in the way.
        check = _where(error, steps)
        said, side, fix, rule = failure(error, check, trace.request, trace.unanswered)
        sent = "nothing" if last is None else "nothing more"
        added = step(check, sent, said, verdict="problem", rule=rule, side=side, fix=fix)
        return [*steps, added]
    said, side, fix, rule = failure(error, last.id, trace.request, trace.unanswered)
    came = said if last.answer in said or isinstance(error, ServerUnreachable) else ""
    marked = replace(
        last,
        answer=came or f"{last.answer}. {said}",
        verdict="problem",
        side=side,
        fix=fix,
        rule=rule or last.rule,
    )
    return [*steps[:-1], marked]


def _where(error: McpnbError, steps: list[Step]) -> str:
    if any(s.id == "sign-in-request" for s in steps):
        return "sign-in"
    discovering = not steps or isinstance(error, ServerError)
    return "sign-in-discovery" if discovering else "sign-in-registration"


def _silence(look: Look, error: LoginTimeout, request: AuthorizationRequest | None) -> list[Step]:
    """Find out why no answer came: a refused redirect shows in no other way."""
    if request is None:
        return [step("sign-in", "nothing more", str(error), verdict="problem")]
    again = _asked_again(look, request)
    refused = again.verdict == "problem"
    waited = step(
        "sign-in-answer",
        f"nothing; awaited at {request.redirect_uri}",
        str(error),
        verdict="unknown" if refused else "problem",
        side=None if refused else "your login",
        fix="See the next step."
        if refused
        else "The browser did not reach this machine (see “Way back”), or nobody approved: sign in "
        "again, and paste the address that the browser ends at.",
    )
    return [waited, again]


def _asked_again(look: Look, request: AuthorizationRequest) -> Step:
    """Send what the browser sent, and see whether the server refuses it with a page of its own.

    It rightly never sends the browser back then (RFC 6749 section 4.1.2.1). Nobody is signed in to
    this request, so nothing is granted by it.
    """
    sent = "GET of the same address, without a browser"
    allow = look.config.allow_private_network
    with closing(Http(look.server, allow_private=allow)) as http:
        try:
            answer = http.probe("GET", request.url, headers={"Accept": "text/html"})
        except ServerError as failed:
            return step("sign-in-request", sent, str(failed), verdict="unknown")
    came = f"HTTP {answer.status}"
    if answer.status < 400:
        return step("sign-in-request", sent, f"{came}: the server does not refuse the request")
    if answer.status in (403, 429) or answer.status >= 500:
        said = f"{came}, which may be for whatever is no browser"
        return step("sign-in-request", sent, said, verdict="unknown")
    own = request.registration.method != "dcr"
    return step(
        "sign-in-request",
        sent,
        f"{came}: the server refuses the request with a page of its own, and sends no browser back",
        rule="RFC 6749 section 4.1.2.1; RFC 8252 section 7.3",
        verdict="problem",
        side="your configuration" if own else "server operator",
        fix=f"Mostly that is the redirect address or the client id: {quote(request.redirect_uri)} "
        f"has to be registered for {quote(request.registration.client_id)}, letter for letter. "
        "The page in the browser says more.",
    )
