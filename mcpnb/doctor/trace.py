"""A sign-in that really happens because a person asked for it, with every step explained."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mcpnb import errors
from mcpnb.doctor.machine import unreachable
from mcpnb.doctor.report import TABLE, Check, check, first_of
from mcpnb.doctor.server import Server
from mcpnb.login import Login, Observer
from mcpnb.login.pending import PendingRequest
from mcpnb.oauth.authorization import AuthorizationRequest
from mcpnb.oauth.http import Exchange, Http, Response
from mcpnb.text import MASK, Redactor, quote, sanitize

SignIn = Callable[[Observer], Login[Any]]
"""Starts a sign-in with an observer, shows it to the person, and returns it; it may have ended."""

_MOST_FIELDS = 20
_MOST_TEXT = 10_000
# Of everything else that is sent or comes back, only the name is shown.
_HARMLESS = {
    *("application_type", "client_id", "client_id_issued_at", "client_name", "client_uri"),
    *("client_secret_expires_at", "code_challenge_method", "error", "expires_in", "grant_type"),
    *("grant_types", "iss", "prompt", "redirect_uri", "redirect_uris", "resource"),
    *("response_type", "response_types", "scope", "token_endpoint_auth_method", "token_type"),
    *("error_description", "token_type_hint"),
}
_SECRET = re.compile(
    r"(^|_)(assertion|password|secret|state|statement|token|verifier)$|^(device_|user_)?code$"
)
# What an authorization server may answer with; other names could hold anything.
_RESPONSE = ("code", "state", "iss", "error", "error_description", "scope", "session_state")
_CLIENTS = {
    "preregistered": "the client id of your configuration",
    "cimd": "your client metadata document is the client id",
    "dcr": "a stored registration",
}


class Trace(Observer):
    """The steps of one sign-in, in their order, with every secret masked."""

    def __init__(self, hide: Redactor) -> None:
        """Record nothing yet. `hide` learns each secret that is seen, and masks it everywhere.

        A server may repeat a secret, or a part of one, in any text.
        """
        self._hide = hide
        self.steps: list[Check] = []
        self.unanswered: Check | None = None
        """Why the last request got no response, if it got none."""
        self.request: AuthorizationRequest | None = None
        """What the person was last asked to open."""

    def exchanged(self, exchange: Exchange) -> None:
        """See `Observer.exchanged`."""
        (step, sent), error = self._sent(exchange), exchange.error
        # Now: later the error has lost what led to it.
        self.unanswered = unreachable(error, of=step, asked=sent) if error else None
        finding, came = "step/came", str(error)
        if exchange.response is not None:
            finding, came = self._came(step, exchange.response)
        self.steps.append(check(finding, of=step, asked=sent, came=came))

    def asked(self, request: PendingRequest) -> None:
        """See `Observer.asked`."""
        if not isinstance(request, AuthorizationRequest):
            return
        self.request, client = request, request.registration
        secrets = (request.state, request.verifier, client.client_secret)
        self._hide.add(*(secret.reveal() for secret in secrets if secret is not None))
        address, _, query = request.url.partition("?")
        own = len(parse_qsl(urlsplit(request.server.authorization_endpoint).query))
        sent = f"GET {address} with {self._fields(dict(parse_qsl(query)[own:]))}"
        if all(step.id != "sign-in-registration" for step in self.steps):
            words = {"client": client.client_id, "method": client.auth_method.replace("_", " ")}
            known = f"nothing: {_CLIENTS[client.method]}"
            self.steps.append(check("sign-in-registration/known", asked=known, **words))
        shown = check("sign-in-request/shown", asked=sent, redirect=request.redirect_uri)
        self.steps.append(shown)

    def answered(
        self, text: str, request: AuthorizationRequest, refusal: errors.McpnbError | None
    ) -> None:
        """See `Observer.answered`."""
        words: dict[str, Any] = {"redirect": request.redirect_uri, "error": refusal}
        if isinstance(refusal, errors.AnswerRefused):
            self.steps.append(check("sign-in-answer/other", **words))
            return
        query = urlsplit(text.strip()).query
        given = parse_qsl(query, keep_blank_values=True, max_num_fields=64)
        known = {name: value for name, value in given if name in _RESPONSE}
        others = len(given) - len(known)
        more = f", and {others} more" if others else ""
        fields = self._fields(known)
        if isinstance(refusal, errors.ProtocolError):
            # RFC 9207 section 2.4: nothing that another server says of errors is shown.
            came = f"iss is {quote(known['iss'])}" if "iss" in known else "there is no iss"
            expected = quote(request.server.issuer)
            came = f"{', '.join(known)}{more}: {came}, expected is {expected}"
        else:
            checked = "iss is right" if "iss" in known else "no iss"
            came = f"{fields}{more} (state is right; {checked})"
        self.steps.append(check("step/came", of="sign-in-answer", came=came, **words))

    def _sent(self, exchange: Exchange) -> tuple[str, str]:
        """Return the step that a request belongs to, and what was in it."""
        head = f"{exchange.method} {exchange.url}"
        if exchange.method == "GET":
            return "sign-in-discovery", head
        try:
            body = json.loads(exchange.content)
        except ValueError:
            body = None
        if isinstance(body, dict) and "redirect_uris" not in body:
            return "sign-in-discovery", f"{head}, without a token"
        if isinstance(body, dict):
            return "sign-in-registration", f"{head} with {self._fields(body)}"
        form = dict(parse_qsl(exchange.content))
        step = "sign-in-token" if "grant_type" in form else "sign-in-revocation"
        sent = f"{head} with {self._fields(form)}"
        scheme, _, credentials = exchange.headers.get("Authorization", "").partition(" ")
        if not credentials:
            return step, sent
        pair = ""
        with contextlib.suppress(binascii.Error, ValueError):
            pair = base64.b64decode(credentials).decode()
        self._hide.add(credentials, pair.partition(":")[2])
        return step, f"{sent}; Authorization: {scheme} {MASK}"

    def _came(self, step: str, response: Response) -> tuple[str, str]:
        """Return the name of a finding, and what came back."""
        document, came = response.json_object(), f"HTTP {response.status}"
        if document is None:
            kind = response.headers.get("content-type", "").partition(";")[0]
            return "step/came", came + (f", {quote(kind, 60)}" if kind and response.body else "")
        if step == "sign-in-discovery":
            # A whole document; the checks above tell what matters of its values.
            return "step/came", f"{came}: {', '.join(quote(n, 60) for n in list(document)[:20])}"
        finding, came = "step/came", f"{came}: {self._fields(document)}"
        if step == "sign-in-token" and response.status == 200 and "error" not in document:
            if "access_token" in document and "token_type" not in document:
                finding = "sign-in-token/type"
            elif "refresh_token" not in document and "expires_in" in document:
                finding = "sign-in-token/refresh"
        return finding, came

    def _fields(self, document: Mapping[str, Any]) -> str:
        """Name what is sent or came, with the values that are harmless."""
        # What by its name is a secret is one wherever it is repeated.
        named = ((name, v) for name, v in document.items() if isinstance(v, str))
        self._hide.add(*(value for name, value in named if _SECRET.search(name)))
        shown = [
            f"{sanitize(self._hide(name), 40)}={self._value(name, value)}"
            for name, value in list(document.items())[:_MOST_FIELDS]
        ]
        more = len(document) - _MOST_FIELDS
        return ", ".join([*shown, f"and {more} more"] if more > 0 else shown)

    def _value(self, name: str, value: Any) -> str:
        if name not in _HARMLESS:
            return MASK
        text = " ".join(map(str, value[:10])) if isinstance(value, list) else str(value)
        return quote(self._hide(text[:_MOST_TEXT]), 200)


def signed_in(server: Server, sign_in: SignIn, hide: Redactor) -> tuple[list[Check], bool]:
    """Sign in, and explain it.

    Args:
        server: The server.
        sign_in: Starts and shows the sign-in.
        hide: Learns each secret that is seen.

    Returns:
        Its steps, and whether somebody is signed in now.
    """
    why_not = ""
    if server.config.authorization is not None:
        why_not = "a token of your configuration replaces a sign-in"
    elif server.first is None:
        why_not = "the server cannot be reached"
    elif server.needs_no_sign_in:
        why_not = "the server needs none"
    if why_not:
        return [check("sign-in/skipped", asked="nothing", why=why_not)], False
    trace = Trace(hide)
    error = _end(sign_in, trace)
    if error is None:
        elsewhere = all(s.id != "sign-in-token" for s in trace.steps)
        more = [check("sign-in/elsewhere", asked="the stored login")] if elsewhere else []
        return [*trace.steps, *more], True
    if isinstance(error, errors.LoginTimeout):
        return [*trace.steps, *_silence(server, error, trace.request)], False
    if isinstance(error, errors.LoginCancelled):
        return [*trace.steps, check("sign-in/cancelled", error=error)], False
    return _failed(trace, error), False


def _end(sign_in: SignIn, trace: Trace) -> errors.McpnbError | None:
    """Wait for the end of a sign-in; return why it failed, if it did."""
    login = None
    try:
        login = sign_in(trace)
        login.wait()
    except errors.McpnbError as error:
        return error
    except BaseException:  # interrupted: nobody else would end it
        if login is not None:
            login.cancel()
        raise
    return None


def _failed(trace: Trace, error: errors.McpnbError) -> list[Check]:
    """Mark the step at which a sign-in ended, or add the one that was not possible."""
    steps = trace.steps
    at_last = isinstance(
        error,
        errors.GrantError | errors.LoginDenied | errors.ProtocolError | errors.ServerUnreachable,
    )
    if steps and at_last and steps[-1].id != "sign-in-discovery":
        last = steps.pop()
        made = _explained(error, last.id, trace, asked=last.asked)
        if last.answer not in made.answer and not isinstance(error, errors.ServerUnreachable):
            made = replace(made, answer=f"{last.answer}. {made.answer}")
        return [*steps, made]
    # Of several documents it need not be the last that was the reason.
    step = "sign-in-registration"
    if any(s.id == "sign-in-request" for s in steps):
        step = "sign-in"
    elif not steps or isinstance(error, errors.ServerError):
        step = "sign-in-discovery"
    return [*steps, _explained(error, step, trace)]


def _explained(error: errors.McpnbError, step: str, trace: Trace, asked: str = "") -> Check:
    if isinstance(error, errors.ServerUnreachable):
        return trace.unanswered or unreachable(error, of=step, asked=asked)
    request = trace.request
    return check(
        _reason(error, step, request),
        of=step,
        asked=asked,
        rule=error.rule if isinstance(error, errors.ProtocolError) else "",
        error=error,
        scopes=" ".join(request.scopes) if request else "",
        resource=request.resource if request else "the MCP server's address",
        issuer=request.server.issuer if request else "",
    )


def _reason(error: errors.McpnbError, step: str, request: AuthorizationRequest | None) -> str:
    """Return the name of the text that explains an error."""
    if not isinstance(error, errors.GrantError | errors.LoginDenied):
        kind = first_of(
            rule=isinstance(error, errors.ProtocolError) and step == "sign-in-answer" and request,
            store=isinstance(error, errors.StoreError),
            config=isinstance(error, errors.ClientIdRequired | errors.ConfigError),
            other=True,
        )
        return f"failed/{kind}"
    kind = "registering" if step == "sign-in-registration" else "exchanging"
    kind = "denied" if isinstance(error, errors.LoginDenied) else kind
    status = error.status if isinstance(error, errors.GrantError) else 0
    code = error.error or "unreadable"
    if code == "invalid_client" and request and request.registration.method == "preregistered":
        code = "own_client"
    if code == "invalid_scope" and request and not request.scopes:
        code = "no_scope"
    if kind == "registering" and status in (401, 403) and code != "invalid_redirect_uri":
        code = "closed"
    if code in ("server_error", "temporarily_unavailable") or status == 429 or status >= 500:
        code = "later"
    return f"{kind}/{code}" if f"{kind}/{code}" in TABLE else f"{kind}/other"


def _silence(
    server: Server, error: errors.LoginTimeout, request: AuthorizationRequest | None
) -> list[Check]:
    """Find out why no response came: a refused redirect shows in no other way."""
    if request is None:
        return [check("sign-in/failed", error=error)]
    again = _request_again(server, request)
    waited = f"nothing; awaited at {request.redirect_uri}"
    kind = "refused" if again.verdict == "problem" else "silence"
    return [check(f"sign-in-answer/{kind}", asked=waited, error=error), again]


def _request_again(server: Server, request: AuthorizationRequest) -> Check:
    """Send what the browser sent, and see whether the server refuses it with a page of its own.

    It rightly never sends the browser back then (RFC 6749 section 4.1.2.1). Nobody is signed in to
    this request, so nothing is granted by it.
    """
    private, page = server.config.allow_private_network, {"Accept": "text/html"}
    with closing(Http(server.config.url, allow_private=private)) as http:
        try:
            status = http.send("GET", request.url, headers=page, head_only=True).status
        except errors.ServerError as error:
            return check("sign-in-request/unsent", error=error)
    client = request.registration
    kind = first_of(
        unsaid=status in (403, 429) or status >= 500,
        refused=status >= 400 and client.method == "dcr",
        refused_own=status >= 400,
    )
    words = {"redirect": request.redirect_uri, "client": client.client_id}
    return check(f"sign-in-request/{kind}", status=status, **words)
