"""A sign-in that really happens because a person asked for it, with every step explained."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mcpnb.doctor.machine import unreachable
from mcpnb.doctor.report import TABLE, Check, check
from mcpnb.doctor.server import Server
from mcpnb.errors import (
    AnswerRefused,
    ClientIdRequired,
    ConfigError,
    GrantError,
    LoginCancelled,
    LoginDenied,
    LoginTimeout,
    McpnbError,
    ProtocolError,
    ServerError,
    ServerUnreachable,
    StoreError,
)
from mcpnb.login import Login, Observer
from mcpnb.login.pending import PendingRequest
from mcpnb.oauth.authorization import AuthorizationRequest
from mcpnb.oauth.credentials import LoginRecord
from mcpnb.oauth.http import Exchange, Http, Response
from mcpnb.oauth.models import Secret
from mcpnb.text import Redactor, quote, sanitize

SignIn = Callable[[Observer], Login[Any]]
"""Starts a sign-in with an observer, shows it to the person, and returns it; it may have ended."""

_MASK = "…"
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
_DISCOVERY = {
    "oauth-protected-resource": "RFC 9728 section 3",
    "oauth-authorization-server": "RFC 8414 section 3.1",
    "openid-configuration": "OIDC Discovery section 4",
}


class Masks:
    """The secrets that were seen so far. A server may repeat any of them, or a part, in its words.

    `mcpnb.text.redact` replaces whole secrets that stay secret for the whole process; these are
    many, live for minutes, and are also masked in pieces.
    """

    def __init__(self) -> None:
        self._redactor = Redactor()

    def add(self, *secrets: str | Secret | None) -> None:
        """Never show these from now on."""
        for secret in secrets:
            self._redactor.add(secret.reveal() if isinstance(secret, Secret) else secret or "")

    def add_login(self, record: LoginRecord | None) -> None:
        """Never show the secrets of a stored login."""
        if record is not None:
            held = record.tokens
            self.add(held.access_token, held.refresh_token, record.registration.client_secret)

    def parameters(self, sent: Mapping[str, Any]) -> str:
        """Name the parameters of a request, with the values that are harmless."""
        self._note(sent)
        return ", ".join(f"{name}={self._value(name, value)}" for name, value in sent.items())

    def fields(self, document: Mapping[str, Any]) -> str:
        """Name the fields of a response, with the values that are harmless: a server's words."""
        self._note(document)
        named = [
            f"{sanitize(self.cover(name), 40)}"
            + (f" {quote(self._value(name, value), 200)}" if name in _HARMLESS else "")
            for name, value in list(document.items())[:_MOST_FIELDS]
        ]
        more = len(document) - _MOST_FIELDS
        return ", ".join([*named, *([f"and {more} more"] if more > 0 else [])])

    def _note(self, document: Mapping[str, Any]) -> None:
        """Treat as secret what by its name is one."""
        self.add(
            *(v for name, v in document.items() if isinstance(v, str) and _SECRET.search(name))
        )

    def _value(self, name: str, value: Any) -> str:
        if name not in _HARMLESS:
            return _MASK
        text = " ".join(map(str, value[:10])) if isinstance(value, list) else str(value)
        return sanitize(self.cover(text[:_MOST_TEXT]), 200)

    def cover(self, text: str) -> str:
        """Return a text without the secrets."""
        return self._redactor(text, _MASK)

    def covered(self, checks: Iterable[Check]) -> list[Check]:
        """Return checks without the secrets, whichever text they got into."""
        return [
            replace(
                one,
                asked=self.cover(one.asked),
                answer=self.cover(one.answer),
                fix=one.fix and self.cover(one.fix),
            )
            for one in checks
        ]


class Trace(Observer):
    """The steps of one sign-in, in their order, with every secret masked."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._lock = threading.Lock()
        self.steps: list[Check] = []
        self.unanswered: Check | None = None
        """Why the last request got no response, if it got none."""
        self.request: AuthorizationRequest | None = None
        """What the person was last asked to open."""

    def exchanged(self, exchange: Exchange) -> None:
        """See `Observer.exchanged`."""
        made = self._exchange(exchange)
        with self._lock:
            self.steps.append(made)

    def asked(self, request: PendingRequest) -> None:
        """See `Observer.asked`."""
        if not isinstance(request, AuthorizationRequest):
            return
        client = request.registration
        self._masks.add(request.state, request.verifier, client.client_secret)
        address, _, query = request.url.partition("?")
        own = len(parse_qsl(urlsplit(request.server.authorization_endpoint).query))
        sent = f"GET {address} with {self._masks.parameters(dict(parse_qsl(query)[own:]))}"
        shown = check("sign-in-request/shown", asked=sent, redirect=request.redirect_uri)
        with self._lock:
            self.request = request
            if all(s.id != "sign-in-registration" for s in self.steps):
                method = client.auth_method.replace("_", " ")
                words = {"client": client.client_id, "method": method}
                known = f"nothing: {_CLIENTS[client.method]}"
                self.steps.append(check("sign-in-registration/known", asked=known, **words))
            self.steps.append(shown)

    def answered(
        self, text: str, request: AuthorizationRequest, refusal: McpnbError | None
    ) -> None:
        """See `Observer.answered`."""
        refused = isinstance(refusal, AnswerRefused)
        made = check(
            "sign-in-answer/other" if refused else "step/came",
            of="sign-in-answer",
            redirect=request.redirect_uri,
            error=refusal,
            came="" if refused else self._response(text, request, refusal),
        )
        with self._lock:
            self.steps.append(made)

    def _response(
        self, text: str, request: AuthorizationRequest, refusal: McpnbError | None
    ) -> str:
        query = urlsplit(text.strip()).query
        given = parse_qsl(query, keep_blank_values=True, max_num_fields=64)
        known = {name: value for name, value in given if name in _RESPONSE}
        others = len(given) - len(known)
        more = f", and {others} more" if others else ""
        fields = self._masks.fields(known)
        if not isinstance(refusal, ProtocolError):
            checked = "state is right" + ("; iss is right" if "iss" in known else "; no iss")
            return f"{fields}{more} ({checked})"
        # RFC 9207 section 2.4: nothing that another server says of errors is shown.
        came = f"iss is {quote(known['iss'])}" if "iss" in known else "there is no iss"
        return f"{', '.join(known)}{more}: {came}, expected is {quote(request.server.issuer)}"

    def _exchange(self, exchange: Exchange) -> Check:
        step, sent = self._sent(exchange)
        rule = "" if step != "sign-in-discovery" else "RFC 9728 section 5.1"
        if rule and exchange.method == "GET":
            rule = next((rule for name, rule in _DISCOVERY.items() if name in exchange.url), "")
        self.unanswered = None
        if exchange.error is not None:
            # Now: later the error has lost what led to it.
            self.unanswered = unreachable(exchange.error, of=step, asked=sent)
        if exchange.response is None:
            return check("step/came", of=step, asked=sent, rule=rule, came=exchange.error)
        document = exchange.response.json_object()
        came, finding = self._came(step, exchange.response, document), "step/came"
        if (
            step == "sign-in-token"
            and exchange.response.status == 200
            and "error" not in (document or {})
        ):
            names = document or {}
            if "access_token" in names and "token_type" not in names:
                finding = "sign-in-token/type"
            elif "refresh_token" not in names and "expires_in" in names:
                finding = "sign-in-token/refresh"
        return check(finding, of=step, asked=sent, rule=rule, came=came)

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
            return "sign-in-registration", f"{head} with {self._masks.parameters(body)}"
        form = dict(parse_qsl(exchange.content))
        step = "sign-in-token" if "grant_type" in form else "sign-in-revocation"
        sent = f"{head} with {self._masks.parameters(form)}"
        scheme, _, credentials = exchange.headers.get("Authorization", "").partition(" ")
        if not credentials:
            return step, sent
        pair = ""
        with contextlib.suppress(binascii.Error, ValueError):
            pair = base64.b64decode(credentials).decode()
        self._masks.add(credentials, pair.partition(":")[2])
        return step, f"{sent}; Authorization: {scheme} {_MASK}"

    def _came(self, step: str, answer: Response, document: dict[str, Any] | None) -> str:
        came = f"HTTP {answer.status}"
        if document is None:
            kind = answer.headers.get("content-type", "").partition(";")[0]
            return came + (f", {quote(kind, 60)}" if kind and answer.body else "")
        if step == "sign-in-discovery":
            # A whole document; the checks above tell what matters of its values.
            return f"{came}: {', '.join(quote(name, 60) for name in list(document)[:20])}"
        return f"{came}: {self._masks.fields(document)}"


def signed_in(server: Server, sign_in: SignIn, masks: Masks) -> tuple[list[Check], bool]:
    """Sign in, and explain it.

    Args:
        server: The server.
        sign_in: Starts and shows the sign-in.
        masks: Learns each secret that is seen.

    Returns:
        Its steps, and whether somebody is signed in now.
    """
    if server.config.authorization is not None:
        return [_skipped("a token of your configuration replaces a sign-in")], False
    if server.first is None:
        return [_skipped("the server cannot be reached")], False
    if server.needs_no_sign_in:
        return [_skipped("the server needs none")], False
    trace = Trace(masks)
    error = _end(sign_in, trace)
    if error is None:
        elsewhere = all(s.id != "sign-in-token" for s in trace.steps)
        more = [check("sign-in/elsewhere", asked="the stored login")] if elsewhere else []
        return [*trace.steps, *more], True
    if isinstance(error, LoginTimeout):
        return [*trace.steps, *_silence(server, error, trace.request)], False
    return _failed(trace, error), False


def _skipped(why: str) -> Check:
    return check("sign-in/skipped", asked="nothing", why=why)


def _end(sign_in: SignIn, trace: Trace) -> McpnbError | None:
    """Wait for the end of a sign-in; return why it failed, if it did."""
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


def _failed(trace: Trace, error: McpnbError) -> list[Check]:
    """Mark the step at which a sign-in ended, or add the one that was not possible."""
    steps, last = trace.steps, trace.steps[-1] if trace.steps else None
    if isinstance(error, LoginCancelled):
        return [*steps, check("sign-in/cancelled", error=error)]
    at_last = isinstance(error, GrantError | LoginDenied | ProtocolError | ServerUnreachable)
    if last is not None and at_last and last.id != "sign-in-discovery":
        made = _explained(error, last.id, trace, asked=last.asked)
        if last.answer not in made.answer and not isinstance(error, ServerUnreachable):
            made = replace(made, answer=f"{last.answer}. {made.answer}")
        return [*steps[:-1], made]
    # Of several documents it need not be the last that was the reason.
    step = "sign-in-registration"
    if any(s.id == "sign-in-request" for s in steps):
        step = "sign-in"
    elif not steps or isinstance(error, ServerError):
        step = "sign-in-discovery"
    asked = "nothing" if last is None else "nothing more"
    return [*steps, _explained(error, step, trace, asked=asked)]


def _explained(error: McpnbError, step: str, trace: Trace, asked: str) -> Check:
    request = trace.request
    if isinstance(error, ServerUnreachable):
        title, _, rule = TABLE[step]
        made = trace.unanswered or unreachable(error, asked=asked)
        return replace(made, id=step, title=title, rule=rule, asked=asked)
    return check(
        _reason(error, step, request),
        of=step,
        asked=asked,
        rule=error.rule if isinstance(error, ProtocolError) else "",
        error=error,
        scopes=" ".join(request.scopes) if request else "",
        resource=request.resource if request else "the MCP server's address",
        issuer=request.server.issuer if request else "",
    )


def _reason(error: McpnbError, step: str, request: AuthorizationRequest | None) -> str:
    """Return the name of the text that explains an error."""
    if isinstance(error, ProtocolError) and step == "sign-in-answer" and request is not None:
        return "failed/rule"
    if isinstance(error, StoreError):
        return "failed/store"
    if isinstance(error, ClientIdRequired | ConfigError):
        return "failed/config"
    if not isinstance(error, GrantError | LoginDenied):
        return "failed/other"
    kind = "registering" if step == "sign-in-registration" else "exchanging"
    kind = "denied" if isinstance(error, LoginDenied) else kind
    status = error.status if isinstance(error, GrantError) else 0
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
    server: Server, error: LoginTimeout, request: AuthorizationRequest | None
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
        except ServerError as error:
            return check("sign-in-request/unsent", error=error)
    own = request.registration.method != "dcr"
    kind = "refused-own" if own else "refused"
    if status < 400:
        kind = "ok"
    elif status in (403, 429) or status >= 500:
        kind = "unsaid"
    words = {"redirect": request.redirect_uri, "client": request.registration.client_id}
    return check(f"sign-in-request/{kind}", status=status, **words)
